"""The WaveNet of a vocoder sample by sample, as functions that Numba compiles, for one thread or two.

All weights of the smallest preset fit into the cache of a core, where TensorFlow's operations would take more time to
start than to compute; larger ones are bound by the rate at which a core reads its weights, hence the second thread. The
functions of the gates are rational, since those of the C library would take half of the time.

Of two threads, `lead` runs the chain from layer to layer, which bounds the speed. `follow`, a layer behind, adds up the
skip connections, and samples; meanwhile the leader computes the part of its sums that needs no newer sample. Both
call the same functions as `advance`, which is one thread: the samples are the same to the last bit.
"""

from typing import NamedTuple

import numpy as np

from tfvoice import atomics
from tfvoice.compiled import compiled
from tfvoice.elementary import FAST, exponentiate, sample_level, sigmoid, tanh
from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES
from tfvoice.products import add_product

_INLINE = FAST | {"forceinline": True}
_ZERO = np.float32(0)

# The leader gives up when so many samples, and one in so many, came late because the follower did not run.
_LATE, _LATE_ONE_IN = 4, 128
# Counters of two threads: layers that the leader has computed, levels that the follower has sampled, and whether one of
# them has ended.
_LAYERS_DONE, _SAMPLES_DONE, _ENDED = range(3)


class Weights(NamedTuple):
    """Those of the WaveNet, all sizes padded by zeros to what `products` needs; kernels are tiled.

    Attributes:
      dilations, rows: int64 `[layers]`, the dilation of each layer and its first row of `State.memory`.
      first: `[2, levels, residual]`, the bias included in the second.
      past, present: kernels of `[layers, residual, 2 * residual]`, of the gates.
      residuals: kernels of `[layers, residual, residual]`.
      residual_biases: `[layers, residual]`.
      skips: kernels of `[layers, residual, skip]`.
      skip_bias: `[skip]`.
      head: a kernel of `[skip, levels]`.
      head_bias: `[levels]`.
      output: a kernel of `[levels, levels]`.
      output_bias: `[levels]`, not padded.
    """

    dilations: np.ndarray
    rows: np.ndarray
    first: np.ndarray
    past: np.ndarray
    present: np.ndarray
    residuals: np.ndarray
    residual_biases: np.ndarray
    skips: np.ndarray
    skip_bias: np.ndarray
    head: np.ndarray
    head_bias: np.ndarray
    output: np.ndarray
    output_bias: np.ndarray


class State(NamedTuple):
    """What changes while an utterance is sampled.

    Attributes:
      levels: int32 `[2 + samples]`; two levels before the first sample. What is sampled is written into it.
      memory: float32 `[sum of dilations, residual]`, the inputs of each layer as far as it looks back.
      channels: float32 `[1, residual]`, from layer to layer.
      sums: float32 `[layers, 2 * residual]`, of the gates.
      gates: float32 `[layers, residual]`.
      skip: float32 `[1, skip]`, the sum of the skip connections.
      head, logits: float32 `[1, levels]`.
    """

    levels: np.ndarray
    memory: np.ndarray
    channels: np.ndarray
    sums: np.ndarray
    gates: np.ndarray
    skip: np.ndarray
    head: np.ndarray
    logits: np.ndarray


class Draws(NamedTuple):
    """How levels are sampled.

    Attributes:
      noise: float32 `[samples]`, 0 to 1, of the samples from `start` on.
      start: the sample of the first.
      inverse_temperature: float32, factor of the logits.
    """

    noise: np.ndarray
    start: int
    inverse_temperature: np.float32


def initial_state(weights: Weights, levels: np.ndarray) -> State:
    """The state before the first sample of `levels`, without any past."""
    layers, residual = weights.residual_biases.shape
    skip, outputs = [1, len(weights.skip_bias)], [1, len(weights.head_bias)]
    sizes = ([weights.dilations.sum(), residual], [1, residual], [layers, 2 * residual], [layers, residual], skip)
    return State(levels, *(np.zeros(size, np.float32) for size in (*sizes, outputs, outputs)))


@compiled(**_INLINE)
def _start(sample, weights, state):
    """The channels of the first layer, of the two levels before a sample."""
    one, other = state.levels[sample], state.levels[sample + 1]
    for i in range(state.channels.shape[1]):
        state.channels[0, i] = tanh(weights.first[0, one, i] + weights.first[1, other, i])


@compiled(**_INLINE)
def _past(sample, layer, biases, weights, state):
    """The sums of a layer's gates as far as they do not depend on the newest sample."""
    frame = sample // FRAME_SAMPLES
    for i in range(state.sums.shape[1]):
        state.sums[layer, i] = biases[frame, layer, i]
    row = weights.rows[layer] + sample % weights.dilations[layer]
    add_product(state.memory, row, weights.past, layer, state.sums, layer)


