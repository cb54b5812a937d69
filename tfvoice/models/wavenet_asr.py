"""WaveNet as a speech recogniser: gated dilated convolutions over spectral frames, trained with CTC.

The network is that of buriburisuri/speech-to-text-wavenet (2016): the gated residual block of WaveNet (van den Oord et
al., arXiv 1609.03499, section 2.3) without causality, on MFCC frames. `docs/models.md` lists what the default changes
and how to get the original.
"""

from typing import Literal

import keras
import pydantic
import tensorflow as tf

from tfvoice import lengths as lengths_
from tfvoice.config import Config
from tfvoice.layers.convolution import BatchNormalization, Convolution1D
from tfvoice.layers.dropout import dropout
from tfvoice.lengths import Sequence
from tfvoice.models.ctc_network import CtcNetwork


class WavenetAsrConfig(Config):
    """Architecture of the network.

    Attributes:
      width: channels of every hidden layer.
      kernel_size: taps of a dilated convolution; odd.
      dilations: dilation of each block of a stack, in frames.
      stacks: repetitions of `dilations`.
      front_kernel_size: taps of the first convolution; odd.
      stride: stride of the first convolution, in frames.
      dropout: dropout rate at the output of each block.
      intermediate: blocks, counted from 1, after which there is an intermediate prediction. Intermediate predictions
        have a share in the loss, and later blocks are conditioned on them (self-conditioned CTC, Nozaki and Komatsu,
        arXiv 2104.02724).
      mask_padding: keep padding out of convolutions and batch statistics. False as in the original, where the logits of
        an utterance depend on the batch that it is in.
      batch_norm_momentum: share of a moving statistic that is kept at each step.
      batch_norm_epsilon: added to each variance.
      initializer: `glorot_uniform`, or `sugartensor`, the original's uniform distribution of +-sqrt(1 / fan_in).
    """

    name: Literal["wavenet_asr"] = "wavenet_asr"
    width: int = pydantic.Field(128, ge=1)
    kernel_size: int = pydantic.Field(7, ge=1)
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16)
    stacks: int = pydantic.Field(3, ge=1)
    front_kernel_size: int = pydantic.Field(5, ge=1)
    stride: int = pydantic.Field(2, ge=1)
    dropout: float = pydantic.Field(0.0, ge=0, lt=1)
    intermediate: tuple[int, ...] = ()
    mask_padding: bool = True
    batch_norm_momentum: float = pydantic.Field(0.99, ge=0, lt=1)
    batch_norm_epsilon: float = pydantic.Field(1e-5, gt=0)
    initializer: Literal["glorot_uniform", "sugartensor"] = "glorot_uniform"

    @property
    def context_frames(self) -> int:
        """Frames of features to either side of an output in its receptive field."""
        context = self.stacks * sum(self.dilations) * (self.kernel_size - 1) // 2
        return context * self.stride + self.front_kernel_size // 2

    @property
    def streams(self) -> bool:
        """Whether the network can run on a stream: not with a receptive field of seconds into the future."""
        return False

    @pydantic.model_validator(mode="after")
    def _check(self):
        for key in ("kernel_size", "front_kernel_size"):
            if getattr(self, key) % 2 == 0:
                raise ValueError(f"{key} must be odd, so that padding is symmetric")
        if self.front_kernel_size < self.stride:
            raise ValueError("front_kernel_size must be at least the stride, or it skips frames")
        if not self.dilations or min(self.dilations) < 1:
            raise ValueError("dilations must be positive numbers, for example [1, 2, 4, 8, 16]")
        blocks = self.stacks * len(self.dilations)
        if any(not 0 < block < blocks for block in self.intermediate):
            raise ValueError(f"intermediate must name blocks from 1 to {blocks - 1}, those before the last")
        return self


