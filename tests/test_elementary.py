"""The functions are as exact as float32, and levels are sampled with their probabilities."""

import numpy as np
import pytest

from tfvoice import elementary


def test_tanh_and_sigmoid_are_as_exact_as_float32():
    x = np.linspace(-20, 20, 20_001).astype(np.float32)
    exact = x.astype(np.float64)
    found = np.array([elementary.tanh(value) for value in x])
    assert np.abs(found - np.tanh(exact)).max() < 1e-6
    found = np.array([elementary.sigmoid(value) for value in x])
    assert np.abs(found - 1 / (1 + np.exp(-exact))).max() < 1e-6


def test_exp_is_as_exact_as_float32():
    x = np.linspace(-80, 0, 20_001).astype(np.float32)
    found, expected = np.array([elementary.exp(value) for value in x]), np.exp(x.astype(np.float64))
    assert np.abs(found / expected - 1).max() < 1e-5
    assert elementary.exp(np.float32(-1e9)) < 2e-38 and elementary.exp(np.float32(0)) == pytest.approx(1, abs=1e-6)


def test_frequencies_of_levels_are_their_probabilities():
    logits, counts = np.array([0.0, 1.0, -1.0, 2.0], np.float32), np.zeros(4)
    for uniform in ((np.arange(20_000) + 0.5) / 20_000).astype(np.float32):
        masses = logits.copy()
        elementary.exponentiate(masses, np.float32(2))
        counts[elementary.sample_level(masses, uniform)] += 1
    expected = np.exp(2 * logits) / np.exp(2 * logits).sum()
    np.testing.assert_allclose(counts / 20_000, expected, atol=2e-4)


@pytest.mark.parametrize(("uniform", "level"), [(0.0, 1), (1.0, 2)])
def test_random_numbers_of_0_and_1_give_possible_levels(uniform, level):
    masses = np.array([-100.0, 0.0, 1.0, -100.0], np.float32)
    elementary.exponentiate(masses, np.float32(1))
    assert elementary.sample_level(masses, np.float32(uniform)) == level
