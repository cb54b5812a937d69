"""Duration and F0: the phonemes of an utterance to how long each of them is, whether it has a voice, and its F0.

Deep Voice (Arik et al., arXiv 1702.07825, section 3.3) predicts all three with one network: dense layers, recurrent
layers over the phonemes, and a dense layer with an output for the duration, one for the probability of a voice, and 20
for F0 at points that are spread evenly over the duration. The default runs in both directions, with more dropout;
`docs/deep_voice.md` lists what no source states.

All quantities are normalised: the durations and the F0 of the training data have a mean of 0 and a deviation of 1.
"""

from typing import Any, ClassVar, Literal, NamedTuple

import keras
import pydantic
import tensorflow as tf

from tfvoice import config as config_
from tfvoice.config import Config
from tfvoice.layers.dropout import dropout
from tfvoice.layers.recurrent import Recurrent

# Without stress, and 0, 1 and 2.
STRESS_CLASSES = 4


class DurationF0Config(Config):
    """Architecture of the network.

    Attributes:
      dense: units of the two dense layers.
      recurrent: units of each recurrent layer, of one direction.
      bidirectional: whether the recurrent layers run in both directions; else forwards.
      f0_values: values of F0 for each phoneme.
      dropout: dropout rate after the dense layers and after the last recurrent layer.
    """

    SECTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        "training": {"epochs": 30, "batch_size": 32, "learning_rate": 2e-3, "clip_norm": 1.0, "average": 0.99}
    }

    name: Literal["duration_f0"] = "duration_f0"
    dense: int = pydantic.Field(256, ge=1)
    recurrent: int = pydantic.Field(128, ge=1)
    bidirectional: bool = True
    f0_values: int = pydantic.Field(20, ge=1)
    dropout: float = pydantic.Field(0.5, ge=0, lt=1)


class Prosody(NamedTuple):
    """What is predicted for each phoneme.

    Attributes:
      duration: `[batch, phonemes]`, normalised.
      voicing: `[batch, phonemes]`, logits of the probability of a voice.
      f0: `[batch, phonemes, values]`, normalised, at the middles of equal parts of the phoneme.
    """

    duration: tf.Tensor
    voicing: tf.Tensor
    f0: tf.Tensor


@keras.saving.register_keras_serializable("tfvoice")
class DurationF0(keras.Model):
    """Phonemes to `Prosody`, float32.

    Args:
      config: architecture.
      phonemes: number of phonemes without stress, silence included.

    Attributes:
      training_loop: time loop of the recurrent layers with `training=True`, one of `layers.recurrent.LOOPS`. Inference
        always uses `graph`, which every server can run.
    """

    # XLA cannot compile cuDNN's recurrent layers.
    network_supports_jit = False

    def __init__(self, config: DurationF0Config, phonemes: int):
        super().__init__(name="duration_f0", dtype="float32")
        self.config = config
        self.phonemes = phonemes
        self.training_loop = "graph"
        self.dense_layers = [
            keras.layers.Dense(config.dense, "relu", dtype="float32", name=f"dense_{number}") for number in range(2)
        ]
        directions = ("forward", "backward") if config.bidirectional else ("forward",)
        self.recurrent_layers = [
            [Recurrent(config.recurrent, "gru", name == "backward", name=f"{name}_{number}") for name in directions]
            for number in range(2)
        ]
        self.output_layer = keras.layers.Dense(2 + config.f0_values, dtype="float32", name="output")

    def build(self, _):
        width = self.phonemes + STRESS_CLASSES
        for layer in self.dense_layers:
            layer.build((None, None, width))
            width = self.config.dense
        for layers in self.recurrent_layers:
            for layer in layers:
                layer.build((None, None, width))
            width = len(layers) * self.config.recurrent
        self.output_layer.build((None, None, width))

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the same network of, with initial weights."""
        return {"config": self.config.model_dump(mode="json"), "phonemes": self.phonemes}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects=None):
        """Makes a network of what `get_config` returned."""
        return cls(config_.build(DurationF0Config, config["config"], cls.__name__), config["phonemes"])

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Makes the weights, whose shapes depend on no input."""
        self.build(None)

    def class_axes(self) -> dict[str, int]:
        """The axis of the inputs in the tensor that has one, by the path of its variable: phonemes, then stresses."""
        return {self.dense_layers[0].kernel.path: 0}

    def call(self, phonemes, stresses, lengths, training=False, seed=None) -> Prosody:
        """Predicts the prosody of phonemes.

        Args:
          phonemes: int32 `[batch, phonemes]`, classes without stress; values beyond a length have no influence.
          stresses: int32 `[batch, phonemes]`: 0 without stress, else 1 more than the digit.
          lengths: int32 `[batch]`.
          training: whether to drop out, and to use the gradients of `layers.recurrent`.
          seed: key of dropout, see `layers.dropout`.
        """
        loop = self.training_loop if training else "graph"
        hidden = tf.concat([tf.one_hot(phonemes, self.phonemes), tf.one_hot(stresses, STRESS_CLASSES)], axis=2)
        for layer in self.dense_layers:
            hidden = layer(hidden)
        hidden = self._dropout(hidden, training, seed, 0)
        for layers in self.recurrent_layers:
            hidden = tf.concat([layer(hidden, lengths, loop=loop, training=training)[0] for layer in layers], axis=2)
        outputs = self.output_layer(self._dropout(hidden, training, seed, 1))
        return Prosody(outputs[:, :, 0], outputs[:, :, 1], outputs[:, :, 2:])

    def _dropout(self, values, training, seed, number: int):
        return dropout(values, self.config.dropout, seed, number) if training else values
