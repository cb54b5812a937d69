"""The kernel is the network: it draws what the logits of the whole sequence say, in any pieces, on any threads."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES, Vocoder, VocoderConfig
from tfvoice.tts.vocoder import kernel, synthesis

CONFIG = VocoderConfig(layers=4, residual=8, skip=12, conditioner=4)
LEVELS, FRAMES, SAMPLED = 16, 3, 40


@pytest.fixture(scope="module")
def model():
    model = Vocoder(CONFIG, 5, LEVELS)
    model.build(None)
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(0, 0.4, weight.shape))
    return model


def given_levels():
    return np.random.default_rng(4).integers(0, LEVELS, 2 + FRAMES * FRAME_SAMPLES).astype(np.int32)


def run(model, biases, noise, pieces, temperature=1.0, threads=1, used=None):
    weights, levels, biases = synthesis.weights(model), given_levels(), synthesis.pad_gates(biases)
    state, draws = kernel.initial_state(weights, levels), kernel.Draws(noise, 0, np.float32(1 / temperature))
    kernel.advance(0, SAMPLED, SAMPLED, biases, draws, weights, state)
    for start, end in pieces:
        if used is not None:
            used.append(threads)
        threads = synthesis.advance(threads, start, end, biases, draws, weights, state)
    return levels


@pytest.mark.parametrize(("temperature", "threads"), [(1.0, 1), (0.5, 1), (1.0, 2)])
def test_every_draw_is_that_of_the_logits_of_the_whole_sequence(model, temperature, threads):
    samples = FRAMES * FRAME_SAMPLES
    biases = np.random.default_rng(1).normal(size=(FRAMES, 4, 16)).astype(np.float32)
    noise = np.random.default_rng(2).random(samples, np.float32)
    levels = run(model, biases + model.wavenet.gate_biases.numpy(), noise, [(SAMPLED, samples)], temperature, threads)
    logits = model(tf.constant(levels[np.newaxis]), tf.constant(biases[np.newaxis]))[0].numpy().astype(np.float64)
    shares = np.exp(logits / temperature - (logits / temperature).max(axis=1, keepdims=True))
    cumulative = np.cumsum(shares / shares.sum(axis=1, keepdims=True), axis=1)
    for sample in range(SAMPLED, samples):
        level, low = levels[2 + sample], 0.0
        low = cumulative[sample, level - 1] if level else 0.0
        assert low - 1e-4 <= noise[sample] <= cumulative[sample, level] + 1e-4
    np.testing.assert_array_equal(levels[: 2 + SAMPLED], given_levels()[: 2 + SAMPLED])
    assert len(set(levels[2 + SAMPLED :].tolist())) > 4


@pytest.fixture(scope="module")
def conditioned():
    """Biases and noise."""
    biases = np.random.default_rng(1).normal(size=(FRAMES, 4, 16)).astype(np.float32)
    return biases, np.random.default_rng(2).random(FRAMES * FRAME_SAMPLES, np.float32)


@pytest.fixture(scope="module")
def whole(model, conditioned):
    return run(model, *conditioned, [(SAMPLED, FRAMES * FRAME_SAMPLES)])


@pytest.mark.parametrize("threads", [1, 2])
def test_in_pieces_and_on_any_threads_it_gives_the_same(model, conditioned, whole, threads):
    ends = [SAMPLED, SAMPLED + 1, 47, 64, 65, FRAMES * FRAME_SAMPLES]
    np.testing.assert_array_equal(run(model, *conditioned, itertools.pairwise(ends), threads=threads), whole)


@pytest.mark.parametrize("own", [0, 2, 4])
def test_the_share_of_the_threads_does_not_change_the_result(model, conditioned, whole, own, monkeypatch):
    monkeypatch.setattr(synthesis, "leader_share", lambda _: own)
    found = run(model, *conditioned, [(SAMPLED, FRAMES * FRAME_SAMPLES)], threads=2)
    np.testing.assert_array_equal(found, whole)


def test_without_a_core_for_the_other_thread_one_continues(model, conditioned, whole, monkeypatch):
    lead, reached = kernel.lead, SAMPLED + 30
    monkeypatch.setattr(kernel, "lead", lambda start, _, *rest: lead(start, reached, *rest))
    bounds, used = [(SAMPLED, 100), (100, FRAMES * FRAME_SAMPLES)], []
    np.testing.assert_array_equal(run(model, *conditioned, bounds, threads=2, used=used), whole)
    assert used == [2, 1]


@pytest.mark.parametrize(("name", "error"), [("lead", KeyboardInterrupt), ("follow", MemoryError)])
def test_an_exception_in_one_thread_ends_both(model, conditioned, monkeypatch, name, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(kernel, name, fail)
    with pytest.raises(error):
        run(model, *conditioned, [(SAMPLED, FRAMES * FRAME_SAMPLES)], threads=2)


def test_the_leader_returns_where_the_follower_has_ended(model, conditioned):
    weights, counters = synthesis.weights(model), kernel.new_counters()
    kernel.end(counters)
    state = kernel.initial_state(weights, given_levels())
    assert kernel.lead(3, 60, 4, synthesis.pad_gates(conditioned[0]), weights, state, counters) == 4
