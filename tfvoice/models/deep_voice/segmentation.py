"""Segmentation of Deep Voice: MFCC to pairs of phonemes, trained with CTC.

Arik et al., "Deep Voice: Real-time Neural Text-to-Speech", arXiv 1702.07825, section 3.2. A pair stands where its two
phonemes meet, so that the frames in which the network emits pairs are the boundaries of phonemes. `docs/alignment.md`
lists what no source states.
"""

from typing import Any, ClassVar, Literal

import keras
import pydantic
import tensorflow as tf

from tfvoice import config as config_
from tfvoice.config import Config
from tfvoice.layers.convolution import Convolution2D
from tfvoice.layers.dropout import dropout
from tfvoice.layers.recurrent import Recurrent
from tfvoice.lengths import Sequence, mask

# Taps over (time, frequency).
_KERNEL = (5, 9)


class SegmentationConfig(Config):
    """Architecture of the network.

    Deep Voice has 512 units, 3 layers and an output of pairs; how many channels its convolutions have is not published.

    Attributes:
      convolution_channels: output channels of both convolutions.
      units: size of a recurrent state; each of the two directions has one.
      layers: number of recurrent layers.
      output: `pairs` has a weight vector for each pair; `factored` scores a pair by the sum of a score of its first and
        one of its second phoneme, so that pairs that are rare or absent in the training data are scored as well.
      convolution_dropout: dropout rate after the last convolution.
      recurrent_dropout: dropout rate after the last recurrent layer.
    """

    # The paper's 20 MFCC; no augmentation, which would move boundaries or hide them.
    SECTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        "features": {"kind": "mfcc", "bins": 40},
        "augmentation": {"frequency_masks": 0, "time_masks": 0},
        "training": {"epochs": 30, "batch_size": 16, "learning_rate": 1e-3},
    }

    name: Literal["segmentation"] = "segmentation"
    convolution_channels: int = pydantic.Field(16, ge=1)
    units: int = pydantic.Field(128, ge=1)
    layers: int = pydantic.Field(2, ge=1)
    output: Literal["pairs", "factored"] = "factored"
    convolution_dropout: float = pydantic.Field(0.05, ge=0, lt=1)
    recurrent_dropout: float = pydantic.Field(0.2, ge=0, lt=1)


@keras.saving.register_keras_serializable("tfvoice")
class Segmentation(keras.Model):
    """MFCC to logits over pairs of phonemes and blank, frame by frame.

    Args:
      config: architecture.
      phonemes: number of phonemes, silence among them; the pair (a, b) is class `a * phonemes + b`.
      dtype: a Keras dtype policy or its name; None: the global policy. Products of the convolutions are in its compute
        dtype; everything else is float32.

    Attributes:
      training_loop: time loop of the recurrent layers with `training=True`, one of `layers.recurrent.LOOPS`.
    """

    # XLA cannot compile cuDNN's recurrent layers.
    network_supports_jit = False
    config_class: ClassVar[type[Config]] = SegmentationConfig

    def __init__(self, config: SegmentationConfig, phonemes: int, dtype=None):
        super().__init__(name=config.name, dtype=dtype, autocast=False)
        self.config, self.phonemes, self.channels = config, phonemes, None
        self.supports_jit = False
        self.training_loop = "graph"
        self.convolutions = [
            Convolution2D(config.convolution_channels, _KERNEL, dtype=self.dtype_policy, name=f"convolution_{number}")
            for number in range(2)
        ]
        self.recurrents = [
            [
                Recurrent(config.units, "gru", name=f"forward_{number}"),
                Recurrent(config.units, "gru", backward=True, name=f"backward_{number}"),
            ]
            for number in range(config.layers)
        ]
        outputs = phonemes * phonemes + 1 if config.output == "pairs" else 2 * phonemes + 1
        self.output_layer = keras.layers.Dense(outputs, dtype="float32", name="output")

    def build(self, input_shape):
        features_shape = input_shape[0] if isinstance(input_shape[0], tuple | list) else input_shape
        self.channels = features_shape[-1]
        shape = (None, None, self.channels, 1)
        for convolution in self.convolutions:
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
        width = shape[2] * shape[3]
        for directions in self.recurrents:
            for direction in directions:
                direction.build((None, None, width))
            width = 2 * self.config.units
        self.output_layer.build((None, None, width))

    def call(self, features, lengths=None, training=False, seed=None) -> Sequence:
        """Maps features to logits.

        Args:
          features: `[batch, frames, channels]`, zero beyond each length; or a pair of features and lengths.
          lengths: int32 `[batch]`, frames of each row; None: all of them.
          training: use dropout.
          seed: int32 `[2]`, key of the dropout masks; None: from TensorFlow's global generator.

        Returns:
          Logits `[batch, frames, phonemes ** 2 + 1]`, the last of which is blank, and their lengths.
        """
        if isinstance(features, tuple | list):
            features, lengths = features
        if lengths is None:
            lengths = tf.fill(tf.shape(features)[:1], tf.shape(features)[1])
        lengths = tf.cast(lengths, tf.int32)
        valid = mask(lengths, tf.shape(features)[1])
        hidden = features[..., tf.newaxis]
        for convolution in self.convolutions:
            hidden = tf.nn.relu(convolution(hidden)) * valid[..., tf.newaxis]
        hidden = tf.reshape(hidden, [tf.shape(hidden)[0], -1, hidden.shape[2] * hidden.shape[3]])
        if training:
            hidden = dropout(hidden, self.config.convolution_dropout, seed, 0)
        loop = self.training_loop if training else "graph"
        for directions in self.recurrents:
            outputs = [direction(hidden, lengths, loop=loop, training=training)[0] for direction in directions]
            hidden = tf.concat(outputs, axis=2)
        if training:
            hidden = dropout(hidden, self.config.recurrent_dropout, seed, 1)
        return Sequence(self._pairs(self.output_layer(hidden)), lengths)

    def _pairs(self, scores):
        """Logits of all pairs and of blank."""
        if self.config.output == "pairs":
            return scores
        first, second, blank = tf.split(scores, [self.phonemes, self.phonemes, 1], axis=2)
        pairs = first[..., tf.newaxis] + second[:, :, tf.newaxis]
        shape = tf.shape(scores)
        return tf.concat([tf.reshape(pairs, [shape[0], shape[1], self.phonemes**2]), blank], axis=2)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the same network of, with initial weights."""
        dtype = keras.dtype_policies.serialize(self.dtype_policy)
        return {"config": self.config.model_dump(mode="json"), "phonemes": self.phonemes, "dtype": dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects=None):
        """Makes a network of what `get_config` returned."""
        architecture = config_.build(cls.config_class, config["config"], cls.__name__)
        return cls(architecture, config["phonemes"], keras.dtype_policies.deserialize(config["dtype"]))

    def get_build_config(self) -> dict[str, Any]:
        """The number of feature channels, which decides the shapes of the weights; None before they are made."""
        return {"channels": self.channels}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Makes the weights."""
        if config["channels"]:
            self.build((None, None, config["channels"]))
