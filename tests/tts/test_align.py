import hashlib
import itertools
import json
import shutil
import sys
import types

import numpy as np
import pytest
from segmentations import converted as convert_clips
from segmentations import segmentation_run, write_clips

from tfvoice.audio.f0 import F0Config
from tfvoice.data import aligned, records, shard_index, shards
from tfvoice.data.corpora.base import Skip
from tfvoice.data.index import scan_clips
from tfvoice.data.output import ConversionOutput
from tfvoice.errors import TfvoiceError
from tfvoice.text.phonemes import SILENCE
from tfvoice.tts import align, alignment_output
from tfvoice.tts.align import AlignmentSettings
from tfvoice.tts.segmentation.forced_alignment import AlignedPhonemes

# Random weights align improbably, and F0 of 8 Hz takes long.
SETTINGS = AlignmentSettings(F0Config(min_hz=150), min_score=-100.0)


@pytest.fixture(scope="module")
def run(converted, tmp_path_factory):
    return segmentation_run(tmp_path_factory.mktemp("runs") / "segmentation", converted)


@pytest.fixture(scope="module")
def output(run, converted, tmp_path_factory):
    """The records of `converted`, aligned. Read only."""
    folder = tmp_path_factory.mktemp("aligned") / "records"
    align.align_corpus(run, converted, folder, SETTINGS, progress=False)
    return folder


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_aligned_records_are_the_plain_ones_with_phonemes_and_f0(run, converted, output):
    manifest, plain = aligned.read_manifest(output), shards.read_manifest(converted)
    assert manifest.alignment.phonemes[:2] == ["sil", "AA0"] and manifest.alignment.aligner == run.fingerprint()
    assert manifest.fingerprint != plain.fingerprint and manifest.settings == plain.settings
    skipped = [json.loads(line) for line in (output / shards.SKIPPED).read_text().splitlines()]
    total = sum(split.utterances for split in plain.splits.values())
    assert sum(split.utterances for split in manifest.splits.values()) == total - len(skipped)
    for split in manifest.splits:
        before, after = scan_clips(plain, converted, split, 1), scan_clips(manifest, output, split, 1)
        kept = [id for id in before.ids if id not in {skip["id_or_path"] for skip in skipped}]
        assert after.ids == kept
        for row, clip in enumerate(alignment_output.clips(output, split)):
            np.testing.assert_array_equal(clip.audio, before.audio(before.ids.index(clip.id)))
            assert clip.alignment.ends[-1] == after.samples[row] and clip.text == after.texts[row]
            words = [found for _, found in run.pronunciations(clip.text)]
            spoken = [phoneme for phoneme in clip.alignment.phonemes if phoneme != SILENCE]
            assert spoken == [phoneme for (found,) in words for phoneme in found]
    assert shards.validate(output) == manifest


def test_the_bytes_do_not_depend_on_the_workers(run, converted, output, tmp_path):
    align.align_corpus(run, converted, tmp_path / "out", SETTINGS, workers=2, progress=False)
    assert files(tmp_path / "out") == files(output)


def test_an_alignment_that_was_stopped_is_resumed(run, converted, output, tmp_path, monkeypatch):
    written = []

    def write(self, shard, results):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(shard.name)
        return original(self, shard, results)

    original = ConversionOutput.write
    monkeypatch.setattr(ConversionOutput, "write", write)
    sentence = r"out: cannot continue \(No space left on device\). Finished shards are kept: fix that, and run the same"
    with pytest.raises(TfvoiceError, match=sentence):
        align.align_corpus(run, converted, tmp_path / "out", SETTINGS, progress=False)
    monkeypatch.setattr(ConversionOutput, "write", original)
    before = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in written}
    # The network is not needed again.
    monkeypatch.setattr(align, "align_rows", None)
    align.align_corpus(run, converted, tmp_path / "out", SETTINGS, progress=False)
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in written} == before
    assert files(tmp_path / "out") == files(output)


def test_a_finished_alignment_is_left_as_it_is(run, converted, output):
    before = files(output)
    manifest, skipped = align.align_corpus(run, converted, output, SETTINGS, progress=False)
    assert manifest == aligned.read_manifest(output) and files(output) == before
    assert sum(manifest.skipped.values()) == len(skipped)
    other = AlignmentSettings(F0Config(min_hz=100), min_score=-100.0)
    sentence = "holds an alignment by another run, of other records or with other flags; replace it with --overwrite"
    with pytest.raises(TfvoiceError, match=sentence):
        align.align_corpus(run, converted, output, other, progress=False)


