"""The training loop: one compiled step, exact resume, and a run that survives being killed.

A run is decided by its configuration and its first weights: order and augmentation come from (seed, epoch), dropout
from (seed, epoch, position), the learning rate from the step. So a checkpoint needs the weights, the optimizer and a
position, and a run that was killed and restarted ends bit for bit (on one CPU) as one that was not.

A run that has finished can be extended by further epochs: a stage with a learning-rate schedule of its own.

Several processes can train together (`tfvoice.cluster`). The chief then has the run; the others have its description
and its weights from it, and a folder of their own that is deleted at the end.
"""

import contextlib
import itertools
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf
from tqdm import tqdm

from tfvoice import checkpoints, storage
from tfvoice.cluster import cluster as cluster_
from tfvoice.cluster.cluster import SINGLE, Cluster
from tfvoice.data.datasets import Share, Speed
from tfvoice.errors import TfvoiceError
from tfvoice.run import DESCRIPTION, Run, RunConfig, clear, is_run
from tfvoice.training import start, step
from tfvoice.training.callbacks import MetricsLogger
from tfvoice.training.config import TrainingConfig
from tfvoice.training.state import TrainingState
from tfvoice.training.step import Wishes
from tfvoice.training.task import Task, TrainingJob, Validation

_GIVE_UP_AFTER = 10


@dataclass(frozen=True)
class StopConditions:
    """When a call of `train` stops before the last epoch. They decide nothing about the weights.

    Attributes:
      max_steps: total steps of the run.
      max_minutes: total training time of the run, earlier calls included.
      checkpoint_minutes: time between checkpoints inside an epoch.
      requested: asked after each step: whether the user wants to stop, as with Ctrl-C.
    """

    max_steps: int | None = None
    max_minutes: float | None = None
    checkpoint_minutes: float = 5.0
    requested: Callable[[], bool] = lambda: False


