"""A run of a recogniser: waveforms to logits over characters."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfvoice import models
from tfvoice.audio import features
from tfvoice.data import index, shards
from tfvoice.data.utterances import Pipeline
from tfvoice.experiment import Experiment, RecognizerConfig
from tfvoice.lengths import Sequence
from tfvoice.text.alphabet import Alphabet


class Recognizer(Experiment):
    """A run of a recogniser.

    Args:
      run_dir: the folder.
      config: the whole configuration.
      statistics: of the corpus, where features are normalised with them.
      info: what is written beside the configuration, such as where the data came from.
      training: whether it is to be trained, so that products have the type that the configuration gives them.

    Attributes:
      alphabet: maps text to classes and back.
    """

    task = "recognition"

    def __init__(
        self,
        run_dir: str | Path,
        config: RecognizerConfig,
        statistics: features.Statistics | None = None,
        info: dict[str, Any] | None = None,
        training: bool = False,
    ):
        self.statistics = statistics
        self.alphabet = Alphabet(config.alphabet)
        super().__init__(run_dir, config, info, training)
        self._logits = tf.function(self._compute, input_signature=_WAVEFORMS, reduce_retracing=True)

    @classmethod
    def new(cls, run_dir: str | Path, config: RecognizerConfig, data_dir: str | Path, info: dict[str, Any]):
        """A run that is to be trained on `data_dir`; nothing of it is on disk yet."""
        statistics = _statistics(config, data_dir) if config.features.normalization == "corpus" else None
        return cls(run_dir, config, statistics, info, training=True)

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

    def _build(self, product_dtype):
        model = models.build(self.config.model, self.alphabet.size + 1, product_dtype)
        model(tf.zeros([1, 8, features.channels(self.config.features)]), tf.constant([8], tf.int32), training=False)
        return model

    @classmethod
    def _from(cls, run_dir, config, content, training):
        statistics = content.get("statistics")
        if statistics is not None:
            statistics = features.Statistics.from_json(json.dumps(statistics))
        return cls(run_dir, config, statistics, content.get("info"), training)

    def _description(self):
        return {} if self.statistics is None else {"statistics": json.loads(self.statistics.to_json())}


_WAVEFORMS = (tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.int32))


def _statistics(settings: RecognizerConfig, data_dir) -> features.Statistics:
    """Mean and deviation of each channel over (at most 1000 utterances of) the training split."""
    plain = settings.features.model_copy(update={"normalization": "none"})
    scanned = index.scan(
        shards.read_manifest(data_dir),
        data_dir,
        "train",
        settings.data,
        plain,
        Alphabet(settings.alphabet),
        lambda frames: frames,
    )
    pipeline = Pipeline(scanned, settings.data, plain, lambda frames: frames, settings.training.batch_size)
    batches = pipeline.batches(epochs=1).take(-(-1000 // settings.training.batch_size))
    rows = (zip(batch.features.numpy(), batch.lengths.numpy(), strict=True) for batch in batches)
    return features.statistics(values[:length] for batch in rows for values, length in batch if length)
