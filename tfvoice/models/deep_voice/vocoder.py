"""The vocoder of Deep Voice: phonemes and F0 to samples, by a WaveNet that quasi-recurrent layers condition.

Arik et al., "Deep Voice: Real-time Neural Text-to-Speech", arXiv 1702.07825, section 3.4, figure 3 and appendix A. The
conditioner reads frames in both directions and gives each layer of the WaveNet a bias of its own for each frame; the
WaveNet (van den Oord et al., arXiv 1609.03499) predicts each sample from those before it. `docs/deep_voice.md` lists
what no source states.
"""

from typing import Any, ClassVar, Literal

import keras
import pydantic
import tensorflow as tf

from tfvoice import config as config_
from tfvoice.config import Config
from tfvoice.layers.qrnn import Qrnn
from tfvoice.models.deep_voice.duration_f0 import STRESS_CLASSES

# Samples of a frame: 250 frames a second at 16 kHz, and the paper's 256 at 16,384 Hz.
FRAME_SAMPLES = 64
# Phonemes of a frame's window: the frame's own, and two before and after it.
WINDOW = 5
# Dilations are 1, 2, 4 ... up to here, again and again.
_LONGEST_DILATION = 512
# Taps of every convolution.
_TAPS = 2


class VocoderConfig(Config):
    """Architecture of the network.

    Attributes:
      layers: of the WaveNet; l in the paper.
      residual: channels from layer to layer; r in the paper.
      skip: channels of the sum over layers; s in the paper.
      conditioner: channels of the first quasi-recurrent layer, both directions together.
    """

    # Small batches: of the same clips in the same time, 2 at once learn faster than 4, and these faster than 8.
    SECTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        "training": {
            "epochs": 40, "batch_size": 2, "learning_rate": 1e-3, "warmup": 0.01, "weight_decay": 0.0, "clip_norm": 1.0,
            "average": 0.9995,
        }
    }  # fmt: skip

    name: Literal["vocoder"] = "vocoder"
    layers: int = pydantic.Field(20, ge=1)
    residual: int = pydantic.Field(32, ge=1)
    skip: int = pydantic.Field(128, ge=1)
    conditioner: int = pydantic.Field(64, ge=2, multiple_of=2)

    @property
    def dilations(self) -> list[int]:
        """The dilation of each layer, in samples."""
        cycle = _LONGEST_DILATION.bit_length()
        return [2 ** (layer % cycle) for layer in range(self.layers)]

    @property
    def receptive_field(self) -> int:
        """Samples before a sample that its prediction depends on."""
        return _TAPS + sum(self.dilations) * (_TAPS - 1)


