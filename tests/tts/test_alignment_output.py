import aligned_records
import numpy as np
import pytest
from segmentations import segmentation_run

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


def test_figures_of_some_records_of_each_split_are_written(converted, tmp_path):
    data = aligned_records.write(converted, tmp_path / "aligned")
    paths = alignment_output.write_figures(data, tmp_path / "figures")
    assert {path.name.split("-")[0] for path in paths} == {"train", "valid", "test"}
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in paths)
