"""Sliding-window mean and variance normalisation (CMVN) of the features of a long recording.

A recogniser whose features are normalised by utterance was trained on clips of a few seconds that are mostly speech.
The mean and deviation of a whole recording are different: silence takes part in them, and speakers change. Here only
frames with sound count, and those within 5 s of a frame more than those far away. For 150 clips with 8 s of quiet
between them, one recogniser made 68 % character errors clip by clip, 82 % with the statistics of the whole recording,
69 % with those of its frames with sound, and 67 % as it is done here.

It takes two passes, both window by window and in the graph. The first, `accumulate`, sums the features of all frames by
their level, because what counts as sound is known only after the loudest frame. The second, `normalize`, normalises by
the statistics of all frames with sound, and then by those of the frames around each one; it falls back on the former
where there is little sound.
"""

import math

import tensorflow as tf

from tfvoice.audio import features
from tfvoice.audio.features import FeatureConfig

# To either side of a frame.
_WINDOW_SECONDS = 5.0
# Frames have sound when the loudest part of the recording is at most this much louder.
_RANGE_DB = 35.0
# The level of a frame is that of the samples so far to either side, which joins the sounds of a word.
_LEVEL_SECONDS = 0.1
# The weight of the statistics of the whole recording, beside one second for every second with sound.
_PRIOR_SECONDS = 1.0
_LOWEST_DB, _BINS = -120, 200


def reach_samples(config: FeatureConfig) -> int:
    """How far to either side a normalised frame depends on samples."""
    reach = (_WINDOW_SECONDS + _LEVEL_SECONDS) * config.sample_rate_hz
    return int(reach) + 3 * config.hop_samples + config.transform_samples


def levels_db(config: FeatureConfig, samples: tf.Tensor) -> tf.Tensor:
    """Level around each frame of `features.compute`.

    Args:
      config: where frames lie.
      samples: float32 `[samples]`.

    Returns:
      Decibels relative to a mean square of 1, float64 `[frames]`; whole numbers.
    """
    hop = config.hop_samples
    reach = max(1, round(_LEVEL_SECONDS * config.sample_rate_hz / hop))
    samples = tf.cast(samples, tf.float64)
    count = features.frame_count(config, tf.size(samples))
    squares = tf.pad(tf.square(samples), [[0, count * hop - tf.size(samples)]])
    power = _sliding_sum(tf.reduce_sum(tf.reshape(squares, [count, hop]), axis=1), reach, reach)
    return tf.round(10 / math.log(10) * tf.math.log(tf.maximum(power / (2 * reach * hop), 1e-12)))


def start(config: FeatureConfig) -> tf.Tensor:
    """The sums before the first frame: float64 `[levels, 1 + 2 * channels]`."""
    return tf.zeros([_BINS, 1 + 2 * features.channels(config)], tf.float64)


def accumulate(sums: tf.Tensor, values: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """The sums after more frames: their number, features and squared features by level.

    Args:
      sums: from `start`, or from the call before.
      values: `[frames, channels]`, features without normalisation.
      levels: `levels_db` of the same frames.
    """
    values = tf.cast(values, tf.float64)
    rows = tf.concat([tf.ones_like(values[:, :1]), values, tf.square(values)], axis=1)
    bins = tf.clip_by_value(tf.cast(levels, tf.int32) - _LOWEST_DB, 0, _BINS - 1)
    return sums + tf.math.unsorted_segment_sum(rows, bins, _BINS)


def threshold_db(sums: tf.Tensor) -> tf.Tensor:
    """Level from which on a frame has sound, float64."""
    loudest = tf.reduce_max(tf.where(sums[:, 0] > 0, tf.range(_BINS), 0)) + _LOWEST_DB
    return tf.cast(loudest, tf.float64) - _RANGE_DB


def statistics(config: FeatureConfig, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and deviation of the frames with sound, of each channel or of the whole matrix, as `config` normalises.

    Returns:
      Both float64 `[channels]`.
    """
    levels = tf.range(_BINS, dtype=tf.float64) + _LOWEST_DB
    total = tf.reduce_sum(tf.where((levels >= threshold_db(sums))[:, tf.newaxis], sums, 0.0), axis=0)
    count = total[0]
    mean, square = tf.unstack(_same_for_all_channels(config, tf.reshape(total[1:], [2, -1]) / count))
    variance = tf.maximum(square - tf.square(mean), 0.0) * count / tf.maximum(count - 1, 1.0)
    return mean, tf.sqrt(variance)


def normalize(config: FeatureConfig, values: tf.Tensor, levels: tf.Tensor, sums: tf.Tensor) -> tf.Tensor:
    """Moves features to mean 0 and deviation 1 over the frames with sound within 5 s of each.

    Args:
      config: of the features.
      values: float32 `[frames, channels]`, features without normalisation.
      levels: `levels_db` of the same frames.
      sums: of the whole recording.

    Returns:
      float32 of the same shape.
    """
    mean, deviation = statistics(config, sums)
    scale = 1 / tf.maximum(deviation, features.MIN_DEVIATION[config.kind])
    values = (tf.cast(values, tf.float64) - mean) * scale
    frames_per_second = config.sample_rate_hz / config.hop_samples
    reach, prior = round(_WINDOW_SECONDS * frames_per_second), _PRIOR_SECONDS * frames_per_second
    sound = tf.cast(levels >= threshold_db(sums), tf.float64)[:, tf.newaxis]
    total = prior + _sliding_sum(sound, reach, reach + 1)
    mean = _sliding_sum(_same_for_all_channels(config, values) * sound, reach, reach + 1) / total
    squares = _same_for_all_channels(config, tf.square(values))
    square = (prior + _sliding_sum(squares * sound, reach, reach + 1)) / total
    return tf.cast((values - mean) * tf.math.rsqrt(square - tf.square(mean)), tf.float32)


def _same_for_all_channels(config: FeatureConfig, moments: tf.Tensor) -> tf.Tensor:
    """The mean over the channels of `[rows, channels]` for each of them, where they are normalised as one."""
    if config.normalization != "utterance_scalar":
        return moments
    return tf.broadcast_to(tf.reduce_mean(moments, axis=1, keepdims=True), tf.shape(moments))


def _sliding_sum(values: tf.Tensor, before: int, after: int) -> tf.Tensor:
    """Sum of the rows from `before` of them back to `after` of them on, the last not counted, for each row."""
    count = tf.shape(values)[0]
    sums = tf.concat([tf.zeros_like(values[:1]), tf.cumsum(values, axis=0)], axis=0)
    rows = tf.range(count)
    return tf.gather(sums, tf.minimum(rows + after, count)) - tf.gather(sums, tf.maximum(rows - before, 0))
