"""SampleRNN sample by sample for several sequences, as functions that Numba compiles.

All sequences share what is read of the weights, which is what bounds the speed: 9 MiB for each sample at 1024 units,
and 170 MiB of the recurrent tiers for each of their frames. Every sum of a sequence has an order of its own, whatever
is beside it, so that a sequence has the same bits alone and in any batch. It is the network of `models.sample_rnn`,
whose graph is what is trained, scored and exported.
"""

from typing import NamedTuple

import numpy as np

from tfvoice.compiled import compiled
from tfvoice.elementary import FAST, exponentiate, sample_level, sigmoid, tanh
from tfvoice.products import add_products

_INLINE = FAST | {"forceinline": True}
_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)


class TierWeights(NamedTuple):
    """Those of a recurrent tier; a field that a tier does not need has no matrices.

    Attributes:
      expand: a kernel of `[size, units]`, of the frame, and `expand_bias`, `[units]`; the slowest tier has none.
      entry: a kernel of `[width, gates * units]`, of the first recurrent layer.
      entries: kernels of `[layers - 1, units, gates * units]`, of the other layers.
      shortcuts: kernels like `entries`, from the input of the tier; with skip connections only.
      biases: `[layers, gates * units]`.
      recurrents: kernels of `[layers, units, gates * units]`; of a GRU without the candidate.
      candidates: kernels of `[layers, units, units]`; of a GRU only.
      exits: kernels of `[layers, units, units]`, and `exit_bias`, `[units]`; with skip connections only.
      upsample: a kernel of `[units, ratio * units]`, and `upsample_bias`.
    """

    expand: np.ndarray
    expand_bias: np.ndarray
    entry: np.ndarray
    entries: np.ndarray
    shortcuts: np.ndarray
    biases: np.ndarray
    recurrents: np.ndarray
    candidates: np.ndarray
    exits: np.ndarray
    exit_bias: np.ndarray
    upsample: np.ndarray
    upsample_bias: np.ndarray


class LowestWeights(NamedTuple):
    """Those of the lowest tier.

    Attributes:
      table: `[frame, levels, units]` of `models.sample_rnn.FusedWeights`.
      hidden: kernels of `[2, units, units]`, and `hidden_biases`, `[2, units]`.
      logits: a kernel of `[units, levels]`, and `logits_bias`, `[levels]`.
    """

    table: np.ndarray
    hidden: np.ndarray
    hidden_biases: np.ndarray
    logits: np.ndarray
    logits_bias: np.ndarray


class Weights(NamedTuple):
    """Those of the network, all sizes padded by zeros to what `products` needs; kernels are tiled.

    Attributes:
      sizes: int64 `[tiers + 1]`, samples of a frame of each tier from the slowest down, and 1.
      half: float32, half the number of levels.
      tiers: the recurrent ones from the slowest down.
      lowest: of the lowest tier.
    """

    sizes: np.ndarray
    half: np.float32
    tiers: tuple[TierWeights, ...]
    lowest: LowestWeights


class TierState(NamedTuple):
    """What changes in a recurrent tier.

    Attributes:
      frame: `[rows, size]`, the samples of the last frame.
      inputs: `[rows, units]`, the input of the first layer; of the slowest tier it is `frame`.
      hidden: `[layers, rows, units]`, the state.
      cells: like `hidden`, of an LSTM; of a GRU the reset state of each layer.
      sums: `[rows, gates * units]`.
      total: `[rows, units]`, the sum of the outputs of all layers, with skip connections.
      vectors: `[rows, ratio * units]`, for the steps of the tier below.
    """

    frame: np.ndarray
    inputs: np.ndarray
    hidden: np.ndarray
    cells: np.ndarray
    sums: np.ndarray
    total: np.ndarray
    vectors: np.ndarray


class LowestState(NamedTuple):
    """What changes in the lowest tier.

    Attributes:
      values, others: `[rows, units]`.
      logits: `[rows, levels]`.
    """

    values: np.ndarray
    others: np.ndarray
    logits: np.ndarray


class State(NamedTuple):
    """What changes while sequences are sampled: as `Weights`."""

    tiers: tuple[TierState, ...]
    lowest: LowestState


class Draws(NamedTuple):
    """How levels are sampled.

    Attributes:
      noise: float32 `[samples, rows]`, 0 to 1.
      inverse_temperatures: float32 `[samples]`, factors of the logits.
      top_p: as in `sample.SamplingOptions`, float32.
    """

    noise: np.ndarray
    inverse_temperatures: np.ndarray
    top_p: np.float32


