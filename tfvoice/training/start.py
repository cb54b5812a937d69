"""How a training starts: a new run, perhaps with the weights of another one; a run to resume; a run to extend."""

from pathlib import Path

from tfvoice import config as config_
from tfvoice import storage
from tfvoice.errors import TfvoiceError
from tfvoice.run import Run, RunConfig, model_name, read_description, with_precision
from tfvoice.training import transfer
from tfvoice.training.state import TrainingState
from tfvoice.training.task import Task

# What can change when a run is resumed: no weight depends on it.
_CHANGEABLE = ("sampling.", "search.", "training.patience:", "training.validate_steps:")
# What can change, too, when a run that has finished is extended.
_STAGE_KEYS = (
    "epochs",
    "learning_rate",
    "warmup",
    "decay",
    "epoch_factor",
    "decay_steps",
    "weight_decay",
    "clip_norm",
    "clip_value",
)
_CHANGEABLE_BY_STAGE = (*_CHANGEABLE, "augmentation.", *(f"training.{key}:" for key in _STAGE_KEYS))


def epochs(text: str, run_dir: str | Path, overwrite: bool) -> int:
    """The value of `training.epochs` that `--epochs=N` or, for a run that is there, `--epochs=+N` asks for.

    Raises:
      TfvoiceError: the text is neither, a run is to be extended and overwritten, or as `extended_epochs`.
    """
    if not text.removeprefix("+").isdecimal() or not int(text):
        raise TfvoiceError(f"--epochs={text} is not valid; expected a positive integer, or + and one.")
    if not text.startswith("+"):
        return int(text)
    if overwrite:
        raise TfvoiceError("--overwrite starts from scratch, --epochs=+N extends a run; leave one of them out.")
    return extended_epochs(run_dir, int(text))


def extended_epochs(run_dir: str | Path, epochs: int) -> int:
    """The value of `training.epochs` that extends a run by so many epochs, or resumes such an extension.

    Raises:
      TfvoiceError: the run has not finished, or was not trained here.
    """
    content = read_description(run_dir)
    if "training" not in content["config"]:
        raise TfvoiceError(f"{run_dir}: a voice has several parts; name one, as in --set vocoder.training.epochs=30.")
    info, total = content.get("info") or {}, content["config"]["training"]["epochs"]
    folder = storage.place(run_dir) / "checkpoints"
    paths = [path for path in (folder.iterdir() if folder.is_dir() else ()) if path.stem == "last"]
    if not paths:
        raise TfvoiceError(
            f"{run_dir}: has no checkpoint of a training that could be extended; start a run from it with "
            f"--init_from={run_dir} and another --run."
        )
    with storage.local_file(max(paths)) as path:
        state = TrainingState.restore(path)
    stages = info.get("stages", [])
    if state.finished and state.stage == len(stages):
        return state.next_epoch + epochs
    if stages and total - stages[-1]["from_epoch"] == epochs:
        return total
    planned = total - (stages[-1]["from_epoch"] if stages else 0)
    same = f"--epochs=+{planned}" if stages else "the command that started it, without --epochs=+N,"
    raise TfvoiceError(f"{run_dir}: has not finished, after {state.epoch} of {total} epochs; {same} resumes it.")


def make(task: Task, run_dir: Path, settings: RunConfig, data_dir, source: Run | None) -> Run:
    """A new run, of which nothing is on disk yet; its weights are those of `source` where they fit."""
    run = task.run.new(run_dir, settings, data_dir, task.run.data_info(data_dir), source)
    if source is not None:
        taken = transfer.take_weights(run, source)
        print(f"{source.run_dir}: {taken.describe()}")
        origin = {key: source.info[key] for key in ("corpus", "imported", "init_from") if key in source.info}
        run.info["init_from"] = {"run": str(source.run_dir.resolve()), **origin, "transfer": taken._asdict()}
    return run


def open_existing(task: Task, run_dir: Path, settings: RunConfig, data_dir, init_from) -> Run:
    """The run in the folder, with another stage where it is extended; raises where it has another configuration."""
    name = model_name(read_description(run_dir))
    if name != settings.model.name:
        raise TfvoiceError(
            f"{run_dir}: holds a run of {name or 'an unknown model'}, not {settings.model.name}. "
            "Use another --run, or --overwrite to start from scratch in this one."
        )
    run = task.run.open(run_dir, training=True)
    # A run is resumed in its own precision, on any machine.
    settings = with_precision(settings, run.config.training.precision)
    differences = config_.differences(run.config, settings)
    extended = settings.training.epochs > run.config.training.epochs and _has_finished(run)
    changeable = _CHANGEABLE_BY_STAGE if extended else _CHANGEABLE
    changed = [difference for difference in differences if not difference.startswith(_CHANGEABLE)]
    refused = [difference for difference in differences if not difference.startswith(changeable)]
    data_info = task.run.data_info(data_dir)
    new_data = run.info.get("manifest_sha256") != data_info["manifest_sha256"]
    if new_data:
        changed.append(f"data: {run.info.get('data')} -> {data_info['data']} (of other content)")
    origin = run.info.get("init_from", {}).get("run")
    if init_from is not None and origin != str(Path(init_from).resolve()):
        refused.append(f"init_from: {origin} -> {Path(init_from).resolve()}")
        changed.append(refused[-1])
    if refused or (new_data and not extended):
        raise TfvoiceError(
            f"{run_dir}: holds a run of another configuration: {'; '.join(changed)}. "
            "Use another --run, or --overwrite to start this one from scratch."
        )
    if extended:
        earlier = {key: run.info[key] for key in ("data", "corpus") if key in run.info}
        stage = {
            "from_epoch": TrainingState.restore(run.checkpoint("last")).next_epoch,
            "new_data": new_data,
            "earlier": earlier,
        }
        run.info |= {**data_info, "stages": [*run.info.get("stages", []), stage]}
    run.config = settings
    return run


def _has_finished(run: Run) -> bool:
    """Whether the last stage of a run has ended."""
    if not run.checkpoint("last").is_file():
        return False
    state = TrainingState.restore(run.checkpoint("last"))
    return bool(state.finished) and state.stage == len(run.info.get("stages", []))