@compiled(**_INLINE)
def _present(sample, layer, weights, state):
    """The gates of a layer and the channels after it, from those before it."""
    add_product(state.channels, 0, weights.present, layer, state.sums, layer)
    row, r = weights.rows[layer] + sample % weights.dilations[layer], state.channels.shape[1]
    for i in range(r):
        state.memory[row, i] = state.channels[0, i]
        state.channels[0, i] += weights.residual_biases[layer, i]
    for i in range(r):
        state.gates[layer, i] = tanh(state.sums[layer, i]) * sigmoid(state.sums[layer, r + i])
    add_product(state.gates, layer, weights.residuals, layer, state.channels, 0)


@compiled(**_INLINE)
def _skip(layer, weights, state):
    """Adds the skip connection of a layer."""
    add_product(state.gates, layer, weights.skips, layer, state.skip, 0)


@compiled(**_INLINE)
def _copy(values, sums):
    """Starts sums with a bias."""
    for i in range(len(values)):
        sums[0, i] = values[i]


@compiled(**_INLINE)
def _rectify(values):
    for i in range(values.shape[1]):
        values[0, i] = max(values[0, i], _ZERO)


@compiled(**_INLINE)
def _sample(sample, draws, weights, state):
    """The level of a sample, from the sum of the skip connections."""
    _copy(weights.head_bias, state.head)
    _rectify(state.skip)
    add_product(state.skip, 0, weights.head, 0, state.head, 0)
    _copy(weights.output_bias, state.logits)
    _rectify(state.head)
    add_product(state.head, 0, weights.output, 0, state.logits, 0)
    logits = state.logits[0, : len(weights.output_bias)]
    exponentiate(logits, draws.inverse_temperature)
    state.levels[sample + 2] = sample_level(logits, draws.noise[sample - draws.start])


@compiled(**FAST)
def advance(start, end, sampled, biases, draws, weights, state):
    """Runs the network over samples, and draws those that are to be sampled.

    Args:
      start, end: samples to run over, counted from the first of the state.
      sampled: samples from this one on are sampled; those before are in the state's levels.
      biases: float32 `[frames, layers, 2 * residual]`, those of the gates included, padded as the weights.
      draws: how to draw.
      weights: of the network.
      state: after the samples before `start`; changed.
    """
    layers = len(weights.dilations)
    for sample in range(start, end):
        _start(sample, weights, state)
        _copy(weights.skip_bias, state.skip)
        for layer in range(layers):
            _past(sample, layer, biases, weights, state)
            _present(sample, layer, weights, state)
            if sample >= sampled:
                _skip(layer, weights, state)
        if sample >= sampled:
            _sample(sample, draws, weights, state)


@compiled(**FAST)
def lead(start, end, own, biases, weights, state, counters):
    """One of two threads over samples that are all to be sampled; arguments as for `advance`.

    Args:
      own: layers whose past this thread computes, while the other draws a sample.
      counters: of `new_counters`.

    Returns:
      The sample that it has come to. It is less than `end` where there was no core for the other thread: `advance`
      may continue from there.
    """
    layers, late = len(weights.dilations), 0
    for layer in range(layers):
        _past(start, layer, biases, weights, state)
    for sample in range(start, end):
        done = sample - start
        waited = atomics.wait_until(counters, _SAMPLES_DONE, done, _ENDED)
        late += waited > atomics.SPINS
        if waited < 0 or late > _LATE + done // _LATE_ONE_IN:
            return sample
        _start(sample, weights, state)
        for layer in range(layers):
            _present(sample, layer, weights, state)
            atomics.publish(counters, _LAYERS_DONE, done * layers + layer + 1)
        if sample + 1 < end:
            for layer in range(own):
                _past(sample + 1, layer, biases, weights, state)
    return end


@compiled(**FAST)
def follow(start, end, own, biases, draws, weights, state, counters):
    """The other of two threads; arguments as for `advance` and `lead`."""
    layers = len(weights.dilations)
    for sample in range(start, end):
        done = sample - start
        _copy(weights.skip_bias, state.skip)
        for layer in range(layers):
            if atomics.wait_until(counters, _LAYERS_DONE, done * layers + layer + 1, _ENDED) < 0:
                return
            _skip(layer, weights, state)
            if layer >= own and sample + 1 < end:
                _past(sample + 1, layer, biases, weights, state)
        _sample(sample, draws, weights, state)
        atomics.publish(counters, _SAMPLES_DONE, done + 1)


def new_counters() -> np.ndarray:
    """Counters for one call of `lead` and one of `follow`."""
    return atomics.counters(3)


@compiled
def end(counters):
    """Has a thread return that waits for one which has ended, whether at its last sample or by an exception."""
    atomics.publish(counters, _ENDED, 1)
