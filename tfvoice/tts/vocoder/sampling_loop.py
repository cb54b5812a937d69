"""Sampling of a vocoder in a loop of core TensorFlow operations, for an export; `kernel` is many times faster."""

import tensorflow as tf

from tfvoice import keys
from tfvoice.generation import sampling_loop
from tfvoice.keys import Purpose
from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES, WaveNet
from tfvoice.tts.vocoder.synthesis import NOISE_BLOCK


def sample_levels(net: WaveNet, silence: int, biases, first, start, temperature, seed) -> tf.Tensor:
    """Samples the levels of an utterance, in a graph.

    Args:
      net: the WaveNet.
      silence: the level of silence.
      biases: of the conditioner, float32 `[frames, layers, 2 * residual]`.
      first: frame at which the network starts, with silence before it.
      start: frame from which levels are sampled; those before are silence.
      temperature: float32 scalar, divisor of the logits.
      seed: int32 scalar; random numbers are those of (seed, sample), as in `synthesis.uniform_noise`.

    Returns:
      int32 `[(frames - start) * FRAME_SAMPLES]`.
    """
    end = tf.shape(biases)[0] * FRAME_SAMPLES
    noise, sampled = _noise(seed, end), start * FRAME_SAMPLES
    dilations = tf.constant(net.config.dilations)
    # The inputs of each layer as far as it looks back, in rows of its own.
    rows = tf.cumsum(dilations, exclusive=True)
    memory = tf.zeros([sum(net.config.dilations), net.config.residual])

    def body(sample, before, memory, written):
        places = rows + sample % dilations
        logits, inputs = net.step(before, biases[sample // FRAME_SAMPLES], tf.gather(memory, places))
        level = sampling_loop.sample_categorical(logits[tf.newaxis] / temperature, noise[sample, tf.newaxis])[0]
        level = tf.where(sample < sampled, silence, level)
        memory = tf.tensor_scatter_nd_update(memory, places[:, tf.newaxis], inputs)
        return sample + 1, tf.stack([before[1], level]), memory, written.write(sample, level)

    written = tf.TensorArray(tf.int32, end, element_shape=[])
    loop = (first * FRAME_SAMPLES, tf.fill([2], silence), memory, written)
    *_, written = tf.while_loop(lambda sample, *_: sample < end, body, loop, parallel_iterations=1)
    return written.gather(tf.range(sampled, end))


def _noise(seed, samples) -> tf.Tensor:
    """What `synthesis.uniform_noise` gives, in a graph: float32, at least `[samples]`."""
    key = keys.fold_in(keys.from_seed(seed), Purpose.SAMPLING)
    blocks = tf.map_fn(
        lambda block: tf.random.stateless_uniform([NOISE_BLOCK], keys.fold_in(key, block), alg="philox"),
        tf.range(-(-samples // NOISE_BLOCK)),
        fn_output_signature=tf.float32,
    )
    return tf.reshape(blocks, [-1])
