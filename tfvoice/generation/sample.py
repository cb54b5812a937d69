"""Sampling audio from a generator: a compiled loop, seeded, in bounded memory.

Each sequence has random numbers of its own, and the same bits whatever else is in its batch (`loops`). So it depends on
(seed, index) alone.
"""

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfvoice.audio import io as audio_io
from tfvoice.audio import quantize
from tfvoice.errors import TfvoiceError
from tfvoice.generation.generator import Generator
from tfvoice.generation.loops import GraphLoops, KernelLoops, Start
from tfvoice.generation.options import DEFAULT_OPTIONS, SamplingOptions
from tfvoice.models.sample_rnn import SampleRnn
from tfvoice.report import plots

# Recordings in the figure, and the length of each that it shows.
_PLOTTED, _PLOTTED_SECONDS = 8, 10.0
# Size limit of a WAV file, in bytes.
_MAX_WAV_BYTES = 2**32 - 2**16


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
        self._loops = GraphLoops(self._model) if on_gpu else KernelLoops(self._model)
        self.batch_size = self._loops.batch_size
        # A table, because the last bit of a value that is decoded in bulk depends on its place in memory.
        self._values = quantize.decode(self.quantization, np.arange(self.quantization.levels)).numpy()
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
        return self._blocks(count, samples, options, self._encode_prime(prime))

    def _blocks(
        self, count: int, samples: int, options: SamplingOptions, start: Start
    ) -> Iterator[tuple[int, np.ndarray]]:
        # For each call, because the weights may have changed.
        weights = self._loops.weights()
        with futures.ThreadPoolExecutor(self._loops.at_once) as pool:
            for first in range(0, count, self.batch_size):
                sequences = range(first, min(first + self.batch_size, count))
                groups = self._loops.groups(sequences)
                loops = [self._loops.blocks(weights, group, samples, options, start) for group in groups]
                for _ in range(-(-samples // self._loops.block_samples)):
                    yield first, self._values[np.concatenate(list(pool.map(next, loops)))]

    def _encode_prime(self, prime: np.ndarray | None) -> Start:
        """Where the sequences start: after a prime, or after silence."""
        state, size = self._model.initial_state(1), self.context
        if prime is None:
            return Start(np.full(size, self.quantization.silence, np.int32), state)
        if len(prime) < size:
            raise TfvoiceError(
                f"the prime holds {len(prime)} samples at {self.sample_rate_hz} Hz, less than a frame of {size}; "
                "give --prime a longer recording."
            )
        # Whole frames up to its end; the last one is the context of the first step.
        prime = quantize.normalise(self.quantization, prime)
        levels = quantize.encode(self.quantization, prime[len(prime) % size :]).numpy()
        levels = np.concatenate([np.full(size, self.quantization.silence, np.int32), levels])
        window = self._loops.block_samples
        for start in range(0, len(levels) - size, window):
            state = self._advance(tf.constant(levels[np.newaxis, start : start + window + size]), state)
        return Start(levels[-size:], state)


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
