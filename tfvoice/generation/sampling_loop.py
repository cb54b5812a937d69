"""The sampling loop in the graph: a step of each tier, and within it the steps of the tier below.

Random numbers are keyed by (seed, sequence, block), so that a sequence does not depend on the others of its batch.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from tfvoice import keys
from tfvoice.keys import Purpose
from tfvoice.models.sample_rnn import FusedWeights, SampleRnn

# Approximate samples of a block; random numbers are generated block by block.
_BLOCK = 4096


def block_frames(context: int) -> int:
    """Frames of the slowest tier in a block."""
    return max(1, _BLOCK // context)


def uniform_noise(samples: int, seed, sequences, block) -> tf.Tensor:
    """Uniform random numbers of one block, float32 `[samples, sequences]`.

    Args:
      samples: length of the block.
      seed: of the random numbers, an integer or int32 scalar.
      sequences: int32 `[sequences]`, their indices.
      block: index of the block, an integer or int32 scalar.
    """
    key = keys.fold_in(keys.from_seed(seed), Purpose.SAMPLING)

    def noise_of(sequence):
        return tf.random.stateless_uniform([samples], keys.fold_in(key, sequence, block), alg="philox")

    signature = tf.TensorSpec([samples], tf.float32)
    return tf.transpose(tf.map_fn(noise_of, tf.convert_to_tensor(sequences, tf.int32), fn_output_signature=signature))


def sample_levels(model: SampleRnn, silence: int, count, samples, temperature, seed) -> tf.Tensor:
    """Samples as `sample.Sampler` does without a prime, as part of a graph and all sequences in one loop.

    Args:
      model: with its weights.
      silence: level of the context before the first sample.
      count, samples, seed: int32 scalars.
      temperature: float32 scalar.

    Returns:
      int32 `[count, samples]`.
    """
    context = model.config.context
    size = block_frames(context) * context
    frames = -(-samples // context)
    blocks = -(-samples // size)

    noise = tf.map_fn(
        lambda block: uniform_noise(size, seed, tf.range(count), block),
        tf.range(blocks),
        fn_output_signature=tf.TensorSpec([size, None], tf.float32),
    )
    before = tf.fill([context, count], silence)
    temperatures = tf.fill([frames], temperature)
    noise = tf.reshape(noise, [-1, count])
    levels, _, _ = sample_frames(
        model, 1.0, model.fuse_weights(), model.initial_state(count), before, noise, temperatures
    )
    return tf.transpose(levels)[:, :samples]


class _LoopState(NamedTuple):
    """State of the loop.

    Attributes:
      step: samples generated in this block.
      state: recurrent states of all tiers.
      levels: the last levels, int32 `[context, rows]`.
    """

    step: tf.Tensor
    state: list[tf.Tensor]
    levels: tf.Tensor


def sample_frames(model: SampleRnn, top_p: float, weights: FusedWeights, state, levels, noise, temperatures):
    """Samples frames of the slowest tier.

    Args:
      model: a SampleRNN.
      top_p: as in `sample.SamplingOptions`.
      weights: of the model, fused.
      state: recurrent states of all tiers.
      levels: int32 `[context, rows]`, the levels before the first sample.
      noise: float32 `[samples, rows]`, 0 to 1.
      temperatures: float32 `[frames]`.

    Returns:
      Levels int32 `[samples, rows]`, the last `[context, rows]` of them, and the recurrent states after them.
    """
    frames, rows = tf.shape(temperatures)[0], levels.shape[1]
    written = tf.TensorArray(tf.int32, frames, element_shape=[model.config.context, rows])

    def body(frame, loop, written):
        loop = _tier_step(model, top_p, weights, 0, None, loop, noise, temperatures[frame])
        return frame + 1, loop, written.write(frame, loop.levels)

    start = _LoopState(tf.constant(0), list(state), levels)
    _, loop, written = tf.while_loop(
        lambda frame, *_: frame < frames, body, (tf.constant(0), start, written), parallel_iterations=1
    )
    return tf.reshape(written.stack(), [-1, tf.shape(levels)[1]]), loop.levels, loop.state


def _tier_step(model, top_p, weights, index, conditioning, loop: _LoopState, noise, temperature) -> _LoopState:
    """One step of a tier, and all steps of the tiers below it."""
    if index == len(model.tiers):
        return _sample_step(model, top_p, weights, conditioning, loop, noise, temperature)
    tier = model.tiers[index]
    first = sum(slower.states for slower in model.tiers[:index])
    last = first + tier.states
    frame = tf.transpose(model.scale_levels(loop.levels[-tier.size :]))[tf.newaxis]
    vectors, state = tier.run(weights.tiers[index], frame, conditioning, loop.state[first:last])
    loop = loop._replace(state=[*loop.state[:first], *state, *loop.state[last:]])

    def body(step, loop):
        vector = vectors[step][tf.newaxis]
        return step + 1, _tier_step(model, top_p, weights, index + 1, vector, loop, noise, temperature)

    _, loop = tf.while_loop(lambda step, _: step < tier.ratio, body, (tf.constant(0), loop), parallel_iterations=1)
    return loop


def _sample_step(model, top_p, weights, conditioning, loop: _LoopState, noise, temperature) -> _LoopState:
    """One sample of each row."""
    context = loop.levels[-model.config.frame_sizes[0] :]
    logits = model.bottom.run(weights.table, weights.bottom, context, conditioning)[0]
    sampled = sample_categorical(logits / temperature, noise[loop.step], top_p)
    return _LoopState(loop.step + 1, loop.state, tf.concat([loop.levels[1:], sampled[tf.newaxis]], axis=0))


def sample_categorical(logits: tf.Tensor, uniform: tf.Tensor, top_p: float = 1.0) -> tf.Tensor:
    """Samples a level for each row by the inverse of the cumulative distribution.

    Args:
      logits: `[batch, levels]`.
      uniform: `[batch]`, 0 to 1.
      top_p: as in `sample.SamplingOptions`.

    Returns:
      int32 `[batch]`.
    """
    probabilities = tf.nn.softmax(logits)
    if top_p < 1:
        ordered = tf.sort(probabilities, direction="DESCENDING")
        # The nucleus always has the likeliest level, and every level as likely as its last one.
        size = tf.reduce_sum(tf.cast(tf.cumsum(ordered, axis=1, exclusive=True) < top_p, tf.int32), axis=1)
        threshold = tf.gather(ordered, size - 1, batch_dims=1)
        probabilities = tf.where(probabilities >= threshold[:, tf.newaxis], probabilities, 0.0)
    cumulative = _cumsum(probabilities)
    # Below the total, so that a rounded sum never gives a level past the last possible one.
    target = tf.minimum(uniform * cumulative[:, -1], cumulative[:, -1] * (1 - 1e-6))
    return tf.reduce_sum(tf.cast(cumulative <= target[:, tf.newaxis], tf.int32), axis=1)


def _cumsum(values: tf.Tensor) -> tf.Tensor:
    """Cumulative sums of rows, within parts and then over the parts: XLA computes each sum of a row from scratch."""
    count = values.shape[1]
    width = max(width for width in range(1, math.isqrt(count) + 1) if count % width == 0)
    within = tf.cumsum(tf.reshape(values, [-1, count // width, width]), axis=2)
    before = tf.cumsum(within[:, :, -1], axis=1, exclusive=True)
    return tf.reshape(within + before[:, :, tf.newaxis], [-1, count])
