"""The whole configuration of a run, and the folder that holds everything a run needs to be used elsewhere."""

import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pydantic
import tensorflow as tf

from tfvoice import checkpoints, models
from tfvoice import config as config_
from tfvoice.audio import features
from tfvoice.audio.augment import AugmentationConfig
from tfvoice.audio.features import FeatureConfig
from tfvoice.config import Config
from tfvoice.data import index, shards
from tfvoice.data.pipeline import DataConfig, Pipeline
from tfvoice.errors import TfvoiceError
from tfvoice.lengths import Sequence
from tfvoice.models.wavenet_asr import WavenetAsrConfig
from tfvoice.text import Alphabet, AlphabetConfig

SCHEMA = 1


class TrainingConfig(Config):
    """How weights are found.

    Attributes:
      epochs: passes over the training split; the learning rate ends its way at the last.
      batch_size: utterances in a step, over all devices.
      accumulate: batches whose gradients are added up for one step.
      optimizer: `adamw`, `sgd` with a Nesterov momentum of 0.9, or `maxprop`, that of the original WaveNet recogniser.
      learning_rate: highest value.
      warmup: share of all steps in which the learning rate rises from 0.
      decay: what follows: `cosine` down to a thousandth, `exponential`, a step down after each epoch, or `constant`.
      epoch_factor: of the learning rate after each epoch, where `decay` is `exponential`.
      weight_decay: of AdamW, on kernels only.
      clip_norm: gradients of a larger global norm are scaled down to it; 0: never. The loss is a mean over
        utterances, so that the norm does not depend on the batch size.
      average: decay of the moving average of the weights that is evaluated and kept; 0: no average.
      intermediate_share: of predictions before the end of the network in the loss, where the model makes them.
      precision: type of the products in convolutions while training; sums, weights and recurrent layers stay float32.
      xla: compile the network for each bucket. `auto`: on a GPU only, since on CPU it measured no faster. Dropout then
        draws other random numbers. The update of the weights is compiled on any single device, and the time loops of
        recurrent layers on CPUs, except with `off`.
      patience: stop after so many epochs without a better CER; 0: never.
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
    average: float = pydantic.Field(0.998, ge=0, lt=1)
    intermediate_share: float = pydantic.Field(0.5, ge=0, le=1)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    xla: Literal["auto", "on", "off"] = "auto"
    patience: int = pydantic.Field(0, ge=0)
    seed: int = pydantic.Field(0, ge=0, lt=2**31 - 2**20)


class ExperimentConfig(Config):
    """Everything that decides what a run gives."""

    model: models.ModelConfig = WavenetAsrConfig()
    features: FeatureConfig = FeatureConfig()
    alphabet: AlphabetConfig = AlphabetConfig()
    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig = TrainingConfig()


def resolve(model: str, config: str | None = None, overrides: list[str] | tuple[str, ...] = ()) -> ExperimentConfig:
    """Puts a configuration together: defaults of the model, then the TOML file, then `section.key=value` overrides.

    Args:
      model: name in `models.MODELS`.
      config: path of a TOML file, or the name of one that comes with tfvoice, such as `wavenet_asr_faithful`.
      overrides: texts such as `training.batch_size=8`.

    Raises:
      ConfigError: a name, key or value that cannot be used.
    """
    values = config_.merge(models.entry(model).defaults, {"model": {"name": model}})
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
    return config_.build(ExperimentConfig, values, source)


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
    """A run: its folder, its configuration and its model.

    Attributes:
      run_dir: the folder.
      config: the whole configuration.
      alphabet: maps text to classes and back.
      statistics: of the corpus, where features are normalised with them.
      model: the Keras model; its weights are built.
      info: what was written beside the configuration, such as where the data came from.
    """

    def __init__(
        self,
        run_dir: str | Path,
        config: ExperimentConfig,
        statistics: features.Statistics | None = None,
        info: dict[str, Any] | None = None,
        training: bool = False,
    ):
        self.run_dir = Path(run_dir)
        self.config = config
        self.statistics = statistics
        self.info = info or {}
        self.alphabet = Alphabet(config.alphabet)
        keras.utils.set_random_seed(config.training.seed)
        product_dtype = config.training.precision if training else "float32"
        self.model = models.build(config.model, self.alphabet.size + 1, product_dtype)
        channels = features.channels(config.features)
        self.model(tf.zeros([1, 8, channels]), tf.constant([8], tf.int32), training=False)
        self._logits = tf.function(self._compute, input_signature=_WAVEFORMS, reduce_retracing=True)

    @classmethod
    def create(
        cls,
        run_dir: str | Path,
        config: ExperimentConfig,
        statistics: features.Statistics | None = None,
        info: dict[str, Any] | None = None,
    ) -> "Experiment":
        """Makes the folder of a new run and writes its configuration."""
        experiment = cls(run_dir, config, statistics, info, training=True)
        experiment.write()
        return experiment

    @classmethod
    def open(cls, run_dir: str | Path, training: bool = False) -> "Experiment":
        """Opens the folder of a run, with fresh weights; `load` also restores them."""
        content = read_description(run_dir)
        config = config_.build(ExperimentConfig, content["config"], str(Path(run_dir) / "experiment.json"))
        statistics = content.get("statistics")
        if statistics is not None:
            statistics = features.Statistics.from_json(json.dumps(statistics))
        return cls(run_dir, config, statistics, content.get("info"), training)

    @classmethod
    def load(cls, run_dir: str | Path, checkpoint: str = "best") -> "Experiment":
        """Opens a run to use it.

        Args:
          run_dir: the folder.
          checkpoint: `best` (by validation CER) or `last`.

        Raises:
          TfvoiceError: the folder is no run, or has no such checkpoint.
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
        if self.statistics is not None:
            content["statistics"] = json.loads(self.statistics.to_json())
        text = json.dumps(content, indent=2) + "\n"
        checkpoints.write_atomically(self.run_dir / "experiment.json", text.encode())

    def checkpoint(self, name: str) -> Path:
        """Path of the checkpoint `best` or `last`."""
        return self.run_dir / "checkpoints" / f"{name}.npz"

    def data_dir(self, given: str | Path | None = None) -> str | Path:
        """The folder that is given, or else that of the run's own data; raises where this machine has none."""
        found = given or self.info.get("data")
        if not found or (given is None and not Path(found).is_dir()):
            raise TfvoiceError(f"{self.run_dir}: its data, {found}, is not on this machine; name it with --data=DIR.")
        return found

    def logits(self, samples: np.ndarray | tf.Tensor, lengths: np.ndarray | tf.Tensor) -> Sequence:
        """Waveforms to logits, compiled once for all shapes.

        Args:
          samples: float32 `[batch, samples]` at the run's sample rate, zero beyond each length.
          lengths: int32 `[batch]`.

        Returns:
          Logits `[batch, frames, classes]` and their lengths.
        """
        return self._logits(tf.convert_to_tensor(samples, tf.float32), tf.convert_to_tensor(lengths, tf.int32))

    def network(self, values: tf.Tensor, lengths: tf.Tensor) -> Sequence:
        """Features `[batch, frames, channels]` and their lengths to logits, as in inference."""
        return self.model(values, lengths, training=False)

    def scan(self, data_dir: str | Path, split: str) -> index.Index:
        """Looks through a split of converted data with this run's features and alphabet; raises as `index.scan`."""
        manifest, chosen = shards.read_manifest(data_dir), self.config
        return index.scan(
            manifest, data_dir, split, chosen.data, chosen.features, self.alphabet, self.model.output_lengths
        )

    def pipeline(self, scanned: index.Index, augmented: bool = False) -> Pipeline:
        """Makes the batches of a split: shuffled and augmented for training, in order and plain otherwise."""
        chosen = self.config
        return Pipeline(
            scanned,
            chosen.data,
            chosen.features,
            self.model.output_lengths,
            chosen.training.batch_size,
            chosen.training.seed,
            chosen.augmentation if augmented else None,
            self.statistics,
        )

    def seconds_per_frame(self) -> float:
        """Time from one frame of logits to the next."""
        hop = self.config.features.hop_samples / self.config.features.sample_rate_hz
        return hop * self.config.model.stride

    def _compute(self, samples, lengths):
        inputs = features.compute(self.config.features, samples, lengths, self.statistics)
        return self.network(inputs.values, inputs.lengths)


_WAVEFORMS = (tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.int32))


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
    patterns = "checkpoints/*.npz", "metrics.jsonl", "logs/events.out.tfevents.*", "decoder.json", "report/*-*.*"
    for pattern in patterns:
        yield from sorted(Path(run_dir).glob(pattern))
