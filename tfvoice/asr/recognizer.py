"""A run of a recogniser: waveforms to logits over characters."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfvoice.asr.config import RecognizerConfig
from tfvoice.audio import features
from tfvoice.data import index, shards
from tfvoice.data.utterances import UtterancePipeline, signature
from tfvoice.lengths import Sequence
from tfvoice.models.deepspeech2 import Deepspeech2
from tfvoice.models.wavenet_asr import WavenetAsr
from tfvoice.run import Run, is_run, read_description
from tfvoice.text import proposal
from tfvoice.text.alphabet import AUTO, PRESETS, Alphabet
from tfvoice.training.config import DTYPE_POLICIES

_MODELS = {"wavenet_asr": WavenetAsr, "deepspeech2": Deepspeech2}


def build_model(config, classes: int, precision: str = "float32"):
    """Makes the Keras model of a recogniser.

    Args:
      config: of the model.
      classes: characters of the alphabet, plus one for the blank.
      precision: type of the products.
    """
    return _MODELS[config.name](config, classes, dtype=DTYPE_POLICIES[precision])


class Recognizer(Run):
    """A run of a recogniser.

    Args:
      run_dir: the folder.
      config: the whole configuration.
      statistics: of the corpus, where features are normalised with them.
      info: what is written beside the configuration, such as where the data came from.
      training: whether the run is to be trained, in the precision of its configuration; otherwise it is float32.

    Attributes:
      alphabet: maps text to classes and back.
    """

    config_class = RecognizerConfig

    def __init__(
        self,
        run_dir: str | Path,
        config: RecognizerConfig,
        statistics: features.FeatureStatistics | None = None,
        info: dict[str, Any] | None = None,
        training: bool = False,
    ):
        self.statistics = statistics
        self.alphabet = Alphabet(config.alphabet)
        super().__init__(run_dir, config, info, training)
        self._logits = tf.function(self._compute, input_signature=_WAVEFORMS, reduce_retracing=True)

    @classmethod
    def new(
        cls,
        run_dir: str | Path,
        config: RecognizerConfig,
        data_dir: str | Path,
        info: dict[str, Any] | None = None,
        source: "Recognizer | None" = None,
    ):
        """A run that is to be trained on `data_dir`, of which nothing is on disk yet.

        Where features are normalised by the corpus, a run that starts from `source` keeps its statistics, as long as
        the features are the same: its weights expect them.
        """
        statistics = None
        if config.features.normalization == "corpus":
            kept = source is not None and source.config.features == config.features
            statistics = source.statistics if kept else _statistics(config, data_dir)
        return cls(run_dir, config, statistics, info, training=True)

    @classmethod
    def resolved(cls, settings: RecognizerConfig, run_dir: str | Path, data_dir: str | Path, overwrite: bool):
        """With `alphabet.characters=auto`, takes the letters of the training split, or the alphabet of a run to resume.

        The alphabet of a run that has a preset was not taken from data; to change it is another configuration.
        """
        if settings.alphabet.characters != AUTO:
            return settings
        characters = None
        if not overwrite and is_run(run_dir):
            characters = read_description(run_dir)["config"].get("alphabet", {}).get("characters")
        if characters is None or characters in PRESETS.values():
            characters = proposal.characters_of(index.read_texts(data_dir, "train"), str(data_dir))
        alphabet = settings.alphabet.model_copy(update={"characters": characters})
        return settings.model_copy(update={"alphabet": alphabet})

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

    def class_labels(self) -> list[str]:
        """The characters of the alphabet, then the blank."""
        return [*self.alphabet.characters, "blank"]

    def class_axes(self) -> dict[str, int]:
        """That of the model."""
        return self.model.class_axes()

    def scan(self, data_dir: str | Path, split: str, filtered: bool = True) -> index.Index:
        """The utterances of a split of converted data, with labels of this run's alphabet.

        Args:
          data_dir: folder of the shards.
          split: name of the split.
          filtered: whether to drop utterances that are too long, too short or have no CTC path, as in training.

        Raises:
          TfvoiceError: as `index.scan`.
        """
        filters = self.config.data if filtered else None
        return index.scan(
            shards.read_manifest(data_dir),
            data_dir,
            split,
            filters,
            self.config.features,
            self.alphabet,
            self.model.output_lengths,
        )

    def pipeline(self, utterances: index.Index, augmented: bool = False) -> UtterancePipeline:
        """The batches of a split: shuffled and augmented for training, otherwise sorted by length and unchanged."""
        config = self.config
        return UtterancePipeline(
            utterances,
            config.data,
            config.features,
            self.model.output_lengths,
            config.training.batch_size,
            config.training.seed,
            config.augmentation if augmented else None,
            self.statistics,
        )

    def examples(self, utterances: index.Index, augmented: bool = False) -> tf.data.Dataset:
        """The batches of `pipeline` for Keras's `fit`: `((features, lengths), (labels, label_lengths))`.

        One pass is an epoch; a training split is shuffled and augmented differently in each.
        """
        pipeline = self.pipeline(utterances, augmented)
        epochs = itertools.count() if augmented else itertools.repeat(0)

        def batches():
            for batch in pipeline.batches(next(epochs), epochs=1):
                yield (batch.features, batch.lengths), (batch.labels, batch.label_lengths)

        batch = signature(features.channels(self.config.features))
        specs = (batch.features, batch.lengths), (batch.labels, batch.label_lengths)
        dataset = tf.data.Dataset.from_generator(batches, output_signature=specs)
        return dataset.apply(tf.data.experimental.assert_cardinality(pipeline.steps())).prefetch(1)

    def seconds_per_frame(self) -> float:
        """Time from one frame of logits to the next."""
        hop = self.config.features.hop_samples / self.config.features.sample_rate_hz
        return hop * self.config.model.stride

    def _compute(self, samples, lengths):
        inputs = features.compute(self.config.features, samples, lengths, self.statistics)
        return self.network(inputs.values, inputs.lengths)

    def _build(self, precision):
        model = build_model(self.config.model, self.alphabet.size + 1, precision)
        model.build((None, None, features.channels(self.config.features)))
        return model

    @classmethod
    def _from(cls, run_dir, config, content, training):
        statistics = content.get("statistics")
        if statistics is not None:
            statistics = features.FeatureStatistics.from_json(json.dumps(statistics))
        return cls(run_dir, config, statistics, content.get("info"), training)

    def _description(self):
        return {} if self.statistics is None else {"statistics": json.loads(self.statistics.to_json())}


_WAVEFORMS = (tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.int32))


def _statistics(config: RecognizerConfig, data_dir) -> features.FeatureStatistics:
    """Mean and deviation of each channel over (at most 1000 utterances of) the training split."""
    unnormalised = config.features.model_copy(update={"normalization": "none"})
    utterances = index.scan(
        shards.read_manifest(data_dir),
        data_dir,
        "train",
        config.data,
        unnormalised,
        Alphabet(config.alphabet),
        lambda frames: frames,
    )
    batch_size = config.training.batch_size
    pipeline = UtterancePipeline(utterances, config.data, unnormalised, lambda frames: frames, batch_size)
    batches = pipeline.batches(epochs=1).take(-(-1000 // batch_size))
    rows = (zip(batch.features.numpy(), batch.lengths.numpy(), strict=True) for batch in batches)
    return features.statistics(values[:length] for batch in rows for values, length in batch if length)
