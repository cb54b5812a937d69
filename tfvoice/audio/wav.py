"""WAV files in the graph, for exported models; `audio.io` decodes all other formats."""

import tensorflow as tf

from tfvoice.audio.resample import resample

_LOWEST_HZ, _HIGHEST_HZ = 4000, 192000


def decode(data: tf.Tensor, sample_rate_hz: int) -> tf.Tensor:
    """Decodes the bytes of a WAV file to float32 `[samples]`, resampled to `sample_rate_hz`; channels are averaged."""
    samples, from_hz = tf.audio.decode_wav(data)
    supported = (from_hz >= _LOWEST_HZ) & (from_hz <= _HIGHEST_HZ)
    message = f"The sample rate must be {_LOWEST_HZ} to {_HIGHEST_HZ} Hz, not:"
    with tf.control_dependencies([tf.debugging.Assert(supported, [message, from_hz])]):
        return resample(tf.reduce_mean(samples, axis=1), from_hz, sample_rate_hz)
