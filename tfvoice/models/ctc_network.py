"""The networks of recognisers as Keras models: inputs, the loss of `fit`, the configuration in a `.keras` file."""

from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfvoice import config as config_
from tfvoice import ctc
from tfvoice.config import Config
from tfvoice.lengths import Sequence


class CtcNetwork(keras.Model):
    """Features to logits over characters and blank.

    `predictions` and `build_layers` of a subclass are the network. The rest is what Keras expects: `compile` with an
    optimizer alone, `fit` with `((features, lengths), (labels, label_lengths))`, `predict` with `(features, lengths)`,
    `save`, and `keras.saving.load_model`.

    Args:
      config: architecture.
      classes: characters of the alphabet, plus one for the blank.
      dtype: a Keras dtype policy or its name; None: the global policy.

    Attributes:
      config, classes: as given.
      channels: of the features; None before the weights are made.
    """

    config_class: ClassVar[type[Config]]
    # Whether XLA compiles the network itself, as the training of a run makes it do on a GPU.
    network_supports_jit = True

    def __init__(self, config, classes: int, dtype=None):
        super().__init__(name=config.name, dtype=dtype, autocast=False)
        self.config, self.classes, self.channels = config, classes, None
        # XLA has no CTC, which a step of `fit` contains.
        self.supports_jit = False

    def call(self, features, lengths=None, training=False, seed=None):
        """Maps features to logits.

        Args:
          features: `[batch, frames, channels]`, zero beyond each length; or a pair of features and lengths.
          lengths: int32 `[batch]`, frames of each row; None: all of them.
          training: use batch statistics and dropout.
          seed: int32 `[2]`, key of the dropout masks; None: from TensorFlow's global generator.

        Returns:
          `Sequence` of logits `[batch, output_lengths(frames), classes]` and their lengths.
        """
        if isinstance(features, tuple | list):
            features, lengths = features
        if lengths is None:
            lengths = tf.fill(tf.shape(features)[:1], tf.shape(features)[1])
        return self.predictions(features, tf.cast(lengths, tf.int32), training, seed)[-1]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """CTC loss for `fit` and `evaluate`: the mean over utterances, in nats.

        Args:
          x: not used.
          y: labels int32 `[batch, labels]`, padded with anything, and their lengths.
          y_pred: what `call` returns.
          sample_weight: `[batch]`, or None. Rows without frames, which fill up a batch, do not count.
          training: not used.
        """
        logits = Sequence(*y_pred)
        weights = tf.cast(logits.lengths > 0, tf.float32)
        if sample_weight is not None:
            weights *= tf.cast(sample_weight, tf.float32)
        return tf.math.divide_no_nan(tf.reduce_sum(weights * ctc.loss(logits, *y)), tf.reduce_sum(weights))

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the same network of, with initial weights."""
        dtype = keras.dtype_policies.serialize(self.dtype_policy)
        return {"config": self.config.model_dump(mode="json"), "classes": self.classes, "dtype": dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects=None):
        """Makes a network of what `get_config` returned."""
        architecture = config_.build(cls.config_class, config["config"], cls.__name__)
        return cls(architecture, config["classes"], keras.dtype_policies.deserialize(config["dtype"]))

    def get_build_config(self) -> dict[str, Any]:
        """The number of feature channels, which decides the shapes of the weights; None before they are made."""
        return {"channels": self.channels}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Makes the weights."""
        if config["channels"]:
            self.build((None, None, config["channels"]))

    def build(self, input_shape):
        # Of a pair of inputs, Keras passes a pair of shapes.
        features_shape = input_shape[0] if isinstance(input_shape[0], tuple | list) else input_shape
        self.channels = features_shape[-1]
        self.build_layers(self.channels)

    def build_layers(self, channels: int) -> None:
        """Makes the weights of all layers for features of so many channels, in the order in which a call needs them."""
        raise NotImplementedError
