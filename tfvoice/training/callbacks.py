"""What a run tells while it trains: a line an epoch, `metrics.jsonl`, and TensorBoard."""

import contextlib
import ctypes
import gc
import json
import math
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorboard.plugins.audio import metadata as audio_plugin

from tfvoice.experiment import Experiment
from tfvoice.training import checkpoints

_EVERY_STEPS = 20


class Validation(NamedTuple):
    """What a validation found.

    Attributes:
      score: the lower, the better are the weights.
      loss: of the split `valid`.
      rates: further numbers, for `metrics.jsonl` and TensorBoard.
      shown: these for people; "" for none.
      summaries: writes what else belongs into TensorBoard; takes the epoch.
    """

    score: float
    loss: float
    rates: dict[str, float]
    shown: str
    summaries: Callable[[int], None]


class Monitor:
    """Writes the numbers of a run.

    Args:
      experiment: the run.
      state: where it stands (a `training.State`); lines of later steps, left by a run that was killed, are removed.
    """

    def __init__(self, experiment: Experiment, state):
        self._path = experiment.run_dir / "metrics.jsonl"
        self._drop_after(state)
        self._writer = tf.summary.create_file_writer(str(experiment.run_dir / "logs"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._writer.close()
        gc.unfreeze()

    def step(self, step: int, loss: float, norm: float, learning_rate: float, rate: float) -> None:
        """Records one training step, every so often."""
        if step % _EVERY_STEPS:
            return
        with self._writer.as_default(step):
            tf.summary.scalar("train/loss", loss)
            tf.summary.scalar("train/gradient_norm", norm)
            tf.summary.scalar("train/learning_rate", learning_rate)
            tf.summary.scalar("train/audio_seconds_per_second", rate)

    def validation(self, state, found: Validation, rate: float) -> None:
        """Records one validation.

        Args:
          state: a `training.State`.
          found: by it.
          rate: seconds of audio trained on in a second.
        """
        _give_back_memory()
        line = {
            "step": state.step,
            "epoch": state.epoch,
            "validation": state.validations,
            "minutes": round(state.minutes, 3),
            "train_loss": _rounded(state.loss, 4),
            "valid_loss": _rounded(found.loss, 4),
            **found.rates,
            "audio_seconds_per_second": float(f"{rate:.4g}"),
            "skipped_steps": state.skipped,
            "memory_mib": round(_memory_mib(), 1),
        }
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        train_loss = math.nan if state.loss is None else state.loss
        shown = "".join(f"  {part}" for part in (found.shown, f"{rate:.3g} s/s") if part)
        print(
            f"epoch {state.epoch:3d}  {state.minutes:6.1f} min  train loss {train_loss:7.2f}  "
            f"valid loss {found.loss:7.2f}{shown}",
            flush=True,
        )
        with self._writer.as_default(state.step):
            for name in ("valid_loss", *found.rates, "memory_mib"):
                if line[name] is not None:
                    tf.summary.scalar(f"valid/{name.removeprefix('valid_')}", line[name])
            found.summaries(state.epoch)
        self._writer.flush()

    def _drop_after(self, state) -> None:
        if self._path.is_file():
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
            kept = [line for line in lines if _is_before(line, state)]
            checkpoints.write_atomically(self._path, "".join(line + "\n" for line in kept).encode())


def write_audio(tag: str, samples: np.ndarray, sample_rate_hz: int) -> None:
    """Writes what `tf.summary.audio` would, which makes oneDNN log an error when it transposes strings."""
    wave = tf.audio.encode_wav(samples[:, np.newaxis], sample_rate_hz).numpy()
    encoding = audio_plugin.Encoding.Value("WAV")
    metadata = audio_plugin.create_summary_metadata(display_name=None, description=None, encoding=encoding)
    tf.summary.write(tag, tf.constant([[wave, b""]]), metadata=metadata)


def _give_back_memory() -> None:
    """Gives the system back what this epoch no longer needs; without it, a small run grew by 4 MiB an epoch and more.

    Figures refer to themselves, and Python looks through all objects the more rarely the more there are: beside those
    of TensorFlow, ten figures of 6 MiB would pile up. Freezing spares those that are there already. And glibc keeps
    what the threads of tf.data have freed, each thread its own.
    """
    gc.collect()
    if not gc.get_freeze_count():
        gc.freeze()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _is_before(line: str, state) -> bool:
    """Whether a line of `metrics.jsonl` is whole and was written before the run came to `state`."""
    try:
        at = json.loads(line)
        # The validation as well, because it and the last step before it have the same step.
        return at["step"] <= state.step and at["validation"] <= state.validations
    except (ValueError, KeyError, TypeError):
        return False


def _rounded(value: float | None, digits: int) -> float | None:
    """Rounds; None for what JSON has no number for."""
    return round(value, digits) if value is not None and math.isfinite(value) else None


def _memory_mib() -> float:
    """Resident memory now, or where the system does not tell, the most there was."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (2**20 if sys.platform == "darwin" else 2**10)
