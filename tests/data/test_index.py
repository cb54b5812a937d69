"""Laws of the index: every record is either used or counted with its reason, no audio is read, damage is reported."""

import hashlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import ctc, storage
from tfvoice.audio import features
from tfvoice.config import build
from tfvoice.data import index, records, shard_index, shards, utterances, windows
from tfvoice.data.config import DataConfig, FilterConfig, WindowConfig
from tfvoice.errors import TfvoiceError
from tfvoice.text.alphabet import Alphabet, AlphabetConfig

RATE = 1000
FEATURES = features.FeatureConfig(sample_rate_hz=RATE, hop_ms=10, window_ms=25, bins=4)
FILTERS = FilterConfig()


def written(directory, utterances, split="train"):
    """Writes (id, text, seconds) as a converted corpus of two shards without indices."""
    frames = []
    for id, text, seconds in utterances:
        samples = np.arange(round(seconds * RATE)).astype(np.int16)
        frames.append(records.frame(records.encode(id, f"voice of {id}", text, samples, RATE)))
    written_shards = []
    for number, group in enumerate((frames[: len(frames) // 2], frames[len(frames) // 2 :])):
        content = b"".join(group)
        name = f"{split}-{number:05d}-of-00002.tfrecord"
        (directory / name).write_bytes(content)
        written_shards.append(described(name, content, len(group)))
    return shards.Manifest(
        corpus="test",
        sample_rate_hz=RATE,
        encoding="pcm16",
        splits={split: shards.total(written_shards)},
        skipped={},
        expected_skips={},
        speakers={},
        settings=shards.ConversionConfig(),
        fingerprint="",
    )


def described(name, content, count):
    sha256 = hashlib.sha256(content).hexdigest()
    return shards.Shard(name=name, sha256=sha256, bytes=len(content), utterances=count, seconds=1.0, characters=1)


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
    scan = scanned(manifest, directory)
    assert [(id, text) for id, text, _ in utterances] == list(zip(scan.ids, scan.texts, strict=True))
    assert scan.speakers == [f"voice of {id}" for id in scan.ids]
    np.testing.assert_array_equal(scan.samples, [round(seconds * RATE) for *_, seconds in utterances])
    assert scan.seconds == pytest.approx(sum(seconds for *_, seconds in utterances))
    for text, labels in zip(scan.texts, scan.labels, strict=True):
        assert Alphabet(AlphabetConfig()).decode(labels) == text
    assert not scan.dropped and not scan.symbols
    assert scan.describe() == "train: 7 utterances, 0.00 hours"


def test_any_record_can_be_read_at_any_time(corpus):
    scan = scanned(*corpus[:2])
    rows = np.array([6, 0, 3, 3])
    for row, serialized in zip(rows, scan.read(rows), strict=True):
        record = records.decode(tf.constant(serialized))
        assert record["id"].numpy().decode() == scan.ids[row]
        assert record["samples"] == len(record["audio"]) == scan.samples[row]


def test_a_converted_corpus_is_indexed_whole(converted):
    manifest = shards.read_manifest(converted)
    config = features.FeatureConfig()
    for split, about in manifest.splits.items():
        scan = scanned(manifest, converted, split, feature_config=config)
        assert len(scan) + sum(scan.dropped.values()) == about.utterances
        assert scan.seconds == pytest.approx(about.seconds, abs=0.01)


REASONS = {
    "too short": [("a", "a", 0.19), ("b", "b", 0.0)],
    "too long": [("c", "c", 20.01)],
    "without text": [("d", "123", 1), ("e", "...", 1), ("f", "", 1)],
    # 31 frames: 31 different labels fit and 32 do not; nor do 16 equal ones, which need 15 blanks between them.
    "with more text than frames": [("g", "ab" * 16, 0.3), ("h", "a" * 17, 0.3)],
}


def test_skipped_utterances_are_counted_by_reason(tmp_path):
    good = [("u", "ab" * 15 + "a", 0.3), ("v", "a" * 16, 0.3), ("w", "a", 0.2), ("x", "a", 20.0), ("y", "3 a#", 1)]
    bad = [utterance for group in REASONS.values() for utterance in group]
    scan = scanned(written(tmp_path, [*good, *bad]), tmp_path)
    assert scan.ids == ["u", "v", "w", "x", "y"]
    assert scan.dropped == {reason: len(group) for reason, group in REASONS.items()}
    assert scan.examples == {reason: [id for id, *_ in group] for reason, group in REASONS.items()}
    assert "; skipped: 1 too long, 2 too short, 2 with more text than frames, 3 without text" in scan.describe()


def test_the_text_must_fit_into_the_frames_of_the_network(tmp_path):
    manifest = written(tmp_path, [("fits", "abcdefghijk", 0.3), ("does not", "abcdefghijkl", 0.3), ("aa", "aab", 0.3)])
    assert scanned(manifest, tmp_path, stride=3).ids == ["fits", "aa"]
    assert scanned(manifest, tmp_path, stride=10).ids == ["aa"]
    with pytest.raises(TfvoiceError, match=r"nothing to use in train: 0 utterances.*skipped: 3 with more"):
        scanned(manifest, tmp_path, stride=11)


def test_symbols_outside_the_alphabet_are_dropped_and_counted_or_their_utterances_skipped(tmp_path):
    manifest = written(tmp_path, [("a", "call 911, #1", 1), ("b", "call me!", 1)])
    dropping = scanned(manifest, tmp_path)
    assert dropping.ids == ["a", "b"] and dropping.symbols == {"9": 1, "1": 3, "#": 1}
    assert dropping.describe().endswith("; symbols dropped from their texts: 3 '1', 1 '9', 1 '#'")
    skipping = scanned(manifest, tmp_path, unknown="skip")
    assert skipping.ids == ["b"] and not skipping.symbols
    assert skipping.dropped == {"with symbols outside the alphabet": 1}
    assert skipping.describe().endswith("; skipped: 1 with symbols outside the alphabet")


@pytest.mark.parametrize("unknown", ["drop", "skip"])
def test_texts_in_another_script_name_their_letters_and_the_key(tmp_path, unknown):
    manifest = written(tmp_path, [("a", "привет", 1), ("b", "мир", 1)])
    with pytest.raises(TfvoiceError) as error:
        scanned(manifest, tmp_path, unknown=unknown)
    assert "nothing to use in train: 0 utterances" in str(error.value) and "skipped: 2 with" in str(error.value)
    assert "The alphabet drops 2 'р', 2 'и', 1 'п', 1 'в', 1 'е'" in str(error.value)
    assert "; --set alphabet.characters=auto keeps the letters of the data" in str(error.value)


def test_texts_of_numbers_are_to_be_written_as_words(tmp_path):
    with pytest.raises(TfvoiceError, match=r"lacks 1 '9', 1 '1'; write numbers and symbols as words\.$"):
        scanned(written(tmp_path, [("a", "91", 1), ("b", "", 1)]), tmp_path)


def test_no_more_than_five_examples_are_kept(tmp_path):
    scan = scanned(written(tmp_path, [("u", "a", 1), *((f"s{number}", "a", 0.1) for number in range(9))]), tmp_path)
    assert scan.dropped["too short"] == 9
    assert scan.examples["too short"] == [f"s{number}" for number in range(5)]


def test_an_unknown_split_gets_the_known_ones(corpus):
    with pytest.raises(TfvoiceError, match=r": there is no split trian; did you mean train\? Known: train\.$"):
        scanned(*corpus[:2], split="trian")


def test_another_sample_rate_gets_both_possible_fixes(corpus):
    with pytest.raises(
        TfvoiceError,
        match=r": its audio has 1000 Hz and features\.sample_rate_hz is 16000; set features\.sample_rate_hz=1000, or "
        r"convert again with --sample_rate_hz=16000\.$",
    ):
        scanned(*corpus[:2], feature_config=features.FeatureConfig())


def test_without_limits_every_utterance_is_kept(tmp_path):
    """Evaluation scores the whole split: what training skips is in the index too."""
    bad = [utterance for group in REASONS.values() for utterance in group]
    scan = scanned(written(tmp_path, [("u", "a", 1), *bad]), tmp_path, filters=None, unknown="skip")
    assert scan.ids == ["u", *(id for id, *_ in bad)] and not scan.dropped
    assert [len(labels) for labels in scan.labels] == [1, 1, 1, 1, 0, 0, 0, 32, 17]
    pipeline = utterances.UtterancePipeline(scan, DataConfig(), FEATURES, lambda frames: frames, 4)
    rows = np.concatenate([batch.rows for batch in pipeline.batches(epochs=1)])
    np.testing.assert_array_equal(np.sort(rows[rows >= 0]), np.arange(len(scan)))


def read_bytes(function):
    """The bytes that a call reads from files, as the kernel counts them."""

    def count():
        with open("/proc/self/io") as file:
            return int(file.readline().split()[1])

    before = count()
    function()
    return count() - before


def test_what_is_read_does_not_grow_with_the_audio(tmp_path):
    sizes = {}
    for seconds in (1.0, 19.0):
        folder = tmp_path / str(seconds)
        folder.mkdir()
        manifest = written(folder, [(f"u{number}", "abc", seconds) for number in range(20)])
        scanned(manifest, folder)
        sizes[seconds] = read_bytes(lambda: scanned(manifest, folder))  # noqa: B023
        sizes[seconds] += read_bytes(lambda: index.scan_clips(manifest, folder, "train", 1))  # noqa: B023
        audio = sum(shard.bytes for shard in manifest.splits["train"].shards)
        assert audio > 2000 * seconds * 20
    assert abs(sizes[19.0] - sizes[1.0]) < 1000 and sizes[19.0] < 20_000


def test_a_conversion_without_indices_is_indexed_once_with_what_conversion_writes(converted, tmp_path):
    config = features.FeatureConfig()
    manifest = shards.read_manifest(converted)
    shutil.copytree(converted, tmp_path / "old")
    names = [path.name for path in (tmp_path / "old").glob("*.index.jsonl")]
    assert len(names) == sum(len(split.shards) for split in manifest.splits.values())
    for name in names:
        (tmp_path / "old" / name).unlink()
    for split in manifest.splits:
        scan = scanned(manifest, tmp_path / "old", split, feature_config=config)
        expected = scanned(manifest, converted, split, feature_config=config)
        assert (scan.ids, scan.texts, scan.speakers) == (expected.ids, expected.texts, expected.speakers)
        for column in ("shard", "offset", "size", "samples", "peak"):
            np.testing.assert_array_equal(getattr(scan, column), getattr(expected, column))
    for name in names:
        assert (tmp_path / "old" / name).read_bytes() == (converted / name).read_bytes()


def test_the_peak_is_the_largest_absolute_sample(converted):
    scan = scanned(shards.read_manifest(converted), converted, feature_config=features.FeatureConfig())
    peaks = [np.abs(scan.audio(row)).max() for row in range(len(scan))]
    np.testing.assert_array_equal(scan.peak, np.float32(peaks))
    assert scan.peak.dtype == np.float32


def test_an_index_that_cannot_be_written_is_used_from_memory(corpus, monkeypatch, caplog):
    manifest, directory, _ = corpus

    def read_only(path, content):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(shard_index.storage, "write", read_only)
    assert len(scanned(manifest, directory)) == 7
    assert "train-00000-of-00002.index.jsonl: cannot write this index (Read-only file system)" in caplog.text
    assert not list(directory.glob("*.jsonl"))


def test_an_index_that_is_damaged_or_describes_another_shard_is_written_again(corpus, caplog):
    manifest, directory, _ = corpus
    expected = scanned(manifest, directory)
    first, second = sorted(directory.glob("*.index.jsonl"))
    contents = [first.read_bytes(), second.read_bytes()]
    assert not caplog.text
    first.write_bytes(contents[0].replace(b"text", b"test", 1))
    second.write_bytes(contents[0])
    scan = scanned(manifest, directory)
    assert scan.texts == expected.texts and scan.ids == expected.ids
    assert [first.read_bytes(), second.read_bytes()] == contents
    assert f"{first}: this index is damaged" in caplog.text
    assert f"{second}: this index describes another shard; it is written again" in caplog.text


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


SECOND = "train-00001-of-00002.tfrecord"
DAMAGE = {
    "missing": "this shard is missing",
    "foreign": r"this shard has \d+ bytes instead of \d+",
    "without keys": r"this shard has \d+ bytes instead of \d+",
    "cut short": r"this shard has \d+ bytes instead of \d+",
    "cut in the header": r"this shard has 5 bytes instead of \d+",
    "empty": r"this shard has 0 bytes instead of \d+",
}


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("how", DAMAGE)
def test_a_truncated_or_missing_shard_is_refused_without_reading_it(corpus, how, indexed):
    manifest, directory, _ = corpus
    if indexed:
        scanned(manifest, directory)
    damage(directory / SECOND, how)
    with pytest.raises(TfvoiceError, match=rf"^{directory}/{SECOND}: {DAMAGE[how]}.*tfvoice_convert --validate --outp"):
        scanned(manifest, directory)


CONTENT_DAMAGE = {
    "foreign": "a record was not written by tfvoice, or is damaged",
    "without keys": "a record was not written by tfvoice, or is damaged",
    "one byte": "a shard is truncated or damaged",
    "cut short": "a shard is truncated or damaged",
    "cut in the header": rf"{SECOND}: this shard holds 0 records instead of 4",
    "empty": rf"{SECOND}: this shard holds 0 records instead of 4",
}


@pytest.mark.parametrize("how", CONTENT_DAMAGE)
def test_a_damaged_shard_is_refused_when_it_is_indexed(corpus, how):
    """A shard without an index is read whole; its size is that of the manifest here."""
    manifest, directory, _ = corpus
    damage(directory / SECOND, how)
    first, second = manifest.splits["train"].shards
    second = second.model_copy(update={"bytes": (directory / SECOND).stat().st_size})
    manifest = manifest.model_copy(update={"splits": {"train": shards.total([first, second])}})
    with pytest.raises(TfvoiceError, match=rf"{CONTENT_DAMAGE[how]}.*tfvoice_convert --validate --output="):
        scanned(manifest, directory)
    assert not (directory / SECOND).with_suffix(".index.jsonl").exists()


def test_a_shard_that_lost_whole_records_is_refused(corpus):
    manifest, directory, _ = corpus
    scan = scanned(manifest, directory)
    path = directory / SECOND
    path.write_bytes(path.read_bytes()[: int(scan.offset[-1]) - 12])
    with pytest.raises(TfvoiceError, match=rf"{SECOND}: this shard has \d+ bytes instead of"):
        scanned(manifest, directory)


@pytest.mark.parametrize("pipeline", ["utterances", "windows"])
@pytest.mark.parametrize(
    ("how", "fact"), [("one byte", "the record of u3 is damaged"), ("missing", "cannot be read (No such file or direc")]
)
def test_a_record_that_is_damaged_after_indexing_gets_a_sentence_when_it_is_read(corpus, pipeline, how, fact):
    manifest, directory, _ = corpus
    if pipeline == "utterances":
        scan = scanned(manifest, directory)
        source = utterances.UtterancePipeline(scan, DataConfig(), FEATURES, lambda frames: frames, 2)
    else:
        scan = index.scan_clips(manifest, directory, "train", 1)
        quantization = windows.QuantizationConfig()
        source = windows.WindowPipeline(scan, WindowConfig(), quantization, 4, 2)
    damage(directory / SECOND, how)
    reads = [lambda: list(source.batches(epochs=1)), lambda: scan.read([3]), lambda: scan.audio(3)]
    for read in [*reads, lambda: list(source.batches(epochs=1).take(100))]:
        with pytest.raises(records.RecordError) as caught:
            read()
        sentence = str(caught.value)
        assert sentence.startswith(f"{directory / SECOND}: {fact}") and "\n" not in sentence
        assert sentence.endswith(f". Look at the other shards too with tfvoice_convert --validate --output={directory}")


def test_the_limits_belong_to_the_configuration(corpus):
    manifest, directory, _ = corpus
    limits = build(FilterConfig, {"min_seconds": 0.75, "max_seconds": 0.95})
    assert scanned(manifest, directory, filters=limits).ids == ["u3", "u4"]


def test_the_frames_that_labels_need_are_those_of_ctc(monkeypatch):
    random = np.random.default_rng(0)
    labels = [random.integers(0, 3, count).astype(np.int32) for count in random.integers(0, 9, 50)]
    monkeypatch.setattr(index, "_CHUNK", 7)
    np.testing.assert_array_equal(index.minimum_frames(labels), [ctc.minimum_frames(each) for each in labels])
    np.testing.assert_array_equal(index.minimum_frames([np.zeros(0, np.int32)] * 2), [0, 0])


def test_a_subset_has_the_rows_in_their_order(converted):
    manifest = shards.read_manifest(converted)
    whole = index.scan_clips(manifest, converted, "train", 1)
    some = whole.subset(np.array([3, 0]))
    assert some.ids == [whole.ids[3], whole.ids[0]] and len(some) == 2
    np.testing.assert_array_equal(some.audio(0), whole.audio(3))
    np.testing.assert_array_equal(some.samples, whole.samples[[3, 0]])


def test_records_of_a_store_are_read_from_whole_copies(corpus, store):
    manifest, directory, _ = corpus
    for path in directory.iterdir():
        if path.is_file():
            storage.place(f"{store}/{path.name}").upload(path)
    local, scan = scanned(manifest, directory), scanned(manifest, store)
    assert (scan.ids, scan.texts, str(scan.directory)) == (local.ids, local.texts, store)
    storage.delete(storage.place(store) / name for name in storage.place(store).files() if name.endswith(".tfrecord"))
    rows = np.arange(len(scan))
    assert scan.read(rows) == local.read(rows) == scanned(manifest, store).read(rows)


def test_a_shard_of_a_store_that_was_changed_is_a_sentence(corpus, store):
    manifest, directory, _ = corpus
    for path in directory.iterdir():
        if path.is_file():
            content = path.read_bytes()
            storage.write(f"{store}/{path.name}", content[:-1] + b"x" if path.suffix == ".tfrecord" else content)
    with pytest.raises(TfvoiceError, match=r"tfrecord: this shard is not the one that the manifest describes \(sha256"):
        scanned(manifest, store)
