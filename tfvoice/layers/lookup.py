"""Sums of rows of a table, one for each of the last few levels."""

import tensorflow as tf

from tfvoice.layers.xla import compiled, is_whole


@tf.custom_gradient
def lookup(table: tf.Tensor, levels: tf.Tensor):
    """Adds up, for each frame of levels, the row that each level has at its place in the frame.

    This is what an embedding of every level, joined and multiplied by a matrix, would give, where `table[k]` is the
    embedding times the rows of the matrix for place k. The product would be 4 million multiplications a sample at 16
    levels a frame and 1024 units; on 2 cores it takes 20 times as long for a batch of 16 x 512.

    Args:
      table: float32 `[frame, levels, units]`.
      levels: int32 `[frame - 1 + steps, batch]`.

    Returns:
      `[steps, batch, units]`; step t sees the levels t to t + frame - 1.
    """
    frame, count, units = table.shape
    steps = tf.shape(levels)[0] - (frame - 1)
    places = [levels[place : place + steps] for place in range(frame)]
    # XLA cannot compile sums of sorted rows, and a GPU has no need of them.
    add = tf.math.unsorted_segment_sum if is_whole() or tf.config.list_logical_devices("GPU") else _sums

    def gradient(upstream):
        rows = tf.reshape(upstream, [-1, units])
        return tf.stack([add(rows, tf.reshape(place, [-1]), count) for place in places]), None

    return (_sliced if levels.shape == (frame, 1) else _gathered)(table, places), gradient


def _sliced(table: tf.Tensor, places: list[tf.Tensor]) -> tf.Tensor:
    """`_gathered` for one step of one row: XLA looks for the row once, and not at each of its numbers."""
    rows = [tf.slice(table, [place, level[0, 0], 0], [1, 1, -1]) for place, level in enumerate(places)]
    return tf.add_n(rows)


def _sums(rows: tf.Tensor, levels: tf.Tensor, count: int) -> tf.Tensor:
    """Sum of the rows of each level, `[count, units]`: sorted, a third of the time of `unsorted_segment_sum`."""
    order = tf.argsort(levels, stable=True)
    return tf.raw_ops.SparseSegmentSumWithNumSegments(
        data=rows, indices=order, segment_ids=tf.gather(levels, order), num_segments=count
    )


@compiled
def _gathered(table: tf.Tensor, places: list[tf.Tensor]) -> tf.Tensor:
    """One pass over the result; apart, the gathers take five times as long."""
    return tf.add_n([tf.gather(rows, place) for rows, place in zip(tf.unstack(table), places, strict=True)])
