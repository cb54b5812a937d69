import hashlib

import aligned_records
import numpy as np
import pytest
from segmentations import segmentation_run

from tfvoice.data import aligned, index, records
from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.tts import alignment_output
from tfvoice.tts.alignment_output import AlignedClip


@pytest.fixture(scope="module")
def run(converted, tmp_path_factory):
    return segmentation_run(tmp_path_factory.mktemp("runs") / "segmentation", converted)


@pytest.fixture(scope="module")
def clip():
    phonemes = ["HH", "AH0", "L", "OW1", "sil", "DH", "EH1", "R", "sil"]
    ends = 1600 * np.arange(1, 10)
    f0_hz = np.where(np.arange(225) % 50 < 30, 120, 0).astype(np.float32)
    audio = np.random.default_rng(0).standard_normal(14400).astype(np.float32) * 0.1
    # Two dollar signs would be mathematics in a title.
    return AlignedClip("a/b", "Hello, $there$.", 16000, audio, PhonemeAlignment(phonemes, ends, f0_hz, 64))


def test_tiers_have_words_phonemes_and_empty_silences(run, clip):
    tiers = alignment_output.tiers(clip._replace(text="Hello, there."), run)
    assert [text for _, text in tiers["words"]] == ["hello", "", "there", ""]
    assert [end for end, _ in tiers["words"]] == pytest.approx([0.4, 0.5, 0.8, 0.9])
    assert [text for _, text in tiers["phones"]] == ["HH", "AH0", "L", "OW1", "", "DH", "EH1", "R", ""]


def test_a_figure_is_as_wide_as_the_clip_is_long(clip):
    figure = alignment_output.figure(clip)
    longer = alignment_output.figure(
        clip._replace(audio=np.tile(clip.audio, 5), alignment=clip.alignment._replace(ends=5 * clip.alignment.ends))
    )
    assert figure.dtype == np.uint8 and figure.shape[:2] == (400, 900) and longer.shape[1] == 1800
    assert figure.std() > 20


def test_figures_are_of_the_least_probable_records_and_of_typical_ones(converted, tmp_path, monkeypatch):
    monkeypatch.setattr(alignment_output, "figure", lambda clip: np.zeros((2, 2, 3), np.uint8))
    data = aligned_records.write(converted, tmp_path / "aligned")
    scores = {}

    def score_of(record):
        id = records.decode(record)["id"].numpy().decode()
        scores[id] = -int(hashlib.sha256(id.encode()).hexdigest()[:6], 16) / 1e6
        return scores[id]

    monkeypatch.setattr(aligned, "decode_score", score_of)
    paths = alignment_output.write_figures(data, tmp_path / "figures")
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in paths)
    for split in ("train", "valid", "test"):
        ids = index.scan_clips(aligned.read_manifest(data), data, split, 1).ids
        order = sorted(ids, key=scores.get)
        middle = max(4, len(order) // 2)
        kinds = (("least_probable", order[:4]), ("typical", order[middle : middle + 2]))
        expected = [f"{split}-{kind}_{n}-{id}.png" for kind, part in kinds for n, id in enumerate(part, 1)]
        assert [path.name for path in paths if path.name.startswith(split)] == expected


def test_the_title_of_a_figure_has_the_score(clip):
    assert (alignment_output.figure(clip) != alignment_output.figure(clip._replace(score=-0.31))).any()
