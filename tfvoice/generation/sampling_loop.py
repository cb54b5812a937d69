"""The loop that draws levels, in a graph: a step of each tier and within it the steps of the tier below.

Random numbers are those of (seed, number of the sequence, block): a sequence does not depend on the others.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from tfvoice.models.sample_rnn import Matrices, SampleRnn

# Samples of a block, about: random numbers come block by block.
_BLOCK = 4096


def block_frames(context: int) -> int:
    """Frames of the slowest tier in a block."""
    return max(1, _BLOCK // context)


def noise(samples: int, seed: int, numbers, block: int) -> tf.Tensor:
    """Uniform numbers `[samples, sequences]` for a block of the sequences of these numbers."""
    return tf.stack([_uniform(samples, seed, number, block) for number in numbers], axis=1)


def levels(model: SampleRnn, silence: int, count, samples, temperature, seed) -> tf.Tensor:
    """What `sampling.Sampler.draw` draws after silence, as part of a graph and all sequences at once.

    Args:
      model: with its weights.
      silence: level that comes before.
      count, samples, seed: int32 scalars.
      temperature: float32 scalar.

    Returns:
      int32 `[count, samples]`.
    """
    context = model.config.context
    size = block_frames(context) * context
    frames = -(-samples // context)
    blocks = -(-samples // size)

    def column(number):
        parts = tf.map_fn(
            lambda block: _uniform(size, seed, number, block),
            tf.range(blocks),
            fn_output_signature=tf.TensorSpec([size], tf.float32),
        )
        return tf.reshape(parts, [-1])

    uniform = tf.map_fn(column, tf.range(count), fn_output_signature=tf.TensorSpec([None], tf.float32))
    before = tf.fill([context, count], silence)
    temperatures = tf.fill([frames], temperature)
    drawn, _, _ = run(model, 1.0, model.prepared(), model.start(count), before, tf.transpose(uniform), temperatures)
    return tf.transpose(drawn)[:, :samples]


def _uniform(samples: int, seed, number, block) -> tf.Tensor:
    """The random numbers of a block of one sequence, `[samples]`."""
    key = tf.random.experimental.stateless_fold_in(tf.stack([seed, number]), block)
    return tf.random.stateless_uniform([samples], key)


class _Place(NamedTuple):
    """Where a loop stands: samples drawn in this block, states of all tiers, and the last levels `[context, rows]`."""

    drawn: tf.Tensor
    state: list[tf.Tensor]
    levels: tf.Tensor


def run(model: SampleRnn, top_p: float, matrices: Matrices, state, levels, noise, temperatures):
    """Draws some frames of the slowest tier; returns levels `[samples, rows]`, the last of them, and the state."""
    frames, rows = tf.shape(temperatures)[0], levels.shape[1]
    written = tf.TensorArray(tf.int32, frames, element_shape=[model.config.context, rows])

    def body(frame, place, written):
        place = _tier(model, top_p, matrices, 0, None, place, noise, temperatures[frame])
        return frame + 1, place, written.write(frame, place.levels)

    start = _Place(tf.constant(0), list(state), levels)
    _, place, written = tf.while_loop(
        lambda frame, *_: frame < frames, body, (tf.constant(0), start, written), parallel_iterations=1
    )
    return tf.reshape(written.stack(), [-1, tf.shape(levels)[1]]), place.levels, place.state


def _tier(model, top_p, matrices, number, above, place: _Place, noise, temperature) -> _Place:
    """One step of a tier and all steps of the tiers below it."""
    if number == len(model.tiers):
        return _sample(model, top_p, matrices, above, place, noise, temperature)
    tier = model.tiers[number]
    first = sum(other.states for other in model.tiers[:number])
    own = place.state[first : first + tier.states]
    frame = tf.transpose(model.real(place.levels[-tier.size :]))[tf.newaxis]
    vectors, own = tier.run(matrices.tiers[number], frame, above, own)
    place = place._replace(state=[*place.state[:first], *own, *place.state[first + tier.states :]])

    def body(step, place):
        vector = vectors[step][tf.newaxis]
        return step + 1, _tier(model, top_p, matrices, number + 1, vector, place, noise, temperature)

    _, place = tf.while_loop(lambda step, _: step < tier.ratio, body, (tf.constant(0), place), parallel_iterations=1)
    return place


def _sample(model, top_p, matrices, above, place: _Place, noise, temperature) -> _Place:
    """One sample of each row."""
    seen = place.levels[-model.config.frame_sizes[0] :]
    logits = model.bottom.run(matrices.table, matrices.bottom, seen, above)[0]
    new = choose(logits / temperature, noise[place.drawn], top_p)
    return _Place(place.drawn + 1, place.state, tf.concat([place.levels[1:], new[tf.newaxis]], axis=0))


def choose(logits: tf.Tensor, uniform: tf.Tensor, top_p: float = 1.0) -> tf.Tensor:
    """Draws a level for each row by the inverse of the cumulative distribution.

    Args:
      logits: `[batch, levels]`.
      uniform: `[batch]`, from 0 to 1.
      top_p: as in `Draw`.

    Returns:
      int32 `[batch]`.
    """
    probabilities = tf.nn.softmax(logits)
    if top_p < 1:
        ordered = tf.sort(probabilities, direction="DESCENDING")
        # The likeliest level is always among them, and whatever is as likely as the last of them.
        needed = tf.reduce_sum(tf.cast(tf.cumsum(ordered, axis=1, exclusive=True) < top_p, tf.int32), axis=1)
        least = tf.gather(ordered, needed - 1, batch_dims=1)
        probabilities = tf.where(probabilities >= least[:, tf.newaxis], probabilities, 0.0)
    cumulative = _cumulated(probabilities)
    # Not beyond the last level that can be drawn, where sums are rounded.
    target = tf.minimum(uniform * cumulative[:, -1], cumulative[:, -1] * (1 - 1e-6))
    return tf.reduce_sum(tf.cast(cumulative <= target[:, tf.newaxis], tf.int32), axis=1)


def _cumulated(values: tf.Tensor) -> tf.Tensor:
    """Cumulative sums of rows, first within parts and then over them: XLA adds up each sum of a row anew."""
    count = values.shape[1]
    width = max(width for width in range(1, math.isqrt(count) + 1) if count % width == 0)
    within = tf.cumsum(tf.reshape(values, [-1, count // width, width]), axis=2)
    before = tf.cumsum(within[:, :, -1], axis=1, exclusive=True)
    return tf.reshape(within + before[:, :, tf.newaxis], [-1, count])
