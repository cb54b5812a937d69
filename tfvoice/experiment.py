"""The whole configuration of a run, and the folder that holds everything a run needs to be used elsewhere."""

import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import keras
import pydantic

from tfvoice import config as config_
from tfvoice import hardware, models
from tfvoice.audio.augment import AugmentationConfig
from tfvoice.audio.features import FeatureConfig
from tfvoice.audio.quantize import QuantizationConfig
from tfvoice.config import Config
from tfvoice.data.utterances import DataConfig
from tfvoice.data.windows import ClipConfig
from tfvoice.errors import TfvoiceError
from tfvoice.models.sample_rnn import SampleRnnConfig
from tfvoice.models.wavenet_asr import WavenetAsrConfig
from tfvoice.text.alphabet import AlphabetConfig
from tfvoice.training import checkpoints

SCHEMA = 1


class TrainingConfig(Config):
    """How weights are found.

    Attributes:
      epochs: passes over the training split; the learning rate ends its way at the last.
      batch_size: utterances or clips in a step, over all devices.
      accumulate: batches whose gradients are added up for one step.
      optimizer: `adamw`, `sgd` with a Nesterov momentum of 0.9, or `maxprop`, that of the original WaveNet recogniser.
      learning_rate: highest value.
      warmup: share of all steps in which the learning rate rises from 0.
      decay: what follows: `cosine` down to a thousandth, `exponential`, a step down after each epoch, or `constant`.
      epoch_factor: of the learning rate after each epoch, where `decay` is `exponential`.
      weight_decay: of AdamW, on kernels only.
      clip_norm: gradients of a larger global norm are scaled down to it; 0: never. The loss is a mean over
        utterances or samples, so that the norm does not depend on the batch size.
      clip_value: each number of a gradient is then cut to this size; 0: never.
      average: decay of the moving average of the weights that is evaluated and kept; 0: no average.
      intermediate_share: of predictions before the end of the network in the loss, where the model makes them.
      precision: type of the products in convolutions while training; sums, weights and recurrent layers stay float32.
        `auto` is bfloat16 where this machine multiplies it fast, else float32; what it was is written into the run.
      xla: compile the network for each bucket. `auto`: on a GPU only, since on CPU it measured no faster. Dropout then
        draws other random numbers. The update of the weights is compiled on any single device, and the time loops of
        recurrent layers on CPUs, except with `off`.
      validate_steps: validate after so many steps, too, and not only at the end of each epoch; 0: do not.
      patience: stop after so many validations without a better result; 0: never.
      seed: of weights, order, augmentation and dropout.
    """

    epochs: int = pydantic.Field(50, ge=1)
    batch_size: int = pydantic.Field(16, ge=1)
    accumulate: int = pydantic.Field(1, ge=1)
    optimizer: Literal["adamw", "sgd", "maxprop"] = "adamw"
    learning_rate: float = pydantic.Field(1e-3, gt=0)
    warmup: float = pydantic.Field(0.05, ge=0, le=1)
    decay: Literal["cosine", "exponential", "constant"] = "cosine"
    epoch_factor: float = pydantic.Field(0.99, gt=0, le=1)
    weight_decay: float = pydantic.Field(0.01, ge=0)
    clip_norm: float = pydantic.Field(50.0, ge=0)
    clip_value: float = pydantic.Field(0.0, ge=0)
    average: float = pydantic.Field(0.998, ge=0, lt=1)
    intermediate_share: float = pydantic.Field(0.5, ge=0, le=1)
    precision: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    xla: Literal["auto", "on", "off"] = "auto"
    validate_steps: int = pydantic.Field(0, ge=0)
    patience: int = pydantic.Field(0, ge=0)
    seed: int = pydantic.Field(0, ge=0, lt=2**31 - 2**20)


class RecognizerConfig(Config):
    """Everything that decides what a run of a recogniser gives."""

    model: models.RecognizerModelConfig = WavenetAsrConfig()
    features: FeatureConfig = FeatureConfig()
    alphabet: AlphabetConfig = AlphabetConfig()
    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig = TrainingConfig()


class SamplingConfig(Config):
    """What is drawn at each validation.

    Attributes:
      count: how many samples; 0: none.
      seconds: length of each.
      temperature: below 1, what is likely becomes likelier still.
    """

    count: int = pydantic.Field(2, ge=0)
    seconds: float = pydantic.Field(2.0, gt=0)
    temperature: float = pydantic.Field(1.0, gt=0)


