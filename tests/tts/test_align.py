import json
import shutil

import numpy as np
import pytest
from segmentations import converted as convert_clips
from segmentations import segmentation_run, write_clips

from tfvoice.audio.f0 import F0Config
from tfvoice.data import aligned, records, shards
from tfvoice.data.index import scan_clips
from tfvoice.data.output import ConversionOutput
from tfvoice.errors import TfvoiceError
from tfvoice.text.phonemes import SILENCE
from tfvoice.tts import align, alignment_output
from tfvoice.tts.align import AlignmentSettings

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
    align.align_corpus(run, converted, tmp_path / "out", SETTINGS, progress=False)
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in written} == before
    assert files(tmp_path / "out") == files(output)


def test_a_finished_alignment_is_left_as_it_is(run, converted, output):
    before = files(output)
    manifest, skipped = align.align_corpus(run, converted, output, SETTINGS, progress=False)
    assert manifest == aligned.read_manifest(output) and files(output) == before
    assert sum(manifest.skipped.values()) == len(skipped)
    other = AlignmentSettings(F0Config(min_hz=100), min_score=-100.0)
    with pytest.raises(TfvoiceError, match="replace it with --overwrite"):
        align.align_corpus(run, converted, output, other, progress=False)


def test_the_threshold_is_below_the_bulk_and_above_outliers():
    random = np.random.default_rng(0)
    scores = [*(-0.3 + 0.05 * random.standard_normal(500)), -3.0, -2.0, -1.5]
    least = align.threshold(scores)
    assert -1.0 < least < -0.4
    assert sum(score < least for score in scores) == 3
    # Scores that lie close together are all probable.
    assert align.threshold([-0.01] * 99 + [-0.1]) == -0.15


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


def test_data_that_cannot_be_aligned_get_a_sentence(run, converted, output, tmp_path):
    with pytest.raises(TfvoiceError, match=r"these records are aligned already; give tfvoice_align the plain records"):
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
    with pytest.raises(TfvoiceError, match=r"--min_score=low: write a number, for example --min_score=-0.3"):
        align.parse_score("low")
