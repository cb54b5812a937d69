"""The training loop: one compiled step, exact resume, and a run that survives being killed.

A run is decided by its configuration alone: order and augmentation come from (seed, epoch), dropout from (seed,
epoch, position), the learning rate from the step. So a checkpoint needs the weights, the optimizer and a position,
and a run that was killed goes on bit for bit (on one CPU) as if it had not been.
"""

import hashlib
import itertools
import math
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from tqdm import tqdm

from tfvoice import config, tasks
from tfvoice import experiment as experiment_
from tfvoice.data import shards
from tfvoice.errors import TfvoiceError
from tfvoice.experiment import Experiment, GeneratorConfig, RecognizerConfig, TrainingConfig
from tfvoice.training import checkpoints, step
from tfvoice.training.callbacks import Monitor

_GIVE_UP_AFTER = 10
# What a run can go on with otherwise than it was begun: no weight depends on it.
_FREE = ("sampling.", "training.patience:", "training.validate_steps:")


@dataclass(frozen=True)
class Limits:
    """When a call of `train` ends before the last epoch. They decide nothing about the weights.

    Attributes:
      max_steps: total steps of the run.
      max_minutes: total training time of the run, earlier calls included.
      checkpoint_minutes: time between checkpoints inside an epoch.
    """

    max_steps: int | None = None
    max_minutes: float | None = None
    checkpoint_minutes: float = 5.0


@dataclass
class State:
    """Where a run stands: what a checkpoint holds beside weights and optimizer."""

    step: int = 0
    epoch: int = 0
    position: int = 0
    minutes: float = 0.0
    loss_sum: float = 0.0
    losses: int = 0
    validations: int = 0
    best_score: float = math.inf
    best_validation: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    finished: str = ""

    @property
    def loss(self) -> float | None:
        """Mean loss of the steps since the last validation, those before a restart included; None before the first."""
        return self.loss_sum / self.losses if self.losses else None


def train(
    run_dir: str | Path,
    data_dir: str | Path,
    settings: RecognizerConfig | GeneratorConfig,
    limits: Limits = Limits(),
    overwrite: bool = False,
) -> State:
    """Trains a model, from the start or from where its run stands.

    Args:
      run_dir: folder of the run; made where it does not exist.
      data_dir: folder that `tfvoice_convert` wrote; needs splits `train` and `valid`.
      settings: the whole configuration.
      limits: when to stop early.
      overwrite: start anew, over an older run.

    Returns:
      Where the run stands now.

    Raises:
      TfvoiceError: the data cannot be used, the folder holds a run of another configuration, or the loss stays
        infinite. An older run is touched only after the data and the configuration have been looked through.
      KeyboardInterrupt: Ctrl-C or SIGTERM, once the run is saved.
    """
    run_dir = Path(run_dir)
    strategy = step.strategy_for(settings.training)
    new = overwrite or not experiment_.is_run(run_dir)
    with strategy.scope():
        experiment = _make(run_dir, settings, data_dir) if new else _open(run_dir, settings, data_dir)
        trainer = Trainer(experiment, data_dir, strategy)
    if new:
        experiment_.clear(run_dir)
    else:
        trainer.restore()
    experiment.write()
    return trainer.run(limits)


