"""One explicit table: model name to task; and what needs the table: configurations, loading and training by name."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tfvoice import config as config_
from tfvoice import remote
from tfvoice.cluster import cluster as cluster_
from tfvoice.config import ConfigError
from tfvoice.errors import TfvoiceError
from tfvoice.run import Run, RunConfig, local_folder, model_name, read_description
from tfvoice.training import trainer
from tfvoice.training.task import Task
from tfvoice.training.trainer import StopConditions, TrainingState


def _recognition() -> Task:
    from tfvoice.asr.task import RECOGNITION

    return RECOGNITION


def _generation() -> Task:
    from tfvoice.generation.task import GENERATION

    return GENERATION


def _g2p() -> Task:
    from tfvoice.tts.g2p.task import G2P

    return G2P


def _segmentation() -> Task:
    from tfvoice.tts.segmentation.task import SEGMENTATION

    return SEGMENTATION


def _duration_f0() -> Task:
    from tfvoice.tts.duration_f0.task import DURATION_F0

    return DURATION_F0


def _vocoder() -> Task:
    from tfvoice.tts.vocoder.task import VOCODER

    return VOCODER


def _voice() -> Task:
    from tfvoice.tts.voice.task import VOICE

    return VOICE


# Functions, so that a command imports the task that it uses and no other.
TASKS: dict[str, Callable[[], Task]] = {
    "wavenet_asr": _recognition,
    "deepspeech2": _recognition,
    "sample_rnn": _generation,
    "g2p": _g2p,
    "segmentation": _segmentation,
    "duration_f0": _duration_f0,
    "vocoder": _vocoder,
    "deep_voice": _voice,
}


def of_model(name: str) -> Task:
    """The task of a model; raises `ConfigError` with the known names where there is none of that name."""
    if name not in TASKS:
        raise ConfigError(f"--model={name}: there is no such model; {config_.nearest(name, TASKS)}.")
    return TASKS[name]()


def of_run(run_dir: str | Path, command: str | None = None) -> Task:
    """The task of a run.

    Args:
      run_dir: the folder.
      command: the command that is to use the run, such as `tfvoice_sample`; None: any task will do.

    Raises:
      TfvoiceError: the folder is no run, its model is unknown, or the command is not for runs of its task.
    """
    name = model_name(read_description(run_dir))
    if name not in TASKS:
        raise TfvoiceError(f"{run_dir}: is a run of {name or 'an unknown model'}; known: {', '.join(sorted(TASKS))}.")
    task = TASKS[name]()
    if command is not None and command not in task.commands:
        listed = " and ".join(", ".join((*task.commands, "tfvoice_eval")).rsplit(", ", 1))
        verb = "are" if task.commands else "is"
        raise TfvoiceError(f"{run_dir}: is a run of {name}, {task.summary}; {listed} {verb} for it, {command} is not.")
    return task


def load(run_dir: str | Path, checkpoint: str = "best", command: str | None = None) -> Run:
    """Loads a run of any task, with its weights; arguments and errors as for `of_run` and `Run.load`."""
    return of_run(run_dir, command).run.load(run_dir, checkpoint)


def train(
    run_dir: str | Path,
    data_dir: str | Path,
    settings: RunConfig | None,
    stop: StopConditions = StopConditions(),  # noqa: B008 - frozen
    overwrite: bool = False,
    init_from: str | Path | None = None,
    callbacks: Sequence = (),
) -> TrainingState | None:
    """Trains the model that `settings.model` names; arguments, result and errors as for `trainer.train`.

    Run and data may be URLs of an object store (`tfvoice.working_copy`, `tfvoice.cache`). Of a voice, whose parts are
    trained in turn, arguments, result and errors are those of `tts.voice.train`. Where several processes train
    together, the settings of the chief count, and the others may pass None.
    """
    cluster = cluster_.join()
    with cluster.explained():
        task = of_model(cluster.shared(settings and settings.model.name))
        _refuse_urls(task, run_dir, data_dir)
        if task.name == "voice":
            from tfvoice.tts.voice import train as voice_train

            return voice_train.train(run_dir, data_dir, settings, stop, overwrite, init_from, callbacks)
        if not cluster.is_chief:
            return trainer.train(task, run_dir, data_dir, settings, stop, overwrite, init_from, callbacks)
        with local_folder(run_dir, overwrite) as folder:
            settings = task.run.resolved(settings, folder, data_dir, overwrite)
            return trainer.train(task, folder, data_dir, settings, stop, overwrite, init_from, callbacks)


def _refuse_urls(task: Task, run_dir: str | Path, data_dir: str | Path) -> None:
    """A voice is a folder of several runs and records, and a lexicon is no converted corpus."""
    places = {"voice": (run_dir, data_dir), "g2p": (data_dir,)}.get(task.name, ())
    for place in filter(remote.is_url, places):
        raise TfvoiceError(f"{place}: {task.summary} is trained from and in local folders; copy it here first.")


def resolve(
    model: str | None = None,
    config: str | None = None,
    overrides: list[str] | tuple[str, ...] = (),
    run_dir: str | Path | None = None,
) -> RunConfig:
    """Puts a configuration together: defaults of the model, then the TOML file, then `section.key=value` overrides.

    Args:
      model: a key of `TASKS`; None: that of `run_dir`.
      config: path of a TOML file, or the name of one that comes with tfvoice, such as `wavenet_asr_faithful`.
      overrides: texts such as `training.batch_size=8`.
      run_dir: a run whose configuration takes the place of the defaults.

    Raises:
      ConfigError: a name, key or value that cannot be used.
      TfvoiceError: `run_dir` holds no run.
    """
    if model is None and run_dir is None:
        raise ConfigError(f"the model is missing; name one of {', '.join(TASKS)}, or a run to take it from.")
    base = {} if run_dir is None else _portable(read_description(run_dir)["config"])
    model = model or base["model"]["name"]
    schema = of_model(model).run.config_class
    values: dict = base if base.get("model", {}).get("name") == model else {"model": {"name": model}}
    source = "configuration"
    if config:
        path = config_.find(config)
        source = str(path)
        values = config_.merge(values, config_.read_toml(path))
        if not isinstance(values["model"], dict):
            raise ConfigError(f'{path}: model must be a section, as in [model] and name = "{model}" below it.')
        if values["model"]["name"] != model:
            raise ConfigError(f"{path}: is for --model={values['model']['name']}, not {model}.")
    if overrides:
        source = "--set" if not config else f"{source} with --set"
        values = config_.merge(values, *(config_.parse_override(text) for text in overrides))
    if isinstance(values["model"], dict) and values["model"]["name"] != model:
        raise ConfigError(f"{source}: model.name={values['model']['name']} contradicts --model={model}.")
    return config_.build(schema, values, source)


def _portable(config: dict) -> dict:
    """The configuration of a run for another one, on this machine: bfloat16 where it is fast."""
    portable = {key: _portable(value) if isinstance(value, dict) else value for key, value in config.items()}
    if config.get("precision") == "bfloat16":
        portable["precision"] = "auto"
    return portable
