"""The training of a voice: segmentation, alignment, durations and F0, vocoder, in this order.

Each part is a run in the folder of the voice, trained by `tfvoice.training.trainer` as any run is, so that a voice that
was killed at any moment resumes bit for bit. What is finished is not trained again.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tfvoice import config as config_
from tfvoice import hardware, storage
from tfvoice.cluster import cluster as cluster_
from tfvoice.cluster.cluster import Cluster
from tfvoice.errors import TfvoiceError
from tfvoice.run import RunFolder, is_run, read_description, with_precision
from tfvoice.training import trainer
from tfvoice.training.state import TrainingState
from tfvoice.training.task import Task
from tfvoice.training.trainer import StopConditions
from tfvoice.tts import align, alignment_output
from tfvoice.tts.align import AlignmentSettings
from tfvoice.tts.duration_f0.task import DURATION_F0
from tfvoice.tts.segmentation.run import SegmentationRun
from tfvoice.tts.segmentation.task import SEGMENTATION
from tfvoice.tts.vocoder.task import VOCODER
from tfvoice.tts.voice import estimate, start
from tfvoice.tts.voice.config import VoiceRunConfig
from tfvoice.tts.voice.estimate import Pace
from tfvoice.tts.voice.run import ALIGNED, VoiceRun

# The tasks of the stages in their order; the alignment has none.
STAGES: dict[str, Task | None] = {
    "segmentation": SEGMENTATION,
    ALIGNED: None,
    "duration_f0": DURATION_F0,
    "vocoder": VOCODER,
}


def train(
    run_dir: str | Path,
    data_dir: str | Path,
    settings: VoiceRunConfig,
    stop: StopConditions = StopConditions(),  # noqa: B008 - frozen
    overwrite: bool = False,
    init_from: str | Path | None = None,
    callbacks: Sequence = (),
) -> TrainingState | None:
    """Trains what is missing of a voice.

    Args:
      run_dir: folder of the voice; made where it does not exist.
      data_dir: folder of plain records, with splits `train` and `valid`.
      settings: the whole configuration. Lexicons and G2P model of the user's own are copied into the folder.
      stop: when to stop before the end; `max_minutes` counts those of all stages, earlier calls included.
      overwrite: start from scratch, over an older voice.
      init_from: folder of a voice, whose parts the parts of a new one start from.
      callbacks: of Keras, for each part.

    Returns:
      The progress of the vocoder; None where it was not reached.

    Raises:
      TfvoiceError: the data or the configuration cannot be used, another process trains the voice, a part cannot be
        trained, or `stop` counts steps.
      KeyboardInterrupt: a stop was requested; what is done is saved.
    """
    run_dir, cluster = Path(run_dir), cluster_.join()
    if not cluster.is_chief:
        return _train_with_chief(cluster, run_dir, data_dir, stop, callbacks)
    if stop.max_steps is not None:
        raise TfvoiceError(
            "--max_steps counts the steps of one model, and a voice has several; use --max_minutes, or shorten a part "
            "with, for example, --set vocoder.training.epochs=3."
        )
    settings = start.fitted(settings, data_dir)
    new, data_info = overwrite or not is_run(run_dir), RunFolder.data_info(data_dir)
    with contextlib.ExitStack() as stack:
        locked = storage.locked(run_dir, "tfvoice_train")
        exists = run_dir.is_dir()
        if exists:
            stack.enter_context(locked)
        owners = [VoiceRun.open(folder) for folder in (init_from, None if new else run_dir) if folder is not None]
        settings = start.with_absolute_paths(settings, *owners)
        if new:
            voice, write = start.make(run_dir, settings, data_info, init_from)
            _measure(voice, data_dir, settings)
            if not exists:
                stack.enter_context(locked)
            write()
        else:
            voice = start.open_existing(run_dir, settings, data_info, init_from)
        return _Training(voice, data_dir, stop, callbacks, cluster).run()


def _train_with_chief(
    cluster: Cluster, run_dir: Path, data_dir: str | Path, stop: StopConditions, callbacks: Sequence
) -> TrainingState | None:
    """Trains the parts that the chief names, together with it; the chief aligns alone."""
    state = None
    while (name := cluster.shared()) is not None:
        state = trainer.train(
            STAGES[name], run_dir / name, _records(run_dir, data_dir, name), None, stop, callbacks=callbacks
        )
    return state


def _records(run_dir: Path, data_dir: str | Path, name: str) -> str | Path:
    """What a part is trained on."""
    return data_dir if name == "segmentation" else run_dir / ALIGNED


def _measure(voice: VoiceRun, data_dir: str | Path, settings: VoiceRunConfig) -> None:
    """Writes the pace of each stage into the description of a new voice, as far as it can be measured."""
    print("Measuring how long the parts of this voice will take ...", flush=True)
    try:
        voice.info["pace"] = estimate.measure(data_dir, settings)
    except TfvoiceError as error:
        print(f"That is not known: {error}", flush=True)


class _Training:
    """The stages of a voice.

    Args:
      voice: to be trained.
      data_dir: folder of plain records.
      stop: when to stop.
      callbacks: of Keras.
      cluster: the processes that train the parts together; this one is the chief.
    """

    def __init__(
        self, voice: VoiceRun, data_dir: str | Path, stop: StopConditions, callbacks: Sequence, cluster: Cluster
    ):
        self._cluster = cluster
        self._voice, self._data_dir, self._stop, self._callbacks = voice, data_dir, stop, callbacks
        self._pace = {name: Pace(*pace) for name, pace in voice.info.get("pace", {}).items()}

    def run(self) -> TrainingState | None:
        """Trains what is missing; returns the progress of the vocoder, or None where a limit came before it."""
        state = self._run()
        # The others wait for a further part.
        self._cluster.shared(None)
        return state

    def _run(self) -> TrainingState | None:
        print(self._plan(), flush=True)
        state = None
        for number, name in enumerate(STAGES, 1):
            title = f"Stage {number} of {len(STAGES)}, {name}"
            if self._is_finished(name):
                print(f"{title}: is there already.", flush=True)
                continue
            if self._minutes_left() <= 0:
                print(f"Stopped at the limit, before {name}; a higher or no limit resumes from there.")
                return None
            print(f"{title}: {self._announced(name)}", flush=True)
            began = time.monotonic()
            state = self._align() if name == ALIGNED else self._train(name)
            if state and not state.finished:
                return None if name != "vocoder" else state
            print(f"{title}: took {duration(time.monotonic() - began)}.", flush=True)
            self._voice.write()
        self._voice.write()
        print(f'Next: tfvoice_speak --voice={self._voice.run_dir} "Please call Stella."', flush=True)
        return state or self._state("vocoder")

    def _train(self, name: str) -> TrainingState:
        """Trains a part, or resumes it."""
        part, data_dir = self._voice.run_dir / name, self._records(name)
        limit = None
        if self._stop.max_minutes is not None:
            limit = self._minutes_left() + self._minutes(name)
        source = None
        if not is_run(part) and (origin := self._voice.info.get("init_from")):
            source = Path(origin["run"]) / name
        self._cluster.shared(name)
        settings, stop = getattr(self._voice.config, name), replace(self._stop, max_minutes=limit)
        return trainer.train(STAGES[name], part, data_dir, settings, stop, False, source, self._callbacks)

    def _align(self) -> None:
        """Aligns the records."""
        voice, began, earlier = self._voice, time.monotonic(), self._minutes(ALIGNED)
        chosen = AlignmentSettings(voice.config.f0, voice.config.alignment.min_score)
        run, output = SegmentationRun.load(voice.run_dir / "segmentation"), voice.run_dir / ALIGNED
        workers = hardware.cores()
        try:
            manifest, skipped = align.align_corpus(
                run, self._data_dir, output, chosen, workers, after_each=self._stop_where_requested
            )
        except align.UnrecognisedError as error:
            raise TfvoiceError(
                f"{voice.run_dir}: its segmentation recognises {error.share:.0%} of the phonemes, so that it cannot "
                f"align the records; train it longer with --set segmentation.training.epochs=N, or keep what it finds "
                "with --set alignment.min_score=-100."
            ) from None
        finally:
            voice.info["alignment_minutes"] = round(earlier + (time.monotonic() - began) / 60, 3)
            voice.write()
        print(alignment_output.summary(output, manifest, skipped), flush=True)

    def _stop_where_requested(self) -> None:
        if self._stop.requested():
            raise KeyboardInterrupt("the same command resumes the alignment.")

    def _records(self, name: str) -> Path | str:
        return _records(self._voice.run_dir, self._data_dir, name)

    def _is_finished(self, name: str) -> bool:
        """Whether a stage has nothing left to do, nor to refuse."""
        if name == ALIGNED:
            return start.is_aligned(self._voice.run_dir)
        state, folder = self._state(name), self._voice.run_dir / name
        if not state or not state.finished or (name != "segmentation" and not start.is_aligned(self._voice.run_dir)):
            return False
        content, task = read_description(folder), STAGES[name]
        trained = config_.build(task.run.config_class, content["config"], str(folder))
        chosen = with_precision(getattr(self._voice.config, name), trained.training.precision)
        same_data = task.run.data_info(self._records(name))["manifest_sha256"] == content["info"]["manifest_sha256"]
        return trained == chosen and same_data

    def _state(self, name: str) -> TrainingState | None:
        """The progress of a part; None where it has no checkpoint."""
        path = self._voice.run_dir / name / "checkpoints" / "last.safetensors"
        return TrainingState.restore(path) if path.is_file() else None

    def _minutes(self, name: str) -> float:
        """That a stage was trained for."""
        if name == ALIGNED:
            return self._voice.info.get("alignment_minutes", 0.0)
        state = self._state(name)
        return state.minutes if state else 0.0

    def _minutes_left(self) -> float:
        if self._stop.max_minutes is None:
            return float("inf")
        return self._stop.max_minutes - sum(map(self._minutes, STAGES))

    def _seconds_left(self, name: str) -> float:
        """That a stage still takes, as far as it is known."""
        if name not in self._pace or self._is_finished(name):
            return 0.0
        epochs, state = self._epochs(name), None if name == ALIGNED else self._state(name)
        done = 0.0
        if state and state.step:
            done = 60 * state.minutes
        return max(self._pace[name].seconds(epochs) - done, 0.0)

    def _epochs(self, name: str) -> int:
        return 1 if name == ALIGNED else getattr(self._voice.config, name).training.epochs

    def _plan(self) -> str:
        """The stages and how long each will take."""
        if not self._pace:
            return f"This voice is made in {len(STAGES)} stages: {', '.join(STAGES)}."
        total = duration(sum(map(self._seconds_left, STAGES)))
        lines = [f"This voice is made in {len(STAGES)} stages. An estimate for this machine, where nothing else runs:"]
        for name in STAGES:
            epochs = "" if name == ALIGNED else f"{self._epochs(name)} epoch{'s' * (self._epochs(name) != 1)}"
            left = "done" if self._is_finished(name) else f"about {duration(self._seconds_left(name))}"
            lines.append(f"  {name:<14}{epochs:>12}  {left}")
        return "\n".join([*lines, f"  {'in all':<26}  about {total}"])

    def _announced(self, name: str) -> str:
        """What a stage takes, and all after it."""
        if not self._pace:
            return "begins."
        names = list(STAGES)
        after = sum(map(self._seconds_left, names[names.index(name) + 1 :]))
        later = f", and what follows {duration(after)}" if after else ""
        return f"will take about {duration(self._seconds_left(name))}{later}."


def duration(seconds: float) -> str:
    """A duration for people: `40 s`, `12 min`, `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
