"""The WaveNet of a vocoder sample by sample, as one function that Numba compiles.

All weights of the smallest preset fit into the cache of a core, where TensorFlow's operations would take more time to
start than to compute. Inputs of a product are the outer loop, so that the inner one is over consecutive weights.
"""

import math

import numpy as np

from tfvoice.compiled import compiled

# Of the sum of the probabilities: a rounded sum never gives a level past the last possible one.
_BELOW_ONE = np.float32(1 - 1e-6)


@compiled
def _add_product(inputs, kernel, sums):
    """Adds `inputs kernel` to the sums."""
    for i in range(kernel.shape[0]):
        value, row = inputs[i], kernel[i]
        for j in range(kernel.shape[1]):
            sums[j] += value * row[j]


@compiled
def draw(logits, inverse_temperature, uniform):
    """The level at a share of the cumulative distribution; `logits` are used up."""
    highest = logits.max()
    total = np.float32(0)
    for level in range(len(logits)):
        total += math.exp((logits[level] - highest) * inverse_temperature)
        logits[level] = total
    target = min(uniform * total, total * _BELOW_ONE)
    level = 0
    while logits[level] <= target:
        level += 1
    return level


@compiled
def advance(
    levels, start, end, sampled, noise, inverse_temperature, biases, frame_samples,
    first, gates, residuals, residual_biases, skips, skip_bias, head, head_bias, output, output_bias,
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
      gates: float32 `[layers, 2, residual, 2 * residual]`.
      residuals: float32 `[layers, residual, residual]`.
      residual_biases: float32 `[layers, residual]`.
      skips: float32 `[layers, residual, skip]`.
      skip_bias, head, head_bias, output, output_bias: float32.
      dilations: int64 `[layers]`.
      memory: float32 `[sum of dilations, residual]`, the inputs of each layer as far as it looks back; changed.
      places: int64 `[layers]`, the row of `memory` of each layer's oldest input, from its own first one; changed.
    """
    layers, r = residual_biases.shape
    hidden, gate, sums = np.empty(r, np.float32), np.empty(r, np.float32), np.empty(2 * r, np.float32)
    skip, middle, logits = np.empty_like(skip_bias), np.empty_like(head_bias), np.empty_like(output_bias)
    for sample in range(start, end):
        one, other = first[0, levels[sample]], first[1, levels[sample + 1]]
        for i in range(r):
            hidden[i] = math.tanh(one[i] + other[i])
        skip[:] = skip_bias
        base = 0
        for layer in range(layers):
            past = memory[base + places[layer]]
            sums[:] = biases[sample // frame_samples, layer]
            _add_product(past, gates[layer, 0], sums)
            _add_product(hidden, gates[layer, 1], sums)
            past[:] = hidden
            places[layer] = (places[layer] + 1) % dilations[layer]
            base += dilations[layer]
            for i in range(r):
                gate[i] = math.tanh(sums[i]) / (np.float32(1) + math.exp(-sums[r + i]))
                hidden[i] += residual_biases[layer, i]
            _add_product(gate, residuals[layer], hidden)
            if sample >= sampled:
                _add_product(gate, skips[layer], skip)
        if sample >= sampled:
            middle[:], logits[:] = head_bias, output_bias
            _add_product(np.maximum(skip, np.float32(0)), head, middle)
            _add_product(np.maximum(middle, np.float32(0)), output, logits)
            levels[sample + 2] = draw(logits, inverse_temperature, noise[sample - start])
