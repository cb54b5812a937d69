"""WaveNet as a speech recogniser: gated dilated convolutions over spectral frames, and CTC on top.

The network is the one of buriburisuri/speech-to-text-wavenet (2016), which took the gated residual block of WaveNet
(van den Oord et al., arXiv 1609.03499, section 2.3) and put it over MFCC frames, without causality. `docs/models.md`
lists what the default changes and how to get the original.
"""

from typing import Literal

import keras
import pydantic
import tensorflow as tf

from tfvoice import lengths as lengths_
from tfvoice.config import Config
from tfvoice.layers.convolution import BatchNormalization, Convolution1D
from tfvoice.lengths import Sequence


class WavenetAsrConfig(Config):
    """Shape of the network.

    Attributes:
      width: channels of every hidden layer.
      kernel_size: taps of a dilated convolution; odd.
      dilations: dilation of each block of a stack, in frames.
      stacks: how often `dilations` is repeated.
      front_kernel_size: taps of the first convolution; odd.
      stride: frames that the first convolution turns into one.
      dropout: share of channels dropped at the output of each block while training.
      intermediate: blocks, counted from 1, after which the text is already predicted; the loss counts these predictions
        too, and later blocks are told them (self-conditioned CTC, Nozaki and Komatsu, arXiv 2104.02724).
      mask_padding: keep padding out of convolutions and statistics. False is what the original does: there the
        result for an utterance depends on the batch it is in.
      batch_norm_momentum: share of a moving statistic that is kept at each step.
      batch_norm_epsilon: added to each variance.
      initializer: `glorot_uniform`, or `sugartensor`, the original's uniform of +-sqrt(1 / fan_in).
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
        """How far to either side an output sees, in frames of features."""
        reach = self.stacks * sum(self.dilations) * (self.kernel_size - 1) // 2
        return reach * self.stride + self.front_kernel_size // 2

    @property
    def streams(self) -> bool:
        """Whether the network can go on where it stopped; this one reads seconds ahead."""
        return False

    @pydantic.model_validator(mode="after")
    def _check(self):
        for key in ("kernel_size", "front_kernel_size"):
            if getattr(self, key) % 2 == 0:
                raise ValueError(f"{key} must be odd, so that a frame has as many neighbours before it as after it")
        if self.front_kernel_size < self.stride:
            raise ValueError("front_kernel_size must be at least the stride, or frames between the taps are lost")
        if not self.dilations or min(self.dilations) < 1:
            raise ValueError("dilations must be positive numbers, for example [1, 2, 4, 8, 16]")
        blocks = self.stacks * len(self.dilations)
        if any(not 0 < block < blocks for block in self.intermediate):
            raise ValueError(f"intermediate must name blocks from 1 to {blocks - 1}, those before the last")
        return self


class WavenetAsr(keras.Model):
    """Spectral frames to logits over characters and blank.

    Args:
      config: shape of the network.
      classes: characters of the alphabet, plus one for the blank.
      product_dtype: type of the multiplications in the convolutions.
    """

    def __init__(self, config: WavenetAsrConfig, classes: int, product_dtype: str = "float32"):
        super().__init__(name=config.name)
        self.config = config
        self.front = _ConvolutionNorm(config, config.front_kernel_size, product_dtype, "front", stride=config.stride)
        self.blocks = [
            _GatedBlock(config, dilation, product_dtype, f"block_{stack}_{dilation}")
            for stack in range(config.stacks)
            for dilation in config.dilations
        ]
        self.hidden = _ConvolutionNorm(config, 1, product_dtype, "hidden")
        self.early = {
            block: _ConvolutionNorm(config, 1, product_dtype, f"early_{block}") for block in config.intermediate
        }
        if config.intermediate:
            self.told = Convolution1D(config.width, 1, kernel_initializer=_initializer(config), name="told")
        self.output_layer = Convolution1D(
            classes, 1, use_bias=True, kernel_initializer=_initializer(config), name="output"
        )

    def output_lengths(self, lengths):
        """Frames that come out for `lengths` frames that go in; for tensors, arrays and integers alike."""
        return lengths_.after_convolution(lengths, self.config.stride)

    def call(self, features, lengths, training=False, seed=None):
        """Maps features to logits.

        Args:
          features: `[batch, frames, channels]`, zero beyond each length.
          lengths: int32 `[batch]`, frames of each row.
          training: use batch statistics and dropout.
          seed: int32 `[2]`, of the dropout; needed where dropout is on.

        Returns:
          `Sequence` of logits `[batch, ceil(frames / stride), classes]` and their lengths.
        """
        return self.predictions(features, lengths, training, seed)[-1]

    def predictions(self, features, lengths, training=False, seed=None) -> list[Sequence]:
        """Maps features to logits, those of `config.intermediate` first; arguments as for `call`."""
        lengths, found = self.output_lengths(lengths), []
        valid = None
        if self.config.mask_padding:
            valid = lengths_.mask(lengths, self.output_lengths(tf.shape(features)[1]))
        hidden = _masked(tf.tanh(self.front(features, valid=valid, training=training)), valid)
        skip = 0.0
        for index, block in enumerate(self.blocks):
            output = block(hidden, valid=valid, training=training)
            if training and self.config.dropout:
                output = tf.nn.experimental.stateless_dropout(output, self.config.dropout, seed + index)
            hidden = _masked(hidden + output, valid)
            skip += output
            if index + 1 in self.early:
                logits = self._read(self.early[index + 1], skip, valid, training)
                found.append(Sequence(logits, lengths))
                hidden = _masked(hidden + self.told(tf.nn.softmax(logits)), valid)
        return [*found, Sequence(self._read(self.hidden, skip, valid, training), lengths)]

    def _read(self, layer, skip, valid, training):
        return self.output_layer(tf.tanh(layer(skip, valid=valid, training=training)))


class _GatedBlock(keras.layers.Layer):
    """tanh(filter) * sigmoid(gate), mixed by a 1-wide convolution (WaveNet equation 2); residual and skip are one."""

    def __init__(self, config: WavenetAsrConfig, dilation: int, product_dtype: str, name: str):
        super().__init__(name=name, dtype="float32")
        # Filter and gate share their input: one product of twice the width takes 0.8 of the time of two.
        self.filter_gate = _ConvolutionNorm(
            config, config.kernel_size, product_dtype, "filter_gate", dilation=dilation, widths=2
        )
        self.mix = _ConvolutionNorm(config, 1, product_dtype, "mix")

    def call(self, inputs, valid=None, training=False):
        filters, gates = tf.split(self.filter_gate(inputs, valid=valid, training=training), 2, axis=-1)
        return tf.tanh(self.mix(tf.tanh(filters) * tf.sigmoid(gates), valid=valid, training=training))


class _ConvolutionNorm(keras.layers.Layer):
    """Convolution without bias, then batch normalisation."""

    def __init__(
        self,
        config: WavenetAsrConfig,
        kernel_size: int,
        product_dtype: str,
        name: str,
        stride: int = 1,
        dilation: int = 1,
        widths: int = 1,
    ):
        super().__init__(name=name, dtype="float32")
        self.convolution = Convolution1D(
            config.width * widths,
            kernel_size,
            stride,
            dilation,
            kernel_initializer=_initializer(config),
            product_dtype=product_dtype,
            name="convolution",
        )
        self.norm = BatchNormalization(config.batch_norm_momentum, config.batch_norm_epsilon, name="norm")

    def call(self, inputs, valid=None, training=False):
        return self.norm(self.convolution(inputs), valid=valid, training=training)


def _masked(values: tf.Tensor, valid: tf.Tensor | None) -> tf.Tensor:
    return values if valid is None else values * valid


def _initializer(config: WavenetAsrConfig):
    return _Sugartensor() if config.initializer == "sugartensor" else config.initializer


class _Sugartensor(keras.initializers.Initializer):
    """Uniform of +-sqrt(1 / fan_in), where a 1-wide kernel counts sqrt(its size) as fan_in, as sugartensor 1.0.0.2."""

    def __call__(self, shape, dtype=None):
        taps, inputs, outputs = shape
        fan_in = taps * inputs if taps > 1 else (inputs * outputs) ** 0.5
        bound = fan_in**-0.5
        return keras.initializers.RandomUniform(-bound, bound)(shape, dtype=dtype)
