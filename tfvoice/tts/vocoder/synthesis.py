"""Speaking: conditioning to samples, with the weights of a vocoder."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfvoice import keys
from tfvoice.audio import quantize
from tfvoice.keys import Purpose
from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES, WINDOW, Vocoder
from tfvoice.tts.vocoder import kernel
from tfvoice.tts.vocoder.conditioning import ConditioningFrames
from tfvoice.tts.vocoder.run import VocoderRun

# Samples whose random numbers are generated at once.
_BLOCK = 4096


class _Weights(NamedTuple):
    """Those of the WaveNet, in the order in which `kernel.advance` takes them."""

    first: np.ndarray
    gates: np.ndarray
    outs: np.ndarray
    out_biases: np.ndarray
    skip_bias: np.ndarray
    head: np.ndarray
    head_bias: np.ndarray
    output: np.ndarray
    output_bias: np.ndarray


class Synthesizer:
    """Speaks with a vocoder.

    Args:
      run: with its weights. Later changes of the weights have effect.
    """

    def __init__(self, run: VocoderRun):
        self._run, self._model = run, run.model
        self._quantization = run.config.quantization
        # A table, because the last bit of a value that is decoded in bulk depends on its place in memory.
        levels = np.arange(self._quantization.levels)
        self._values = quantize.decode(self._quantization, levels).numpy()
        window = tf.TensorSpec([1, None, WINDOW], tf.int32)

        @tf.function(input_signature=[window, window, tf.TensorSpec([1, None, 2], tf.float32)])
        def biases(phonemes, stresses, f0):
            found = self._model.condition(phonemes, stresses, f0, tf.shape(phonemes)[1:2])[0]
            return found + self._model.wavenet.gate_biases

        self._biases = biases

    def speak(self, frames: ConditioningFrames, temperature: float = 1.0, seed: int = 0) -> np.ndarray:
        """Samples an utterance.

        Args:
          frames: of the utterance, with the silence before it, which is not sampled.
          temperature: divisor of the logits.
          seed: of the random numbers.

        Returns:
          float32 `[samples]` in -1 to 1, without the silence.
        """
        rows = (values[np.newaxis] for values in (frames.phonemes.astype(np.int32), frames.stresses.astype(np.int32)))
        biases = self._biases(*rows, frames.f0[np.newaxis]).numpy()
        silence = self._run.sizes.silence * FRAME_SAMPLES
        samples = len(biases) * FRAME_SAMPLES
        levels = np.full(2 + samples, self._quantization.silence, np.int32)
        noise = uniform_noise(seed, samples)
        config = self._model.config
        dilations = np.array(config.dilations)
        memory = np.zeros([dilations.sum(), config.residual], np.float32)
        places = np.zeros(config.layers, np.int64)
        kernel.advance(
            levels, 0, samples, silence, noise, np.float32(1 / temperature), biases, FRAME_SAMPLES,
            *weights(self._model), dilations, memory, places,
        )  # fmt: skip
        return self._values[levels[2 + silence :]]


def weights(model: Vocoder) -> _Weights:
    """The weights of the WaveNet as arrays."""
    net, config = model.wavenet, model.config
    first = net.first_kernel.numpy()
    first[1] += net.first_bias.numpy()
    gates = net.gate_kernels.numpy().reshape(config.layers, 2 * config.residual, 2 * config.residual)
    skips = net.skip_kernel.numpy().reshape(config.layers, config.residual, config.skip)
    outs = np.concatenate([net.residual_kernels.numpy(), skips], axis=2)
    rest = (net.residual_biases, net.skip_bias, net.head_kernel, net.head_bias, net.output_kernel, net.output_bias)
    return _Weights(first, gates, outs, *(each.numpy() for each in rest))


def uniform_noise(seed: int, samples: int) -> np.ndarray:
    """Random numbers in 0 to 1 of each sample, determined by (seed, sample): float32 `[samples]`."""
    key = keys.fold_in(keys.from_seed(seed), Purpose.SAMPLING)
    blocks = [
        tf.random.stateless_uniform([_BLOCK], keys.fold_in(key, block), alg="philox").numpy()
        for block in range(-(-samples // _BLOCK))
    ]
    return np.concatenate(blocks)[:samples]
