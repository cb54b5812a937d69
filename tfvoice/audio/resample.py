"""Resampling in the graph with core TensorFlow operations, from a rate that is known only at run time.

A windowed sinc filter (Smith, "Digital Audio Resampling", CCRMA) in its polyphase form: with `down / up` the ratio of
the rates in lowest terms, output sample `m` lies at input sample `m * down / up`, so that the weights repeat after `up`
outputs. The weights are one matrix, and a block of outputs is the product of a window of the input with it. This is for
exported models; files are resampled by soxr (`audio.io`).
"""

import math

import tensorflow as tf

# Ends of the pass band and start of the stop band, relative to the lower Nyquist frequency: those of soxr's HQ.
_PASS, _STOP = 0.9136, 1.0
_ATTENUATION_DB = 120.4
# Kaiser's formulas for the half-length of the window, in samples of the lower rate, and its shape.
_HALF = math.ceil((_ATTENUATION_DB - 7.95) / (14.36 * (_STOP - _PASS) / 2) / 2)
_BETA = 0.1102 * (_ATTENUATION_DB - 8.7)
# Limit on the size of the weight matrix, which takes 256 MiB while it is computed. Only rates that have hardly a factor
# in common need more.
_MAX_WEIGHTS = 2**24


def resample(samples: tf.Tensor, from_hz: tf.Tensor, to_hz: int) -> tf.Tensor:
    """Resamples without delay.

    Args:
      samples: float32 `[samples]`.
      from_hz: int32 scalar, rate of the samples.
      to_hz: rate of the result.

    Returns:
      float32 `[samples * to_hz / from_hz, rounded]`.

    Raises:
      tf.errors.InvalidArgumentError: the rates have so few factors in common that the weights do not fit into memory.
    """
    samples, from_hz = tf.convert_to_tensor(samples, tf.float32), tf.cast(from_hz, tf.int32)
    return tf.cond(from_hz == to_hz, lambda: samples, lambda: _polyphase(samples, from_hz, to_hz))


def _polyphase(samples, from_hz, to_hz: int):
    common = _common_divisor(from_hz, to_hz)
    up, down = to_hz // common, from_hz // common
    # In samples of the input; more where the input has the higher rate.
    half = tf.maximum(_HALF, tf.cast(tf.math.ceil(_HALF * from_hz / to_hz), tf.int32))
    # Blocks of so many periods that their input is at least as long as its overlap with the neighbouring blocks.
    periods = -(-2 * half // down)
    up, down = up * periods, down * periods
    message = "This sample rate has too little in common with that of the model; resample the audio first, in Hz:"
    fits = tf.cast(down + 2 * half, tf.int64) * tf.cast(up, tf.int64) <= _MAX_WEIGHTS
    with tf.control_dependencies([tf.debugging.Assert(fits, [message, from_hz])]):
        weights = _weights(up, down, half)
    count = tf.size(samples, out_type=tf.int64)
    output_count = (2 * count * to_hz + tf.cast(from_hz, tf.int64)) // (2 * tf.cast(from_hz, tf.int64))
    blocks = -(-tf.cast(output_count, tf.int32) // up)
    padding = tf.maximum(0, blocks * down + half - tf.size(samples))
    padded = tf.pad(samples, [[half, padding]])
    indices = down * tf.range(blocks)[:, tf.newaxis] + tf.range(down + 2 * half)
    return tf.reshape(tf.gather(padded, indices) @ weights, [-1])[:output_count]


def _weights(up, down, half):
    """Filter matrix `[down + 2 * half, up]`: the weight of each input sample in each output of a block."""
    inputs = tf.cast(tf.range(down + 2 * half) - half, tf.float64)[:, tf.newaxis]
    outputs = tf.cast(tf.range(up), tf.float64) * tf.cast(down, tf.float64) / tf.cast(up, tf.float64)
    distance = inputs - outputs
    # Relative to the Nyquist frequency of the input.
    cutoff = tf.cast(tf.minimum(up, down), tf.float64) / tf.cast(down, tf.float64) * ((_PASS + _STOP) / 2)
    angle = math.pi * cutoff * distance
    sinc = tf.where(distance == 0, tf.ones_like(angle), tf.math.divide_no_nan(tf.sin(angle), angle))
    inside = tf.nn.relu(1 - tf.square(distance / tf.cast(half, tf.float64)))
    window = tf.where(inside > 0, tf.math.bessel_i0(_BETA * tf.sqrt(inside)), tf.zeros_like(inside))
    weights = sinc * window
    # Unit gain at 0 Hz: a constant stays as it is.
    return tf.cast(weights / tf.reduce_sum(weights, axis=0), tf.float32)


def _common_divisor(a, b):
    """Euclid's algorithm."""
    divisor, _ = tf.while_loop(
        lambda _, remainder: remainder > 0, lambda a, b: (b, a % b), (tf.cast(a, tf.int32), tf.constant(b))
    )
    return divisor
