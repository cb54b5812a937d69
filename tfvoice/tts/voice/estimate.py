"""How long the parts of a voice will take: each is trained on a few utterances of the data, on this machine."""

import contextlib
import io
import itertools
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from tfvoice import hardware
from tfvoice.audio import f0
from tfvoice.data import index, shard_index, shards
from tfvoice.data.workers import Workers
from tfvoice.run import Run, RunConfig
from tfvoice.training import step
from tfvoice.training.task import Task
from tfvoice.training.trainer import StopConditions, Trainer
from tfvoice.tts import align
from tfvoice.tts.align import AlignmentSettings
from tfvoice.tts.duration_f0.task import DURATION_F0
from tfvoice.tts.segmentation.run import SegmentationRun
from tfvoice.tts.segmentation.task import SEGMENTATION
from tfvoice.tts.vocoder.task import VOCODER
from tfvoice.tts.voice.config import VoiceRunConfig
from tfvoice.tts.voice.run import ALIGNED

# Utterances that are aligned: F0 of a second takes a tenth of a second.
_ALIGNED = {"train": 12, "valid": 4}
# Utterances in an epoch of each part, some of them several times: full batches.
_TRAINED = {
    "segmentation": {"train": 64, "valid": 16},
    "duration_f0": {"train": 64, "valid": 32},
    "vocoder": _ALIGNED,
}
# Clips whose F0 is estimated to see how long it takes.
_F0_CLIPS = 4
# Passes over the utterances. In the first, networks are compiled.
_EPOCHS = 2
# Alignments by a network that is hardly trained are kept.
_ANY_SCORE = -1e9


class Pace(NamedTuple):
    """How long a stage takes, in seconds: once, and for each epoch with its validation."""

    start: float
    epoch: float

    def seconds(self, epochs: int) -> float:
        """Of so many epochs."""
        return self.start + epochs * self.epoch


def measure(data_dir: str | Path, settings: VoiceRunConfig) -> dict[str, Pace]:
    """Measures every stage of the training of a voice, in about a minute; the alignment counts as one epoch.

    Args:
      data_dir: folder of plain records.
      settings: with absolute paths of lexicons and G2P model.

    Raises:
      TfvoiceError: a part cannot be trained on the first utterances of the data.
    """
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with tempfile.TemporaryDirectory(prefix="tfvoice-") as name, quiet[0], quiet[1]:
        folder = Path(name)
        run, segmentation = _trained(SEGMENTATION, settings.segmentation, folder, data_dir, data_dir)
        few, chosen = excerpt(data_dir, folder / "few", _ALIGNED), AlignmentSettings(settings.f0, _ANY_SCORE)
        align.align_corpus(run, few, folder / ALIGNED, chosen, progress=False)
        seconds = _alignment_seconds(run, few, data_dir, settings)
        _, durations = _trained(DURATION_F0, settings.duration_f0, folder, folder / ALIGNED, data_dir)
        _, vocoder = _trained(VOCODER, settings.vocoder, folder, folder / ALIGNED, data_dir)
        return {
            "segmentation": segmentation,
            ALIGNED: Pace(0.0, seconds),
            "duration_f0": durations,
            "vocoder": vocoder,
        }


def excerpt(data_dir: str | Path, folder: Path, counts: dict[str, int]) -> Path:
    """Records that are some of those in a folder: links to shards, with another index beside them.

    Args:
      data_dir: the folder; aligned or plain records, which are a random sample in each shard.
      folder: of the excerpt, a new one.
      counts: utterances by split: the first of its first shard, and where it has fewer, the same again.
    """
    manifest, splits = shards.read_manifest(data_dir), {}
    folder.mkdir()
    for split, count in counts.items():
        shard = manifest.splits[split].shards[0]
        path = Path(data_dir).resolve() / shard.name
        entries = list(itertools.islice(itertools.cycle(shard_index.read(path, shard.sha256)), count))
        (folder / shard.name).symlink_to(path)
        shard_index.write(folder / shard.name, shard.sha256, entries)
        seconds = sum(entry.samples for entry in entries) / manifest.sample_rate_hz
        splits[split] = shards.total([shard.model_copy(update={"utterances": count, "seconds": seconds})])
    (folder / shards.MANIFEST).write_text(manifest.model_copy(update={"splits": splits}).model_dump_json())
    return folder


def _trained(
    task: Task, settings: RunConfig, folder: Path, records: str | Path, data_dir: str | Path
) -> tuple[Run, Pace]:
    """Trains a part on an excerpt of `records`; returns the run, and the pace of the records in `data_dir`."""
    began, records = time.monotonic(), excerpt(records, folder / f"of_{task.name}", _TRAINED[task.name])
    brief = {"epochs": _EPOCHS, "validate_steps": 0, "patience": 0, "accumulate": 1}
    settings = settings.model_copy(update={"training": settings.training.model_copy(update=brief)})
    strategy, watch = step.strategy_for(settings.training), _Stopwatch()
    with strategy.scope():
        run = task.run.new(folder / task.name, settings, records, task.run.data_info(records))
        trainer = Trainer(run, task.training(run, records), strategy)
    run.write()
    trainer.run(StopConditions(), [watch])
    shares = {split: _seconds(data_dir, split) / _seconds(records, split) for split in ("train", "valid")}
    train, valid = watch.last_epoch
    spent = time.monotonic() - began - _EPOCHS * (train + valid)
    return run, Pace(max(0.0, spent), train * shares["train"] + valid * shares["valid"])


def _alignment_seconds(run: SegmentationRun, few: Path, data_dir: str | Path, settings: VoiceRunConfig) -> float:
    """The time of the alignment of all records, from that of a few."""
    manifest = shards.read_manifest(few)
    scanned, cores = index.scan_clips(manifest, few, "train", 1), hardware.cores()
    rows = np.arange(len(scanned))
    # The first time, the network is traced.
    align.align_rows(run, scanned, rows)
    began = time.monotonic()
    align.align_rows(run, scanned, rows)
    of_network = (time.monotonic() - began) / scanned.seconds
    # In a process of its own, as there: in one that has trained, the allocations of F0 take twice its time.
    clips = [scanned.audio(row) for row in rows[:_F0_CLIPS]]
    with Workers(max(2, cores)) as pool:
        (of_f0,) = pool.ordered(f0.pace, [(clips, manifest.sample_rate_hz, settings.f0)])
    all_seconds = sum(split.seconds for split in shards.read_manifest(data_dir).splits.values())
    return all_seconds * (of_network + of_f0 / cores)


def _seconds(records: str | Path, split: str) -> float:
    return shards.read_manifest(records).splits[split].seconds


class _Stopwatch(keras.callbacks.Callback):
    """The time of the last epoch.

    Attributes:
      last_epoch: seconds of its steps, their data included, and of its validation.
    """

    def on_epoch_begin(self, epoch, logs=None):
        """Starts it."""
        self._began = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """The last of these is the end of the steps."""
        self._trained = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """The end of the validation."""
        self.last_epoch = self._trained - self._began, time.monotonic() - self._trained