def test_an_alignment_does_not_depend_on_what_else_is_aligned(run, converted):
    scanned = scan_clips(shards.read_manifest(converted), converted, "train", 1)
    rows = np.array([3, 0, 5])
    once = align.align_rows(run, scanned, rows)
    align.align_rows(run, scanned, np.array([1, 2]))
    for found, again in zip(once, align.align_rows(run, scanned, rows), strict=True):
        assert found.score == again.score and found.ends.tolist() == again.ends.tolist()


def test_batches_are_limited_by_their_utterances_and_by_their_seconds(run, converted, monkeypatch):
    scanned = scan_clips(shards.read_manifest(converted), converted, "train", 1)
    rows = np.argsort(scanned.samples).tolist()
    assert list(align._batches([], scanned)) == [] and list(align._batches(rows, scanned)) == [rows]
    monkeypatch.setattr(align, "_BATCH", 3)
    assert {len(batch) for batch in list(align._batches(rows, scanned))[:-1]} == {3}
    monkeypatch.setattr(align, "_BATCH_SECONDS", 1.9 * scanned.samples[rows[-1]] / 16000)
    batches = list(align._batches(rows, scanned))
    assert list(itertools.chain(*batches)) == rows and batches[-1] == rows[-1:]


def test_plain_records_are_never_replaced(run, converted, tmp_path):
    data = shutil.copytree(converted, tmp_path / "records")
    before = files(data)
    for overwrite in (False, True):
        with pytest.raises(TfvoiceError, match="records: holds plain records, which no alignment replaces; name"):
            align.align_corpus(run, data, data, SETTINGS, overwrite=overwrite, progress=False)
    assert files(data) == before


def test_other_audio_of_the_same_texts_is_another_alignment(run, tmp_path):
    noise = (np.random.default_rng(0).standard_normal(16000) * 0.1).astype(np.float32)
    for level in (1, 0.5):
        shutil.rmtree(tmp_path / "records", ignore_errors=True)
        convert_clips(write_clips(tmp_path / "clips", {"a": (level * noise, "Hello.")}), tmp_path / "records")
        target = tmp_path / "out"
        if level == 1:
            align.align_corpus(run, tmp_path / "records", target, SETTINGS, progress=False)
    with pytest.raises(TfvoiceError, match="of other records"):
        align.align_corpus(run, tmp_path / "records", target, SETTINGS, progress=False)


def test_a_shard_without_records_stays_one(run, converted, output, tmp_path):
    """Conversion writes such a shard where all of its utterances are skipped."""
    data = shutil.copytree(converted, tmp_path / "records")
    content = json.loads((data / shards.MANIFEST).read_text())
    content["splits"] = {"train": content["splits"]["train"]}
    empty, other, *_ = content["splits"]["train"]["shards"]
    content["splits"]["train"]["shards"] = [empty, other]
    empty |= {"sha256": hashlib.sha256(b"").hexdigest(), "bytes": 0, "utterances": 0}
    (data / empty["name"]).write_bytes(b"")
    shard_index.write(data / empty["name"], empty["sha256"], [])
    (data / shards.MANIFEST).write_text(json.dumps(content))
    manifest, _ = align.align_corpus(run, data, tmp_path / "out", SETTINGS, progress=False)
    assert manifest.splits["train"].shards[0].utterances == 0
    assert manifest.splits["train"].shards[1] == aligned.read_manifest(output).splits["train"].shards[1]


def test_records_hold_the_score(run, converted, output):
    scanned = scan_clips(shards.read_manifest(converted), converted, "valid", 1)
    found = align.align_rows(run, scanned, np.arange(len(scanned)))
    scores = [clip.score for clip in alignment_output.clips(output, "valid")]
    np.testing.assert_allclose(scores, [each.score for each in found if not isinstance(each, Skip)], rtol=1e-4)


def test_a_run_that_recognises_nothing_says_so_once(run, converted, tmp_path):
    with pytest.raises(TfvoiceError) as caught:
        align.align_corpus(run, converted, tmp_path / "out", AlignmentSettings(), progress=False)
    text = str(caught.value)
    assert text.startswith(f"{run.run_dir}: recognises ") and "train it longer or on these records" in text
    assert "\n" not in text and not list((tmp_path / "out").glob("*.tfrecord"))


