"""Loops over the samples of sequences: the compiled kernel on a CPU, the graph on a GPU.

Both give a sequence the same bits whatever else is sampled with it: the kernel because its sums do not depend on the
number of rows, the graph because its loop always has the same number of rows, used or not. Between the two, the last
bits of logits differ.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfvoice import hardware
from tfvoice.generation import kernel, sampling_loop
from tfvoice.generation.options import SamplingOptions
from tfvoice.layers import recurrent
from tfvoice.models.sample_rnn import FusedWeights, SampleRnn, Tier
from tfvoice.products import pad_columns, padded, tiled, zero_padded

# Sequences of a loop on a CPU, with one loop for each core, and on a GPU.
_CPU_ROWS = 16
_GPU_ROWS = 64


class Start(NamedTuple):
    """What all sequences start with.

    Attributes:
      levels: int32 `[context]`, those before the first sample.
      state: the recurrent states there, of one row.
    """

    levels: np.ndarray
    state: list[tf.Tensor]


class _Loops:
    """What both have: blocks of a length, and their random numbers."""

    def __init__(self, model: SampleRnn, rows: int, at_once: int):
        self._model, self._rows, self.at_once, self.batch_size = model, rows, at_once, rows * at_once
        self._context = model.config.context
        self._frames = sampling_loop.block_frames(self._context)
        self.block_samples = self._frames * self._context
        self._fuse_weights = tf.function(model.fuse_weights)
        scalar = tf.TensorSpec([], tf.int32)
        self._noise = tf.function(
            functools.partial(sampling_loop.uniform_noise, self.block_samples),
            input_signature=[scalar, tf.TensorSpec([None], tf.int32), scalar],
        )

    def groups(self, sequences: range) -> list[range]:
        """The sequences of each loop, of up to `batch_size`; no loop has more than one sequence more than another."""
        loops = min(self.at_once, len(sequences))
        bounds = [sequences.start + len(sequences) * loop // loops for loop in range(loops + 1)]
        return [range(start, end) for start, end in itertools.pairwise(bounds)]


class KernelLoops(_Loops):
    """Sampling by `kernel`, with a thread for each core.

    Args:
      model: the network.

    Attributes:
      at_once, batch_size: the most loops that can run at the same time, and the most sequences of all of them.
      block_samples: samples of a block.
    """

    def __init__(self, model: SampleRnn):
        super().__init__(model, _CPU_ROWS, hardware.cores())

    def weights(self) -> kernel.Weights:
        """The weights as they are now, for `blocks`."""
        return kernel_weights(self._model, self._fuse_weights())

    def blocks(
        self, weights: kernel.Weights, sequences: range, samples: int, options: SamplingOptions, start: Start
    ) -> Iterator[np.ndarray]:
        """Samples sequences in one loop.

        Args:
          weights: of `weights`.
          sequences: their indices, one of `groups`.
          samples: length of each.
          options: temperature, nucleus and seed.
          start: what they start with.

        Yields:
          Blocks of levels, int32 `[sequences, samples]`.
        """
        context, frames = self._context, -(-samples // self._context)
        state = kernel.initial_state(weights, [values.numpy() for values in start.state], len(sequences))
        levels = np.empty([len(sequences), context + self.block_samples], np.int32)
        levels[:, -context:] = start.levels
        for block, first in enumerate(range(0, samples, self.block_samples)):
            levels[:, :context] = levels[:, -context:]
            temperatures = options.temperatures(first // context, self._frames, frames)
            noise = self._noise(options.seed, list(sequences), block).numpy()
            draws = kernel.Draws(noise, np.repeat(1 / temperatures, context), np.float32(options.top_p))
            count = min(self.block_samples, samples - first)
            kernel.advance(0, count, levels, draws, weights, state)
            yield levels[:, context : context + count].copy()


class GraphLoops(_Loops):
    """Sampling by the graph of `sampling_loop`, compiled by XLA; as `KernelLoops`."""

    def __init__(self, model: SampleRnn):
        super().__init__(model, _GPU_ROWS, 1)
        self._compiled: dict[float, Callable] = {}

    def weights(self) -> FusedWeights:
        """The weights as they are now, for `blocks`."""
        return self._fuse_weights()

    def blocks(
        self, weights: FusedWeights, sequences: range, samples: int, options: SamplingOptions, start: Start
    ) -> Iterator[np.ndarray]:
        """As `KernelLoops.blocks`."""
        frames, loop = -(-samples // self._context), self._loop(options.top_p)
        state = [tf.tile(values, [self._rows, 1]) for values in start.state]
        levels = tf.tile(tf.constant(start.levels)[:, tf.newaxis], [1, self._rows])
        rows = list(range(sequences.start, sequences.start + self._rows))
        for block, first in enumerate(range(0, frames, self._frames)):
            # The last block is computed at full length, because another length would be compiled again.
            temperatures = tf.constant(options.temperatures(first, self._frames, frames))
            noise = self._noise(options.seed, rows, block)
            sampled, levels, state = loop(weights, state, levels, noise, temperatures)
            yield sampled.numpy()[: samples - first * self._context, : len(sequences)].T

    def _loop(self, top_p: float) -> Callable:
        if top_p not in self._compiled:
            loop = functools.partial(sampling_loop.sample_frames, self._model, top_p)
            self._compiled[top_p] = tf.function(loop, jit_compile=True, autograph=False)
        return self._compiled[top_p]


def kernel_weights(model: SampleRnn, fused: FusedWeights) -> kernel.Weights:
    """The weights of the network as the kernel takes them."""
    units, (*hidden, (logits, logits_bias)) = model.config.units, fused.bottom
    table = fused.table.numpy()
    lowest = kernel.LowestWeights(
        table=zero_padded(table, *table.shape[:2], padded(units)),
        hidden=_tiled([weight for weight, _ in hidden], units, units),
        hidden_biases=pad_columns(np.stack([bias.numpy() for _, bias in hidden])),
        logits=_tiled([logits], units, model.classes),
        logits_bias=pad_columns(logits_bias.numpy()),
    )
    tiers = tuple(_tier_weights(*pair) for pair in zip(model.tiers, fused.tiers, strict=True))
    sizes = np.array([*model.config.frame_sizes[::-1], 1])
    return kernel.Weights(sizes, np.float32(model.classes / 2), tiers, lowest)


def _tier_weights(tier: Tier, weights: dict[str, tuple]) -> kernel.TierWeights:
    units, width, gates = tier.units, tier.size if tier.slowest else tier.units, recurrent.GATES[tier.cell]
    entries, biases = zip(*(weights[layer.name] for layer in tier.entries), strict=True)
    recurrents, *candidates = zip(*(weights[layer.name] for layer in tier.recurrents), strict=True)
    exits = [weights[layer.name] for layer in tier.exits]
    expand, expand_bias = weights["expand"] if tier.expand else (None, tf.zeros([units]))
    upsample, upsample_bias = weights["upsample"]
    return kernel.TierWeights(
        expand=_tiled([expand] if tier.expand else [], tier.size, units),
        expand_bias=pad_columns(expand_bias.numpy()),
        entry=_tiled(entries[:1], width, units, gates),
        entries=_tiled([entry[:units] for entry in entries[1:]], units, units, gates),
        shortcuts=_tiled([entry[units:] for entry in entries[1:] if tier.skips], width, units, gates),
        biases=pad_columns(np.stack([bias.numpy() for bias in biases]), gates),
        recurrents=_tiled(recurrents, units, units, gates - len(candidates)),
        candidates=_tiled(candidates[0] if candidates else [], units, units),
        exits=_tiled([kernel for kernel, _ in exits], units, units),
        exit_bias=pad_columns(exits[0][1].numpy() if exits else np.zeros(units, np.float32)),
        upsample=_tiled([upsample], units, units, tier.ratio),
        upsample_bias=pad_columns(upsample_bias.numpy(), tier.ratio),
    )


def _tiled(kernels, rows: int, columns: int, blocks: int = 1) -> np.ndarray:
    """Kernels `[rows, blocks * columns]`, each block padded, as `kernel.Weights` has them."""
    stacked = np.zeros([0, rows, blocks * columns], np.float32)
    if len(kernels):
        # Without copies: at 1024 units there are 170 MiB, and memory that is new takes longer than the tiles.
        views = [np.asarray(memoryview(values)) for values in kernels]
        stacked = np.stack(views) if len(views) > 1 else views[0][np.newaxis]
    values = pad_columns(stacked, blocks)
    return tiled(zero_padded(values, len(kernels), padded(rows), values.shape[-1]))
