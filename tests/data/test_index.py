"""Laws of the index: every record is either used or counted with its reason, and a damaged corpus is refused."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.audio import features
from tfvoice.config import build
from tfvoice.data import index, records, shards
from tfvoice.data.index import FilterConfig
from tfvoice.errors import TfvoiceError
from tfvoice.text.alphabet import Alphabet, AlphabetConfig

RATE = 1000
FEATURES = features.FeatureConfig(sample_rate_hz=RATE, hop_ms=10, window_ms=25, bins=4)
FILTERS = FilterConfig()


def written(directory, utterances, split="train"):
    """Writes (id, text, seconds) as a converted corpus of two shards."""
    frames = []
    for id, text, seconds in utterances:
        samples = np.arange(round(seconds * RATE)).astype(np.int16)
        frames.append(records.frame(records.encode(id, f"voice of {id}", text, samples, RATE)))
    made = []
    for number, group in enumerate((frames[: len(frames) // 2], frames[len(frames) // 2 :])):
        content = b"".join(group)
        name = f"{split}-{number:05d}-of-00002.tfrecord"
        (directory / name).write_bytes(content)
        made.append(
            shards.Shard(name=name, sha256="", bytes=len(content), utterances=len(group), seconds=1.0, characters=1)
        )
    return shards.Manifest(
        corpus="test",
        sample_rate_hz=RATE,
        encoding="pcm16",
        splits={split: shards.total(made)},
        skipped={},
        expected_skips={},
        speakers={},
        settings=shards.ConversionConfig(),
        fingerprint="",
    )


def scanned(manifest, directory, split="train", stride=1, filters=FILTERS, feature_config=FEATURES, **alphabet):
    return index.scan(
        manifest,
        directory,
        split,
        filters,
        feature_config,
        Alphabet(AlphabetConfig(**alphabet)),
        lambda frames: -(-frames // stride),
    )


@pytest.fixture
def corpus(tmp_path):
    utterances = [(f"u{number}", f"text{'abc' * number}", 0.5 + 0.1 * number) for number in range(7)]
    return written(tmp_path, utterances), tmp_path, utterances


def test_the_index_holds_what_the_records_hold(corpus):
    manifest, directory, utterances = corpus
    found = scanned(manifest, directory)
    assert [(id, text) for id, text, _ in utterances] == list(zip(found.ids, found.texts, strict=True))
    assert found.speakers == [f"voice of {id}" for id in found.ids]
    np.testing.assert_array_equal(found.samples, [round(seconds * RATE) for *_, seconds in utterances])
    assert found.seconds == pytest.approx(sum(seconds for *_, seconds in utterances))
    for text, labels in zip(found.texts, found.labels, strict=True):
        assert Alphabet(AlphabetConfig()).decode(labels) == text
    assert not found.dropped and not found.symbols
    assert found.describe() == "train: 7 utterances, 0.00 hours"


def test_any_record_can_be_read_at_any_time(corpus):
    found = scanned(*corpus[:2])
    rows = np.array([6, 0, 3, 3])
    for row, serialized in zip(rows, found.read(rows), strict=True):
        record = records.decode(tf.constant(serialized))
        assert record["id"].numpy().decode() == found.ids[row]
        assert record["samples"] == len(record["audio"]) == found.samples[row]


def test_a_converted_corpus_is_indexed_whole(converted):
    manifest = shards.read_manifest(converted)
    config = features.FeatureConfig()
    for split, about in manifest.splits.items():
        found = scanned(manifest, converted, split, feature_config=config)
        assert len(found) + sum(found.dropped.values()) == about.utterances
        assert found.seconds == pytest.approx(about.seconds, abs=0.01)


REASONS = {
    "too short": [("a", "a", 0.19), ("b", "b", 0.0)],
    "too long": [("c", "c", 20.01)],
    "without text": [("d", "123", 1), ("e", "...", 1), ("f", "", 1)],
    # 31 frames: 31 different labels fit and 32 do not; nor do 16 equal ones, which need 15 blanks between them.
    "with more text than frames": [("g", "ab" * 16, 0.3), ("h", "a" * 17, 0.3)],
}


def test_what_cannot_be_used_is_counted_by_reason(tmp_path):
    good = [("u", "ab" * 15 + "a", 0.3), ("v", "a" * 16, 0.3), ("w", "a", 0.2), ("x", "a", 20.0), ("y", "3 a#", 1)]
    bad = [utterance for group in REASONS.values() for utterance in group]
    found = scanned(written(tmp_path, [*good, *bad]), tmp_path)
    assert found.ids == ["u", "v", "w", "x", "y"]
    assert found.dropped == {reason: len(group) for reason, group in REASONS.items()}
    assert found.examples == {reason: [id for id, *_ in group] for reason, group in REASONS.items()}
    assert "; left out: 1 too long, 2 too short, 2 with more text than frames, 3 without text" in found.describe()


def test_frames_are_those_that_the_network_gives(tmp_path):
    manifest = written(tmp_path, [("fits", "abcdefghijk", 0.3), ("does not", "abcdefghijkl", 0.3), ("aa", "aab", 0.3)])
    assert scanned(manifest, tmp_path, stride=3).ids == ["fits", "aa"]
    assert scanned(manifest, tmp_path, stride=10).ids == ["aa"]
    with pytest.raises(TfvoiceError, match=r"nothing to use in train: 0 utterances.*left out: 3 with more"):
        scanned(manifest, tmp_path, stride=11)


def test_symbols_outside_the_alphabet_are_dropped_and_counted_or_their_utterances_skipped(tmp_path):
    manifest = written(tmp_path, [("a", "call 911, #1", 1), ("b", "call me!", 1)])
    dropping = scanned(manifest, tmp_path)
    assert dropping.ids == ["a", "b"] and dropping.symbols == {"9": 1, "1": 3, "#": 1}
    assert dropping.describe().endswith("; symbols dropped from their texts: 3 '1', 1 '9', 1 '#'")
    skipping = scanned(manifest, tmp_path, unknown="skip")
    assert skipping.ids == ["b"] and not skipping.symbols
    assert skipping.dropped == {"with symbols outside the alphabet": 1}
    assert skipping.describe().endswith("; left out: 1 with symbols outside the alphabet")


def test_no_more_than_five_examples_are_kept(tmp_path):
    found = scanned(written(tmp_path, [("u", "a", 1), *((f"s{number}", "a", 0.1) for number in range(9))]), tmp_path)
    assert found.dropped["too short"] == 9
    assert found.examples["too short"] == [f"s{number}" for number in range(5)]


def test_a_split_that_is_not_there_is_named_with_those_that_are(corpus):
    with pytest.raises(TfvoiceError, match=r": there is no split trian; did you mean train\? Known: train\.$"):
        scanned(*corpus[:2], split="trian")


def test_another_sample_rate_names_both_ways_out(corpus):
    with pytest.raises(
        TfvoiceError,
        match=r": its audio has 1000 Hz and features\.sample_rate_hz is 16000; set features\.sample_rate_hz=1000, or "
        r"convert again with --sample_rate_hz=16000\.$",
    ):
        scanned(*corpus[:2], feature_config=features.FeatureConfig())


def damage(path, how):
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "foreign":
        path.write_bytes(records.frame(b"\x99 no protocol buffer"))
    elif how == "without keys":
        path.write_bytes(records.frame(tf.train.Example().SerializeToString()))
    elif how == "one byte":
        path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    else:
        path.write_bytes(content[: {"cut short": len(content) - 3, "empty": 0, "cut in the header": 5}[how]])


DAMAGE = {
    "missing": "a shard is missing",
    "foreign": "a record was not written by tfvoice, or is damaged",
    "without keys": "a record was not written by tfvoice, or is damaged",
    "one byte": "a shard is truncated or damaged",
    "cut short": "a shard is truncated or damaged",
    "cut in the header": r"train-00001-of-00002\.tfrecord holds 0 records instead of 4",
    "empty": r"train-00001-of-00002\.tfrecord holds 0 records instead of 4",
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_corpus_is_refused(corpus, how):
    manifest, directory, _ = corpus
    damage(directory / "train-00001-of-00002.tfrecord", how)
    with pytest.raises(TfvoiceError, match=rf"^{directory}: {DAMAGE[how]}.*tfvoice_convert --validate --output="):
        scanned(manifest, directory)


def test_a_shard_that_lost_whole_records_is_refused(corpus):
    manifest, directory, _ = corpus
    scan = scanned(manifest, directory)
    path = directory / "train-00001-of-00002.tfrecord"
    path.write_bytes(path.read_bytes()[: int(scan.offset[-1]) - 12])
    with pytest.raises(TfvoiceError, match=r"train-00001-of-00002\.tfrecord holds 3 records instead of 4"):
        scanned(manifest, directory)


def test_the_limits_belong_to_the_configuration(corpus):
    manifest, directory, _ = corpus
    limits = build(FilterConfig, {"min_seconds": 0.75, "max_seconds": 0.95})
    assert scanned(manifest, directory, filters=limits).ids == ["u3", "u4"]
