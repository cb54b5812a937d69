"""Laws of synthesis: the same samples for a seed, what comes before the end alone, levels of the quantisation."""

import numpy as np
import pytest

from tfvoice.tts.vocoder import synthesis
from tfvoice.tts.vocoder.synthesis import Synthesizer


@pytest.fixture(scope="module")
def frames(vocoder_run, aligned_records):
    return vocoder_run.pipeline(vocoder_run.index(aligned_records, "test")).conditioning[0].part(0, 62 + 20)


def test_an_utterance_is_determined_by_its_seed(vocoder_run, frames):
    one, again, other = (Synthesizer(vocoder_run).speak(frames, seed=seed) for seed in (1, 1, 2))
    assert one.shape == (20 * 64,) and one.dtype == np.float32 and np.abs(one).max() <= 1
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_a_low_temperature_takes_the_likeliest_level(vocoder_run, frames):
    one, other = (Synthesizer(vocoder_run).speak(frames, 1e-4, seed) for seed in (1, 2))
    np.testing.assert_array_equal(one, other)


def test_random_numbers_are_those_of_seed_and_sample():
    long = synthesis.uniform_noise(3, 10_000)
    np.testing.assert_array_equal(synthesis.uniform_noise(3, 5000), long[:5000])
    assert (synthesis.uniform_noise(4, 100) != long[:100]).all() and long.min() >= 0 and long.max() < 1
    assert abs(long.mean() - 0.5) < 0.02