class GeneratorConfig(Config):
    """Everything that decides what a run of a generator gives."""

    model: SampleRnnConfig = SampleRnnConfig()
    quantization: QuantizationConfig = QuantizationConfig()
    data: ClipConfig = ClipConfig()
    sampling: SamplingConfig = SamplingConfig()
    training: TrainingConfig = TrainingConfig()

    @pydantic.model_validator(mode="after")
    def _windows_are_made_of_frames(self):
        frame, window = self.model.context, self.data.sequence_samples
        if window % frame:
            below = window // frame * frame
            fit = f"{below} or {below + frame}" if below else frame
            raise ValueError(
                f"data.sequence_samples={window} cannot be cut into frames of {frame} samples (model.frame_sizes); "
                f"set data.sequence_samples={fit}"
            )
        return self


ConfigT = TypeVar("ConfigT", RecognizerConfig, GeneratorConfig)

SCHEMAS: dict[str, type[RecognizerConfig] | type[GeneratorConfig]] = {
    "recognition": RecognizerConfig,
    "generation": GeneratorConfig,
}


def resolve(
    model: str, config: str | None = None, overrides: list[str] | tuple[str, ...] = ()
) -> RecognizerConfig | GeneratorConfig:
    """Puts a configuration together: defaults of the model, then the TOML file, then `section.key=value` overrides.

    Args:
      model: name in `models.MODELS`.
      config: path of a TOML file, or the name of one that comes with tfvoice, such as `wavenet_asr_faithful`.
      overrides: texts such as `training.batch_size=8`.

    Raises:
      ConfigError: a name, key or value that cannot be used.
    """
    entry = models.entry(model)
    values = config_.merge(entry.defaults, {"model": {"name": model}})
    source = "configuration"
    if config:
        path = find(config)
        source = str(path)
        values = config_.merge(values, config_.read_toml(path))
        if not isinstance(values["model"], dict):
            raise config_.ConfigError(f'{path}: model must be a section, as in [model] and name = "{model}" below it.')
        if values["model"]["name"] != model:
            raise config_.ConfigError(f"{path}: is for --model={values['model']['name']}, not {model}.")
    if overrides:
        source = "--set" if not config else f"{source} with --set"
        values = config_.merge(values, *(config_.parse_override(text) for text in overrides))
    if isinstance(values["model"], dict) and values["model"]["name"] != model:
        raise config_.ConfigError(f"{source}: model.name={values['model']['name']} contradicts --model={model}.")
    return config_.build(SCHEMAS[entry.task], values, source)


def with_precision(config: ConfigT, precision: str) -> ConfigT:
    """The configuration with this `training.precision` where it leaves that open (`auto`)."""
    if config.training.precision != "auto":
        return config
    return config.model_copy(update={"training": config.training.model_copy(update={"precision": precision})})


def find(config: str) -> Path:
    """Finds a configuration by path, or by the name of one that comes with tfvoice."""
    if Path(config).is_file():
        return Path(config)
    shipped = Path(__file__).parent.parent / "configs"
    if not shipped.is_dir():
        shipped = Path(sysconfig.get_path("data")) / "share" / "tfvoice" / "configs"
    name = config.removesuffix(".toml")
    known = {path.stem: path for path in shipped.glob("*.toml")}
    if name not in known:
        raise config_.ConfigError(f"--config={config}: no such file, and no such name; {config_.nearest(name, known)}.")
    return known[name]


