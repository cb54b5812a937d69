"""The WaveNet of a vocoder sample by sample, as one function that Numba compiles.

All weights of the smallest preset fit into the cache of a core, where TensorFlow's operations would take more time to
start than to compute. Products are sums of rows of the kernel, several at a time, which processors add as vectors; the
functions of the gates are rational, since those of the C library would take half of the time.
"""

import numpy as np

from tfvoice.compiled import compiled

# Fused multiplications and additions; nothing is NaN. Sums keep their order.
_FUSED = {"contract", "nnan", "ninf", "nsz"}
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
# tanh x = x P(x^2) / Q(x^2), fitted to an error of 7e-7 up to here, from where it is 1.
_TANH_END = np.float32(8.8)
_P = tuple(map(np.float32, (0.9999988079, 0.12632691860, 0.00261708791, 6.59407760e-06, -5.18524290e-09)))
_Q = tuple(map(np.float32, (1.0, 0.45965501666, 0.02250788733, 0.00018676275795)))
# 2^f for f from 0 to 1 is a polynomial to an error of 2e-7, and its powers of two are in a table.
_LOG2_E = np.float32(np.log2(np.e))
_EXP2 = tuple(map(np.float32, (0.9999999251, 0.6931530731, 0.2401536174, 0.0558263175, 0.0089893404, 0.0018775767)))
_LOWEST = -126
_POWERS = np.float32(2.0) ** np.arange(_LOWEST, 1).astype(np.float32)
# Of the sum of probabilities: 0 never gives a level that is all but impossible, and a rounded sum none past the last.
_ABOVE_ZERO, _BELOW_ONE = np.float32(2.0**-25), np.float32(1 - 1e-6)


@compiled(fastmath=_FUSED)
def tanh(x):
    """The hyperbolic tangent of a float32, to 7e-7."""
    x = min(max(x, -_TANH_END), _TANH_END)
    u = x * x
    return (
        x
        * ((((_P[4] * u + _P[3]) * u + _P[2]) * u + _P[1]) * u + _P[0])
        / (((_Q[3] * u + _Q[2]) * u + _Q[1]) * u + _Q[0])
    )


@compiled(fastmath=_FUSED)
def exp(x):
    """The exponential of a float32 that is not positive, to 3e-7 of its value; 1e-38 where it is smaller."""
    x = max(x * _LOG2_E, np.float32(_LOWEST))
    whole = np.floor(x)
    f = x - whole
    value = ((((_EXP2[5] * f + _EXP2[4]) * f + _EXP2[3]) * f + _EXP2[2]) * f + _EXP2[1]) * f + _EXP2[0]
    return value * _POWERS[np.int32(whole) - _LOWEST]


@compiled(fastmath=_FUSED)
def add_product(inputs, kernel, sums):
    """Adds `inputs kernel` to the sums, of float32 arrays."""
    rows, columns = kernel.shape
    whole = rows - rows % 4
    for i in range(0, whole, 4):
        a, b, c, d = inputs[i], inputs[i + 1], inputs[i + 2], inputs[i + 3]
        row_a, row_b, row_c, row_d = kernel[i], kernel[i + 1], kernel[i + 2], kernel[i + 3]
        for j in range(columns):
            sums[j] += a * row_a[j] + b * row_b[j] + c * row_c[j] + d * row_d[j]
    for i in range(whole, rows):
        for j in range(columns):
            sums[j] += inputs[i] * kernel[i, j]


@compiled(fastmath=_FUSED)
def draw(logits, inverse_temperature, uniform):
    """The level at a share of the cumulative distribution; `logits` are used up."""
    highest = logits.max()
    for level in range(len(logits)):
        logits[level] = exp((logits[level] - highest) * inverse_temperature)
    total = _ZERO
    for level in range(len(logits)):
        total += logits[level]
        logits[level] = total
    target = min(max(uniform, _ABOVE_ZERO), _BELOW_ONE) * total
    level = 0
    while logits[level] <= target:
        level += 1
    return level


@compiled(fastmath=_FUSED)
def advance(
    levels, start, end, sampled, noise, inverse_temperature, biases, frame_samples,
    first, gates, outs, out_biases, skip_bias, head, head_bias, output, output_bias,
    dilations, memory, places,
):  # fmt: skip
    """Runs the network over samples, and draws those that are to be sampled.

    Args:
      levels: int32 `[2 + samples]`; two levels before the first sample. What is sampled is written into it.
      start, end: samples to run over.
      sampled: samples from this one on are drawn; those before are in `levels`.
      noise: float32 `[end - start]`, 0 to 1, for the draws.
      inverse_temperature: factor of the logits.
      biases: float32 `[frames, layers, 2 * residual]`, those of the gates included.
      frame_samples: samples of a frame.
      first: float32 `[2, levels, residual]`, the bias included in the second.
      gates: float32 `[layers, 2 * residual, 2 * residual]`, of the past input and the present one.
      outs: float32 `[layers, residual, residual + skip]`, of the residual and the skip connection.
      out_biases: float32 `[layers, residual]`, of the residual connection.
      skip_bias, head, head_bias, output, output_bias: float32.
      dilations: int64 `[layers]`.
      memory: float32 `[sum of dilations, residual]`, the inputs of each layer as far as it looks back; changed.
      places: int64 `[layers]`, the row of `memory` of each layer's oldest input, from its own first one; changed.
    """
    layers, r = out_biases.shape
    inputs, sums, gate = np.empty(2 * r, np.float32), np.empty(2 * r, np.float32), np.empty(r, np.float32)
    # The channels from layer to layer, then the sum of the skip connections.
    state = np.empty(r + len(skip_bias), np.float32)
    middle, logits = np.empty_like(head_bias), np.empty_like(output_bias)
    for sample in range(start, end):
        one, other = first[0, levels[sample]], first[1, levels[sample + 1]]
        for i in range(r):
            state[i] = tanh(one[i] + other[i])
        state[r:] = skip_bias
        base = 0
        for layer in range(layers):
            past = memory[base + places[layer]]
            inputs[:r], inputs[r:] = past, state[:r]
            past[:] = state[:r]
            places[layer] = (places[layer] + 1) % dilations[layer]
            base += dilations[layer]
            sums[:] = biases[sample // frame_samples, layer]
            add_product(inputs, gates[layer], sums)
            for i in range(r):
                gate[i] = tanh(sums[i]) * (_HALF + _HALF * tanh(_HALF * sums[r + i]))
                state[i] += out_biases[layer, i]
            add_product(gate, outs[layer], state)
        if sample >= sampled:
            middle[:], logits[:] = head_bias, output_bias
            add_product(np.maximum(state[r:], _ZERO), head, middle)
            add_product(np.maximum(middle, _ZERO), output, logits)
            levels[sample + 2] = draw(logits, inverse_temperature, noise[sample - start])
