"""Sampling audio from a generator: a compiled loop, seeded, in bounded memory.

Each CPU core samples one sequence in a loop of its own; a GPU samples many in one loop. A loop always has the same
number of rows, used or not, and each row has random numbers of its own. So a sequence depends on (seed, index) alone,
bit for bit, whatever else is in its batch.
"""

import contextlib
import functools
import itertools
import shutil
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfvoice import hardware
from tfvoice.audio import io as audio_io
from tfvoice.audio import quantize
from tfvoice.errors import TfvoiceError
from tfvoice.generation import sampling_loop
from tfvoice.generation.generator import Generator
from tfvoice.models.sample_rnn import FusedWeights, SampleRnn
from tfvoice.report import plots

# Sequences in one loop on a GPU. On a CPU a matrix-vector product takes a half to a third of the time of 4 vectors.
_GPU_WIDTH = 64
# Recordings in the figure, and the length of each that it shows.
_PLOTTED, _PLOTTED_SECONDS = 8, 10.0
# Logits divided by a lower temperature are no longer finite; this one already gives the likeliest level alone.
_MIN_TEMPERATURE = 1e-4
_MAX_SEED = 2**31 - 1
# Size limit of a WAV file, in bytes.
_MAX_WAV_BYTES = 2**32 - 2**16


class SamplingOptions(NamedTuple):
    """Options of the sampling.

    Attributes:
      temperature: divisor of the logits: a number, or several that are interpolated linearly over the length, evenly
        spaced.
      top_p: nucleus sampling: sample from the likeliest levels whose probabilities sum to this; 1: from all levels
        (Holtzman et al., arXiv 1904.09751).
      seed: of the random numbers, 0 to 2**31 - 1.
    """

    temperature: tuple[float, ...] = (1.0,)
    top_p: float = 1.0
    seed: int = 0

    def check(self) -> None:
        """Raises `TfvoiceError` where an option is out of range."""
        if not self.temperature or not all(_MIN_TEMPERATURE <= value < float("inf") for value in self.temperature):
            raise TfvoiceError(
                f"--temperature must be a number of at least {_MIN_TEMPERATURE:g}, or several with commas between them."
            )
        if not 0 < self.top_p <= 1:
            raise TfvoiceError(f"--top_p={self.top_p:g} must be above 0 and at most 1.")
        if not 0 <= self.seed <= _MAX_SEED:
            raise TfvoiceError(f"--seed={self.seed} must be from 0 to {_MAX_SEED}.")

    def temperatures(self, start: int, count: int, steps: int) -> np.ndarray:
        """Temperatures of `count` steps from `start` on, float32; steps past the last get its temperature."""
        points = np.linspace(0, 1, len(self.temperature))
        positions = np.arange(start, start + count) / max(1, steps - 1)
        return np.interp(positions, points, self.temperature).astype(np.float32)


DEFAULT_OPTIONS = SamplingOptions()


