"""A run: the folder that holds everything that a trained model needs to be used elsewhere.

`experiment.json` has the configuration and where the data came from, `checkpoints/` the weights. What an older version
wrote is brought up to date by `_MIGRATIONS` when it is read; the folder itself stays as it is.
"""

import contextlib
import hashlib
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydantic

from tfvoice import checkpoints, hardware, remote, storage, working_copy
from tfvoice import config as config_
from tfvoice.config import Config
from tfvoice.data import shards
from tfvoice.errors import TfvoiceError

DESCRIPTION = working_copy.DESCRIPTION
SCHEMA = 2

# What a run writes beside its description.
_WRITTEN = (
    f"checkpoints/*{checkpoints.SUFFIX}",
    f"checkpoints/*{checkpoints.LEGACY_SUFFIX}",
    "metrics.jsonl",
    "logs/events.out.tfevents.*",
    "decoder.json",
    "report/*-*.*",
    "samples/step-*.*",
)


class RunConfig(Config):
    """The whole configuration of a run: a section `model`, a section `training`, and those of its task.

    Where the class of the model has a table `SECTIONS`, its values replace the defaults of the other sections.
    """

    @pydantic.model_validator(mode="before")
    @classmethod
    def _defaults_of_the_model(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        default = cls.model_fields["model"].default
        model = values.get("model", default)
        name = model.get("name", default.name) if isinstance(model, dict) else getattr(model, "name", None)
        found = next((kind for kind in model_configs(cls) if kind.model_fields["name"].default == name), None)
        merged = dict(values)
        for section, defaults in getattr(found, "SECTIONS", {}).items():
            if isinstance(merged.setdefault(section, {}), dict):
                merged[section] = config_.merge(defaults, merged[section])
        return merged


def model_configs(schema: type[RunConfig]) -> list[type[Config]]:
    """The classes of which the section `model` can be."""
    annotation = schema.model_fields["model"].annotation
    kinds = getattr(annotation, "__args__", (annotation,))
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Config)]


class RunFolder:
    """A folder with a configuration, and with reports: a run, or a voice, whose parts are runs.

    Attributes:
      run_dir: the folder.
      config: the whole configuration.
      info: what is written beside the configuration, such as where the data came from.
      loaded: the checkpoint whose weights are used, `best` or `last`; "" for initial weights.
    """

    config_class: ClassVar[type[RunConfig]]

    def __init__(self, run_dir: str | Path, config, info: dict[str, Any] | None):
        self.run_dir, self.config, self.info, self.loaded = Path(run_dir), config, info or {}, ""

    @classmethod
    def data_info(cls, data_dir: str | Path) -> dict[str, Any]:
        """What a run writes about its data: where they are, the sha256 of what identifies them, and the corpus.

        Raises:
          TfvoiceError: there are no such data.
        """
        corpus = shards.read_manifest(data_dir).corpus
        digest = hashlib.sha256((storage.place(data_dir) / shards.MANIFEST).read_bytes()).hexdigest()
        return {"data": storage.absolute(data_dir), "manifest_sha256": digest, "corpus": corpus}

    def description(self) -> dict[str, Any]:
        """The content of `experiment.json`."""
        content = {"schema": SCHEMA, "config": self.config.model_dump(mode="json"), "info": self.info}
        return content | self._description()

    def write(self) -> None:
        """Writes `experiment.json`; makes the folder where there is none."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        storage.write_json(self.run_dir / DESCRIPTION, self.description())

    def write_report(self, name: str, content: dict[str, Any]) -> Path:
        """Writes `report/<name>.json`; returns its path."""
        path = self.run_dir / "report" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.write_json(path, content)
        return path

    @property
    def own_data(self) -> str | None:
        """Where the data are that the run was trained on; None where that is unknown."""
        return self.info.get("data")

    def data_dir(self, data_dir: str | Path | None = None) -> str | Path:
        """`data_dir`, or where it is None the run's own data; raises where this machine does not have those."""
        found = data_dir or self.own_data
        if not found or (data_dir is None and not storage.place(found).is_dir()):
            raise TfvoiceError(f"{self.run_dir}: its data, {found}, is not on this machine; name it with --data=DIR.")
        return found

    def is_own_data(self, data_dir: str | Path) -> bool:
        """Whether these are the data that the run was trained on."""
        return bool(self.own_data) and storage.absolute(self.own_data) == storage.absolute(data_dir)

    def _description(self) -> dict[str, Any]:
        """What `experiment.json` holds beside the configuration and `info`."""
        return {}


