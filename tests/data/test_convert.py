import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from tfvoice import storage
from tfvoice.audio import io as audio_io
from tfvoice.data import convert, output, planning, recordings, records, shards
from tfvoice.data.convert import ConversionError
from tfvoice.data.corpora import manifest, vctk
from tfvoice.data.corpora.base import Listing, Skip, Utterance
from tfvoice.data.shards import ConversionConfig

FORMATS = [("wav", 48000, 1), ("flac", 44100, 1), ("ogg", 22050, 2), ("wav", 16000, 1)]


def tone(path, seconds=0.5, rate=16000, channels=1, number=1, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * rate)) / rate
    samples = 0.3 * np.sin(2 * np.pi * (200 + 10 * number) * time)
    soundfile.write(path, np.stack([samples] * channels, axis=1), rate, **options)
    return path


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Four speakers with six recordings each, in several formats and rates."""
    root = tmp_path_factory.mktemp("vctk")
    for number in range(24):
        speaker, (suffix, rate, channels) = f"p{225 + number // 6}", FORMATS[number % len(FORMATS)]
        id = f"{speaker}_{number % 6 + 1:03d}"
        tone(root / "wav48" / speaker / f"{id}.{suffix}", 0.3 + 0.02 * number, rate, channels, number)
        (root / "txt" / speaker).mkdir(parents=True, exist_ok=True)
        (root / "txt" / speaker / f"{id}.txt").write_text(f"Sentence number {number}.\n")
    tone(root / "wav48" / "p315" / "p315_001.wav")
    return root


def settings(**values):
    return ConversionConfig(**{"corpus": "vctk", "split": "70/15/15", "shard_mb": 0.1, **values})


def planned(root, **values):
    return convert.prepare(vctk.read(str(root)), settings(**values))


def contents(directory):
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def decoded(directory, result):
    by_id = {}
    for split in result.splits.values():
        for shard in split.shards:
            for record in tf.data.TFRecordDataset(str(directory / shard.name)).map(records.decode):
                by_id[record["id"].numpy().decode()] = record
    return by_id


@pytest.mark.parametrize("encoding", records.ENCODINGS)
def test_records_hold_what_the_corpus_holds(tree, tmp_path, encoding):
    result = convert.convert(planned(tree, encoding=encoding), tmp_path / "out")
    by_id = decoded(tmp_path / "out", result)
    listing = vctk.read(str(tree))
    assert sorted(by_id) == [utterance.id for utterance in listing.utterances]
    for utterance in listing.utterances:
        record = by_id[utterance.id]
        samples = audio_io.to_pcm16(audio_io.read(utterance.audio, 16000))
        np.testing.assert_array_equal(record["audio"] * 32768, samples)
        assert record["sample_rate_hz"] == 16000 and record["samples"] == len(samples)
        assert record["text"].numpy().decode() == utterance.text
        assert record["speaker"].numpy().decode() == utterance.speaker


def test_the_manifest_describes_the_shards(tree, tmp_path):
    result = convert.convert(planned(tree), tmp_path)
    assert result == shards.read_manifest(tmp_path) == shards.validate(tmp_path)
    assert list(result.splits) == ["train", "valid", "test"] and len(result.splits["train"].shards) > 2
    assert sum(split.utterances for split in result.splits.values()) == 24
    assert sum(split.seconds for split in result.splits.values()) == pytest.approx(24 * 0.3 + 0.02 * 276, abs=0.01)
    assert sum(split.characters for split in result.splits.values()) == 10 * 18 + 14 * 19
    assert result.expected_skips == {"speaker_without_transcripts": 1} and result.skipped == {}
    for split in result.splits.values():
        assert split.seconds == pytest.approx(sum(shard.seconds for shard in split.shards))
        for shard in split.shards:
            assert hashlib.sha256((tmp_path / shard.name).read_bytes()).hexdigest() == shard.sha256
    names = {shard.name for split in result.splits.values() for shard in split.shards}
    names |= {name.replace(".tfrecord", ".index.jsonl") for name in names}
    assert {path.name for path in tmp_path.iterdir()} == names | {"manifest.json", "skipped.jsonl"}
    lines = (tmp_path / "skipped.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id_or_path": "p315_001", "reason": "speaker_without_transcripts", "expected": True, "detail": "no txt/p315"}
    ]


def test_bytes_do_not_depend_on_the_number_of_workers(tree, tmp_path):
    for workers in (1, 2):
        convert.convert(planned(tree), tmp_path / str(workers), workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_converting_again_does_nothing(tree, tmp_path):
    result = convert.convert(planned(tree), tmp_path)
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert convert.convert(planned(tree), tmp_path) == result
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


def test_an_interrupted_conversion_is_finished_by_the_same_call(tree, tmp_path, monkeypatch):
    convert.convert(planned(tree), tmp_path / "whole")
    write = output.ConversionOutput.write
    calls = []

    def stop_at_third(self, shard, results):
        calls.append(shard.name)
        if len(calls) == 3:
            next(iter(results))
            raise KeyboardInterrupt
        return write(self, shard, results)

    monkeypatch.setattr(output.ConversionOutput, "write", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        convert.convert(planned(tree), tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    with pytest.raises(shards.ShardError, match=r"this conversion is unfinished; run the same"):
        shards.read_manifest(tmp_path / "out")
    convert.convert(planned(tree), tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert len(set(calls)) == len(calls) - 1, "only the shard that was cut off is written twice"


def shard_of(number, seconds):
    return planning.PlannedShard(f"train-{number}", "train", 1, seconds)


@pytest.mark.parametrize(
    "seconds, workers, alone",
    [
        ([8.0], 1, 0),
        ([8.0], 2, 0),
        ([8.0] * 8, 2, 7),
        ([8.0] * 8, 4, 5),
        ([8.0] * 3, 4, 0),
        # Of a small corpus: test, train and valid.
        ([1.0, 18.0, 1.0], 2, 1),
    ],
)
def test_a_shard_is_one_task_as_long_as_there_is_enough_for_the_other_workers(seconds, workers, alone):
    todo = [shard_of(*each) for each in enumerate(seconds)]
    whole, together = convert._divided(todo, workers)
    assert len(whole) == alone and sorted(whole + together, key=todo.index) == todo


def test_a_task_can_run_again_and_in_any_process(tree, tmp_path):
    convert.convert(planned(tree), tmp_path / "whole")
    plan, out = planned(tree), tmp_path / "out"
    target = output.ConversionOutput(out, plan, overwrite=False)
    target.write_partitions(plan.shards)
    advanced = []
    for shard in plan.shards:
        convert.convert_shard(str(out), shard.name, plan.fingerprint, advanced.append)
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tfrecord")}
    for shard in plan.shards:
        convert.convert_shard(str(out), shard.name, plan.fingerprint, advanced.append)
    assert times == {path.name: path.stat().st_mtime_ns for path in out.glob("*.tfrecord")}
    assert sum(advanced) == pytest.approx(sum(shard.seconds for shard in plan.shards)) and len(advanced) == 24
    target.close()
    convert.convert(planned(tree), out, workers=2)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_task_that_outlives_its_command_writes_nothing_into_the_next_conversion(tree, tmp_path):
    plan, other = planned(tree), planned(tree, sample_rate_hz=8000)
    target = output.ConversionOutput(tmp_path, plan, overwrite=False)
    target.write_partitions(plan.shards)
    target.write(plan.shards[0], [])
    target.close()

    def take_over(_):
        if not taken:
            taken.append(output.ConversionOutput(tmp_path, other, overwrite=True))

    taken = []
    with pytest.raises(shards.ShardError, match="this folder was given to another conversion"):
        convert.convert_shard(str(tmp_path), plan.shards[1].name, plan.fingerprint, take_over)
    assert not list(tmp_path.glob("*.tfrecord"))
    taken[0].close()


BAD = {
    "empty": (lambda path: path.write_bytes(b""), "empty_file"),
    "garbage": (lambda path: path.write_bytes(os.urandom(1000)), "unreadable"),
    "cut_off": (lambda path: path.write_bytes(path.read_bytes()[:20]), "unreadable"),
    "header_only": (lambda path: path.write_bytes(path.read_bytes()[:44]), "no_samples"),
    "nan": (
        lambda path: soundfile.write(path, np.full(16000, np.nan), 16000, "FLOAT", format="WAV"),
        "non_finite",
    ),
    "silence": (lambda path: soundfile.write(path, np.zeros(16000), 16000, format="WAV"), "silent"),
    "direct_current": (lambda path: soundfile.write(path, np.full(16000, 0.25), 16000, format="WAV"), "silent"),
    "three_hours": (lambda path: tone(path, seconds=6.0), "too_long"),
    "click": (lambda path: tone(path, seconds=0.05), "too_short"),
    "deleted": (lambda path: path.unlink(), "missing_audio"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "unreadable"),
}


@pytest.mark.parametrize("damage, reason", BAD.values(), ids=BAD)
def test_bad_audio_is_skipped_by_reason(tmp_path, damage, reason):
    path = tone(tmp_path / "a.wav")
    damage(path)
    result = convert.convert_one(Utterance("a", str(path), "x"), ConversionConfig(max_seconds=5))
    assert isinstance(result, Skip) and result.reason == reason and not result.expected
    assert str(path) in result.detail


def damaged(root, tmp_path, count=2):
    shutil.copytree(root, tmp_path / "corpus")
    for id in ("p225_001", "p225_005")[:count]:
        (tmp_path / "corpus" / "wav48" / "p225" / f"{id}.wav").write_bytes(b"")
    return tmp_path / "corpus"


def test_too_many_bad_files_fail_with_advice(tree, tmp_path):
    root, out = damaged(tree, tmp_path), tmp_path / "out"
    sentence = (
        r"out: 2 of 24 utterances \(8.3 %\) are bad, more than --max_skipped=1% \(2 empty_file\)\. Each is listed in "
        r".*skipped.jsonl; fix them and add --overwrite, or skip them with --max_skipped=9%$"
    )
    with pytest.raises(ConversionError, match=sentence):
        convert.convert(planned(root), out)
    assert not (out / "manifest.json").exists()
    assert [json.loads(line)["reason"] for line in (out / "skipped.jsonl").open()][:2] == ["empty_file"] * 2
    result = convert.convert(planned(root), out, max_skipped=0.09)
    assert result.skipped == {"empty_file": 2} and sum(split.utterances for split in result.splits.values()) == 22


def test_fixed_files_are_decoded_again_with_overwrite(tree, tmp_path):
    root, out = damaged(tree, tmp_path, 1), tmp_path / "out"
    with pytest.raises(ConversionError):
        convert.convert(planned(root), out)
    whole = tree / "wav48" / "p225" / "p225_001.wav"
    (root / "wav48" / "p225" / "p225_001.wav").write_bytes(whole.read_bytes())
    assert convert.convert(planned(root), out, overwrite=True).skipped == {}


def test_too_many_skips_of_the_reader_fail_before_any_audio_is_decoded(tree, tmp_path):
    listing = vctk.read(str(tree))
    plan = convert.prepare(Listing(listing.utterances, [Skip("x", "missing_audio")] * 5), settings())
    with pytest.raises(ConversionError, match=r"5 of 29 utterances \(17.2 %\) are bad.*5 missing_audio"):
        convert.convert(plan, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["skipped.jsonl"]


def test_nothing_to_convert(tmp_path):
    with pytest.raises(ConversionError, match=r"no usable utterance in this corpus \(1 missing_audio\); check --input"):
        convert.prepare(Listing([], [Skip("a", "missing_audio")]), settings())
    plan = convert.prepare(Listing([Utterance("a", str(tmp_path / "a.wav"), "x")], []), settings())
    with pytest.raises(ConversionError, match=r"no utterance is left \(1 missing_audio\); each is listed in"):
        convert.convert(plan, tmp_path / "out", max_skipped=1.0)


def test_a_full_disk_gets_a_sentence(tree, tmp_path, monkeypatch):
    def full(self, shard, results):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output.ConversionOutput, "write", full)
    with pytest.raises(ConversionError, match=r"cannot continue \(No space left on device\). Finished shards are kept"):
        convert.convert(planned(tree), tmp_path)


def test_segments_of_one_long_recording(tmp_path):
    tone(tmp_path / "talk.wav", 3.0, 48000, 2)
    rows = [{"audio": "talk.wav", "text": "x", "offset": at, "duration": 0.5} for at in (0, 1.25, 2.6)]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    plan = convert.prepare(manifest.read(str(tmp_path / "list.jsonl")), settings(sample_rate_hz=48000))
    by_id = decoded(tmp_path / "out", convert.convert(plan, tmp_path / "out"))
    whole = audio_io.read(tmp_path / "talk.wav", 48000)
    np.testing.assert_allclose(by_id["talk@1.250"]["audio"], whole[60000:84000], atol=1e-4)
    np.testing.assert_allclose(by_id["talk@0.000"]["audio"], whole[:24000], atol=1e-4)
    assert by_id["talk@2.600"]["samples"] == 19200
    beyond = Utterance("a", str(tmp_path / "talk.wav"), "x", start_seconds=2.6, seconds=1.0)
    skip = convert.convert_one(beyond, ConversionConfig())
    assert skip.reason == "beyond_the_end" and "from 2.6 s to 3.6 s: it has 3.0 s" in skip.detail


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
@pytest.mark.parametrize("seconds", [0.6, 9.0])
def test_a_segment_without_a_length_reaches_to_the_end_whatever_length_is_expected(tmp_path, suffix, seconds):
    tone(tmp_path / f"talk.{suffix}", seconds)
    (tmp_path / "list.jsonl").write_text(json.dumps({"audio": f"talk.{suffix}", "text": "x", "offset": 0.5}))
    plan = convert.prepare(manifest.read(str(tmp_path / "list.jsonl")), settings())
    by_id = decoded(tmp_path / "out", convert.convert(plan, tmp_path / "out"))
    whole = audio_io.read(tmp_path / f"talk.{suffix}", 16000)
    assert by_id["talk@0.500"]["samples"] == len(whole) - 8000


def test_bare_samples_that_cannot_be_used_are_named(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"")
    skip = convert.convert_one(Utterance("a", str(tmp_path / "a.raw"), "x", bare_hz=16000), ConversionConfig())
    assert skip.reason == "no_samples" and skip.detail.startswith(str(tmp_path / "a.raw"))


def test_a_segment_of_a_bad_file_is_skipped(tmp_path):
    (tmp_path / "talk.wav").write_bytes(b"no audio")
    for path, reason in ((tmp_path / "talk.wav", "unreadable"), (tmp_path / "gone.wav", "missing_audio")):
        result = convert.convert_one(Utterance("a", str(path), "x", start_seconds=1.0), ConversionConfig())
        assert isinstance(result, Skip) and result.reason == reason and str(path) in result.detail


def test_expected_lengths_come_from_the_corpus_the_header_or_the_size(tmp_path):
    tone(tmp_path / "a.wav", 0.5)
    (tmp_path / "b.mp3").write_bytes(bytes(16000))
    utterances = [
        Utterance("a", str(tmp_path / "a.wav"), "x"),
        Utterance("b", str(tmp_path / "b.mp3"), "x"),
        Utterance("c", str(tmp_path / "c.wav"), "x", seconds=7.0),
        Utterance("d", str(tmp_path / "d.wav"), "x"),
    ]
    plan = convert.prepare(Listing(utterances, []), settings())
    seconds = {u.id: u.seconds for _, partition in plan.partitions() for u in planning.parse_partition(partition)}
    assert seconds == {"a": 0.5, "b": 2.0, "c": 7.0, "d": 0.0}


def test_conversion_imports_no_tensorflow():
    code = "import sys, tfvoice.cli.convert; assert not {'tensorflow', 'librosa', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_stated_length_without_a_start_is_read_from_the_beginning(tmp_path):
    tone(tmp_path / "a.wav", 1.0)
    (tmp_path / "list.csv").write_text("audio,text,duration\na.wav,x,0.25\n")
    listing = manifest.read(str(tmp_path / "list.csv"))
    plan = convert.prepare(listing, ConversionConfig(split="100/0"))
    result = convert.convert(plan, tmp_path / "out")
    assert result.splits["train"].seconds == 0.25 and result.splits["train"].utterances == 1


@pytest.fixture
def listed(tree, tmp_path):
    """The recordings of `tree` with a manifest, one of them empty; a manifest can also be read from its copy."""
    folder = tmp_path / "corpus"
    shutil.copytree(tree / "wav48", folder)
    (folder / "p225" / "p225_001.wav").write_bytes(b"")
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.*"))]
    (folder / "list.tsv").write_text("audio\ttext\n" + "".join(f"{name}\tText of {name}\n" for name in names))
    return folder


def test_the_output_does_not_depend_on_where_the_corpus_is(listed, store, tmp_path):
    for path in listed.rglob("*.*"):
        storage.place(f"{store}/in/{path.relative_to(listed)}").upload(path)
    plans = [
        convert.prepare(manifest.read(f"{source}/list.tsv"), settings(corpus="manifest"))
        for source in (listed, f"{store}/in")
    ]
    assert plans[0] == replace(plans[1], listing=plans[0].listing, examples=plans[0].examples)
    for plan, place in zip(plans, (tmp_path / "out", f"{store}/out"), strict=True):
        result = convert.convert(plan, place, max_skipped=0.1, progress=False)
        assert result.skipped == {"empty_file": 1}
    local, remote = tmp_path / "out", storage.place(f"{store}/out")
    written = {name: (remote / name).read_bytes() for name in remote.files() if name != "skipped.jsonl"}
    assert written == {name: content for name, content in contents(local).items() if name != "skipped.jsonl"}


def test_a_missing_object_is_skipped_and_a_store_that_fails_ends_the_conversion(listed, store, monkeypatch):
    storage.write(f"{store}/list.tsv", f"audio\ttext\nnone.wav\tNo.\n{listed}/p226/p226_003.wav\tYes.\n")
    plan = convert.prepare(manifest.read(f"{store}/list.tsv"), settings(corpus="manifest"))
    result = convert.convert(plan, f"{store}/out", max_skipped=0.5, progress=False)
    assert result.skipped == {"missing_audio": 1}

    def fail(path, end=None):
        raise OSError(5, "Unable to connect", str(path))

    monkeypatch.setattr(recordings, "_fetched", fail)
    with pytest.raises(OSError, match="Unable to connect"):
        convert.prepare(manifest.read(f"{store}/list.tsv"), settings(corpus="manifest"))
    with pytest.raises(
        convert.ConversionError, match=r"cannot continue \(Unable to connect\). Finished shards are kept"
    ):
        convert.convert(plan, f"{store}/other", max_skipped=0.5, progress=False)