class Sampler:
    """Samples audio from a run.

    Args:
      generator: the run, with its weights.

    Attributes:
      sample_rate_hz, quantization: of the run.
      context: levels that the first sample depends on.
      batch_size: number of sequences that are sampled at the same time.
    """

    def __init__(self, generator: Generator):
        self.sample_rate_hz = generator.sample_rate_hz
        self.quantization = generator.config.quantization
        self.context = generator.model.config.context
        self._model: SampleRnn = generator.model
        # Decides only how many sequences are sampled at once.
        on_gpu = bool(tf.config.list_logical_devices("GPU"))
        self._width, self._loops_at_once = (_GPU_WIDTH, 1) if on_gpu else (1, hardware.cores())
        self.batch_size = self._width * self._loops_at_once
        self._frames = sampling_loop.block_frames(self.context)
        # A table, because the last bit of a value that is decoded in bulk depends on its place in memory.
        self._values = quantize.decode(self.quantization, np.arange(self.quantization.levels)).numpy()
        # Called by every `blocks`, because weights may have changed; the loop is compiled once.
        self._prepare = tf.function(self._model.fuse_weights)
        self._loops: dict[float, Callable] = {}
        self._noise = tf.function(functools.partial(sampling_loop.uniform_noise, self._frames * self.context))
        self._advance = tf.function(lambda levels, state: self._model(levels, state)[1], reduce_retracing=True)

    def sample(
        self,
        count: int,
        samples: int,
        options: SamplingOptions = DEFAULT_OPTIONS,
        prime: np.ndarray | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Samples sequences.

        Args:
          count: number of sequences.
          samples: length of each.
          options: temperature, nucleus and seed.
          prime: float32 `[samples]` at the run's rate, which the sequences continue; None: they start after silence.
          progress: whether to show a progress bar, in a terminal.

        Returns:
          float32 `[count, samples]` in -1 to 1, without the prime.

        Raises:
          TfvoiceError: an option is out of range, or the prime is shorter than a frame.
        """
        batches: dict[int, list[np.ndarray]] = {}
        with _progress_bar(count * samples, progress) as bar:
            for first, block in self.blocks(count, samples, options, prime):
                batches.setdefault(first, []).append(block)
                bar.update(block.size)
        waves = [np.concatenate(blocks, axis=1) for blocks in batches.values()]
        return np.concatenate(waves) if waves else np.zeros((0, samples), np.float32)

    def blocks(
        self, count: int, samples: int, options: SamplingOptions = DEFAULT_OPTIONS, prime: np.ndarray | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """`sample` block by block, in bounded memory.

        Returns:
          Pairs of the index of the first sequence of a batch, and the next block of its sequences, float32
          `[sequences, samples]`; all blocks of one batch before those of the next.
        """
        options.check()
        # Not in the generator function, so that errors are raised at once.
        context, state = self._encode_prime(prime)
        return self._blocks(count, samples, options, context, state)

    def _blocks(
        self, count: int, samples: int, options: SamplingOptions, context, state
    ) -> Iterator[tuple[int, np.ndarray]]:
        weights = self._prepare()
        blocks = -(-samples // (self._frames * self.context))
        with futures.ThreadPoolExecutor(self._loops_at_once) as pool:
            for first in range(0, count, self.batch_size):
                used = min(self.batch_size, count - first)
                starts = range(first, first + used, self._width)
                loops = [self._loop_blocks(weights, start, samples, options, context, state) for start in starts]
                for _ in range(blocks):
                    levels = np.concatenate(list(pool.map(next, loops)), axis=1)
                    yield first, self._values[levels[:, :used].T]

    def _encode_prime(self, prime: np.ndarray | None) -> tuple[np.ndarray, list[tf.Tensor]]:
        """The levels before the first sample, `[context, rows of a loop]`, and the recurrent states there."""
        state = self._model.initial_state(self._width)
        size = self.context
        if prime is None:
            return np.full((size, self._width), self.quantization.silence, np.int32), state
        if len(prime) < size:
            raise TfvoiceError(
                f"the prime holds {len(prime)} samples at {self.sample_rate_hz} Hz, less than a frame of {size}; "
                "give --prime a longer recording."
            )
        # Whole frames up to its end; the last one is the context of the first step.
        prime = quantize.normalise(self.quantization, prime)
        levels = quantize.encode(self.quantization, prime[len(prime) % size :]).numpy()
        levels = np.concatenate([np.full(size, self.quantization.silence, np.int32), levels])
        window = size * self._frames
        for start in range(0, len(levels) - size, window):
            part = levels[start : start + window + size]
            state = self._advance(tf.constant(np.tile(part, (self._width, 1))), state)
        return np.tile(levels[-size:, np.newaxis], (1, self._width)), state

    def _loop_blocks(
        self, weights: FusedWeights, first: int, samples: int, options: SamplingOptions, context, state
    ) -> Iterator[np.ndarray]:
        """Blocks of levels `[samples, rows of a loop]` of the sequences from `first` on."""
        frames = -(-samples // self.context)
        loop = self._loop(options.top_p)
        levels = tf.constant(context)
        seed, sequences = tf.constant(options.seed), tf.range(first, first + self._width)
        for block, start in enumerate(range(0, frames, self._frames)):
            # The last block is computed at full length, because another length would be compiled again.
            temperatures = tf.constant(options.temperatures(start, self._frames, frames))
            noise = self._noise(seed, sequences, tf.constant(block))
            sampled, levels, state = loop(weights, state, levels, noise, temperatures)
            yield sampled.numpy()[: samples - start * self.context]

    def _loop(self, top_p: float) -> Callable:
        if top_p not in self._loops:
            loop = functools.partial(sampling_loop.sample_frames, self._model, top_p)
            self._loops[top_p] = tf.function(loop, jit_compile=True, autograph=False)
        return self._loops[top_p]


def sample(
    run_dir: str | Path,
    output: str | Path,
    seconds: float = 5.0,
    count: int = 4,
    options: SamplingOptions = DEFAULT_OPTIONS,
    prime: str | Path | None = None,
    suffix: str = "wav",
    checkpoint: str = "best",
    overwrite: bool = False,
) -> list[Path]:
    """Samples audio to files, `sample-000.wav` and so on, with a figure of the first of them, `samples.png`.

    Args:
      run_dir: folder of the run.
      output: folder of the files; created where it does not exist.
      seconds: length of each recording.
      count: number of recordings.
      options: temperature, nucleus and seed.
      prime: recording to continue; it is not repeated in the files.
      suffix: `wav` or `flac`.
      checkpoint: `best` or `last`.
      overwrite: replace existing files.

    Returns:
      The paths of the recordings.

    Raises:
      TfvoiceError: the run or the prime cannot be used, an option is out of range, a file exists, or the disk is full.
      KeyboardInterrupt: Ctrl-C; the message says which recordings were written, and how much of them.
    """
    generator = Generator.load(run_dir, checkpoint)
    rate_hz = generator.sample_rate_hz
    if not 0 < seconds < float("inf"):
        raise TfvoiceError(f"--seconds={seconds:g} must be a number above 0.")
    samples = round(seconds * rate_hz)
    if samples < 1:
        raise TfvoiceError(f"--seconds={seconds:g} is less than a sample at {rate_hz} Hz; ask for more.")
    output = Path(output)
    _check_disk_space(output, count, 2 * samples, suffix)
    paths = [output / f"sample-{index:03d}.{suffix}" for index in range(count)]
    figure = output / "samples.png"
    existing = [path for path in (*paths, figure) if path.exists()]
    if existing and not overwrite:
        raise TfvoiceError(f"{existing[0]}: already exists; use another --output, or --overwrite to replace it.")
    prime_samples = None if prime is None else audio_io.read(prime, rate_hz)
    blocks = Sampler(generator).blocks(count, samples, options, prime_samples)
    output.mkdir(parents=True, exist_ok=True)
    plotted = _write(paths, blocks, samples, rate_hz)
    temperature = ", ".join(f"{value:g}" for value in options.temperature)
    title = f"{Path(run_dir).name}, temperature {temperature}, seed {options.seed}"
    plots.write(figure, plots.waveforms(plotted, rate_hz, [path.stem for path in paths[: len(plotted)]], title))
    return paths


def _check_disk_space(output: Path, count: int, size: int, suffix: str) -> None:
    """Raises where recordings of so many bytes do not fit; flac is assumed to compress to half at best."""
    if suffix == "wav" and size > _MAX_WAV_BYTES:
        raise TfvoiceError(f"{size / 1e9:.1f} GB a recording are more than a wav file can hold; add --format=flac.")
    folder = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(folder).free
    if count * size / (2 if suffix == "flac" else 1) > free:
        raise TfvoiceError(
            f"{output}: {count} recordings of {size / 1e9:.2f} GB do not fit, {free / 1e9:.2f} GB are free; ask for "
            "less, or use another --output."
        )


def _write(paths: list[Path], blocks, samples: int, rate_hz: int) -> np.ndarray:
    """Writes recordings while they are sampled; returns the start of the first ones, for the figure."""
    with _progress_bar(len(paths) * samples, True) as bar:
        starts = [
            _write_batch(paths, first, (block for _, block in batch), rate_hz, bar)
            for first, batch in itertools.groupby(blocks, key=lambda item: item[0])
        ]
    return np.concatenate(starts)


def _write_batch(paths: list[Path], first: int, blocks: Iterator[np.ndarray], rate_hz: int, bar: tqdm) -> np.ndarray:
    """Writes the recordings from `first` on in parallel; after Ctrl-C their partial files are kept."""
    limit = round(_PLOTTED_SECONDS * rate_hz)
    plotted, written = [], 0
    with contextlib.ExitStack() as stack:
        writers: list[audio_io.Writer] = []
        try:
            for block in blocks:
                if not writers:
                    batch = paths[first : first + len(block)]
                    writers = [stack.enter_context(audio_io.Writer(path, rate_hz)) for path in batch]
                for writer, wave in zip(writers, block, strict=True):
                    writer.write(wave)
                if written < limit:
                    plotted.append(block[: max(0, _PLOTTED - first), : limit - written])
                written += block.shape[1]
                bar.update(block.size)
                if elapsed := bar.format_dict["elapsed"]:
                    bar.set_postfix_str(f"{elapsed * rate_hz / max(1, bar.n):.2f} of real time", refresh=False)
        except KeyboardInterrupt:
            stack.close()
            # An interruption while a block is written leaves recordings of different lengths.
            seconds = min((writer.written for writer in writers), default=0) / rate_hz
            raise KeyboardInterrupt(_interrupted(paths, first, len(writers), seconds)) from None
    return np.concatenate(plotted, axis=1)


def _interrupted(paths: list[Path], complete: int, partial: int, seconds: float) -> str:
    """What was written before an interruption."""
    parts = [f"{complete} complete recordings are in {paths[0].parent}"] if complete else []
    if partial and seconds:
        hold = f" to {paths[complete + partial - 1].name} hold their" if partial > 1 else " holds its"
        parts.append(f"{paths[complete]}{hold} first {seconds:.1f} s")
    return " and ".join(parts) or "nothing was sampled yet"


def _progress_bar(samples: int, progress: bool) -> tqdm:
    disable = None if progress else True
    return tqdm(total=samples, desc="sampling", unit="sample", unit_scale=True, disable=disable, dynamic_ncols=True)
