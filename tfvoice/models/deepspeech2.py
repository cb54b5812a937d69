"""DeepSpeech2: two convolutions over time and frequency, then recurrent layers, trained with CTC.

Amodei et al., arXiv 1512.02595, in the form of SeanNaren/deepspeech.pytorch, on which many published results are based.
`docs/models.md` lists what the default changes and how to get the original.
"""

from typing import Any, ClassVar, Literal

import keras
import pydantic
import tensorflow as tf

from tfvoice import lengths as lengths_
from tfvoice.config import Config
from tfvoice.layers.convolution import BatchNormalization, Convolution2D
from tfvoice.layers.dropout import dropout
from tfvoice.layers.recurrent import Recurrent
from tfvoice.lengths import Sequence
from tfvoice.models.ctc_network import CtcNetwork

# Kernel sizes and strides over (time, frequency): the paper's two-layer variant.
_KERNELS = ((11, 41), (11, 21))
_STRIDES = ((2, 2), (1, 2))
# Receptive field of one frame after both convolutions, in frames of features.
_RECEPTIVE_FIELD = _KERNELS[0][0] + _STRIDES[0][0] * (_KERNELS[1][0] - 1)
_CONTEXT_FRAMES = 800
# Of the clipped ReLU: 20 in section 3.3 of the paper and in other implementations.
_CEILING = 20.0


