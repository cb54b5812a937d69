"""The signature of an exported generator: seed to audio in one graph of core TensorFlow operations."""

from collections.abc import Callable

import tensorflow as tf

from tfvoice.audio import quantize
from tfvoice.generation import sampling_loop
from tfvoice.generation.generator import Generator


def signatures(run: Generator) -> dict[str, Callable]:
    """The signature of a generator, under the names `serving_default` and `generate`.

    Inputs: int32 `count` and `samples`, float32 `temperature`, int32 `seed`, all scalars. Outputs: `waveform`, float32
    `[count, samples]` in -1 to 1, and `wav_bytes`, `[count]`, the same as WAV files of 16 bits.
    """
    rate_hz = run.sample_rate_hz

    @tf.function(
        input_signature=[
            tf.TensorSpec([], tf.int32, name="count"),
            tf.TensorSpec([], tf.int32, name="samples"),
            tf.TensorSpec([], tf.float32, name="temperature"),
            tf.TensorSpec([], tf.int32, name="seed"),
        ]
    )
    def generate(count, samples, temperature, seed):
        """Samples `count` recordings of `samples` samples each."""
        valid = (count > 0) & (samples > 0) & (temperature > 0)
        message = "count, samples and temperature must be above 0, not:"
        with tf.control_dependencies([tf.debugging.Assert(valid, [message, count, samples, temperature])]):
            count, samples = tf.identity(count), tf.identity(samples)
        levels = sampling_loop.sample_levels(
            run.model, run.config.quantization.silence, count, samples, temperature, seed
        )
        waves = quantize.decode(run.config.quantization, levels)
        wav = tf.map_fn(
            lambda wave: tf.audio.encode_wav(wave[:, tf.newaxis], rate_hz), waves, fn_output_signature=tf.string
        )
        return {"waveform": waves, "wav_bytes": wav}

    return {"serving_default": generate, "generate": generate}
