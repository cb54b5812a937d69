"""Aligned records as batches of phonemes with normalised prosody."""

import itertools
import json
import shutil

import aligned_records as written
import numpy as np
import pytest

from tfvoice.data import shards
from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.errors import TfvoiceError
from tfvoice.tts.duration_f0 import data as data_
from tfvoice.tts.duration_f0.data import ProsodyIndex, ProsodyPipeline, ProsodyStatistics

VALUES = 4


@pytest.fixture(scope="module")
def train(aligned_records):
    return ProsodyIndex(aligned_records, "train", VALUES)


def pipeline(index, labels=("sil", *written.PHONEMES), **options):
    return ProsodyPipeline(index, list(labels), index.statistics(), **({"batch_size": 4, "seed": 1} | options))


def test_a_split_holds_what_was_written(train, aligned_records, converted):
    manifest = shards.read_manifest(converted)
    assert len(train) == manifest.splits["train"].utterances and train.sample_rate_hz == 16000
    for id, found in zip(train.ids, train.alignments, strict=True):
        expected = written.alignment(id, found.ends[-1], 16000)
        assert found.phonemes == expected.phonemes and found.frame_samples == 64
        np.testing.assert_array_equal(found.ends, expected.ends)
        np.testing.assert_array_equal(found.f0_hz, expected.f0_hz)
    assert train.describe() == f"train: {len(train)} utterances, {sum(map(len, train.phonemes))} phonemes"


def test_labels_are_without_stress_and_begin_with_silence(aligned_records):
    assert data_.phoneme_labels(aligned_records) == ["sil", "AA", "IY", "M", "S", "T"]


def test_batches_are_normalised_and_padded(train):
    seconds, hertz = [], []
    for batch in pipeline(train, shuffled=True).batches(epochs=1):
        assert batch.phonemes.shape[1] % 16 == 0 and batch.samples == batch.lengths.sum()
        valid = np.arange(batch.phonemes.shape[1]) < batch.lengths[:, np.newaxis]
        for part in (batch.phonemes, batch.stresses, batch.duration, batch.voiced, batch.f0, batch.measured):
            assert not part[~valid].any()
        seconds.append(batch.duration[valid])
        hertz.append(batch.f0[batch.measured > 0])
    for values in (np.concatenate(seconds), np.concatenate(hertz)):
        np.testing.assert_allclose([values.mean(), values.std()], [0, 1], atol=1e-3)


def content(batch):
    return [np.asarray(part).tobytes() for part in batch]


def test_an_epoch_can_start_anywhere(train):
    data = pipeline(train, shuffled=True)
    whole = [content(batch) for batch in data.batches(epochs=2)]
    assert len(whole) == 2 * data.steps()
    rest = [content(batch) for batch in pipeline(train, shuffled=True).batches(0, 2, epochs=2)]
    assert rest == whole[2:]


def test_each_epoch_has_every_utterance_in_another_order(train):
    data = pipeline(train, shuffled=True, batch_size=3)
    lengths = [[batch.lengths.tolist() for batch in data.batches(epoch, epochs=1)] for epoch in range(3)]
    expected = sorted(map(len, train.phonemes))
    assert all(sorted(itertools.chain(*epoch)) == expected for epoch in lengths)
    assert lengths[0] != lengths[1] or lengths[1] != lengths[2]
    ordered = list(itertools.chain(*(batch.lengths.tolist() for batch in pipeline(train).batches(epochs=1))))
    assert ordered == expected


def test_plain_records_are_refused(converted):
    with pytest.raises(
        TfvoiceError, match="these records are plain, and aligned ones are needed; make them with tfvoi"
    ):
        ProsodyIndex(converted, "train", VALUES)
    with pytest.raises(TfvoiceError, match="these records are plain"):
        data_.phoneme_labels(converted)


def test_unknown_phonemes_and_splits_are_refused(train, aligned_records):
    with pytest.raises(TfvoiceError, match=r"train: '\w+' is no phoneme of the network; known: sil. Train another run"):
        pipeline(train, labels=["sil"])
    with pytest.raises(TfvoiceError, match=r"there is no split tset; did you mean test\?"):
        ProsodyIndex(aligned_records, "tset", VALUES)


def test_damaged_records_are_reported(aligned_records, tmp_path):
    copied = shutil.copytree(aligned_records, tmp_path / "copied")
    path = next(copied.glob("train*.tfrecord"))
    path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    with pytest.raises(TfvoiceError, match="is damaged"):
        ProsodyIndex(copied, "train", VALUES)


def test_speech_without_any_voice_is_refused(converted, tmp_path):
    def whispered(id, samples, rate_hz):
        found = written.alignment(id, samples, rate_hz)
        return PhonemeAlignment(found.phonemes, found.ends, np.zeros_like(found.f0_hz), found.frame_samples)

    data = written.write(converted, tmp_path / "whispered", aligned_by=whispered)
    with pytest.raises(TfvoiceError, match=r"train: no F0 was found in these \d+ utterances; align other recordings"):
        ProsodyIndex(data, "train", VALUES).statistics()


def test_statistics_survive_json(train):
    statistics = train.statistics()
    assert ProsodyStatistics(**json.loads(json.dumps(statistics._asdict()))) == statistics