class Deepspeech2Config(Config):
    """Architecture of the network.

    Attributes:
      cell: of the recurrent layers.
      units: size of a recurrent state.
      layers: number of recurrent layers.
      bidirectional: run each recurrent layer in both directions and sum the outputs. Otherwise a lookahead convolution
        follows the last layer, and the network can transcribe a stream.
      lookahead: width of the lookahead convolution in frames of 20 ms, the current frame included (paper, section 3.5).
      convolution_channels: output channels of both convolutions.
      padded_convolutions: False as in deepspeech.pytorch until 2018: the edges of time and frequency are lost.
      recurrent_bias: whether recurrent layers have biases.
      dropout: dropout rate after each recurrent layer.
      mask_padding: keep padding out of the statistics of batch normalisation. False as in the original.
      batch_norm_momentum: share of a moving statistic that is kept at each step.
      batch_norm_epsilon: added to each variance.
      initializer: `glorot` (with orthogonal recurrent kernels), or `pytorch`, uniform in +-sqrt(1 / fan_in).
    """

    # Features of deepspeech.pytorch, and SpecAugment in proportion to their 161 channels.
    SECTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        "features": {"kind": "log_spectrogram", "window_ms": 20.0, "fft_size": 320, "window": "hamming"},
        "augmentation": {"frequency_width": 27, "time_width": 70},
    }

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
        """Stride of the network, in frames of features."""
        return _STRIDES[0][0]

    @property
    def context_frames(self) -> int:
        """Frames of features that a window of a long recording gets as context on either side.

        The receptive field of a recurrent layer is unbounded.
        """
        return _CONTEXT_FRAMES

    @property
    def streams(self) -> bool:
        """Whether the network can run on a stream: unidirectional, with a bounded lookahead."""
        return not self.bidirectional and self.padded_convolutions

    @property
    def convolution_reach(self) -> int:
        """Output frames to either side of a frame in the receptive field of the convolutions."""
        return -(-(_RECEPTIVE_FIELD // 2) // self.stride)


@keras.saving.register_keras_serializable("tfvoice")
class Deepspeech2(CtcNetwork):
    """Spectral frames to logits over characters and blank.

    Args:
      config: architecture.
      classes: characters of the alphabet, plus one for the blank.
      dtype: a Keras dtype policy or its name; None: the global policy. Products of the convolutions are in its compute
        dtype; everything else is float32.

    Attributes:
      training_loop: time loop of the recurrent layers with `training=True`, one of `layers.recurrent.LOOPS`. Inference
        always uses `graph`, which every server can run.
    """

    # XLA cannot compile cuDNN's recurrent layers.
    network_supports_jit = False
    config_class = Deepspeech2Config

    def __init__(self, config: Deepspeech2Config, classes: int, dtype=None):
        super().__init__(config, classes, dtype)
        self.training_loop = "graph"
        self.convolutions = [
            Convolution2D(
                config.convolution_channels,
                kernel,
                stride,
                padded=config.padded_convolutions,
                initializer=_PytorchUniform if config.initializer == "pytorch" else None,
                dtype=self.dtype_policy,
                name=f"convolution_{number}",
            )
            for number, (kernel, stride) in enumerate(zip(_KERNELS, _STRIDES, strict=True))
        ]
        self.convolution_norms = [self._norm(f"convolution_norm_{number}") for number in range(len(_KERNELS))]
        self.recurrent_norms = [self._norm(f"recurrent_norm_{number}") for number in range(1, config.layers)]
        self.recurrents = [_RecurrentLayer(config, f"recurrent_{number}") for number in range(config.layers)]
        if not config.bidirectional:
            self.look_ahead = _LookaheadConvolution(config, "lookahead")
        self.output_norm = self._norm("output_norm")
        self.output_layer = keras.layers.Dense(
            classes,
            use_bias=False,
            kernel_initializer=_kernel_initializer(config, config.units),
            dtype="float32",
            name="output",
        )

    def _norm(self, name: str) -> BatchNormalization:
        return BatchNormalization(self.config.batch_norm_momentum, self.config.batch_norm_epsilon, name=name)

    def build_layers(self, channels: int) -> None:
        """Makes the weights, in the order of `predictions`."""
        shape = (None, None, channels, 1)
        for convolution, norm in zip(self.convolutions, self.convolution_norms, strict=True):
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
            norm.build((None, None, shape[-1]))
        hidden_shape = (None, None, self.config.units)
        for number, recurrent in enumerate(self.recurrents):
            if number:
                self.recurrent_norms[number - 1].build(hidden_shape)
            recurrent.build(hidden_shape if number else (None, None, shape[2] * shape[3]))
        if not self.config.bidirectional:
            self.look_ahead.build(hidden_shape)
        self.output_norm.build(hidden_shape)
        self.output_layer.build(hidden_shape)

    def output_lengths(self, lengths):
        """Output frames of `lengths` frames of features, for tensors, arrays and Python integers alike."""
        if self.config.padded_convolutions:
            return lengths_.after_convolution(lengths, _STRIDES[0][0])
        return _unpadded_lengths(lengths, _KERNELS[1][0] - 1)

    def class_axes(self) -> dict[str, int]:
        """The axis of the classes in each tensor that has one, by the path of its variable."""
        return {self.output_layer.kernel.path: 1}

    def predictions(self, features, lengths, training=False, seed=None) -> list[Sequence]:
        """The logits that the loss is computed from: here those of `call` alone; arguments as for `call`."""
        hidden, _ = self.run_recurrent(self.convolve(features, lengths, training), None, training, seed)
        if not self.config.bidirectional:
            padded = tf.pad(hidden.values, [[0, 0], [0, self.config.lookahead - 1], [0, 0]])
            hidden = self.apply_lookahead(padded, hidden.lengths)
        return [self.classify(hidden, training)]

    def convolve(self, features, lengths, training=False) -> Sequence:
        """Output of the convolutions, `[batch, frames / 2, bands * channels]`, zero beyond each length."""
        feature_lengths, lengths = lengths, self.output_lengths(lengths)
        if not self.config.padded_convolutions:
            # Shorter features have no output frame, but a convolution needs at least its receptive field.
            missing = tf.maximum(_RECEPTIVE_FIELD - tf.shape(features)[1], 0)
            features = tf.pad(features, [[0, 0], [0, missing], [0, 0]])
        hidden = features[..., tf.newaxis]
        first = lengths if self.config.padded_convolutions else _unpadded_lengths(feature_lengths, 0)
        for convolution, norm, frames in zip(self.convolutions, self.convolution_norms, (first, lengths), strict=True):
            hidden = convolution(hidden)
            valid = lengths_.mask(frames, tf.shape(hidden)[1])[..., tf.newaxis]
            hidden = self._normalize(norm, hidden * valid, valid, training)
            hidden = tf.clip_by_value(hidden, 0.0, _CEILING) * valid
        return Sequence(tf.reshape(hidden, [tf.shape(hidden)[0], -1, hidden.shape[2] * hidden.shape[3]]), lengths)

    def initial_state(self, batch) -> list:
        """The states of the recurrent layers before the first frame of `batch` rows; unidirectional networks only."""
        return [recurrent.directions[0].initial_state(batch) for recurrent in self.recurrents]

    def run_recurrent(self, inputs: Sequence, states=None, training=False, seed=None) -> tuple[Sequence, list]:
        """Output of the recurrent layers, and their states after the last frame of each row.

        Args:
          inputs: from `convolve`.
          states: initial states, as returned for the previous frames; None: zeros.
          training, seed: as for `call`.
        """
        hidden, lengths, last = inputs.values, inputs.lengths, []
        loop = self.training_loop if training else "graph"
        valid = lengths_.mask(lengths, tf.shape(hidden)[1])
        for number, recurrent in enumerate(self.recurrents):
            if number:
                hidden = self._normalize(self.recurrent_norms[number - 1], hidden, valid, training) * valid
            state = None if states is None else states[number]
            hidden, state = recurrent(hidden, lengths, state=state, loop=loop, training=training)
            last.append(state)
            if training:
                hidden = dropout(hidden, self.config.dropout, seed, number)
        return Sequence(hidden, lengths), last

    def apply_lookahead(self, hidden, lengths) -> Sequence:
        """Output of the lookahead convolution.

        Args:
          hidden: `[batch, frames + lookahead - 1, units]`, zero beyond the end of the audio.
          lengths: int32 `[batch]`, output frames of each row.
        """
        outputs = tf.clip_by_value(self.look_ahead(hidden), 0.0, _CEILING)
        return Sequence(outputs * lengths_.mask(lengths, tf.shape(outputs)[1]), lengths)

    def classify(self, hidden: Sequence, training=False) -> Sequence:
        """Logits of each frame."""
        valid = lengths_.mask(hidden.lengths, tf.shape(hidden.values)[1])
        normalized = self._normalize(self.output_norm, hidden.values, valid, training)
        return Sequence(self.output_layer(normalized), hidden.lengths)

    def _normalize(self, norm: BatchNormalization, values, valid, training):
        """Batch normalisation of `[batch, time, channels]` or `[batch, time, bands, channels]`, per channel."""
        shape = tf.shape(values)
        if len(values.shape) == 4:
            valid = tf.broadcast_to(valid, [shape[0], shape[1], shape[2], 1])
            values = tf.reshape(values, [shape[0], shape[1] * shape[2], values.shape[3]])
            valid = tf.reshape(valid, [shape[0], shape[1] * shape[2], 1])
        counted = valid if self.config.mask_padding else None
        return tf.reshape(norm(values, valid=counted, training=training), shape)


def _unpadded_lengths(lengths, lost: int):
    """Frames after the first convolution without padding, minus the `lost` ones of the second; at least 0."""
    frames = (lengths - _KERNELS[0][0]) // _STRIDES[0][0] + 1 - lost
    return tf.maximum(frames, 0) if tf.is_tensor(lengths) else frames * (frames > 0)


class _RecurrentLayer(keras.layers.Layer):
    """A recurrent layer: the sum of both directions, or the forward one where the network is unidirectional."""

    def __init__(self, config: Deepspeech2Config, name: str):
        super().__init__(name=name, dtype="float32")
        initializer = _PytorchUniform(config.units) if config.initializer == "pytorch" else None
        self.directions = [
            Recurrent(
                config.units,
                config.cell,
                backward=backward,
                use_bias=config.recurrent_bias,
                initializer=initializer,
                name="backward" if backward else "forward",
            )
            for backward in ((False, True) if config.bidirectional else (False,))
        ]

    def build(self, input_shape):
        for direction in self.directions:
            direction.build(input_shape)

    def compute_output_shape(self, input_shape):
        return *input_shape[:2], self.directions[0].units

    def call(self, inputs, lengths, state=None, loop="graph", training=False):
        """Returns the sum of the directions, and the state of the forward one."""
        results = [
            direction(inputs, lengths, state=state, loop=loop, training=training) for direction in self.directions
        ]
        return tf.add_n([outputs for outputs, _ in results]), results[0][1]


class _LookaheadConvolution(keras.layers.Layer):
    """Depthwise convolution over the current and the following frames (paper, section 3.5)."""

    def __init__(self, config: Deepspeech2Config, name: str):
        super().__init__(name=name, dtype="float32")
        self.frames = config.lookahead
        self.initializer = _kernel_initializer(config, config.lookahead)

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(self.frames, input_shape[-1]), initializer=self.initializer, name="kernel")

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, inputs):
        kernel = tf.convert_to_tensor(self.kernel)[:, tf.newaxis, :, tf.newaxis]
        return tf.nn.depthwise_conv2d(inputs[:, :, tf.newaxis], kernel, [1, 1, 1, 1], "VALID")[:, :, 0]


class _PytorchUniform(keras.initializers.Initializer):
    """PyTorch's initial weights and biases; unlike Keras's initializers, each call gives other values."""

    def __init__(self, fan_in: int):
        self.bound = fan_in**-0.5

    def __call__(self, shape, dtype=None):
        return keras.initializers.RandomUniform(-self.bound, self.bound)(shape, dtype=dtype)


def _kernel_initializer(config: Deepspeech2Config, fan_in: int):
    return _PytorchUniform(fan_in) if config.initializer == "pytorch" else "glorot_uniform"
