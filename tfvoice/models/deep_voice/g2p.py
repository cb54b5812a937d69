"""Grapheme to phoneme: letters of a word to its phonemes, by a recurrent encoder and a recurrent decoder.

The encoder reads the letters in both directions; the decoder writes one phoneme after the other, each layer starting
from the state of its encoder layer, as in Deep Voice (Arik et al., arXiv 1702.07825, section 3.1; layers as in Yao and
Zweig, arXiv 1506.00196). The default has attention as well: after the first layer of the decoder, a weighted sum of the
encoder's outputs (Luong et al., arXiv 1508.04025, section 3.1) joins its output. `docs/models.md` lists what differs.

`decode` takes any number of steps, one included: it serves training, where all phonemes are known, and search.
"""

from typing import Any, ClassVar, Literal, NamedTuple

import keras
import pydantic
import tensorflow as tf

from tfvoice import config as config_
from tfvoice.config import Config
from tfvoice.layers.dropout import dropout
from tfvoice.layers.recurrent import Recurrent

# The class before the first phoneme of a word and after its last.
BOUNDARY = 0
_MASKED = -1e9


class G2pConfig(Config):
    """Architecture of the network.

    Attributes:
      units: size of a recurrent state, of one direction.
      layers: recurrent layers of the encoder, each in both directions, and of the decoder.
      attention: whether the decoder looks at all letters. Otherwise it knows the states after the encoder alone.
      dropout: dropout rate after each recurrent layer. Deep Voice prints 0.95, which is the share that is kept.
    """

    SECTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        "training": {
            "epochs": 50,
            "batch_size": 256,
            "learning_rate": 3e-3,
            "weight_decay": 0.0,
            "clip_norm": 1.0,
        },
        "loss": {"smoothing": 0.1},
    }

    name: Literal["g2p"] = "g2p"
    units: int = pydantic.Field(208, ge=1)
    layers: int = pydantic.Field(2, ge=1)
    attention: bool = True
    dropout: float = pydantic.Field(0.3, ge=0, lt=1)


class EncodedWords(NamedTuple):
    """What the decoder needs of a batch of words.

    Attributes:
      values: `[batch, letters, 2 * units]`, the outputs of the encoder, zero beyond each length.
      keys: `[batch, letters, units]`, to which attention compares its queries; None without attention.
      mask: `[batch, 1, letters]`, 0 where there is a letter, else a large negative number.
      states: `[batch, units]` for each layer: where the decoder starts.
    """

    values: tf.Tensor
    keys: tf.Tensor | None
    mask: tf.Tensor
    states: list[tf.Tensor]


