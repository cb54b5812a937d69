"""An exported recogniser in use: batches of waveforms in, what was read out."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfvoice.asr.transcript import Transcript, Word
from tfvoice.errors import TfvoiceError

# What a server needs to know of a model, in its folder.
DESCRIPTION = "tfvoice.json"


class Served:
    """A recogniser that `exporting.export` wrote.

    Args:
      folder: of the model, or one with versions of it in folders that are numbers, of which the highest is taken.

    Attributes:
      name: what clients call it.
      version: number of the version.
      sample_rate_hz: of the waveforms.
      trained_seconds: length of the longest clips that it was trained on.
      streams: whether it can follow speech as it is spoken.

    Raises:
      TfvoiceError: the folder holds no model of tfvoice, or one that does not read.
    """

    def __init__(self, folder: str | Path):
        path = newest(folder)
        known = _description(path)
        if known.get("task") != "recognition":
            raise TfvoiceError(f"{path}: generates audio and does not read it; TensorFlow Serving serves it.")
        self.version = int(path.name) if path.name.isdigit() else 1
        self.name = (path.parent if path.name.isdigit() else path).resolve().name
        try:
            self.sample_rate_hz = int(known["sample_rate_hz"])
            self.trained_seconds = float(known["max_seconds"])
            self._loaded = tf.saved_model.load(str(path))
            self._read = self._loaded.signatures["waveform"]
        except (tf.errors.OpError, OSError, ValueError, KeyError, TypeError, RuntimeError):
            raise TfvoiceError(f"{path}: the model does not load, it is damaged; export the run again.") from None
        self.streams = "stream" in self._loaded.signatures

    def bucket(self, samples: int) -> int:
        """The length that a waveform is padded to: 1, 1.5, 2, 3, 4, 6, 8, 12 ... seconds."""
        second = self.sample_rate_hz
        power = second << max(0, (max(1, samples) - 1) // second).bit_length()
        return power * 3 // 4 if second < power and samples <= power * 3 // 4 else power

    def read(self, waves: list[np.ndarray]) -> list[Transcript]:
        """Reads float32 waveforms of any lengths in one batch."""
        lengths = np.array([len(wave) for wave in waves], np.int32)
        padded = np.zeros([len(waves), self.bucket(int(lengths.max()))], np.float32)
        for row, wave in zip(padded, waves, strict=True):
            row[: len(wave)] = wave
        found = {name: value.numpy() for name, value in self._read(waveform=padded, samples=lengths).items()}
        return [self._row(found, row, len(wave)) for row, wave in enumerate(waves)]

    def warm_up(self, rows: int, seconds: float) -> float:
        """Reads noise in batches of the shapes that will come, so that no client waits for what is set up once.

        Returns:
          Seconds that the slowest batch took.
        """
        random, slowest = np.random.default_rng(0), 0.0
        for count in (1, rows):
            length, longest = self.sample_rate_hz, self.bucket(int(seconds * self.sample_rate_hz))
            while length <= longest:
                began = time.perf_counter()
                self.read([random.normal(0, 0.1, length).astype(np.float32)] * count)
                slowest = max(slowest, time.perf_counter() - began)
                length = self.bucket(length + 1)
        return slowest

    def follow(self) -> "Following":
        """Begins to follow speech; for a model that `streams`."""
        return Following(self._loaded.signatures)

    def _row(self, found: dict[str, np.ndarray], row: int, samples: int) -> Transcript:
        count = int(found["word_count"][row])
        columns = ("words", "word_start_seconds", "word_end_seconds", "word_confidence")
        rows = zip(*(found[name][row, :count].tolist() for name in columns), strict=True)
        words = [Word(word.decode(), *numbers) for word, *numbers in rows]
        confidence = float(found["confidence"][row]) if words else None
        return Transcript(samples / self.sample_rate_hz, found["text"][row].decode(), confidence, words)


class Following:
    """Speech that is followed; its state lies here.

    Args:
      signatures: of the loaded model.
    """

    def __init__(self, signatures):
        self._step = signatures["stream"]
        self._state = signatures["stream_start"]()

    def step(self, chunk: np.ndarray, final: bool) -> str:
        """Takes float32 samples, and whether they are the last; returns the characters that are read anew."""
        found = self._step(chunk=tf.constant(chunk, tf.float32), final=tf.constant(final), **self._state)
        text = found.pop("text").numpy().decode()
        self._state = found
        return text


def newest(folder: str | Path) -> Path:
    """The folder itself where it holds a model, or else the highest version in it."""
    folder = Path(folder)
    if (folder / "saved_model.pb").is_file():
        return folder
    versions = [path.parent for path in folder.glob("*/saved_model.pb") if path.parent.name.isdigit()]
    if not versions:
        raise TfvoiceError(
            f"{folder}: holds no exported model; make one with tfvoice_export --run=RUN --output={folder}/1."
        )
    return max(versions, key=lambda path: int(path.name))


def _description(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((path / DESCRIPTION).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise TfvoiceError(
            f"{path}: has no {DESCRIPTION}, so tfvoice_export did not write it; export the run again."
        ) from None