class Experiment:
    """A run: its folder, its configuration and its model. Its subclasses know what the model is for.

    Attributes:
      run_dir: the folder.
      config: the whole configuration.
      model: the Keras model; its weights are built.
      info: what was written beside the configuration, such as where the data came from.
    """

    task: ClassVar[str]

    def __init__(self, run_dir: str | Path, config, info: dict[str, Any] | None, training: bool):
        self.run_dir = Path(run_dir)
        self.config = with_precision(config, "bfloat16" if hardware.multiplies_bfloat16() else "float32")
        self.info = info or {}
        keras.utils.set_random_seed(config.training.seed)
        self.model = self._build(self.config.training.precision if training else "float32")

    @classmethod
    def create(cls, *args, **kwargs):
        """Makes the folder of a new run and writes its configuration; takes what the class takes."""
        experiment = cls(*args, **kwargs, training=True)
        experiment.write()
        return experiment

    @classmethod
    def open(cls, run_dir: str | Path, training: bool = False):
        """Opens the folder of a run, with fresh weights; `load` also restores them."""
        content = read_description(run_dir)
        source = str(Path(run_dir) / "experiment.json")
        name = model_name(content)
        task = models.MODELS[name].task if name in models.MODELS else cls.task
        if task != cls.task:
            raise TfvoiceError(f"{run_dir}: is a run of {name}, {_USED[task]}.")
        config = config_.build(SCHEMAS[task], content["config"], source)
        return cls._from(run_dir, config, content, training)

    @classmethod
    def load(cls, run_dir: str | Path, checkpoint: str = "best"):
        """Opens a run to use it.

        Args:
          run_dir: the folder.
          checkpoint: `best` (by validation) or `last`.

        Raises:
          TfvoiceError: the folder is no run of this kind, or has no such checkpoint.
        """
        experiment = cls.open(run_dir)
        path, other = experiment.checkpoint(checkpoint), "last" if checkpoint == "best" else "best"
        has_other = experiment.checkpoint(other).is_file()
        if not path.is_file():
            train = f"tfvoice_train --model={experiment.config.model.name} --run={run_dir} --data=DIR"
            advice = f"use --checkpoint={other}, or train on with {train}" if has_other else f"train it with {train}"
            raise TfvoiceError(f"{run_dir}: has no checkpoint {checkpoint} yet; {advice}.")
        try:
            checkpoints.restore(path, {"weights": experiment.model.weights})
        except TfvoiceError as error:
            raise TfvoiceError(f"{error} There is --checkpoint={other}." if has_other else str(error)) from None
        return experiment

    def write(self) -> None:
        """Writes `experiment.json`; makes the folder where there is none."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        content = {"schema": SCHEMA, "config": self.config.model_dump(mode="json"), "info": self.info}
        content |= self._description()
        text = json.dumps(content, indent=2) + "\n"
        checkpoints.write_atomically(self.run_dir / "experiment.json", text.encode())

    def checkpoint(self, name: str) -> Path:
        """Path of the checkpoint `best` or `last`."""
        return self.run_dir / "checkpoints" / f"{name}.npz"

    def write_report(self, name: str, content: dict[str, Any]) -> Path:
        """Writes `report/<name>.json`; returns its path."""
        path = self.run_dir / "report" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoints.write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
        return path

    def data_dir(self, given: str | Path | None = None) -> str | Path:
        """The folder that is given, or else that of the run's own data; raises where this machine has none."""
        found = given or self.info.get("data")
        if not found or (given is None and not Path(found).is_dir()):
            raise TfvoiceError(f"{self.run_dir}: its data, {found}, is not on this machine; name it with --data=DIR.")
        return found

    def _build(self, product_dtype: str):
        """Makes the model, weights included."""
        raise NotImplementedError

    @classmethod
    def _from(cls, run_dir, config, content: dict[str, Any], training: bool):
        """Makes the run that `content` of its `experiment.json` describes."""
        return cls(run_dir, config, info=content.get("info"), training=training)

    def _description(self) -> dict[str, Any]:
        """What `experiment.json` holds beside the configuration and `info`."""
        return {}


_USED = {
    "recognition": "a recogniser; tfvoice_transcribe and tfvoice_eval use it",
    "generation": "which generates audio; tfvoice_sample and tfvoice_eval use it",
}


def read_description(run_dir: str | Path) -> dict[str, Any]:
    """Reads `experiment.json`; raises `TfvoiceError` where the folder is no run of this version."""
    path = Path(run_dir) / "experiment.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise TfvoiceError(
            f"{run_dir}: is not the folder of a run (it has no experiment.json); "
            f"make one with tfvoice_train --run={run_dir}."
        ) from None
    except ValueError as error:
        raise TfvoiceError(f"{path}: is damaged ({error}); train the run again in another folder.") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or "config" not in content:
        raise TfvoiceError(f"{path}: was not written by this version of tfvoice; train the run again.")
    return content


def model_name(description: dict[str, Any]) -> str:
    """The name of the model in what `read_description` gives; "" where it has none."""
    try:
        return str(description["config"]["model"]["name"])
    except (KeyError, TypeError):
        return ""


def is_run(run_dir: str | Path) -> bool:
    """Whether the folder holds a run; raises `TfvoiceError` where it holds only pieces of one."""
    if (Path(run_dir) / "experiment.json").is_file():
        return True
    for left in _files(run_dir):
        raise TfvoiceError(
            f"{run_dir}: holds {left.relative_to(run_dir)} but no experiment.json, so it is not a whole run; "
            "use another --run, or --overwrite to start anew in this one."
        )
    return False


def clear(run_dir: str | Path) -> None:
    """Deletes what a run has written beside `experiment.json`."""
    for path in _files(run_dir):
        path.unlink()


def _files(run_dir: str | Path) -> Iterator[Path]:
    patterns = (
        "checkpoints/*.npz",
        "metrics.jsonl",
        "logs/events.out.tfevents.*",
        "decoder.json",
        "report/*-*.*",
        "samples/step-*.*",
    )
    for pattern in patterns:
        yield from sorted(Path(run_dir).glob(pattern))
