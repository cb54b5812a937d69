"""Laws of clips: what a row holds, which clips an epoch has, and how they are resumed."""

import numpy as np
import pytest
from aligned_records import with_manifest

from tfvoice.data.datasets import Share
from tfvoice.errors import TfvoiceError
from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES, WINDOW, VocoderConfig
from tfvoice.tts.vocoder import data as data_
from tfvoice.tts.vocoder.config import ClipConfig
from tfvoice.tts.vocoder.data import VocoderIndex


@pytest.fixture(scope="module")
def index(aligned_records):
    return VocoderIndex(aligned_records, "train")


def test_sizes_are_whole_frames_and_no_more_lead_than_the_network_sees():
    assert data_.sizes(ClipConfig(), VocoderConfig(), 16000) == (250, 32, 62)
    assert data_.sizes(ClipConfig(), VocoderConfig(), 16384) == (256, 32, 64)
    assert data_.sizes(ClipConfig(), VocoderConfig(layers=40), 16000) == (250, 62, 62)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_row_is_the_audio_of_its_clip_behind_what_the_network_sees(vocoder_run, index, shuffled):
    pipeline = vocoder_run.pipeline(index, shuffled)
    sizes, silence = pipeline.sizes, pipeline.quantization.silence
    plan, batch = pipeline.plan(0), next(iter(pipeline.batches(epochs=1)))
    for row, clip in enumerate(plan[: pipeline.batch_size]):
        padded = np.pad(pipeline.levels(clip.row), (2 + 62 * FRAME_SAMPLES, 10**4), constant_values=silence)
        start = (62 + clip.start - sizes.lead) * FRAME_SAMPLES
        width = 2 + (sizes.lead + sizes.clip) * FRAME_SAMPLES
        np.testing.assert_array_equal(batch.levels[row], padded[start : start + width])
        assert batch.rows[row] == clip.row
        left = len(pipeline.levels(clip.row)) - clip.start * FRAME_SAMPLES
        assert batch.counts[row] == min(left, sizes.clip * FRAME_SAMPLES)
        # The conditioning of the first frame of the lead.
        frames, offset = pipeline.conditioning[clip.row], int(batch.offsets[row])
        first = sizes.silence + clip.start - sizes.lead
        np.testing.assert_array_equal(batch.phonemes[row, offset], frames.phonemes[first])
        np.testing.assert_array_equal(batch.f0[row, offset], frames.f0[first])
        assert offset == min(62, first) and batch.lengths[row] <= sizes.width
    assert int(batch.samples) == batch.counts.numpy().sum()


def test_in_order_clips_cover_every_sample_once(vocoder_run, index):
    pipeline = vocoder_run.pipeline(index)
    counts = np.zeros(len(index), int)
    for batch in pipeline.batches(epochs=1):
        np.add.at(counts, batch.rows[batch.rows >= 0], batch.counts[batch.rows >= 0])
    np.testing.assert_array_equal(counts, index.clips.samples)


def test_an_epoch_is_determined_by_the_seed_and_its_number_and_can_be_begun_anywhere(vocoder_run, index):
    pipeline, again = (vocoder_run.pipeline(index, shuffled=True) for _ in range(2))
    assert pipeline.plan(1) == again.plan(1) != pipeline.plan(0)
    assert len(pipeline.plan(0)) == len(pipeline.plan(1))
    steps = pipeline.steps()
    whole = list(pipeline.batches(epochs=2))
    rest = list(again.batches(0, steps - 1, epochs=2))
    assert len(whole) == 2 * steps and len(rest) == steps + 1
    for one, other in zip(whole[steps - 1 :], rest, strict=True):
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left, right)


def test_training_leaves_out_what_is_mostly_silent(vocoder_run, aligned_records):
    index = VocoderIndex(aligned_records, "train")
    pipeline = vocoder_run.pipeline(index, shuffled=True)
    for row, start in pipeline.plan(0):
        own = pipeline.conditioning[row].phonemes[62 + start : 62 + start + pipeline.sizes.clip, WINDOW // 2]
        assert np.mean(own == 0) <= 0.5 or len(own) < pipeline.sizes.clip
    for place, alignment in enumerate(index.alignments):
        index.alignments[place] = alignment._replace(phonemes=["sil"] * len(alignment.phonemes))
    with pytest.raises(TfvoiceError, match="split train is mostly silence; use recordings of speech"):
        vocoder_run.pipeline(index, shuffled=True)


def test_statistics_are_those_of_voiced_frames(index):
    voiced = np.concatenate([each.f0_hz for each in index.alignments])
    logs = np.log(voiced[voiced > 0].astype(np.float64))
    assert index.f0_statistics() == pytest.approx((logs.mean(), logs.std()), abs=1e-5)
    for place, alignment in enumerate(index.alignments):
        index.alignments[place] = alignment._replace(f0_hz=np.zeros_like(alignment.f0_hz))
    with pytest.raises(TfvoiceError, match="no F0 was found in split train; align other recordings"):
        index.f0_statistics()


def test_records_of_other_frames_and_plain_ones_are_refused(aligned_records, converted, tmp_path):
    with pytest.raises(TfvoiceError, match="these records are plain, and aligned ones are needed"):
        VocoderIndex(converted, "train")
    with_manifest(aligned_records, tmp_path, '"frame_samples":64', '"frame_samples":80')
    with pytest.raises(TfvoiceError, match="its frames have 80 samples, and those of a vocoder have 64; align"):
        VocoderIndex(tmp_path, "train")


def test_a_share_of_the_rows_has_its_levels_and_all_that_the_loss_counts(vocoder_run, index):
    pipeline, part = (vocoder_run.pipeline(index, shuffled=True) for _ in range(2))
    part.share = Share(1, 2)
    for whole, given in zip(pipeline.batches(epochs=1), part.batches(epochs=1), strict=True):
        np.testing.assert_array_equal(given.levels[1::2], whole.levels[1::2])
        assert (given.levels[::2].numpy() == part.quantization.silence).all()
        for name in ("counts", "rows", "samples"):
            np.testing.assert_array_equal(getattr(given, name), getattr(whole, name))