@keras.saving.register_keras_serializable("tfvoice")
class WavenetAsr(CtcNetwork):
    """Spectral frames to logits over characters and blank.

    Args:
      config: architecture.
      classes: characters of the alphabet, plus one for the blank.
      dtype: a Keras dtype policy or its name; None: the global policy. Products of hidden convolutions are in its
        compute dtype; sums, normalisation and the output layer are float32.
    """

    config_class = WavenetAsrConfig

    def __init__(self, config: WavenetAsrConfig, classes: int, dtype=None):
        super().__init__(config, classes, dtype)
        # The model has no time loop to choose; see `Deepspeech2`.
        self.training_loop = "graph"
        dtype = self.dtype_policy
        self.front = _ConvolutionNorm(config, config.front_kernel_size, dtype, "front", stride=config.stride)
        dilations = [dilation for _ in range(config.stacks) for dilation in config.dilations]
        self.blocks = [
            _GatedBlock(config, dilation, dtype, f"block_{number}") for number, dilation in enumerate(dilations, 1)
        ]
        self.hidden = _ConvolutionNorm(config, 1, dtype, "hidden")
        self.intermediate_hidden = {
            block: _ConvolutionNorm(config, 1, dtype, f"intermediate_hidden_{block}") for block in config.intermediate
        }
        initializer = _initializer(config)
        if config.intermediate:
            self.conditioning = Convolution1D(
                config.width, 1, kernel_initializer=initializer, dtype="float32", name="conditioning"
            )
        self.output_layer = Convolution1D(
            classes, 1, use_bias=True, kernel_initializer=initializer, dtype="float32", name="output"
        )

    def build_layers(self, channels: int) -> None:
        """Makes the weights, in the order of `predictions`."""
        hidden_shape = (None, None, self.config.width)
        self.front.build((None, None, channels))
        for number, block in enumerate(self.blocks, 1):
            block.build(hidden_shape)
            if number in self.intermediate_hidden:
                self._build_once(self.intermediate_hidden[number], self.output_layer)
                self._build_once(self.conditioning, channels=self.classes)
        self._build_once(self.hidden, self.output_layer)

    def _build_once(self, *layers, channels: int | None = None) -> None:
        for layer in layers:
            if not layer.built:
                layer.build((None, None, channels or self.config.width))

    def output_lengths(self, lengths):
        """Output frames of `lengths` frames of features, for tensors, arrays and Python integers alike."""
        return lengths_.after_convolution(lengths, self.config.stride)

    def class_axes(self) -> dict[str, int]:
        """The axis of the classes in each tensor that has one, by the path of its variable."""
        axes = {self.output_layer.kernel.path: 2, self.output_layer.bias.path: 0}
        return axes | ({self.conditioning.kernel.path: 1} if self.config.intermediate else {})

    def predictions(self, features, lengths, training=False, seed=None) -> list[Sequence]:
        """Logits after each block of `config.intermediate`, then those of `call`; arguments as for `call`."""
        lengths, intermediate = self.output_lengths(lengths), []
        valid = None
        if self.config.mask_padding:
            valid = lengths_.mask(lengths, self.output_lengths(tf.shape(features)[1]))
        hidden = _masked(tf.tanh(self.front(features, valid=valid, training=training)), valid)
        skip = 0.0
        for number, block in enumerate(self.blocks, 1):
            output = block(hidden, valid=valid, training=training)
            if training:
                output = dropout(output, self.config.dropout, seed, number)
            hidden = _masked(hidden + output, valid)
            skip += output
            if number in self.intermediate_hidden:
                logits = self._logits(self.intermediate_hidden[number], skip, valid, training)
                intermediate.append(Sequence(logits, lengths))
                hidden = _masked(hidden + self.conditioning(tf.nn.softmax(logits)), valid)
        return [*intermediate, Sequence(self._logits(self.hidden, skip, valid, training), lengths)]

    def _logits(self, hidden_layer, skip, valid, training):
        return self.output_layer(tf.tanh(hidden_layer(skip, valid=valid, training=training)))


class _GatedBlock(keras.layers.Layer):
    """tanh(filter) * sigmoid(gate), then a 1-wide convolution (WaveNet, equation 2); also the skip connection."""

    def __init__(self, config: WavenetAsrConfig, dilation: int, dtype, name: str):
        super().__init__(name=name, dtype=dtype, autocast=False)
        # Filter and gate share their input: one convolution of twice the width takes 0.8 of the time of two.
        self.filter_gate = _ConvolutionNorm(
            config, config.kernel_size, dtype, "filter_gate", dilation=dilation, filters=2 * config.width
        )
        self.mix = _ConvolutionNorm(config, 1, dtype, "mix")

    def build(self, input_shape):
        self.filter_gate.build(input_shape)
        self.mix.build(input_shape)

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, inputs, valid=None, training=False):
        filters, gates = tf.split(self.filter_gate(inputs, valid=valid, training=training), 2, axis=-1)
        return tf.tanh(self.mix(tf.tanh(filters) * tf.sigmoid(gates), valid=valid, training=training))


class _ConvolutionNorm(keras.layers.Layer):
    """Convolution without bias, then batch normalisation; `filters` defaults to `config.width`."""

    def __init__(
        self,
        config: WavenetAsrConfig,
        kernel_size: int,
        dtype,
        name: str,
        stride: int = 1,
        dilation: int = 1,
        filters: int | None = None,
    ):
        super().__init__(name=name, dtype=dtype, autocast=False)
        self.convolution = Convolution1D(
            filters or config.width,
            kernel_size,
            stride,
            dilation,
            kernel_initializer=_initializer(config),
            dtype=dtype,
            name="convolution",
        )
        self.norm = BatchNormalization(config.batch_norm_momentum, config.batch_norm_epsilon, name="norm")

    def build(self, input_shape):
        self.convolution.build(input_shape)
        self.norm.build(self.compute_output_shape(input_shape))

    def compute_output_shape(self, input_shape):
        return self.convolution.compute_output_shape(input_shape)

    def call(self, inputs, valid=None, training=False):
        return self.norm(self.convolution(inputs), valid=valid, training=training)


def _masked(values: tf.Tensor, valid: tf.Tensor | None) -> tf.Tensor:
    return values if valid is None else values * valid


def _initializer(config: WavenetAsrConfig):
    return _Sugartensor() if config.initializer == "sugartensor" else config.initializer


class _Sugartensor(keras.initializers.Initializer):
    """Uniform in +-sqrt(1 / fan_in); as in sugartensor 1.0.0.2, fan_in of a 1-wide kernel is the root of its size."""

    def __call__(self, shape, dtype=None):
        taps, inputs, outputs = shape
        fan_in = taps * inputs if taps > 1 else (inputs * outputs) ** 0.5
        bound = fan_in**-0.5
        return keras.initializers.RandomUniform(-bound, bound)(shape, dtype=dtype)
