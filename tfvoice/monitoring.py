"""What a run tells while it trains: a line an epoch, `metrics.jsonl`, and TensorBoard."""

import contextlib
import ctypes
import gc
import json
import math
import resource
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorboard.plugins.audio import metadata as audio_plugin

from tfvoice import checkpoints, report
from tfvoice.audio import features
from tfvoice.data import records
from tfvoice.data.index import Index
from tfvoice.experiment import Experiment

_EVERY_STEPS = 20
_TRANSCRIPTS = 8
# Of the utterance that is drawn: enough for a sentence, and its characters still have room.
_DRAWN_SECONDS = 5.0


class Monitor:
    """Writes the numbers of a run.

    Args:
      experiment: the run.
      state: where it stands (a `training.State`); lines of later steps, left by a run that was killed, are removed.
      index: the utterances of the validation, one of which is drawn each time.
    """

    def __init__(self, experiment: Experiment, state, index: Index):
        self._path = experiment.run_dir / "metrics.jsonl"
        self._drop_after(state)
        self._sample = _Sample(experiment, index)
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

    def epoch(self, state, score, readings: list, rate: float) -> None:
        """Records one validation.

        Args:
          state: a `training.State`.
          score: an `evaluation.Score`.
          readings: what was read, `evaluation.Reading` each.
          rate: seconds of audio trained on in a second.
        """
        _give_back_memory()
        line = {
            "step": state.step,
            "epoch": state.epoch,
            "minutes": round(state.minutes, 3),
            "train_loss": _rounded(state.loss, 4),
            "valid_loss": _rounded(score.loss, 4),
            "wer": round(score.wer, 5),
            "cer": round(score.cer, 5),
            "audio_seconds_per_second": round(rate, 1),
            "skipped_steps": state.skipped,
            "memory_mib": round(_memory_mib(), 1),
        }
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        train_loss = math.nan if state.loss is None else state.loss
        print(
            f"epoch {state.epoch:3d}  {state.minutes:6.1f} min  train loss {train_loss:7.2f}  "
            f"valid loss {score.loss:7.2f}  WER {score.wer:6.1%}  CER {score.cer:6.1%}  {rate:.0f} s/s",
            flush=True,
        )
        with self._writer.as_default(state.step):
            for name in ("valid_loss", "wer", "cer", "memory_mib"):
                if line[name] is not None:
                    tf.summary.scalar(f"valid/{name.removeprefix('valid_')}", line[name])
            sample = "\n\n".join(f"- {one.reference}\n- **{one.hypothesis}**" for one in readings[::-1][:_TRANSCRIPTS])
            tf.summary.text("valid/transcripts", sample)
            tf.summary.image("valid/alignment", self._sample.picture(state.epoch)[np.newaxis])
            self._sample.write_audio("valid/audio")
        self._writer.flush()

    def _drop_after(self, state) -> None:
        if self._path.is_file():
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
            kept = [line for line in lines if _is_before(line, state)]
            checkpoints.write_atomically(self._path, "".join(line + "\n" for line in kept).encode())


class _Sample:
    """The longest utterance of a validation that can still be drawn: heard and drawn at each epoch.

    Args:
      experiment: the run.
      index: the utterances of the validation.
    """

    def __init__(self, experiment: Experiment, index: Index):
        drawable = np.where(index.samples <= _DRAWN_SECONDS * index.sample_rate_hz, index.samples, -index.samples)
        row = int(drawable.argmax())
        self.sample_rate_hz = index.sample_rate_hz
        self.audio = records.decode(index.read([row])[0])["audio"].numpy()
        self._id = index.ids[row]
        self._text = experiment.alphabet.normalise(index.texts[row])
        self._experiment = experiment
        config = experiment.config.features
        values = features.compute(config, self.audio[np.newaxis], tf.constant([len(self.audio)]), experiment.statistics)
        self._features = values.values[0].numpy()

    def write_audio(self, tag: str) -> None:
        """Writes what `tf.summary.audio` would, which makes oneDNN log an error when it transposes strings."""
        wave = tf.audio.encode_wav(self.audio[:, np.newaxis], self.sample_rate_hz).numpy()
        encoding = audio_plugin.Encoding.Value("WAV")
        metadata = audio_plugin.create_summary_metadata(display_name=None, description=None, encoding=encoding)
        tf.summary.write(tag, tf.constant([[wave, b""]]), metadata=metadata)

    def picture(self, epoch: int) -> np.ndarray:
        """Draws the utterance as the model reads it now."""
        logits = self._experiment.logits(self.audio[np.newaxis], [len(self.audio)])
        return report.alignment(
            self._features,
            tf.nn.log_softmax(logits.values[0]).numpy(),
            self._experiment.alphabet,
            self._text,
            len(self.audio) / self.sample_rate_hz,
            f"{self._id}, {self._experiment.config.features.kind}, epoch {epoch}",
        )


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
        # The epoch as well, because a validation and the last step before it have the same step.
        return at["step"] <= state.step and at["epoch"] <= state.epoch
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
