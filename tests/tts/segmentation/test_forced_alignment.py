import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfvoice.text.phonemes import SILENCE
from tfvoice.tts.segmentation import forced_alignment, phoneme_lattice
from tfvoice.tts.segmentation.forced_alignment import AlignmentError

IDS = {SILENCE: 0, "AH": 1, "B": 2, "K": 3}
COUNT = len(IDS)
BLANK = COUNT**2
HOP = 160
WORDS = [[("AH0", "B")], [("K",)]]


def peaks(pairs, frames):
    """Log probabilities of a network that is sure of each pair, by frame."""
    logits = np.zeros((frames, BLANK + 1))
    logits[:, BLANK] = 12
    for frame, (first, second) in pairs.items():
        logits[frame, IDS[first] * COUNT + IDS[second]] = 24
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def align(pairs, frames=40, words=WORDS, samples=None):
    graph = phoneme_lattice.build(words, IDS)
    return forced_alignment.align(peaks(pairs, frames), graph, samples or (frames - 1) * HOP + 7, HOP)


def test_a_phoneme_starts_where_its_pair_is_emitted():
    found = align({5: (SILENCE, "AH"), 9: ("AH", "B"), 20: ("B", "K"), 30: ("K", SILENCE)})
    assert found.phonemes == [SILENCE, "AH0", "B", "K", SILENCE] and found.words == [-1, 0, 0, 1, -1]
    np.testing.assert_array_equal(found.ends, [5 * HOP, 9 * HOP, 20 * HOP, 30 * HOP, 39 * HOP + 7])
    assert found.score == pytest.approx(0, abs=1e-4)


def test_a_pause_between_words_is_found():
    found = align({5: (SILENCE, "AH"), 9: ("AH", "B"), 20: ("B", SILENCE), 25: (SILENCE, "K"), 30: ("K", SILENCE)})
    assert found.phonemes == [SILENCE, "AH0", "B", SILENCE, "K", SILENCE] and found.words == [-1, 0, 0, -1, 1, -1]
    assert found.ends[2:4].tolist() == [20 * HOP, 25 * HOP]


def test_the_pronunciation_that_is_spoken_is_found():
    found = align({5: (SILENCE, "K"), 9: ("K", SILENCE)}, words=[[("B",), ("K",)]])
    assert found.phonemes == [SILENCE, "K", SILENCE]


def test_silence_that_is_shorter_than_a_frame_is_dropped():
    found = align({0: (SILENCE, "AH"), 9: ("AH", "B"), 20: ("B", "K"), 39: ("K", SILENCE)})
    assert found.phonemes == ["AH0", "B", "K"] and found.ends.tolist() == [9 * HOP, 20 * HOP, 39 * HOP + 7]


def test_the_score_falls_where_the_text_is_another_one():
    pairs = {5: (SILENCE, "AH"), 9: ("AH", "B"), 20: ("B", "K"), 30: ("K", SILENCE)}
    right, wrong = align(pairs), align(pairs, words=[[("K",)], [("AH0",)]])
    assert wrong.score < -1 < right.score <= 0


def test_times_between_frames_are_means_over_paths():
    values = peaks({5: (SILENCE, "K"), 20: ("K", SILENCE)}, 30)
    values[6] = values[5]
    graph = phoneme_lattice.build([[("K",)]], IDS)
    found = forced_alignment.align(values, graph, 29 * HOP + 7, HOP)
    assert found.ends[0] == pytest.approx(5.5 * HOP, abs=1)


def test_too_few_frames_get_a_sentence():
    with pytest.raises(AlignmentError, match="its phonemes need 4 frames and it has 3"):
        align({}, frames=3)
    with pytest.raises(AlignmentError, match="it has 3 samples and 4 phonemes"):
        align({5: (SILENCE, "AH"), 9: ("AH", "B"), 20: ("B", "K"), 30: ("K", SILENCE)}, samples=3)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), frames=st.integers(4, 30), rest=st.integers(0, HOP - 1))
def test_ends_increase_to_the_length_of_the_audio(seed, frames, rest):
    logits = np.random.default_rng(seed).standard_normal((frames, BLANK + 1)) * 3
    values = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    samples = (frames - 1) * HOP + rest
    found = forced_alignment.align(values, phoneme_lattice.build(WORDS, IDS), samples, HOP)
    assert (np.diff(found.ends, prepend=0) > 0).all() and found.ends[-1] == samples
    assert len(found.ends) == len(found.phonemes) == len(found.words)
    assert [phoneme for phoneme in found.phonemes if phoneme != SILENCE] == ["AH0", "B", "K"]
    assert found.score <= 1e-9
