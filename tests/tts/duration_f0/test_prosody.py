"""Prosody of phonemes from alignments, and frames of it again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.text.phonemes import PhonemeError
from tfvoice.tts.duration_f0 import prosody

RATE_HZ = 16000


def alignment(ends, f0_hz, frame_samples=64):
    return PhonemeAlignment(["AA1"] * len(ends), np.array(ends), np.array(f0_hz, np.float32), frame_samples)


def test_durations_add_up_and_voicing_is_that_of_most_points():
    # Frames 0 to 9 are voiced, 10 to 19 are not.
    f0_hz = np.repeat([200, 0], 10)
    measured = prosody.measure(alignment([320, 1280 - 64 * 6, 1280], f0_hz), RATE_HZ, 20)
    np.testing.assert_allclose(measured.prosody.seconds, [0.02, 0.036, 0.024])
    np.testing.assert_array_equal(measured.prosody.voiced, [1, 1, 0])
    assert measured.measured[0].all() and not measured.measured[2].any()
    assert 0.5 <= measured.measured[1].mean() < 0.6
    np.testing.assert_allclose(measured.prosody.f0_hz, 200)


def test_points_are_the_middles_of_equal_parts():
    # F0 is the number of its frame: 4 points of a phoneme of 64 frames lie in the frames 8, 24, 40 and 56.
    found = prosody.measure(alignment([64 * 64], np.arange(64) + 0.5), RATE_HZ, 4).prosody.f0_hz
    np.testing.assert_allclose(found, [[8.5, 24.5, 40.5, 56.5]])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=8), st.integers(1, 300), st.integers(1, 25))
def test_frames_of_a_measured_line_are_that_line(durations, frame_samples, values):
    ends = np.cumsum(durations)
    count = -(-int(ends[-1]) // frame_samples)
    line = 100 + 0.01 * (np.arange(count) + 0.5) * frame_samples
    found = prosody.measure(alignment(ends, line, frame_samples), RATE_HZ, values).prosody.f0_hz
    frames = prosody.frame_f0(ends, found, frame_samples)
    assert frames.shape == (count,) and frames.dtype == np.float32
    # Beyond the outer points of a phoneme F0 is held: half a part of it, and half a frame from where it was measured.
    allowed = 0.01 * (max(durations) / values / 2 + frame_samples)
    np.testing.assert_allclose(frames, line, atol=allowed + 1e-2)


def test_a_frame_belongs_to_the_phoneme_of_its_middle():
    # Middles: 32, 96, 160, 224, and 288 beyond the end.
    np.testing.assert_array_equal(prosody.frame_phonemes(np.array([32, 97, 260]), 64), [1, 1, 2, 2, 2])
    # A phoneme that holds no middle has no frame.
    np.testing.assert_array_equal(prosody.frame_phonemes(np.array([40, 60, 128]), 64), [0, 2])


def test_symbols_have_a_class_and_a_stress():
    classes, stresses = prosody.symbol_classes(["sil", "AA1", "B", "AA0"], {"sil": 0, "AA": 1, "B": 2})
    np.testing.assert_array_equal(classes, [0, 1, 2, 1])
    np.testing.assert_array_equal(stresses, [0, 2, 0, 1])
    for symbol in ("XY", "AA3", ""):
        with pytest.raises(PhonemeError, match=f"'{symbol}' is no phoneme of the network; known: AA."):
            prosody.symbol_classes([symbol], {"AA": 0})


def test_silence_is_no_speech():
    assert [prosody.is_silence(symbol) for symbol in ("sil", "S", "AA1")] == [True, False, False]
