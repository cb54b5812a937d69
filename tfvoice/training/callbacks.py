"""The logs of a training: a printed line a validation, `metrics.jsonl`, and TensorBoard."""

import contextlib
import ctypes
import gc
import json
import math
import resource
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorboard.plugins.audio import metadata as audio_plugin

from tfvoice import storage
from tfvoice.data.datasets import Speed
from tfvoice.run import Run
from tfvoice.training.task import Validation

_EVERY_STEPS = 20
# Where there is no progress bar: an epoch of SampleRNN takes hours.
_PRINT_SECONDS = 300


class MetricsLogger:
    """Logs the metrics of a run.

    Args:
      run: the run.
      state: its progress (a `TrainingState`); lines of later steps, left by a process that was killed, are removed.
      speed: of the training data.
    """

    def __init__(self, run: Run, state, speed: Speed):
        self._speed = speed
        self._path = run.run_dir / "metrics.jsonl"
        self._drop_after(state)
        self._writer = tf.summary.create_file_writer(str(run.run_dir / "logs"))
        self._printed = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._writer.close()

    def step(self, step: int, loss: float, norm: float, learning_rate: float, rate: float) -> None:
        """Logs one training step of every 20; prints one every few minutes where the output is redirected."""
        if step % _EVERY_STEPS:
            return
        if not sys.stderr.isatty() and time.monotonic() - self._printed > _PRINT_SECONDS:
            self._printed = time.monotonic()
            print(f"step {step:7d}  train loss {loss:9.4f}  {rate:.3g} {self._speed.unit}", flush=True)
        with self._writer.as_default(step):
            tf.summary.scalar("train/loss", loss)
            tf.summary.scalar("train/gradient_norm", norm)
            tf.summary.scalar("train/learning_rate", learning_rate)
            tf.summary.scalar(f"train/{self._speed.name}", rate)

    def validation(self, state, validation: Validation, rate: float) -> None:
        """Logs one validation.

        Args:
          state: a `TrainingState`.
          validation: its result.
          rate: speed of the training.
        """
        _release_memory()
        line = {
            "step": state.step,
            "epoch": state.epoch,
            "validation": state.validations,
            "minutes": round(state.minutes, 3),
            "train_loss": _rounded(state.loss, 4),
            "valid_loss": _rounded(validation.loss, 4),
            **validation.rates,
            self._speed.name: float(f"{rate:.4g}"),
            "skipped_steps": state.skipped,
            "memory_mib": round(_memory_mib(), 1),
        }
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        train_loss = math.nan if state.loss is None else state.loss
        rates = "".join(f"  {part}" for part in (validation.text, f"{rate:.3g} {self._speed.unit}") if part)
        print(
            f"epoch {state.epoch:3d}  {state.minutes:6.1f} min  train loss {train_loss:7.2f}  "
            f"valid loss {validation.loss:7.2f}{rates}",
            flush=True,
        )
        with self._writer.as_default(state.step):
            for name in ("valid_loss", *validation.rates, "memory_mib"):
                if line[name] is not None:
                    tf.summary.scalar(f"valid/{name.removeprefix('valid_')}", line[name])
            validation.summaries(state.epoch)
        self._writer.flush()

    def _drop_after(self, state) -> None:
        if self._path.is_file():
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
            storage.write(self._path, "".join(line + "\n" for line in lines if _is_before(line, state)))


def write_audio(tag: str, samples: np.ndarray, sample_rate_hz: int) -> None:
    """Writes the summary of `tf.summary.audio`, which makes oneDNN log an error when it transposes strings."""
    wave = tf.audio.encode_wav(samples[:, np.newaxis], sample_rate_hz).numpy()
    encoding = audio_plugin.Encoding.Value("WAV")
    metadata = audio_plugin.create_summary_metadata(display_name=None, description=None, encoding=encoding)
    tf.summary.write(tag, tf.constant([[wave, b""]]), metadata=metadata)


def _release_memory() -> None:
    """Returns to the system what this epoch no longer needs; without it, a small run grew by 4 MiB an epoch and more.

    Figures refer to themselves, and Python's collector runs the more rarely the more objects there are: beside those
    of TensorFlow, ten figures of 6 MiB would pile up. And glibc keeps what the threads of tf.data have freed, each
    thread its own.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _is_before(line: str, state) -> bool:
    """Whether a line of `metrics.jsonl` is whole and was written before the run came to `state`."""
    try:
        logged = json.loads(line)
        # The validation as well, because it and the last step before it have the same step.
        return logged["step"] <= state.step and logged["validation"] <= state.validations
    except (ValueError, KeyError, TypeError):
        return False


def _rounded(value: float | None, digits: int) -> float | None:
    """Rounds; None for what JSON has no number for."""
    return round(value, digits) if value is not None and math.isfinite(value) else None


def _memory_mib() -> float:
    """Resident memory, or the peak where the system only reports that."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)