@keras.saving.register_keras_serializable("tfvoice")
class Vocoder(keras.Model):
    """Levels and frames to logits over the next level.

    Args:
      config: architecture.
      phonemes: classes of phonemes, the absence of one included.
      levels: number of levels of a sample.
      dtype: a Keras dtype policy or its name; None: the global policy. Products of the WaveNet are in its compute
        dtype; sums, the conditioner and outputs are float32.

    Attributes:
      training_loop: time loop of the conditioner with `training=True`, one of `layers.recurrent.LOOPS`.
    """

    network_supports_jit = False

    def __init__(self, config: VocoderConfig, phonemes: int, levels: int, dtype=None):
        super().__init__(name="vocoder", dtype=dtype, autocast=False)
        self.config, self.phonemes, self.levels = config, phonemes, levels
        self.training_loop = "graph"
        sizes = (config.conditioner // 2, config.layers * config.residual)
        self.forward_layers = [Qrnn(size, name=f"forward_{number}") for number, size in enumerate(sizes)]
        self.backward_layers = [
            Qrnn(size, backward=True, name=f"backward_{number}") for number, size in enumerate(sizes)
        ]
        self.wavenet = WaveNet(config, levels, dtype=self.dtype_policy, name="wavenet")

    def build(self, _):
        width = WINDOW * (self.phonemes + STRESS_CLASSES) + 2
        for layers in zip(self.forward_layers, self.backward_layers, strict=True):
            for layer in layers:
                layer.build((None, None, width))
            width = 2 * layer.units
        self.wavenet.build(None)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the same network of, with initial weights."""
        dtype = keras.dtype_policies.serialize(self.dtype_policy)
        sizes = {"phonemes": self.phonemes, "levels": self.levels}
        return {"config": self.config.model_dump(mode="json"), "dtype": dtype} | sizes

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects=None):
        """Makes a network of what `get_config` returned."""
        architecture = config_.build(VocoderConfig, config["config"], cls.__name__)
        dtype = keras.dtype_policies.deserialize(config["dtype"])
        return cls(architecture, config["phonemes"], config["levels"], dtype)

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Makes the weights, whose shapes depend on no input."""
        self.build(None)

    def condition(self, phonemes, stresses, f0, lengths, training=False):
        """Runs the conditioner.

        Args:
          phonemes, stresses: int32 `[batch, frames, WINDOW]`, classes of the phonemes around each frame's.
          f0: float32 `[batch, frames, 2]`, the logarithm of F0, normalised, and 1 where there is a voice, else 0.
          lengths: int32 `[batch]`, frames; what is beyond has no influence.
          training: whether to use the gradients of `layers.qrnn`.

        Returns:
          `[batch, frames, layers, 2 * residual]`: what each layer of the WaveNet adds to its sums.
        """
        loop = self.training_loop if training else "graph"
        frames = tf.shape(phonemes)[1]
        ids = [
            tf.reshape(tf.one_hot(values, classes), [-1, frames, WINDOW * classes])
            for values, classes in ((phonemes, self.phonemes), (stresses, STRESS_CLASSES))
        ]
        hidden = tf.concat([*ids, f0], axis=2)
        for layers in zip(self.forward_layers, self.backward_layers, strict=True):
            pair = [layer(hidden, lengths, loop=loop, training=training) for layer in layers]
            # Interleaved: forward, backward, forward ...
            hidden = tf.reshape(tf.stack(pair, axis=3), [-1, frames, 2 * layers[0].units])
        return tf.reshape(hidden, [-1, frames, self.config.layers, 2 * self.config.residual])

    def call(self, levels, biases, first: int = 0):
        """Predicts levels.

        Args:
          levels: int32 `[batch, 2 + frames * FRAME_SAMPLES]`: two levels before the frames, and those of the frames.
          biases: from `condition`, `[batch, frames, layers, 2 * residual]`.
          first: frames at the start whose logits are not needed.

        Returns:
          float32 `[batch, (frames - first) * FRAME_SAMPLES, levels]`: logits of each level but the first two, given
          those before it.
        """
        return self.wavenet(levels[:, :-1], biases, first=first)


class WaveNet(keras.layers.Layer):
    """The autoregressive part: gated, dilated convolutions with residual and skip connections.

    The weights of all layers stand in one variable for each kind. So that the sum over layers is one product, the skip
    connections are one kernel of `layers * residual` rows.

    Args:
      config: architecture.
      levels: number of levels.
      dtype: as for `Vocoder`.
      name: name of the layer.
    """

    def __init__(self, config: VocoderConfig, levels: int, dtype=None, name: str | None = None):
        super().__init__(name=name, dtype=dtype, autocast=False)
        self.config, self.levels = config, levels

    def build(self, _):
        layers, r, s = self.config.layers, self.config.residual, self.config.skip

        def kernel(name, fan_in, *shape):
            # The variance of a sum is that of its inputs.
            initializer = keras.initializers.RandomNormal(stddev=fan_in**-0.5)
            return self.add_weight(shape=shape, initializer=initializer, autocast=False, name=name)

        def bias(name, *shape):
            return self.add_weight(shape=shape, initializer="zeros", autocast=False, name=name)

        self.first_kernel = kernel("first_kernel", _TAPS, _TAPS, self.levels, r)
        self.first_bias = bias("first_bias", r)
        self.gate_kernels = kernel("gate_kernels", _TAPS * r, layers, _TAPS, r, 2 * r)
        self.gate_biases = bias("gate_biases", layers, 2 * r)
        self.residual_kernels = kernel("residual_kernels", r, layers, r, r)
        self.residual_biases = bias("residual_biases", layers, r)
        self.skip_kernel = kernel("skip_kernel", layers * r, layers * r, s)
        self.skip_bias = bias("skip_bias", s)
        self.head_kernel = kernel("head_kernel", s, s, self.levels)
        self.head_bias = bias("head_bias", self.levels)
        self.output_kernel = kernel("output_kernel", self.levels, self.levels, self.levels)
        self.output_bias = bias("output_bias", self.levels)

    def call(self, levels, biases, first: int = 0):
        """Maps `[batch, 1 + samples]`, the levels before each sample, to logits; arguments as for `Vocoder.call`."""
        r = self.config.residual
        frames = tf.shape(biases)[1]
        samples = frames * FRAME_SAMPLES
        kernels = tf.unstack(tf.convert_to_tensor(self.first_kernel))
        hidden = tf.add_n([tf.gather(table, levels[:, tap:][:, :samples]) for tap, table in enumerate(kernels)])
        hidden = tf.tanh(hidden + self.first_bias)
        gate_kernels, residual_kernels = (
            tf.unstack(tf.convert_to_tensor(values)) for values in (self.gate_kernels, self.residual_kernels)
        )
        biases = tf.unstack(biases + self.gate_biases, axis=2)
        gated = []
        for layer, dilation in enumerate(self.config.dilations):
            past = tf.pad(hidden, [[0, 0], [dilation, 0], [0, 0]])[:, :-dilation]
            kernel = tf.reshape(gate_kernels[layer], [_TAPS * r, 2 * r])
            sums = self._product(tf.concat([past, hidden], axis=2), kernel)
            # A frame's bias is that of all its samples.
            sums = tf.reshape(sums, [-1, frames, FRAME_SAMPLES, 2 * r]) + biases[layer][:, :, tf.newaxis]
            gate = tf.reshape(tf.tanh(sums[..., :r]) * tf.sigmoid(sums[..., r:]), [-1, samples, r])
            hidden += self._product(gate, residual_kernels[layer]) + self.residual_biases[layer]
            gated.append(gate[:, first * FRAME_SAMPLES :])
        return self._head(tf.concat(gated, axis=2))

    def step(self, levels, biases, past):
        """Predicts one level: `call` for one sample of one row.

        Args:
          levels: int32 `[2]`: those before it.
          biases: of its frame, `[layers, 2 * residual]`.
          past: the input of each layer as many samples ago as its dilation, `[layers, residual]`.

        Returns:
          Logits, float32 `[levels]`, and the input of each layer now, `[layers, residual]`.
        """
        r = self.config.residual
        first = tf.convert_to_tensor(self.first_kernel)
        hidden = tf.tanh(first[0, levels[0]] + first[1, levels[1]] + self.first_bias)[tf.newaxis]
        kernels = tf.convert_to_tensor(self.gate_kernels)
        # Of the past, the products of all layers are one.
        products = tf.matmul(*(tf.cast(each, self.compute_dtype) for each in (past[:, tf.newaxis], kernels[:, 0])))
        sums = tf.cast(products, tf.float32)[:, 0] + biases + self.gate_biases
        rows = zip(tf.unstack(kernels[:, 1]), tf.unstack(tf.convert_to_tensor(self.residual_kernels)), strict=True)
        inputs, gated = [], []
        for layer, (gate_kernel, residual_kernel) in enumerate(rows):
            inputs.append(hidden)
            both = sums[layer] + self._product(hidden, gate_kernel)
            gated.append(tf.tanh(both[:, :r]) * tf.sigmoid(both[:, r:]))
            hidden += self._product(gated[-1], residual_kernel) + self.residual_biases[layer]
        return self._head(tf.concat(gated, axis=1))[0], tf.concat(inputs, axis=0)

    def _head(self, gated):
        """Logits of the gates of all layers, `[..., layers * residual]`."""
        skip = self._product(gated, tf.convert_to_tensor(self.skip_kernel)) + self.skip_bias
        head = self._product(tf.nn.relu(skip), tf.convert_to_tensor(self.head_kernel)) + self.head_bias
        return self._product(tf.nn.relu(head), tf.convert_to_tensor(self.output_kernel)) + self.output_bias

    def _product(self, inputs, kernel):
        dtype = self.compute_dtype
        return tf.cast(tf.tensordot(tf.cast(inputs, dtype), tf.cast(kernel, dtype), 1), tf.float32)
