import numpy as np
import pytest
from segmentations import converted as convert_clips
from segmentations import segmentation_run, write_clips

from tfvoice.errors import TfvoiceError
from tfvoice.tts.segmentation import data as data_
from tfvoice.tts.segmentation.data import UnusableError


@pytest.fixture(scope="module")
def run(converted, tmp_path_factory):
    return segmentation_run(tmp_path_factory.mktemp("runs") / "segmentation", converted)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Clips that can be used, and one for each reason why not."""
    noise = (np.random.default_rng(0).standard_normal(16000) * 0.1).astype(np.float32)
    folder = tmp_path_factory.mktemp("clips")
    clips = {
        "good": (noise, "Hello there."),
        "unknown": (noise, "Hello fozzwick."),
        "numbers": (noise, "..."),
        "short": (noise[:3600], "Antidisestablishmentarianism hello there."),
        "long": (np.tile(noise, 21), "Hello."),
        "braces": (noise, "Hello {XX YY}."),
    }
    return convert_clips(write_clips(folder, clips), folder / "records")


def test_utterances_are_kept_with_their_lattices(run, records):
    scanned = run.scan(records, "train")
    assert scanned.index.ids == ["good"] and scanned.words == [["hello", "there"]]
    assert len(scanned.lattices[0].lattice.labels) == len(scanned.index.labels[0])


def test_what_cannot_be_used_is_counted_with_its_reason(run, records):
    scanned = run.scan(records, "train")
    assert scanned.index.dropped == {
        "with words without phonemes": 1,
        "without words": 1,
        "shorter than their phonemes": 1,
        "too long": 1,
        "with braces that hold no phonemes": 1,
    }
    assert {id: error.reason for id, error in scanned.unusable.items()} == {
        "unknown": "unknown_words",
        "numbers": "no_words",
        "short": "shorter_than_phonemes",
        "braces": "bad_phonemes",
    }
    notice = scanned.notice()
    assert notice.startswith("train: 1 words have no phonemes, such as fozzwick (1); their utterances are skipped.")
    assert "pronunciation.own_lexicon" in notice and "pronunciation.g2p" in notice
    assert set(run.scan(records, "train", filtered=False).index.ids) == {"good", "long"}


def test_the_batch_in_the_graph_is_that_of_numpy(run, converted):
    scanned = run.scan(converted, "train")
    rows = np.array([2, 0, -1])
    batch = scanned.batch(rows)
    assert batch.nodes.tolist() == [len(scanned.lattices[2].lattice.labels), len(scanned.lattices[0].lattice.labels), 0]
    for tensor, array in zip(scanned.batch_in_graph(rows), batch, strict=True):
        np.testing.assert_array_equal(tensor, array)


@pytest.mark.parametrize(
    ("text", "frames", "reason"),
    [("", 100, "no_words"), ("xyzzyx", 100, "unknown_words"), ("hello", 4, "shorter_than_phonemes")],
)
def test_a_text_that_cannot_be_aligned(run, text, frames, reason):
    with pytest.raises(UnusableError) as caught:
        data_.lattice_of(run, text, frames)
    assert caught.value.reason == reason and caught.value.detail


def test_data_that_cannot_be_used_get_a_sentence(run, records, tmp_path):
    folder = tmp_path / "clips"
    silence = np.random.default_rng(0).standard_normal(16000) * 0.1
    other = convert_clips(write_clips(folder, {"a": (silence, "xyzzyx")}), tmp_path / "records")
    with pytest.raises(TfvoiceError, match=r"nothing to use in train: 0 utterances.*xyzzyx \(1\).*own_lexicon"):
        run.scan(other, "train")
    eight = segmentation_run(tmp_path / "run", records, ["features.sample_rate_hz=8000"])
    with pytest.raises(
        TfvoiceError, match=r"its audio has 16000 Hz and features.sample_rate_hz is 8000; convert it with"
    ):
        eight.scan(records, "train")