class Run(RunFolder):
    """A run: its folder, its configuration and its model. A subclass for each task knows how the model is built.

    Attributes:
      model: the Keras model; its weights are built.
    """

    def __init__(self, run_dir: str | Path, config, info: dict[str, Any] | None, training: bool):
        precise = with_precision(config, "bfloat16" if hardware.has_fast_bfloat16() else "float32")
        super().__init__(run_dir, precise, info)
        with _seeded(config.training.seed):
            self.model = self._build(self.config.training.precision if training else "float32")

    @classmethod
    def create(cls, *args, **kwargs):
        """Makes the folder of a new run and writes its configuration; takes what the class takes."""
        run = cls(*args, **kwargs, training=True)
        run.write()
        return run

    @classmethod
    def resolved(cls, settings, run_dir: str | Path, data_dir: str | Path, overwrite: bool):
        """The settings of a training, with values in place of what they leave to the data; arguments as for `train`."""
        return settings

    @classmethod
    def open(cls, run_dir: str | Path, training: bool = False):
        """Opens the folder of a run, with initial weights; `load` also restores them."""
        content = read_description(run_dir)
        name = model_name(content)
        known = [kind.model_fields["name"].default for kind in model_configs(cls.config_class)]
        if name not in known:
            raise TfvoiceError(f"{run_dir}: is a run of {name or 'an unknown model'}, not of {' or '.join(known)}.")
        config = config_.build(cls.config_class, content["config"], str(Path(run_dir) / DESCRIPTION))
        return cls._from(run_dir, config, content, training)

    @classmethod
    def load(cls, run_dir: str | Path, checkpoint: str = "best"):
        """Opens a run to use it.

        Args:
          run_dir: the folder.
          checkpoint: `best` (by validation) or `last`. A run that was stopped before its first validation has no
            `best`: `last` is used, with a warning.

        Raises:
          TfvoiceError: the folder is no run of this task, or has no such checkpoint, or weights that are not finite.
        """
        run = cls.open(run_dir)
        if checkpoint == "best" and not run.checkpoint("best").is_file() and run.checkpoint("last").is_file():
            logging.warning("%s: has no checkpoint best before its first validation; last is used", run_dir)
            checkpoint = "last"
        path, other = run.checkpoint(checkpoint), "last" if checkpoint == "best" else "best"
        has_other = run.checkpoint(other).is_file()
        if not path.is_file():
            train = f"tfvoice_train --model={run.config.model.name} --run={run_dir} --data=DIR"
            advice = (
                f"use --checkpoint={other}, or resume training with {train}" if has_other else f"train it with {train}"
            )
            raise TfvoiceError(f"{run_dir}: has no checkpoint {checkpoint} yet; {advice}.")
        try:
            checkpoints.restore(path, {"weights": run.model.weights})
        except TfvoiceError as error:
            raise TfvoiceError(f"{error} There is --checkpoint={other}." if has_other else str(error)) from None
        for weight in run.model.weights:
            if not np.isfinite(weight.numpy()).all():
                raise TfvoiceError(
                    f"{run_dir}: the weights {weight.path} of checkpoint {checkpoint} are not finite; use the other "
                    "--checkpoint, or train it again."
                )
        run.loaded = checkpoint
        return run

    @property
    def models(self) -> tuple:
        """The Keras models whose weights the run has: one, but several in a voice."""
        return (self.model,)

    def class_labels(self) -> list[str]:
        """Labels of the classes that the network predicts, in their order; empty where classes have none."""
        return []

    def class_axes(self) -> dict[str, int]:
        """The axis of the classes in each tensor of the model that has one, by the path of its variable."""
        return {}

    def checkpoint(self, name: str) -> Path:
        """Path of the checkpoint `best` or `last`; that of version 0.1.0 where there is no newer one."""
        path = self.run_dir / "checkpoints" / f"{name}{checkpoints.SUFFIX}"
        legacy = path.with_suffix(checkpoints.LEGACY_SUFFIX)
        return legacy if legacy.is_file() and not path.is_file() else path

    def save_checkpoint(self, name: str, groups: Mapping[str, checkpoints.Group], state: dict[str, Any]) -> None:
        """Writes the checkpoint `best` or `last`; arguments as for `checkpoints.save`."""
        path = self.run_dir / "checkpoints" / f"{name}{checkpoints.SUFFIX}"
        checkpoints.save(path, groups, state)
        path.with_suffix(checkpoints.LEGACY_SUFFIX).unlink(missing_ok=True)
        working_copy.saved(self.run_dir)

    def pack(self, folder: str | Path) -> Path:
        """Writes a copy to be given to others: the configuration, and the weights in float16.

        Nothing in it names a path of this machine. It cannot be resumed.

        Args:
          folder: of the copy.

        Returns:
          The folder.
        """
        content = self._description() | {"info": portable_info(self.info)}
        copy = self._from(folder, self.config, content, False)
        copy.write()
        weights = checkpoints.named(self.model.weights)
        halved = {name: np.asarray(value).astype(np.float16) for name, value in weights.items()}
        copy.save_checkpoint("best", {"weights": halved}, {})
        return copy.run_dir

    def _build(self, precision: str):
        """Makes the model, weights included."""
        raise NotImplementedError

    @classmethod
    def _from(cls, run_dir, config, content: dict[str, Any], training: bool):
        """Makes the run that `content` of its `experiment.json` describes."""
        return cls(run_dir, config, info=content.get("info"), training=training)