def test_f0_that_cannot_be_estimated_is_refused_before_anything_is_aligned(run, converted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyworld", None)
    with pytest.raises(TfvoiceError, match="method=world needs pyworld"):
        align.align_corpus(run, converted, tmp_path / "out", AlignmentSettings(F0Config(method="world")))
    assert not (tmp_path / "out").exists()


def test_the_threshold_is_below_the_bulk_and_above_outliers():
    random = np.random.default_rng(0)
    scores = [*(-0.3 + 0.05 * random.standard_normal(500)), -3.0, -2.0, -1.5]
    least = align.threshold(scores)
    assert -1.0 < least < -0.4
    assert sum(score < least for score in scores) == 3
    # Scores that lie close together are all probable.
    assert align.threshold([-0.01] * 99 + [-0.1]) == -0.15


def test_scores_are_compared_within_their_split():
    # The network knows the utterances that it was trained on: their scores are higher, and closer to each other.
    found = {"train": [-0.01] * 30, "valid": [-0.3, -0.2, -0.25] * 3, "test": [-0.2, -0.2, -9.0]}
    plan = types.SimpleNamespace(shards=[types.SimpleNamespace(name=name, split=name) for name in found])
    splits = {
        name: types.SimpleNamespace(ids=[f"{name}{row}" for row in range(9)], shards=[name], shard=np.zeros(len(each)))
        for name, each in found.items()
    }
    alignments = {
        name: [AlignedPhonemes([], np.zeros(0), score, 1.0) for score in each] for name, each in found.items()
    }
    align._skip_improbable(plan, splits, alignments, None)
    skipped = [each.id_or_path for results in alignments.values() for each in results if isinstance(each, Skip)]
    assert skipped == ["test2"]


def test_what_is_improbable_or_cannot_be_aligned_is_skipped_with_its_reason(run, converted, tmp_path):
    noise = (np.random.default_rng(0).standard_normal(16000) * 0.1).astype(np.float32)
    clips = {f"good{number}": (noise[number:], "Hello there.") for number in range(3)}
    clips |= {"short": (noise[:3600], "Antidisestablishmentarianism hello there."), "empty": (noise, "...")}
    data = convert_clips(write_clips(tmp_path / "clips", clips | {"odd": (noise, "Fozzwick.")}), tmp_path / "records")
    manifest, skipped = align.align_corpus(run, data, tmp_path / "out", SETTINGS, progress=False)
    assert manifest.skipped == {"no_words": 1, "shorter_than_phonemes": 1, "unknown_words": 1}
    assert {skip.id_or_path: skip.reason for skip in skipped} == {
        "short": "shorter_than_phonemes",
        "empty": "no_words",
        "odd": "unknown_words",
    }
    summary = alignment_output.summary(tmp_path / "out", manifest, skipped)
    assert "train: 3 utterances" in summary and "skipped: 1 unknown_words\n  odd: fozzwick" in summary
    with pytest.raises(
        TfvoiceError, match=r"no alignment is left; each utterance is listed with the reason in .*skipped"
    ):
        align.align_corpus(run, data, tmp_path / "none", AlignmentSettings(min_score=1.0), progress=False)
    listed = [json.loads(line) for line in (tmp_path / "none" / shards.SKIPPED).read_text().splitlines()]
    assert sum(skip["reason"] == "improbable" for skip in listed) == 3
    assert "nats per frame, and at least 1.000 is probable: does the text fit?" in listed[0]["detail"]
    # Other settings may follow in the same folder.
    manifest, _ = align.align_corpus(run, data, tmp_path / "none", SETTINGS, progress=False)
    assert manifest.splits["train"].utterances == 3


def test_data_that_cannot_be_aligned_get_a_sentence(run, converted, output, tmp_path):
    with pytest.raises(TfvoiceError, match=r"these records are aligned already, and plain ones are needed"):
        align.align_corpus(run, output, tmp_path / "out", SETTINGS)
    eight = segmentation_run(tmp_path / "run", converted, ["features.sample_rate_hz=8000"])
    with pytest.raises(
        TfvoiceError, match=r"has 16000 Hz and .* was trained at 8000; convert it with --sample_rate_hz=8000"
    ):
        align.align_corpus(eight, converted, tmp_path / "out", SETTINGS)
    damaged = shutil.copytree(converted, tmp_path / "damaged")
    path = next(damaged.glob("train*.tfrecord"))
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(records.RecordError, match=r"is damaged. Look at the other shards too"):
        align.align_corpus(run, damaged, tmp_path / "out", SETTINGS, progress=False)
    assert not (tmp_path / "out" / shards.MANIFEST).exists()


def test_a_score_is_a_number():
    assert align.parse_score(None) is None and align.parse_score("-0.5") == -0.5
    for text in ("low", "nan"):
        with pytest.raises(TfvoiceError, match=rf"--min_score={text}: write a number, for example --min_score=-0.3"):
            align.parse_score(text)