def train(
    task: Task,
    run_dir: str | Path,
    data_dir: str | Path,
    settings: RunConfig,
    stop: StopConditions = StopConditions(),
    overwrite: bool = False,
    init_from: str | Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> TrainingState:
    """Trains a model; a run that exists is resumed.

    A run that has finished is extended where `settings.training.epochs` is higher than before, perhaps on other data.

    Args:
      task: of the model.
      run_dir: folder of the run; made where it does not exist.
      data_dir: folder that `tfvoice_convert` wrote; needs splits `train` and `valid`.
      settings: the whole configuration.
      stop: when to stop before the last epoch.
      overwrite: start from scratch, over an older run.
      init_from: folder of a run of the same task, whose weights a new run starts from as far as they fit.
      callbacks: of Keras. Their logs are `loss`, and after an epoch `val_loss` and those of the task, as `val_cer`;
        the model then holds the weights that were validated. `model.stop_training` stops the run as `stop` does.

    Returns:
      The progress of the run.

    Raises:
      TfvoiceError: the data or the configuration cannot be used, which is found out before an older run is touched;
        another process trains the run; or the loss stays infinite.
      KeyboardInterrupt: a stop was requested; the run is saved.
    """
    cluster = cluster_.join()
    if not cluster.is_chief:
        return _train_with_chief(cluster, task, data_dir, stop, callbacks)
    return _train(cluster, task, Path(run_dir), data_dir, settings, stop, overwrite, init_from, callbacks)


def _train(cluster, task, run_dir, data_dir, settings, stop, overwrite, init_from, callbacks) -> TrainingState:
    """`train` in the process that has the run."""
    strategy = step.strategy_for(settings.training, cluster)
    new = overwrite or not is_run(run_dir)
    source = task.run.load(init_from) if new and init_from is not None else None
    with contextlib.ExitStack() as stack:
        locked = storage.locked(run_dir, "tfvoice_train")
        exists = run_dir.is_dir()
        if exists:
            stack.enter_context(locked)
        with strategy.scope():
            where = (task, run_dir, settings, data_dir)
            run = start.make(*where, source) if new else start.open_existing(*where, init_from)
            cluster.shared(run.description())
            trainer = Trainer(run, task.training(run, data_dir), strategy, cluster)
        if not exists:
            # Not before: data that cannot be used leave no folder behind.
            stack.enter_context(locked)
        clear(run_dir) if new else trainer.restore()
        if source is not None:
            # Before the description: a run without a checkpoint would be resumed from random weights.
            trainer.write_checkpoint()
        run.write()
        return trainer.run(stop, callbacks)


def _train_with_chief(cluster, task, data_dir, stop, callbacks) -> TrainingState:
    """`train` in a process that has a share of each batch, and the run from the chief."""
    description = cluster.shared()
    with tempfile.TemporaryDirectory(prefix="tfvoice-") as folder:
        storage.write_json(Path(folder) / DESCRIPTION, description)
        run = task.run.open(folder, training=True)
        if run.data_info(data_dir)["manifest_sha256"] != run.info["manifest_sha256"]:
            raise TfvoiceError(
                f"{data_dir}: worker {cluster.index} finds other data there than the chief; use the same."
            )
        strategy = step.strategy_for(run.config.training, cluster)
        return Trainer(run, task.training(run, data_dir), strategy, cluster).run(stop, callbacks)


class Trainer:
    """The loop and what it needs; make it inside the scope of its strategy.

    Args:
      run: made for training.
      job: data, objective and validation of the run.
      strategy: of `tf.distribute`.
      cluster: the processes that train together.
    """

    def __init__(self, run: Run, job: TrainingJob, strategy: tf.distribute.Strategy, cluster: Cluster = SINGLE):
        self.state = TrainingState()
        self._run = run
        self._job = job
        self._settings = run.config.training
        self._cluster = cluster
        self._learner = step.Learner(job.objective, self._settings, strategy, cluster)
        job.train_data.share = Share(cluster.index, cluster.count)

    def restore(self) -> None:
        """Restores the last checkpoint, if there is one."""
        if not self._run.checkpoint("last").is_file():
            return
        try:
            self.state = TrainingState.restore(self._run.checkpoint("last"), self._learner.groups())
        except checkpoints.CheckpointError as error:
            raise TfvoiceError(f"{error} If there is no copy of it, --overwrite starts the run from scratch.") from None
        stages = self._run.info.get("stages", [])
        if len(stages) > self.state.stage:
            self.state.start_stage(len(stages), stages[-1]["new_data"])

    def run(self, stop: StopConditions, callbacks: Sequence[keras.callbacks.Callback] = ()) -> TrainingState:
        """Trains until the last epoch, a stop condition or a request to stop; saves; returns the progress.

        Raises:
          KeyboardInterrupt: a stop was requested.
        """
        self._synchronise(stop)
        state = self.state
        if state.finished:
            print(f"{self._run.run_dir}: has already finished after {state.epoch} epochs.")
            self._cluster.shared()
            return state
        self._total_steps = max(1, self._steps(0) * (self._settings.epochs - state.stage_epoch))
        self._schedule = self._settings.model_copy(update={"epochs": self._settings.epochs - state.stage_epoch})
        self._callbacks = keras.callbacks.CallbackList(list(callbacks), model=self._run.model)
        self._run.model.stop_training = False
        train_data = self._job.train_data
        print(train_data.index.describe())
        print(self._job.valid_data.index.describe())
        with MetricsLogger(self._run, state, train_data.index.speed) as logger:
            # One dataset for the whole run: to make one an epoch costs memory that is never given back.
            batches = iter(train_data.batches(state.epoch, state.position, epochs=self._settings.epochs - state.epoch))
            self._callbacks.on_train_begin()
            while not state.finished and not self._stopped(stop):
                self._epoch(batches, stop, logger)
            self._callbacks.on_train_end()
            self.save()
            if state.losses:
                # Redirected output of a run that stops before its first validation would show no loss at all.
                print(f"step {state.step}: train loss {state.loss:.4f} {self._job.objective.unit}")
        # None leaves before the chief has written the last checkpoint.
        self._cluster.shared()
        interrupted = self._learner.agreed.interrupt if self._cluster.count > 1 else stop.requested()
        if interrupted and not state.finished:
            raise KeyboardInterrupt(f"saved after step {state.step}; the same command resumes from there.")
        if not state.finished:
            if self._run.model.stop_training:
                print(f"Stopped by a callback, after step {state.step}; the same call resumes from there.")
            else:
                print(f"Stopped at the limit, after step {state.step}; a higher or no limit resumes from there.")
        return state

    def _epoch(self, batches: Iterator, stop: StopConditions, logger: MetricsLogger) -> None:
        """Runs the rest of the current epoch, and validates at its end."""
        state, speed = self.state, self._job.train_data.index.speed
        bar = tqdm(
            total=self._steps(state.epoch),
            initial=state.position // self._settings.accumulate,
            unit="step",
            disable=None if self._cluster.is_chief else True,
            desc=f"epoch {state.epoch + 1}/{self._settings.epochs}",
            leave=False,
            dynamic_ncols=True,
        )
        clock = _Clock(speed)
        saved = time.monotonic()
        if not state.position:
            self._callbacks.on_epoch_begin(state.epoch)
        with bar:
            while (left := self._batches_left()) and not self._stopped(stop):
                group = list(itertools.islice(batches, min(left, self._settings.accumulate)))
                number = state.position // self._settings.accumulate
                self._callbacks.on_train_batch_begin(number)
                due = time.monotonic() - saved > stop.checkpoint_minutes * 60
                loss, norm = self._step(group, self._wishes(stop)._replace(save=float(due and self._cluster.is_chief)))
                self._callbacks.on_train_batch_end(number, {"loss": loss})
                state.minutes += clock.step(group) / 60
                rate = self._learning_rate()
                logger.step(state.step, loss, norm, rate, clock.rate)
                bar.update()
                minutes_left = (self._total_steps + state.stage_step - state.step) * state.minutes / state.step
                bar.set_postfix_str(f"loss {loss:.4g}, {clock.rate:.3g} {speed.unit}, {minutes_left:.0f} min left")
                if self._validates_within_epoch() and self._batches_left():
                    with clock.paused():
                        self._validate(logger, clock.rate)
                    saved = time.monotonic()
                elif self._learner.agreed.save:
                    self.save()
                    saved = time.monotonic()
        if not self._batches_left() and not state.finished:
            self._end_epoch(logger, clock.rate)

    def _end_epoch(self, logger: MetricsLogger, rate: float) -> None:
        state = self.state
        state.epoch, state.position = state.epoch + 1, 0
        if state.epoch >= self._settings.epochs:
            state.finished = "all"
        self._validate(logger, rate)

    def _validate(self, logger: MetricsLogger, rate: float) -> None:
        """Validates, keeps the weights where they are the best so far, and saves."""
        state = self.state
        state.validations += 1
        start = time.monotonic()
        with self._learner.averaged():
            validation = self._job.validate() if self._cluster.is_chief else None
            score = self._cluster.shared(validation and validation.score)
            is_best = score < state.best_score
            if is_best:
                state.best_score, state.best_validation = score, state.validations
            if validation:
                self._record(validation, is_best, logger, rate)
        state.loss_sum, state.losses = 0.0, 0
        patience = self._settings.patience
        if not state.finished and patience and state.validations - state.best_validation >= patience:
            state.finished = "early"
            print(f"Stopped early: no better result in {patience} validations.")
        state.minutes += (time.monotonic() - start) / 60
        self.save()

    def _record(self, validation: Validation, is_best: bool, logger: MetricsLogger, rate: float) -> None:
        """Writes what a validation found, and the weights where they are the best so far."""
        state, values = self.state, {"loss": validation.loss, **validation.rates}
        if is_best:
            weights = {"weights": self._run.model.weights}
            self._run.save_checkpoint("best", weights, {"epoch": state.epoch, "step": state.step, **values})
        logger.validation(state, validation, rate)
        if not state.position:
            logs = {"loss": state.loss} | {f"val_{name}": value for name, value in values.items()}
            self._callbacks.on_epoch_end(state.epoch - 1, logs)

    def _step(self, group: list, wishes: Wishes) -> tuple[float, float]:
        """One update; returns loss and gradient norm. Where they are not finite, only the counts change."""
        state = self.state
        loss, norm, gradients = self._learner.gradients(group, wishes)
        if math.isfinite(loss) and math.isfinite(norm):
            rate = self._learning_rate()
            self._learner.update(gradients, norm, rate, state.step)
            state.loss_sum, state.losses = state.loss_sum + loss, state.losses + 1
            state.skipped_in_a_row = 0
        else:
            self._learner.undo()
            state.skipped, state.skipped_in_a_row = state.skipped + 1, state.skipped_in_a_row + 1
            if state.skipped_in_a_row >= _GIVE_UP_AFTER:
                raise TfvoiceError(
                    f"{self._run.run_dir}: the loss was not finite in {_GIVE_UP_AFTER} steps in a row, the last at "
                    f"step {state.step}; start a new run with "
                    f"--set training.learning_rate={self._settings.learning_rate / 3:.1g}."
                )
        state.position += len(group)
        state.step += 1
        return loss, norm

    def _learning_rate(self) -> float:
        """That of the next step, by the schedule of the present stage."""
        return learning_rate(self.state.step - self.state.stage_step, self._total_steps, self._schedule)

    def _batches_left(self) -> int:
        """Batches that are left of the current epoch; 0 where the run has finished within it."""
        return 0 if self.state.finished else self._job.train_data.steps(self.state.epoch) - self.state.position

    def _validates_within_epoch(self) -> bool:
        return bool(self._settings.validate_steps) and self.state.step % self._settings.validate_steps == 0

    def _steps(self, epoch: int) -> int:
        return -(-self._job.train_data.steps(epoch) // self._settings.accumulate)

    def _stopped(self, stop: StopConditions) -> bool:
        """Whether the run stops here; the same in all processes, because what they wish travels with the gradients."""
        if self._max_steps is not None and self.state.step >= self._max_steps:
            return True
        wishes = self._wishes(stop) if self._cluster.count == 1 else self._learner.agreed
        return bool(wishes.interrupt or wishes.stop)

    def _wishes(self, stop: StopConditions) -> Wishes:
        """Whether this process wishes to stop."""
        too_long = stop.max_minutes is not None and self.state.minutes >= stop.max_minutes
        return Wishes(float(stop.requested()), float(too_long or self._run.model.stop_training))

    def _synchronise(self, stop: StopConditions) -> None:
        """All processes start where the chief does."""
        self.state = TrainingState(**self._cluster.shared(vars(self.state)))
        self._max_steps = self._cluster.shared(stop.max_steps)
        self._learner.synchronise()

    def save(self) -> None:
        """Writes the checkpoint `last`; all processes call it after the same step."""
        self._learner.gather()
        if self._cluster.is_chief:
            self.write_checkpoint()

    def write_checkpoint(self) -> None:
        """Writes the checkpoint `last` from what this process has."""
        self._run.save_checkpoint("last", self._learner.groups(), vars(self.state))


class _Clock:
    """Time of training steps, and what is trained on in a second since the start, pauses excluded."""

    def __init__(self, speed: Speed):
        self._speed = speed
        self._samples, self._seconds = 0, 0.0
        self._last = time.monotonic()

    @property
    def rate(self) -> float:
        """In the unit of the speed."""
        return self._samples / self._speed.samples / max(self._seconds, 1e-9)

    def step(self, group: list) -> float:
        """Counts the batches of a step; returns the seconds since the last step."""
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        self._seconds += seconds
        self._samples += sum(int(batch.samples) for batch in group)
        return seconds

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Inside the `with`, no time passes."""
        yield
        self._last = time.monotonic()


def learning_rate(step: int, total_steps: int, settings: TrainingConfig) -> float:
    """Linear warm-up, then the schedule that `settings.decay` names.

    The cosine is that of Loshchilov and Hutter (arXiv 1608.03983), without restarts.

    Args:
      step: steps so far.
      total_steps: of the whole run.
      settings: `learning_rate` is the highest value, `warmup` the share of all steps in which it is reached.
    """
    peak, warmup = settings.learning_rate, settings.warmup * total_steps
    if step < warmup:
        return peak * min(1.0, (step + 1) / warmup)
    if settings.decay == "constant":
        return peak
    if settings.decay == "exponential":
        past = step // settings.decay_steps if settings.decay_steps else step * settings.epochs // total_steps
        return peak * settings.epoch_factor**past
    done = min(1.0, (step - warmup) / max(1.0, total_steps - warmup))
    return peak * max(1e-3, 0.5 * (1 + math.cos(math.pi * done)))