@keras.saving.register_keras_serializable("tfvoice")
class G2p(keras.Model):
    """Letters to logits over phonemes, float32.

    Args:
      config: architecture.
      letters: number of letters.
      phonemes: number of phonemes; class 0 is the boundary of a word, class 1 the first phoneme.

    Attributes:
      training_loop: time loop of the recurrent layers with `training=True`, one of `layers.recurrent.LOOPS`. Inference
        always uses `graph`, which every server can run.
    """

    # XLA cannot compile cuDNN's recurrent layers.
    network_supports_jit = False

    def __init__(self, config: G2pConfig, letters: int, phonemes: int):
        super().__init__(name="g2p", dtype="float32")
        self.config = config
        self.letters, self.phonemes = letters, phonemes
        self.training_loop = "graph"
        layers = range(config.layers)
        self.forward_layers = [Recurrent(config.units, "gru", name=f"forward_{n}") for n in layers]
        self.backward_layers = [Recurrent(config.units, "gru", backward=True, name=f"backward_{n}") for n in layers]
        self.decoder_layers = [Recurrent(config.units, "gru", name=f"decoder_{n}") for n in layers]
        self.key_layer = None
        if config.attention:
            self.key_layer = keras.layers.Dense(config.units, use_bias=False, dtype="float32", name="keys")
        self.output_layer = keras.layers.Dense(self.classes, dtype="float32", name="output")

    @property
    def classes(self) -> int:
        """Outputs: the phonemes, and before them the boundary."""
        return self.phonemes + 1

    def build(self, _):
        units, both = self.config.units, 2 * self.config.units
        context = both if self.config.attention else 0
        for number in range(self.config.layers):
            for layer in (self.forward_layers[number], self.backward_layers[number]):
                layer.build((None, None, both if number else self.letters))
            # Of the layers above the first, one gets the context, too.
            width = units + (context if number == 1 else 0)
            self.decoder_layers[number].build((None, None, width if number else self.classes))
        if self.key_layer:
            self.key_layer.build((None, None, both))
        self.output_layer.build((None, None, units + context))

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the same network of, with initial weights."""
        return {"config": self.config.model_dump(mode="json"), "letters": self.letters, "phonemes": self.phonemes}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects=None):
        """Makes a network of what `get_config` returned."""
        architecture = config_.build(G2pConfig, config["config"], cls.__name__)
        return cls(architecture, config["letters"], config["phonemes"])

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Makes the weights, whose shapes depend on no input."""
        self.build(None)

    def class_axes(self) -> dict[str, int]:
        """The axis of the phonemes in each tensor that has one, by the path of its variable."""
        first = self.decoder_layers[0].inner.cell.kernel
        return {first.path: 0, self.output_layer.kernel.path: 1, self.output_layer.bias.path: 0}

    def call(self, letters, lengths, phonemes, phoneme_lengths, training=False, seed=None):
        """Predicts each phoneme from the letters and the phonemes before it.

        Args:
          letters: int32 `[batch, letters]`; values beyond a length have no influence.
          lengths: int32 `[batch]`.
          phonemes: int32 `[batch, phonemes]`, classes from 1 on.
          phoneme_lengths: int32 `[batch]`.
          training: whether to drop out, and to use the gradients of `layers.recurrent`.
          seed: key of dropout, see `layers.dropout`.

        Returns:
          Logits `[batch, phonemes + 1, classes]`; those at the length of a row are of the boundary after it.
        """
        words = self.encode(letters, lengths, training, seed)
        previous = tf.pad(phonemes, [[0, 0], [1, 0]], constant_values=BOUNDARY)
        logits, _ = self.decode(words, words.states, previous, phoneme_lengths + 1, training, seed)
        return logits

    def encode(self, letters, lengths, training=False, seed=None) -> EncodedWords:
        """Reads the letters; arguments as for `call`."""
        loop = self.training_loop if training else "graph"
        hidden, states = tf.one_hot(letters, self.letters), []
        for number in range(self.config.layers):
            pair = (self.forward_layers[number], self.backward_layers[number])
            results = [layer(hidden, lengths, loop=loop, training=training) for layer in pair]
            hidden = self._dropout(tf.concat([outputs for outputs, _ in results], axis=2), training, seed, number)
            # Each direction alone has the size of the decoder's state; their mean stays within -1 and 1, as it does.
            states.append(tf.add_n([state[0] for _, state in results]) / 2)
        valid = tf.sequence_mask(lengths, tf.shape(letters)[1], tf.float32)
        keys = self.key_layer(hidden) if self.key_layer else None
        return EncodedWords(hidden, keys, _MASKED * (1 - valid)[:, tf.newaxis], states)

    def decode(self, words: EncodedWords, states, previous, lengths, training=False, seed=None):
        """Runs the decoder over known phonemes.

        Args:
          words: from `encode`.
          states: where the layers start, tensors `[rows, units]`. There are as many rows as words, or a multiple:
            then each word has so many rows, one after the other, the hypotheses of a search.
          previous: int32 `[rows, steps]`, the class before each step.
          lengths: int32 `[rows]`, steps that count.
          training, seed: as for `call`.

        Returns:
          Logits `[rows, steps, classes]`, and the states after the last step of each row.
        """
        loop, context, after = self.training_loop if training else "graph", [], []
        hidden = tf.one_hot(previous, self.classes)
        for number, (layer, state) in enumerate(zip(self.decoder_layers, states, strict=True)):
            hidden, state = layer(hidden, lengths, state=[state], loop=loop, training=training)
            hidden = self._dropout(hidden, training, seed, self.config.layers + number)
            after += state
            if number == 0 and self.config.attention:
                context = [self._attend(words, hidden)]
            if number == 0 < self.config.layers - 1:
                hidden = tf.concat([hidden, *context], axis=2)
        return self.output_layer(tf.concat([hidden, *context], axis=2)), after

    def _attend(self, words: EncodedWords, queries):
        """The mean of the encoder's outputs for each query, weighted by the softmax of keys times query."""
        shape = tf.shape(queries)
        # The rows of a word are queries of one word.
        queries = tf.reshape(queries, [tf.shape(words.keys)[0], -1, self.config.units])
        scores = tf.matmul(queries, words.keys, transpose_b=True) * self.config.units**-0.5 + words.mask
        context = tf.matmul(tf.nn.softmax(scores), words.values)
        return tf.reshape(context, [shape[0], shape[1], 2 * self.config.units])

    def _dropout(self, values, training, seed, number: int):
        return dropout(values, self.config.dropout, seed, number) if training else values
