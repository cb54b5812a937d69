"""Drawing audio from a generator: one compiled loop, seeded, in bounded memory.

Each core draws a sequence, in a loop of its own; a GPU draws many in one loop. The loop has the same number of rows
whether they are used or not, and each row random numbers of its own. So a sequence depends on (seed, number) alone: to
the last bit it is the same one, whichever others are drawn with it.
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
from tfvoice.models.sample_rnn import Matrices, SampleRnn
from tfvoice.report import plots

# Sequences of a loop on a GPU. On a processor a product of a vector takes a half to a third of that of 4 vectors.
_WIDTH = 64
# How many recordings are in a picture, and how much of each.
_DRAWN, _DRAWN_SECONDS = 8, 10.0
# Below, logits divided by it are no longer finite; it already draws the likeliest level alone.
_COLDEST = 1e-4
_HIGHEST_SEED = 2**31 - 1
# What the header of a wav file can say, bytes.
_WAV_BYTES = 2**32 - 2**16


class Draw(NamedTuple):
    """How levels are drawn.

    Attributes:
      temperature: logits are divided by it: a number, or several that are points of a line over the length, evenly
        spaced.
      top_p: draw among the likeliest levels that have this share of the probability together; 1: among all
        (Holtzman et al., arXiv 1904.09751).
      seed: of the random numbers, 0 to 2**31 - 1.
    """

    temperature: tuple[float, ...] = (1.0,)
    top_p: float = 1.0
    seed: int = 0

    def check(self) -> None:
        """Raises `TfvoiceError` where a number cannot be used."""
        if not self.temperature or not all(_COLDEST <= value < float("inf") for value in self.temperature):
            raise TfvoiceError(
                f"--temperature must be a number of at least {_COLDEST:g}, or several with commas between them."
            )
        if not 0 < self.top_p <= 1:
            raise TfvoiceError(f"--top_p={self.top_p:g} must be above 0 and at most 1.")
        if not 0 <= self.seed <= _HIGHEST_SEED:
            raise TfvoiceError(f"--seed={self.seed} must be from 0 to {_HIGHEST_SEED}.")

    def temperatures(self, start: int, count: int, steps: int) -> np.ndarray:
        """The temperatures of `count` of `steps` from `start` on, float32; beyond the last step that of the last."""
        points = np.linspace(0, 1, len(self.temperature))
        places = np.arange(start, start + count) / max(1, steps - 1)
        return np.interp(places, points, self.temperature).astype(np.float32)


PLAIN = Draw()


class Sampler:
    """Draws audio from a run.

    Args:
      generator: the run, with its weights.

    Attributes:
      rows: sequences of a group, which are drawn at the same time.
    """

    def __init__(self, generator: Generator):
        self.sample_rate_hz = generator.sample_rate_hz
        self.quantization = generator.config.quantization
        self.context = generator.model.config.context
        self._model: SampleRnn = generator.model
        self._width, self._loops_at_once = 1, hardware.cores()
        if tf.config.list_logical_devices("GPU"):
            self._width, self._loops_at_once = _WIDTH, 1
        self.rows = self._width * self._loops_at_once
        self._frames = sampling_loop.block_frames(self.context)
        # As a table: in bulk, the last bit of a value depends on where in memory it stands.
        self._values = quantize.decode(self.quantization, np.arange(self.quantization.levels)).numpy()
        # Anew for each `draw`, because weights can have changed; the loop is compiled once.
        self._prepare = tf.function(self._model.prepared)
        self._loops: dict[float, Callable] = {}
        self._read = tf.function(lambda levels, state: self._model(levels, state)[1], reduce_retracing=True)

    def draw(
        self, count: int, samples: int, how: Draw = PLAIN, prime: np.ndarray | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Draws sequences, block by block.

        Args:
          count: how many.
          samples: length of each.
          how: temperature, nucleus and seed.
          prime: float32 `[samples]` at the run's rate, which the sequences go on from; None: they begin after silence.

        Returns:
          The number of the first sequence of a group, and float32 `[sequences, samples]` in -1 to 1, what follows what
          was there of them; all of one group before those of the next.

        Raises:
          TfvoiceError: a number of `how` cannot be used, or the prime is shorter than a frame.
        """
        how.check()
        # Before the first block is asked for, so that an error comes at once.
        before = self._primed(prime)
        return self._blocks(count, samples, how, *before)

    def _blocks(self, count: int, samples: int, how: Draw, context, state) -> Iterator[tuple[int, np.ndarray]]:
        matrices = self._prepare()
        blocks = -(-samples // (self._frames * self.context))
        with futures.ThreadPoolExecutor(self._loops_at_once) as pool:
            for first in range(0, count, self.rows):
                used = min(self.rows, count - first)
                starts = range(first, first + used, self._width)
                running = [self._rows(matrices, start, samples, how, context, state) for start in starts]
                for _ in range(blocks):
                    levels = np.concatenate(list(pool.map(next, running)), axis=1)
                    yield first, self._values[levels[:, :used].T]

    def collect(
        self, count: int, samples: int, how: Draw = PLAIN, prime: np.ndarray | None = None, progress: bool = False
    ) -> np.ndarray:
        """All that `draw` gives, float32 `[count, samples]`; `progress` shows a bar, in a terminal."""
        groups: dict[int, list[np.ndarray]] = {}
        with _bar(count * samples, progress) as bar:
            for first, block in self.draw(count, samples, how, prime):
                groups.setdefault(first, []).append(block)
                bar.update(block.size)
        joined = [np.concatenate(blocks, axis=1) for blocks in groups.values()]
        return np.concatenate(joined) if joined else np.zeros((0, samples), np.float32)

    def _primed(self, prime: np.ndarray | None) -> tuple[np.ndarray, list[tf.Tensor]]:
        """The levels before the first sample `[context, rows of a loop]`, and the state there."""
        state = self._model.start(self._width)
        size = self.context
        if prime is None:
            return np.full((size, self._width), self.quantization.silence, np.int32), state
        if len(prime) < size:
            raise TfvoiceError(
                f"the prime holds {len(prime)} samples at {self.sample_rate_hz} Hz, less than a frame of {size}; "
                "give --prime a longer recording."
            )
        # Whole frames, up to its end; the last one is what the first step sees.
        prime = quantize.normalise(self.quantization, prime)
        levels = quantize.encode(self.quantization, prime[len(prime) % size :]).numpy()
        levels = np.concatenate([np.full(size, self.quantization.silence, np.int32), levels])
        window = size * self._frames
        for start in range(0, len(levels) - size, window):
            part = levels[start : start + window + size]
            state = self._read(tf.constant(np.tile(part, (self._width, 1))), state)
        return np.tile(levels[-size:, np.newaxis], (1, self._width)), state

    def _rows(self, matrices: Matrices, first: int, samples: int, how: Draw, context, state) -> Iterator[np.ndarray]:
        """Blocks of levels `[samples, rows of a loop]` of the sequences from `first` on."""
        frames = -(-samples // self.context)
        loop = self._loop(how.top_p)
        levels = tf.constant(context)
        for number, start in enumerate(range(0, frames, self._frames)):
            # The last block is as long as the others, for another length would be compiled anew.
            block = how.temperatures(start, self._frames, frames)
            noise = sampling_loop.noise(
                self._frames * self.context, how.seed, range(first, first + self._width), number
            )
            drawn, levels, state = loop(matrices, state, levels, noise, tf.constant(block))
            yield drawn.numpy()[: samples - start * self.context]

    def _loop(self, top_p: float) -> Callable:
        if top_p not in self._loops:
            run = functools.partial(sampling_loop.run, self._model, top_p)
            self._loops[top_p] = tf.function(run, jit_compile=True, autograph=False)
        return self._loops[top_p]


def sample(
    run_dir: str | Path,
    output: str | Path,
    seconds: float = 5.0,
    count: int = 4,
    how: Draw = PLAIN,
    prime: str | Path | None = None,
    suffix: str = "wav",
    checkpoint: str = "best",
    overwrite: bool = False,
) -> list[Path]:
    """Draws audio into files, `sample-000.wav` and on, and a picture of the first of them, `samples.png`.

    Args:
      run_dir: folder of the run.
      output: folder of the files; made where it does not exist.
      seconds: length of each.
      count: how many.
      how: temperature, nucleus and seed.
      prime: recording to go on from. It is not repeated in the files.
      suffix: `wav` or `flac`.
      checkpoint: `best` or `last`.
      overwrite: replace files that are there.

    Returns:
      The paths of the recordings.

    Raises:
      TfvoiceError: the run, the prime, a number or the folder cannot be used.
    """
    generator = Generator.load(run_dir, checkpoint)
    rate_hz = generator.sample_rate_hz
    if not 0 < seconds < float("inf"):
        raise TfvoiceError(f"--seconds={seconds:g} must be a number above 0.")
    samples = round(seconds * rate_hz)
    if samples < 1:
        raise TfvoiceError(f"--seconds={seconds:g} is less than a sample at {rate_hz} Hz; ask for more.")
    output = Path(output)
    _check_room(output, count, 2 * samples, suffix)
    paths = [output / f"sample-{number:03d}.{suffix}" for number in range(count)]
    picture = output / "samples.png"
    there = [path for path in (*paths, picture) if path.exists()]
    if there and not overwrite:
        raise TfvoiceError(f"{there[0]}: is already there; use another --output, or --overwrite to replace it.")
    known = None if prime is None else audio_io.read(prime, rate_hz)
    blocks = Sampler(generator).draw(count, samples, how, known)
    output.mkdir(parents=True, exist_ok=True)
    drawn = _write(paths, blocks, samples, rate_hz)
    name = f"{Path(run_dir).name}, temperature {', '.join(f'{value:g}' for value in how.temperature)}, seed {how.seed}"
    plots.write(picture, plots.waveforms(drawn, rate_hz, [path.stem for path in paths[: len(drawn)]], name))
    return paths


def _check_room(output: Path, count: int, size: int, suffix: str) -> None:
    """Raises where files of so many bytes cannot be written; flac is taken to need half of that at best."""
    if suffix == "wav" and size > _WAV_BYTES:
        raise TfvoiceError(f"{size / 1e9:.1f} GB a recording are more than a wav file can hold; add --format=flac.")
    place = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if count * size / (2 if suffix == "flac" else 1) > free:
        raise TfvoiceError(
            f"{output}: {count} recordings of {size / 1e9:.2f} GB do not fit, {free / 1e9:.2f} GB are free; ask for "
            "less, or use another --output."
        )


def _write(paths: list[Path], blocks, samples: int, rate_hz: int) -> np.ndarray:
    """Writes recordings as they are drawn; returns the beginnings of the first of them, to be drawn."""
    with _bar(len(paths) * samples, True) as bar:
        beginnings = [
            _write_group(paths, first, (block for _, block in group), rate_hz, bar)
            for first, group in itertools.groupby(blocks, key=lambda item: item[0])
        ]
    return np.concatenate(beginnings)


def _write_group(paths: list[Path], first: int, blocks: Iterator[np.ndarray], rate_hz: int, bar: tqdm) -> np.ndarray:
    """Writes the recordings from `first` on, side by side; after Ctrl-C, what is there of each keeps its name."""
    limit = round(_DRAWN_SECONDS * rate_hz)
    shown, written = [], 0
    with contextlib.ExitStack() as stack:
        writers: list[audio_io.Writer] = []
        try:
            for block in blocks:
                if not writers:
                    some = paths[first : first + len(block)]
                    writers = [stack.enter_context(audio_io.Writer(path, rate_hz)) for path in some]
                for writer, wave in zip(writers, block, strict=True):
                    writer.write(wave)
                if written < limit:
                    shown.append(block[: max(0, _DRAWN - first), : limit - written])
                written += block.shape[1]
                bar.update(block.size)
                if elapsed := bar.format_dict["elapsed"]:
                    bar.set_postfix_str(f"{elapsed * rate_hz / max(1, bar.n):.2f} of real time", refresh=False)
        except KeyboardInterrupt:
            stack.close()
            raise KeyboardInterrupt(_had(paths, first, len(writers), written / rate_hz)) from None
    return np.concatenate(shown, axis=1)


def _had(paths: list[Path], whole: int, begun: int, seconds: float) -> str:
    """What is there after an interruption."""
    parts = [f"{whole} whole recordings are in {paths[0].parent}"] if whole else []
    if begun and seconds:
        to = f" to {paths[whole + begun - 1].name} hold their" if begun > 1 else " holds its"
        parts.append(f"{paths[whole]}{to} first {seconds:.1f} s")
    return " and ".join(parts) or "nothing was drawn yet"


def _bar(samples: int, progress: bool) -> tqdm:
    disable = None if progress else True
    return tqdm(total=samples, desc="draw", unit="sample", unit_scale=True, disable=disable, dynamic_ncols=True)
