"""Speaking: conditioning to samples, with the weights of a vocoder."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from tfvoice import hardware, keys
from tfvoice.audio import quantize
from tfvoice.keys import Purpose
from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES, WINDOW, Vocoder
from tfvoice.products import pad_columns, padded, tiled, zero_padded
from tfvoice.tts.vocoder import kernel
from tfvoice.tts.vocoder.conditioning import ConditioningFrames
from tfvoice.tts.vocoder.run import VocoderRun

# Samples whose random numbers are generated at once.
NOISE_BLOCK = 4096
# Frames of the first block of a stream: what is heard first is made at once, 0.1 s at 16 kHz. Then 0.5 s.
_FIRST_FRAMES = 25
_BLOCK_FRAMES = 125


class Synthesizer:
    """Speaks with a vocoder.

    Args:
      run: with its weights. Later changes of the weights have effect.
      threads: 1 or 2 for the samples of an utterance, which do not depend on it; None: 2 where there are as many cores.
    """

    def __init__(self, run: VocoderRun, threads: int | None = None):
        self._run, self._model, self._threads = run, run.model, threads or min(hardware.cores(), 2)
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
        sizes, weights_ = self._run.sizes, weights(self._model)
        # The network sees no more of the silence than in training.
        start, silence = (sizes.silence - sizes.lead) * FRAME_SAMPLES, sizes.silence * FRAME_SAMPLES
        levels = np.full(2 + len(biases) * FRAME_SAMPLES, self._quantization.silence, np.int32)
        state, biases = kernel.initial_state(weights_, levels), pad_gates(biases)
        unused = kernel.Draws(np.zeros(0, np.float32), 0, np.float32(1))
        kernel.advance(start, silence, silence, biases, unused, weights_, state)
        threads = self._threads
        for first, last in block_bounds(sizes.silence, len(biases), block_frames):
            start, end = first * FRAME_SAMPLES, last * FRAME_SAMPLES
            draws = kernel.Draws(uniform_noise(seed, start, end), start, np.float32(1 / temperature))
            threads = advance(threads, start, end, biases, draws, weights_, state)
            yield self._values[levels[2 + start : 2 + end]]


def advance(
    threads: int, start: int, end: int, biases: np.ndarray, draws: kernel.Draws, weights: kernel.Weights,
    state: kernel.State,
) -> int:  # fmt: skip
    """Draws samples on one thread or two; arguments as for `kernel.advance`. An exception in one ends both.

    Returns:
      How many threads should go on: one where there was no core for the other, which then costs more than it gives.
    """
    reached = _advance_together(start, end, biases, draws, weights, state) if threads == 2 else start
    kernel.advance(reached, end, reached, biases, draws, weights, state)
    return threads if reached == end else 1


def _advance_together(start, end, biases, draws, weights, state) -> int:
    """Draws samples on two threads, up to the sample that is returned."""
    own, counters = leader_share(weights), kernel.new_counters()

    def follow():
        try:
            kernel.follow(start, end, own, biases, draws, weights, state, counters)
        finally:
            kernel.end(counters)

    with ThreadPoolExecutor(1) as pool:
        try:
            follower = pool.submit(follow)
            reached = kernel.lead(start, end, own, biases, weights, state, counters)
        finally:
            kernel.end(counters)
        follower.result()
    return reached


def block_bounds(start: int, end: int, block_frames: int) -> Iterator[tuple[int, int]]:
    """The first frame of each block of a stream, and the frame after its last."""
    size = min(_FIRST_FRAMES, block_frames)
    while start < end:
        yield start, min(start + size, end)
        start, size = start + size, block_frames


def weights(model: Vocoder) -> kernel.Weights:
    """The weights of the WaveNet as the kernel takes them."""
    net, config = model.wavenet, model.config
    layers, r, s, levels = config.layers, padded(config.residual), padded(config.skip), padded(model.levels)
    first = net.first_kernel.numpy()
    first[1] += net.first_bias.numpy()
    gates = pad_gates(zero_padded(net.gate_kernels.numpy(), layers, 2, r, 2 * config.residual))
    dilations = np.array(config.dilations)
    skips = net.skip_kernel.numpy().reshape(layers, config.residual, config.skip)
    return kernel.Weights(
        dilations=dilations,
        rows=np.cumsum(dilations) - dilations,
        first=zero_padded(first, 2, model.levels, r),
        past=tiled(gates[:, 0]),
        present=tiled(gates[:, 1]),
        residuals=tiled(zero_padded(net.residual_kernels.numpy(), layers, r, r)),
        residual_biases=zero_padded(net.residual_biases.numpy(), layers, r),
        skips=tiled(zero_padded(skips, layers, r, s)),
        skip_bias=zero_padded(net.skip_bias.numpy(), s),
        head=tiled(zero_padded(net.head_kernel.numpy()[np.newaxis], 1, s, levels)),
        head_bias=zero_padded(net.head_bias.numpy(), levels),
        output=tiled(zero_padded(net.output_kernel.numpy()[np.newaxis], 1, levels, levels)),
        output_bias=net.output_bias.numpy(),
    )


def pad_gates(values: np.ndarray) -> np.ndarray:
    """Pads values of gates, `[..., 2 * residual]`, of which one half belongs to tanh and one to the sigmoid."""
    return pad_columns(values, 2)


def leader_share(weights: kernel.Weights) -> int:
    """How many layers' past the leader computes, so that both threads read as many weights."""
    chain, past = weights.present.size + weights.residuals.size, weights.past.size
    drawing = weights.skips.size + weights.head.size + weights.output.size
    layers = len(weights.dilations)
    return round(layers * min(max((drawing + past - chain) / (2 * past), 0), 1))


def uniform_noise(seed: int, start: int, end: int) -> np.ndarray:
    """Random numbers in 0 to 1 of the samples from `start` to `end`, determined by (seed, sample): float32."""
    key, first = keys.fold_in(keys.from_seed(seed), Purpose.SAMPLING), start // NOISE_BLOCK
    blocks = [
        tf.random.stateless_uniform([NOISE_BLOCK], keys.fold_in(key, block), alg="philox").numpy()
        for block in range(first, -(-end // NOISE_BLOCK))
    ]
    return np.concatenate(blocks)[start - first * NOISE_BLOCK : end - first * NOISE_BLOCK]