def initial_state(weights: Weights, states: list[np.ndarray], rows: int) -> State:
    """The state of sequences before their first sample.

    Args:
      weights: of the network.
      states: of the recurrent layers, those of `SampleRnn.initial_state`, for one row or for all.
      rows: number of sequences.
    """
    tiers, remaining = [], list(states)
    for tier in weights.tiers:
        count = len(tier.biases) * (1 if len(tier.candidates) else 2)
        tiers.append(_tier_state(tier, remaining[:count], rows))
        del remaining[:count]
    lowest, units = weights.lowest, weights.lowest.table.shape[2]
    widths = (units, units, len(lowest.logits_bias))
    return State(tuple(tiers), LowestState(*(np.zeros([rows, width], np.float32) for width in widths)))


def _tier_state(tier: TierWeights, states: list[np.ndarray], rows: int) -> TierState:
    (layers, gates), units = tier.biases.shape, len(tier.expand_bias)
    hidden, cells = np.zeros([2, layers, rows, units], np.float32)
    kinds = len(states) // layers
    for number, values in enumerate(states):
        (hidden, cells)[number % kinds][number // kinds, :, : values.shape[1]] = values
    size = (tier.expand if len(tier.expand) else tier.entry).shape[2]
    widths = (size, units, gates, units, len(tier.upsample_bias))
    frame, inputs, sums, total, vectors = (np.zeros([rows, width], np.float32) for width in widths)
    return TierState(frame, inputs if len(tier.expand) else frame, hidden, cells, sums, total, vectors)


@compiled(**FAST)
def _add(inputs, matrices, matrix, sums, column):
    """`add_products`, compiled once."""
    add_products(inputs, matrices, matrix, sums, column)


@compiled(**_INLINE)
def _copy(values, sums):
    """Starts the sums of all rows with a bias."""
    for row in range(sums.shape[0]):
        for i in range(sums.shape[1]):
            sums[row, i] = values[i]


@compiled(**_INLINE)
def _rectify(values):
    for row in range(values.shape[0]):
        for i in range(values.shape[1]):
            values[row, i] = max(values[row, i], _ZERO)


@compiled(**FAST)
def _gru(layer, tier, state):
    """The state of a layer after a step, from the sums of its inputs."""
    hidden, reset, sums = state.hidden[layer], state.cells[layer], state.sums
    rows, units = hidden.shape
    _add(hidden, tier.recurrents, layer, sums, 0)
    for row in range(rows):
        for i in range(units):
            reset[row, i] = sigmoid(sums[row, units + i]) * hidden[row, i]
    _add(reset, tier.candidates, layer, sums, 2 * units)
    for row in range(rows):
        for i in range(units):
            z = sigmoid(sums[row, i])
            hidden[row, i] = z * hidden[row, i] + (_ONE - z) * tanh(sums[row, 2 * units + i])


@compiled(**FAST)
def _lstm(layer, tier, state):
    """As `_gru`."""
    hidden, cells, sums = state.hidden[layer], state.cells[layer], state.sums
    rows, units = hidden.shape
    _add(hidden, tier.recurrents, layer, sums, 0)
    for row in range(rows):
        for i in range(units):
            kept = sigmoid(sums[row, units + i]) * cells[row, i]
            cells[row, i] = kept + sigmoid(sums[row, i]) * tanh(sums[row, 2 * units + i])
            hidden[row, i] = sigmoid(sums[row, 3 * units + i]) * tanh(cells[row, i])


@compiled(**FAST)
def _tier_step(start, size, half, levels, above, step, tier, own):
    """A step of a recurrent tier.

    Args:
      start, size: of its frame in `levels`.
      half: as `Weights.half`.
      levels: as for `predict`.
      above, step: the vectors of the tier above, and which of them; the slowest tier ignores them.
      tier, own: weights and state.
    """
    for row in range(len(levels)):
        for i in range(size):
            own.frame[row, i] = (np.float32(levels[row, start + i]) / half - _ONE) * _TWO
    if len(tier.expand):
        units = own.inputs.shape[1]
        for row in range(len(levels)):
            for i in range(units):
                own.inputs[row, i] = tier.expand_bias[i] + above[row, step * units + i]
        _add(own.frame, tier.expand, 0, own.inputs, 0)
    if len(tier.exits):
        _copy(tier.exit_bias, own.total)
    layers = len(tier.biases)
    for layer in range(layers):
        _copy(tier.biases[layer], own.sums)
        if layer == 0:
            _add(own.inputs, tier.entry, 0, own.sums, 0)
        else:
            _add(own.hidden[layer - 1], tier.entries, layer - 1, own.sums, 0)
        if layer and len(tier.shortcuts):
            _add(own.inputs, tier.shortcuts, layer - 1, own.sums, 0)
        if len(tier.candidates):
            _gru(layer, tier, own)
        else:
            _lstm(layer, tier, own)
        if len(tier.exits):
            _add(own.hidden[layer], tier.exits, layer, own.total, 0)
    _copy(tier.upsample_bias, own.vectors)
    _add(own.total if len(tier.exits) else own.hidden[layers - 1], tier.upsample, 0, own.vectors, 0)


@compiled(**FAST)
def _lowest_step(start, levels, above, step, lowest, own):
    """The logits of a sample; arguments as for `_tier_step`."""
    frame, units = lowest.table.shape[0], lowest.table.shape[2]
    for row in range(len(levels)):
        for i in range(units):
            own.values[row, i] = above[row, step * units + i]
        for position in range(frame):
            level = levels[row, start + position]
            for i in range(units):
                own.values[row, i] += lowest.table[position, level, i]
    _copy(lowest.hidden_biases[0], own.others)
    _add(own.values, lowest.hidden, 0, own.others, 0)
    _rectify(own.others)
    _copy(lowest.hidden_biases[1], own.values)
    _add(own.others, lowest.hidden, 1, own.values, 0)
    _rectify(own.values)
    _copy(lowest.logits_bias, own.logits)
    _add(own.values, lowest.logits, 0, own.logits, 0)


@compiled(**FAST)
def predict(sample, levels, weights, state):
    """Computes the logits of one sample of each row, `state.lowest.logits`.

    Args:
      sample: its number, from the start of a frame of the slowest tier; each is predicted once, in order.
      levels: int32 `[rows, context + samples]`, of which those before the sample are known.
      weights: of the network.
      state: after the sample before; changed.
    """
    end, tiers = weights.sizes[0] + sample, len(weights.tiers)
    for number in range(tiers):
        size, above = weights.sizes[number], max(number - 1, 0)
        if sample % size == 0:
            step, vectors = sample % weights.sizes[above] // size, state.tiers[above].vectors
            tier, own = weights.tiers[number], state.tiers[number]
            _tier_step(end - size, size, weights.half, levels, vectors, step, tier, own)
    frame = weights.sizes[tiers - 1]
    vectors = state.tiers[tiers - 1].vectors
    _lowest_step(end - frame, levels, vectors, sample % frame, weights.lowest, state.lowest)


@compiled(**FAST)
def keep_nucleus(masses, top_p):
    """Sets to 0 what is outside of the nucleus: the likeliest levels whose probabilities sum to `top_p`."""
    ordered = np.sort(masses)
    rest, nucleus, number = top_p * masses.sum(), _ZERO, len(masses)
    # The nucleus always has the likeliest level, and every level as likely as its last one.
    while number > 0 and (nucleus < rest or number == len(masses)):
        number -= 1
        nucleus += ordered[number]
    for level in range(len(masses)):
        if masses[level] < ordered[number]:
            masses[level] = _ZERO


@compiled(**FAST)
def advance(start, end, levels, draws, weights, state):
    """Samples each row from `start` to `end`.

    Args:
      start, end: numbers of samples, as for `predict`.
      levels: as for `predict`; the sampled levels are written into it.
      draws: how to sample.
      weights: of the network.
      state: after the sample before `start`; changed.
    """
    for sample in range(start, end):
        predict(sample, levels, weights, state)
        _sample(sample, weights.sizes[0] + sample, levels, draws, weights.lowest, state.lowest)


@compiled(**FAST)
def _sample(sample, place, levels, draws, lowest, own):
    """Samples a level for each row from its logits."""
    classes = lowest.table.shape[1]
    for row in range(len(levels)):
        masses = own.logits[row, :classes]
        exponentiate(masses, draws.inverse_temperatures[sample])
        if draws.top_p < _ONE:
            keep_nucleus(masses, draws.top_p)
        levels[row, place] = sample_level(masses, draws.noise[sample, row])
