"""DeepSpeech2: two convolutions over time and frequency, recurrent layers, and CTC on top.

Amodei et al., arXiv 1512.02595, in the form of SeanNaren/deepspeech.pytorch, on whose numbers many results rest.
`docs/models.md` lists what the default changes and how to get the original.
"""

from typing import Literal

import keras
import pydantic
import tensorflow as tf

from tfvoice import lengths as lengths_
from tfvoice.config import Config
from tfvoice.layers.convolution import BatchNormalization, Convolution2D
from tfvoice.layers.recurrent import Recurrent
from tfvoice.lengths import Sequence

# Taps over (time, frequency), and steps; those of the paper's two-layer form.
_KERNELS = ((11, 41), (11, 21))
_STRIDES = ((2, 2), (1, 2))
# Frames under the taps of one frame of the output.
_SHORTEST = _KERNELS[0][0] + _STRIDES[0][0] * (_KERNELS[1][0] - 1)
_CONTEXT_FRAMES = 800
# Section 3.3 of the paper has 20; so do its followers.
_CEILING = 20.0


class Deepspeech2Config(Config):
    """Shape of the network.

    Attributes:
      cell: of the recurrent layers.
      units: size of a recurrent state.
      layers: recurrent layers.
      bidirectional: read each layer from both ends and add the two up. Otherwise look ahead by `lookahead` frames
        after the last layer, so that the network can follow speech as it is spoken.
      lookahead: frames of 20 ms that a unidirectional network waits for, the present one counted (paper, section 3.5).
      convolution_channels: of both convolutions.
      padded_convolutions: False is what deepspeech.pytorch did until 2018: the edges of time and frequency are lost.
      recurrent_bias: whether recurrent layers have biases.
      dropout: share of channels dropped after each recurrent layer while training.
      mask_padding: keep padding out of the statistics of batch normalisation. False is what the original does.
      batch_norm_momentum: share of a moving statistic that is kept at each step.
      batch_norm_epsilon: added to each variance.
      initializer: `glorot` (and orthogonal recurrent kernels), or `pytorch`, uniform of +-sqrt(1 / fan_in).
    """

    name: Literal["deepspeech2"] = "deepspeech2"
    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    units: int = pydantic.Field(512, ge=1)
    layers: int = pydantic.Field(3, ge=1)
    bidirectional: bool = True
    lookahead: int = pydantic.Field(20, ge=1)
    convolution_channels: int = pydantic.Field(32, ge=1)
    padded_convolutions: bool = True
    recurrent_bias: bool = True
    dropout: float = pydantic.Field(0.0, ge=0, lt=1)
    mask_padding: bool = True
    batch_norm_momentum: float = pydantic.Field(0.9, ge=0, lt=1)
    batch_norm_epsilon: float = pydantic.Field(1e-5, gt=0)
    initializer: Literal["glorot", "pytorch"] = "glorot"

    @property
    def stride(self) -> int:
        """Frames of features that become one of the output."""
        return _STRIDES[0][0]

    @property
    def context_frames(self) -> int:
        """How far to either side an output is taken to see, in frames of features.

        A recurrent layer remembers without bounds. This is what a long recording gets on both sides of a window.
        """
        return _CONTEXT_FRAMES

    @property
    def streams(self) -> bool:
        """Whether the network can go on where it stopped: it reads forwards, and only the look-ahead waits."""
        return not self.bidirectional and self.padded_convolutions

    @property
    def convolution_reach(self) -> int:
        """How far to either side the convolutions see, in frames of the output."""
        taps, steps = [kernel[0] // 2 for kernel in _KERNELS], _STRIDES[0][0]
        return -(-(taps[0] + steps * taps[1]) // steps)


class Deepspeech2(keras.Model):
    """Spectral frames to logits over characters and blank.

    Args:
      config: shape of the network.
      classes: characters of the alphabet, plus one for the blank.
      product_dtype: type of the multiplications in the convolutions.
    """

    def __init__(self, config: Deepspeech2Config, classes: int, product_dtype: str = "float32"):
        super().__init__(name=config.name)
        self.config = config
        # XLA cannot compile cuDNN's recurrent layers.
        self.supports_jit = False
        # On a CPU it compiles the time loops alone while training; a learner that must not use XLA switches this off.
        self.jit_loops = True
        self.convolutions = [
            Convolution2D(
                config.convolution_channels,
                kernel,
                stride,
                padded=config.padded_convolutions,
                initializer=_Uniform if config.initializer == "pytorch" else None,
                product_dtype=product_dtype,
                name=f"convolution_{number}",
            )
            for number, (kernel, stride) in enumerate(zip(_KERNELS, _STRIDES, strict=True))
        ]
        self.convolution_norms = [self._norm(f"convolution_norm_{number}") for number in range(len(_KERNELS))]
        self.recurrent_norms = [self._norm(f"recurrent_norm_{number}") for number in range(1, config.layers)]
        self.recurrents = [_Bidirectional(config, f"recurrent_{number}") for number in range(config.layers)]
        if not config.bidirectional:
            self.look_ahead = _LookAhead(config, "look_ahead")
        self.output_norm = self._norm("output_norm")
        self.output_layer = keras.layers.Dense(
            classes, use_bias=False, kernel_initializer=_kernel_initializer(config, config.units), name="output"
        )

    def _norm(self, name: str) -> BatchNormalization:
        return BatchNormalization(self.config.batch_norm_momentum, self.config.batch_norm_epsilon, name=name)

    def output_lengths(self, lengths):
        """Frames that come out for `lengths` frames that go in; for tensors, arrays and integers alike."""
        if self.config.padded_convolutions:
            return lengths_.after_convolution(lengths, _STRIDES[0][0])
        return _unpadded(lengths, _KERNELS[1][0] - 1)

    def call(self, features, lengths, training=False, seed=None):
        """Maps features to logits.

        Args:
          features: `[batch, frames, channels]`, zero beyond each length.
          lengths: int32 `[batch]`, frames of each row.
          training: use batch statistics and dropout.
          seed: int32 `[2]`, of the dropout; needed where dropout is on.

        Returns:
          `Sequence` of logits `[batch, frames / 2, classes]` and their lengths.
        """
        return self.predictions(features, lengths, training, seed)[-1]

    def predictions(self, features, lengths, training=False, seed=None) -> list[Sequence]:
        """What the loss is taken of: here `call`'s logits alone; arguments as for `call`."""
        hidden, _ = self.recurred(self.convolved(features, lengths, training), None, training, seed)
        if not self.config.bidirectional:
            hidden = self.seen_ahead(
                tf.pad(hidden.values, [[0, 0], [0, self.config.lookahead - 1], [0, 0]]), hidden.lengths
            )
        return [self.classified(hidden, training)]

    def convolved(self, features, lengths, training=False) -> Sequence:
        """What the convolutions make of features; `[batch, frames / 2, bands * channels]`, zero past each length."""
        given, lengths = lengths, self.output_lengths(lengths)
        if not self.config.padded_convolutions:
            # What is too short for one frame of the output has none, but a convolution needs something to slide over.
            missing = tf.maximum(_SHORTEST - tf.shape(features)[1], 0)
            features = tf.pad(features, [[0, 0], [0, missing], [0, 0]])
        hidden = features[..., tf.newaxis]
        first = lengths if self.config.padded_convolutions else _unpadded(given, 0)
        for convolution, norm, left in zip(self.convolutions, self.convolution_norms, (first, lengths), strict=True):
            hidden = convolution(hidden)
            valid = lengths_.mask(left, tf.shape(hidden)[1])[..., tf.newaxis]
            hidden = self._normalized(norm, hidden * valid, valid, training)
            hidden = tf.clip_by_value(hidden, 0.0, _CEILING) * valid
        return Sequence(tf.reshape(hidden, [tf.shape(hidden)[0], -1, hidden.shape[2] * hidden.shape[3]]), lengths)

    def start(self, batch) -> list:
        """The states of the recurrent layers before the first frame of so many rows."""
        return [recurrent.directions[0].start(batch) for recurrent in self.recurrents]

    def recurred(self, inputs: Sequence, states=None, training=False, seed=None) -> tuple[Sequence, list]:
        """What the recurrent layers make of it, and their states after each row's last frame.

        Args:
          inputs: from `convolved`.
          states: where to start, as returned for the frames before; None at the beginning.
          training, seed: as for `call`.
        """
        hidden, lengths, after = inputs.values, inputs.lengths, []
        valid = lengths_.mask(lengths, tf.shape(hidden)[1])
        for number, recurrent in enumerate(self.recurrents):
            if number:
                hidden = self._normalized(self.recurrent_norms[number - 1], hidden, valid, training) * valid
            state = None if states is None else states[number]
            hidden, state = recurrent(hidden, lengths, state=state, compiled=training and self.jit_loops)
            after.append(state)
            if training and self.config.dropout:
                hidden = tf.nn.experimental.stateless_dropout(hidden, self.config.dropout, seed + number)
        return Sequence(hidden, lengths), after

    def seen_ahead(self, hidden, lengths) -> Sequence:
        """The look-ahead; `hidden` has `lookahead - 1` frames more than come out, zeros where the audio ends."""
        ahead = tf.clip_by_value(self.look_ahead(hidden), 0.0, _CEILING)
        return Sequence(ahead * lengths_.mask(lengths, tf.shape(ahead)[1]), lengths)

    def classified(self, hidden: Sequence, training=False) -> Sequence:
        """Logits of each frame."""
        valid = lengths_.mask(hidden.lengths, tf.shape(hidden.values)[1])
        normalized = self._normalized(self.output_norm, hidden.values, valid, training)
        return Sequence(self.output_layer(normalized), hidden.lengths)

    def _normalized(self, norm: BatchNormalization, values, valid, training):
        """Normalises over everything but the channels; `[batch, time, channels]` or with frequencies between."""
        shape = tf.shape(values)
        if len(values.shape) == 4:
            valid = tf.broadcast_to(valid, [shape[0], shape[1], shape[2], 1])
            values = tf.reshape(values, [shape[0], shape[1] * shape[2], values.shape[3]])
            valid = tf.reshape(valid, [shape[0], shape[1] * shape[2], 1])
        counted = valid if self.config.mask_padding else None
        return tf.reshape(norm(values, valid=counted, training=training), shape)


def _unpadded(lengths, lost: int):
    """Frames after the first convolution without padding, less those that the second one loses; at least 0."""
    left = (lengths - _KERNELS[0][0]) // _STRIDES[0][0] + 1 - lost
    return tf.maximum(left, 0) if tf.is_tensor(lengths) else left * (left > 0)


class _Bidirectional(keras.layers.Layer):
    """A recurrent layer in both directions, added up; in one where the configuration says so."""

    def __init__(self, config: Deepspeech2Config, name: str):
        super().__init__(name=name, dtype="float32")
        initializer = _Uniform(config.units) if config.initializer == "pytorch" else None
        self.directions = [
            Recurrent(
                config.units,
                config.cell,
                backwards=backwards,
                use_bias=config.recurrent_bias,
                initializer=initializer,
                name="backwards" if backwards else "forwards",
            )
            for backwards in ((False, True) if config.bidirectional else (False,))
        ]

    def call(self, inputs, lengths, state=None, compiled=False):
        """Returns the sum of the directions, and the state of the one that reads forwards."""
        found = [direction(inputs, lengths, state=state, compiled=compiled) for direction in self.directions]
        return tf.add_n([outputs for outputs, _ in found]), found[0][1]


class _LookAhead(keras.layers.Layer):
    """Each channel's own weighted sum of the present and the next frames (paper, section 3.5)."""

    def __init__(self, config: Deepspeech2Config, name: str):
        super().__init__(name=name, dtype="float32")
        self.frames = config.lookahead
        self.initializer = _kernel_initializer(config, config.lookahead)

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(self.frames, input_shape[-1]), initializer=self.initializer, name="kernel")

    def call(self, inputs):
        kernel = tf.convert_to_tensor(self.kernel)[:, tf.newaxis, :, tf.newaxis]
        return tf.nn.depthwise_conv2d(inputs[:, :, tf.newaxis], kernel, [1, 1, 1, 1], "VALID")[:, :, 0]


class _Uniform(keras.initializers.Initializer):
    """PyTorch's initial weights and biases; other numbers at each call, where Keras's own would repeat themselves."""

    def __init__(self, fan_in: int):
        self.bound = fan_in**-0.5

    def __call__(self, shape, dtype=None):
        return keras.initializers.RandomUniform(-self.bound, self.bound)(shape, dtype=dtype)


def _kernel_initializer(config: Deepspeech2Config, fan_in: int):
    return _Uniform(fan_in) if config.initializer == "pytorch" else "glorot_uniform"