def portable_info(info: dict[str, Any]) -> dict[str, Any]:
    """What is written beside a configuration, without paths of this machine: the data keep their last part alone."""
    return {key: value for key, value in info.items() if key not in ("init_from", "stages")} | {
        "data": Path(str(info.get("data", ""))).name
    }


def read_description(run_dir: str | Path) -> dict[str, Any]:
    """Reads `experiment.json`, migrated to the present schema; raises `TfvoiceError` where the folder is no run.

    The folder may be the URL of one.
    """
    path = storage.place(run_dir) / DESCRIPTION
    try:
        content = storage.read_json(path)
    except OSError as error:
        if remote.is_url(run_dir) and not isinstance(error, FileNotFoundError):
            raise
        raise TfvoiceError(
            f"{run_dir}: is not the folder of a run (it has no experiment.json); "
            f"make one with tfvoice_train --run={run_dir}."
        ) from None
    except ValueError as error:
        raise TfvoiceError(f"{path}: is damaged ({error}); train the run again in another folder.") from None
    if not isinstance(content, dict) or "config" not in content or type(content.get("schema")) is not int:
        raise TfvoiceError(f"{path}: was not written by tfvoice; train the run again.")
    try:
        while (schema := content["schema"]) < SCHEMA and schema in _MIGRATIONS:
            content = _MIGRATIONS[schema](content) | {"schema": schema + 1}
    except TfvoiceError as error:
        raise TfvoiceError(f"{run_dir}: {error}.") from None
    if content["schema"] != SCHEMA:
        raise TfvoiceError(f"{path}: has schema {schema}, and this version of tfvoice reads up to {SCHEMA}; update it.")
    return content


def _migrate_from_1(content: dict[str, Any]) -> dict[str, Any]:
    """Version 0.1.0. Its checkpoints are `.npz` files, see `checkpoints`."""
    with contextlib.suppress(KeyError, TypeError):
        if content["config"]["training"]["precision"] == "float16":
            raise TfvoiceError(
                "was trained in float16, which this version of tfvoice does not have; use it with version 0.1.0"
            )
    return content


# From each schema to the next.
_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _migrate_from_1}


def model_name(description: dict[str, Any]) -> str:
    """The name of the model in what `read_description` gives; "" where it has none."""
    try:
        return str(description["config"]["model"]["name"])
    except (KeyError, TypeError):
        return ""


def is_run(run_dir: str | Path) -> bool:
    """Whether the folder, or URL, holds a run; raises `TfvoiceError` where a folder holds only pieces of one."""
    if (storage.place(run_dir) / DESCRIPTION).is_file():
        return True
    if remote.is_url(run_dir):
        # Pieces are those of a first upload that was interrupted.
        return False
    for left in _files(run_dir):
        raise TfvoiceError(
            f"{run_dir}: holds {left.relative_to(run_dir)} but no experiment.json, so it is not a whole run; "
            "use another --run, or --overwrite to start from scratch in this one."
        )
    return False


def clear(run_dir: str | Path) -> None:
    """Deletes what a run has written beside `experiment.json`."""
    for path in _files(run_dir):
        path.unlink()


@contextlib.contextmanager
def local_folder(run_dir: str | Path, fresh: bool = False) -> Iterator[str | Path]:
    """Yields the folder of a run; of one in an object store, a working copy.

    Args:
      run_dir: the folder, or its URL.
      fresh: whether an older run there is to be replaced.

    Raises:
      OSError: the store cannot be reached.
    """
    with working_copy.of_run(run_dir, fresh, _WRITTEN) as folder:
        yield folder


def _files(run_dir: str | Path) -> Iterator[Path]:
    for pattern in _WRITTEN:
        yield from sorted(Path(run_dir).glob(pattern))


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Initial weights are those of `seed`: Keras takes the seeds of initializers from Python's `random`."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def with_precision(config, precision: str):
    """The configuration with this `training.precision` where it leaves that open (`auto`)."""
    if config.training.precision != "auto":
        return config
    return config.model_copy(update={"training": config.training.model_copy(update={"precision": precision})})
