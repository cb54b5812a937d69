"""Speaking: conditioning to samples, with the weights of a vocoder."""

from collections.abc import Iterator
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
_NOISE_BLOCK = 4096
# Frames of the first block of a stream: what is heard first is made at once, 0.1 s at 16 kHz. Then 0.5 s.
_FIRST_FRAMES = 25
_BLOCK_FRAMES = 125


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
      threads: 1 or 2 for the samples of an utterance, which do not depend on it; None: what is faster on this machine.
    """

    def __init__(self, run: VocoderRun, threads: int | None = None):
        self._run, self._model, self._threads = run, run.model, threads
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
        """Samples an utterance: the blocks of `stream` as one array."""
        return np.concatenate([np.empty(0, np.float32), *self.stream(frames, temperature, seed)])

    def stream(
        self, frames: ConditioningFrames, temperature: float = 1.0, seed: int = 0, block_frames: int = _BLOCK_FRAMES
    ) -> Iterator[np.ndarray]:
        """Samples an utterance block by block; nothing runs between two blocks.

        Args:
          frames: of the utterance, with the silence before it, which is not sampled.
          temperature: divisor of the logits.
          seed: of the random numbers.
          block_frames: frames of a block; the first block is shorter. The samples do not depend on it.

        Yields:
          float32 `[samples]` in -1 to 1: the utterance without the silence.
        """
        rows = (values[np.newaxis] for values in (frames.phonemes.astype(np.int32), frames.stresses.astype(np.int32)))
        biases = self._biases(*rows, frames.f0[np.newaxis]).numpy()
        sizes, config = self._run.sizes, self._model.config
        # The network sees no more of the silence than in training.
        start, silence = (sizes.silence - sizes.lead) * FRAME_SAMPLES, sizes.silence * FRAME_SAMPLES
        levels = np.full(2 + len(biases) * FRAME_SAMPLES, self._quantization.silence, np.int32)
        weights_, dilations = weights(self._model), np.array(config.dilations)
        memory = np.zeros([dilations.sum(), config.residual], np.float32)
        places = np.zeros(config.layers, np.int64)
        for first, last in block_bounds(sizes.silence, len(biases), block_frames):
            end = last * FRAME_SAMPLES
            kernel.advance(
                levels, start, end, silence, uniform_noise(seed, start, end), np.float32(1 / temperature), biases,
                FRAME_SAMPLES, *weights_, dilations, memory, places,
            )  # fmt: skip
            start = end
            yield self._values[levels[2 + first * FRAME_SAMPLES : 2 + end]]


def block_bounds(start: int, end: int, block_frames: int) -> Iterator[tuple[int, int]]:
    """The first frame of each block of a stream, and the frame after its last."""
    size = min(_FIRST_FRAMES, block_frames)
    while start < end:
        yield start, min(start + size, end)
        start, size = start + size, block_frames


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


def uniform_noise(seed: int, start: int, end: int) -> np.ndarray:
    """Random numbers in 0 to 1 of the samples from `start` to `end`, determined by (seed, sample): float32."""
    key, first = keys.fold_in(keys.from_seed(seed), Purpose.SAMPLING), start // _NOISE_BLOCK
    blocks = [
        tf.random.stateless_uniform([_NOISE_BLOCK], keys.fold_in(key, block), alg="philox").numpy()
        for block in range(first, -(-end // _NOISE_BLOCK))
    ]
    return np.concatenate(blocks)[start - first * _NOISE_BLOCK : end - first * _NOISE_BLOCK]