class Trainer:
    """The loop and what it needs; make it inside the scope of its strategy.

    Args:
      experiment: made for training.
      data_dir: folder of the shards.
      strategy: of `tf.distribute`.
    """

    def __init__(self, experiment: Experiment, data_dir: str | Path, strategy: tf.distribute.Strategy):
        self.experiment = experiment
        self.model = experiment.model
        self.settings = experiment.config.training
        self.task = tasks.TASKS[experiment.task].training(experiment, data_dir)
        self.learner = step.Learner(self.task.objective, self.settings, strategy)
        self.train_data = self.task.train_data
        self.total_steps = max(1, self._steps(0) * self.settings.epochs)
        self.state = State()

    def restore(self) -> None:
        """Goes to where the run was last saved, if it ever was."""
        path = self.experiment.checkpoint("last")
        if not path.is_file():
            return
        try:
            self.state = State(**checkpoints.restore(path, self.learner.groups()))
        except TfvoiceError as error:
            raise TfvoiceError(f"{error} Where there is no copy of it, --overwrite starts the run anew.") from None

    def run(self, limits: Limits) -> State:
        """Trains until the last epoch, a limit, or Ctrl-C, which it raises again; saves; returns where it stands."""
        state = self.state
        if state.finished:
            print(f"{self.experiment.run_dir}: has already finished after {state.epoch} epochs.")
            return state
        print(self.train_data.index.describe())
        print(self.task.valid_data.index.describe())
        with Monitor(self.experiment, state) as monitor, _StopSignal() as stop:
            # One dataset for the whole run: to make one an epoch costs memory that is never given back.
            batches = iter(
                self.train_data.batches(state.epoch, state.position, epochs=self.settings.epochs - state.epoch)
            )
            while not state.finished and not self._stopped(limits, stop):
                self._epoch(batches, limits, stop, monitor)
            self._save()
        if stop.requested and not state.finished:
            raise KeyboardInterrupt(f"saved after step {state.step}; the same command goes on from there.")
        if not state.finished:
            print(f"Stopped at the limit, after step {state.step}; a higher or no limit goes on from there.")
        return state

    def _epoch(self, batches: Iterator, limits: Limits, stop: "_StopSignal", monitor: Monitor) -> None:
        """Goes through the rest of the current epoch, and validates at its end."""
        state, steps = self.state, self._steps(self.state.epoch)
        bar = tqdm(
            total=steps,
            initial=state.position // self.settings.accumulate,
            unit="step",
            disable=None,
            desc=f"epoch {state.epoch + 1}/{self.settings.epochs}",
            leave=False,
            dynamic_ncols=True,
        )
        audio, began = 0.0, time.monotonic()
        saved = clock = began
        with bar:
            while (left := self._left()) and not self._stopped(limits, stop):
                group = list(itertools.islice(batches, min(left, self.settings.accumulate)))
                loss, norm = self._step(group)
                audio += sum(int(batch.samples) for batch in group) / self.train_data.index.sample_rate_hz
                now = time.monotonic()
                state.minutes, clock = state.minutes + (now - clock) / 60, now
                rate = audio / (now - began)
                monitor.step(state.step, loss, norm, learning_rate(state.step, self.total_steps, self.settings), rate)
                bar.update()
                minutes_left = (self.total_steps - state.step) * state.minutes / state.step
                bar.set_postfix_str(f"loss {loss:.4g}, {rate:.3g} s/s, {minutes_left:.0f} min left")
                if self._validates_within() and self._left():
                    self._validate(monitor, rate)
                    saved = clock = time.monotonic()
                    began += clock - now
                elif now - saved > limits.checkpoint_minutes * 60:
                    self._save()
                    saved = time.monotonic()
        if not self._left() and not state.finished:
            self._end_of_epoch(monitor, audio / max(time.monotonic() - began, 1e-9))

    def _end_of_epoch(self, monitor: Monitor, rate: float) -> None:
        state = self.state
        state.epoch, state.position = state.epoch + 1, 0
        if state.epoch >= self.settings.epochs:
            state.finished = "all"
        self._validate(monitor, rate)

    def _validate(self, monitor: Monitor, rate: float) -> None:
        """Validates, keeps the weights where they are the best so far, and saves."""
        state = self.state
        state.validations += 1
        began = time.monotonic()
        with self.learner.averaged():
            found = self.task.validate()
            if found.score < state.best_score:
                state.best_score, state.best_validation = found.score, state.validations
                checkpoints.save(
                    self.experiment.checkpoint("best"),
                    {"weights": self.model.weights},
                    {"epoch": state.epoch, "step": state.step, "loss": found.loss, **found.rates},
                )
            monitor.validation(state, found, rate)
        state.loss_sum, state.losses = 0.0, 0
        patience = self.settings.patience
        if not state.finished and patience and state.validations - state.best_validation >= patience:
            state.finished = "early"
            print(f"Stopped early: no better result in {patience} validations.")
        state.minutes += (time.monotonic() - began) / 60
        self._save()

    def _step(self, group: list) -> tuple[float, float]:
        """One update; returns loss and gradient norm. Where they are not finite, nothing is changed but the count."""
        state = self.state
        loss, norm, gradients = self.learner.gradients(group)
        if math.isfinite(loss) and math.isfinite(norm):
            self.learner.update(gradients, norm, learning_rate(state.step, self.total_steps, self.settings), state.step)
            state.loss_sum, state.losses = state.loss_sum + loss, state.losses + 1
            state.skipped_in_a_row = 0
        else:
            self.learner.undo()
            state.skipped, state.skipped_in_a_row = state.skipped + 1, state.skipped_in_a_row + 1
            if state.skipped_in_a_row >= _GIVE_UP_AFTER:
                raise TfvoiceError(
                    f"{self.experiment.run_dir}: the loss was not finite in {_GIVE_UP_AFTER} steps in a row, the last "
                    f"at step {state.step}; start a new run with "
                    f"--set training.learning_rate={self.settings.learning_rate / 3:.1g}."
                )
        state.position += len(group)
        state.step += 1
        return loss, norm

    def _left(self) -> int:
        """Batches that are left of the current epoch; 0 where the run has ended within it."""
        return 0 if self.state.finished else self.train_data.steps(self.state.epoch) - self.state.position

    def _validates_within(self) -> bool:
        return bool(self.settings.validate_steps) and self.state.step % self.settings.validate_steps == 0

    def _steps(self, epoch: int) -> int:
        return -(-self.train_data.steps(epoch) // self.settings.accumulate)

    def _stopped(self, limits: Limits, stop: "_StopSignal") -> bool:
        too_many = limits.max_steps is not None and self.state.step >= limits.max_steps
        too_long = limits.max_minutes is not None and self.state.minutes >= limits.max_minutes
        return stop.requested or too_many or too_long

    def _save(self) -> None:
        checkpoints.save(self.experiment.checkpoint("last"), self.learner.groups(), vars(self.state))


def learning_rate(step: int, total_steps: int, settings: TrainingConfig) -> float:
    """Linear warm-up, then what `settings.decay` says.

    The cosine is that of Loshchilov and Hutter (arXiv 1608.03983), without restarts.

    Args:
      step: steps made so far.
      total_steps: of the whole run.
      settings: `learning_rate` is the highest value, `warmup` the share of all steps in which it is reached.
    """
    peak, warmup = settings.learning_rate, settings.warmup * total_steps
    if step < warmup:
        return peak * min(1.0, (step + 1) / warmup)
    if settings.decay == "constant":
        return peak
    if settings.decay == "exponential":
        return peak * settings.epoch_factor ** (step * settings.epochs // total_steps)
    done = min(1.0, (step - warmup) / max(1.0, total_steps - warmup))
    return peak * max(1e-3, 0.5 * (1 + math.cos(math.pi * done)))


class _StopSignal:
    """Turns the first Ctrl-C (or SIGTERM) into a wish, so that a step is never cut in half; the second one kills."""

    def __init__(self):
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number, _):
        self.requested = True
        signal.signal(number, self._before[number])


def _make(run_dir: Path, settings, data_dir) -> Experiment:
    """A new run, of which nothing is on disk yet."""
    manifest = shards.read_manifest(data_dir)
    info = {"data": str(Path(data_dir).resolve()), "manifest_sha256": _digest(data_dir), "corpus": manifest.corpus}
    return tasks.of_model(settings.model.name).run.new(run_dir, settings, data_dir, info)


def _open(run_dir: Path, settings, data_dir) -> Experiment:
    """The run that is there; raises where it has another configuration or other data."""
    name = experiment_.model_name(experiment_.read_description(run_dir))
    if name != settings.model.name:
        raise TfvoiceError(
            f"{run_dir}: holds a run of {name or 'an unknown model'}, not {settings.model.name}. "
            "Use another --run, or --overwrite to start anew in this one."
        )
    experiment = tasks.of_model(name).run.open(run_dir, training=True)
    # A run goes on as it was begun, on whatever machine.
    settings = experiment_.with_precision(settings, experiment.config.training.precision)
    differences = config.differences(experiment.config, settings)
    changed = [difference for difference in differences if not difference.startswith(_FREE)]
    if experiment.info.get("manifest_sha256") != _digest(data_dir):
        changed.append(f"data: {experiment.info.get('data')} -> {Path(data_dir).resolve()} (another manifest.json)")
    if changed:
        raise TfvoiceError(
            f"{run_dir}: holds a run of another configuration: {'; '.join(changed)}. "
            "Use another --run, or --overwrite to start this one anew."
        )
    experiment.config = settings
    return experiment


def _digest(data_dir) -> str:
    return hashlib.sha256((Path(data_dir) / shards.MANIFEST).read_bytes()).hexdigest()
