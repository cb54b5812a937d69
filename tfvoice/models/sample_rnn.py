"""SampleRNN: audio sample by sample, from tiers of recurrent networks at different rates.

The network is that of Mehri et al. (arXiv 1612.07837). Each tier but the lowest is recurrent, sees a frame of raw
samples per step (section 2.1) and conditions the tier below with one vector per step of that tier. The lowest tier is a
multilayer perceptron over the embeddings of the last few samples (section 2.2). `docs/models.md` lists what the default
changes and how to get the original.

One step serves training and generation: `Tier.run` and `SampleTier.run` take any number of steps, one included, and the
weights that `SampleRnn.fuse_weights` computes, once per training step or once for hours of audio.
"""

import itertools
from typing import Any, ClassVar, Literal, NamedTuple

import keras
import pydantic
import tensorflow as tf

from tfvoice import config as config_
from tfvoice.config import Config
from tfvoice.layers import recurrent as recurrent_
from tfvoice.layers.linear import Linear, affine
from tfvoice.layers.lookup import lookup


class SampleRnnConfig(Config):
    """Architecture of the network.

    Attributes:
      frame_sizes: samples per step of each tier, from the lowest tier up. The first is both the number of samples that
        the lowest tier sees and the frame of the lowest recurrent tier. Each divides the next. The paper's two tiers
        are one size, its three tiers are two.
      units: size of every state and hidden layer.
      layers: recurrent layers of a tier.
      cell: `gru` or `lstm`.
      skip_connections: recurrent layers above the first also get the input of the tier, and the outputs of all of them
        are summed.
      weight_norm: use weight normalisation.
      learned_state: learn the initial state of a clip; otherwise it is 0.
      embedding: size of the embedding of a level in the lowest tier; 0: one-hot.
    """

    SECTIONS: ClassVar[dict[str, dict[str, Any]]] = {
        "training": {"weight_decay": 0.0, "clip_norm": 0.0, "clip_value": 1.0, "average": 0.0, "batch_size": 16}
    }

    name: Literal["sample_rnn"] = "sample_rnn"
    frame_sizes: tuple[int, ...] = (4, 16)
    units: int = pydantic.Field(1024, ge=1)
    layers: int = pydantic.Field(1, ge=1, le=5)
    cell: Literal["gru", "lstm"] = "gru"
    skip_connections: bool = False
    weight_norm: bool = True
    learned_state: bool = True
    embedding: int = pydantic.Field(256, ge=0)

    @pydantic.field_validator("frame_sizes")
    @classmethod
    def _check_frame_sizes(cls, sizes):
        if not sizes or sizes[0] < 1:
            raise ValueError("name the samples of a frame for each recurrent tier, such as [4, 16]")
        for small, large in itertools.pairwise(sizes):
            if large % small or large == small:
                raise ValueError(f"a frame of {large} samples cannot be cut into several of {small}")
        return sizes

    @pydantic.model_validator(mode="after")
    def _check_skip_connections(self):
        if self.skip_connections and self.layers == 1:
            raise ValueError("skip_connections needs layers of 2 or more")
        return self

    @property
    def context(self) -> int:
        """Samples before the first prediction: a frame of the slowest tier."""
        return self.frame_sizes[-1]


class FusedWeights(NamedTuple):
    """The kernels of the network after weight normalisation, with the embedding fused into the first one.

    Attributes:
      tiers: for each tier from the slowest down, its kernels and biases by layer name.
      table: `[frame, levels, units]`, embedding times the first kernel of the lowest tier: the contribution of each
        level at each position of the frame.
      bottom: the other kernels and biases of the lowest tier, from input to output.
    """

    tiers: list[dict[str, tuple]]
    table: tf.Tensor
    bottom: list[tuple]


@keras.saving.register_keras_serializable("tfvoice")
class SampleRnn(keras.Model):
    """Levels to logits over the next level (sections 2.1 and 2.2 of the paper).

    Args:
      config: architecture.
      classes: number of levels.
      dtype: a Keras dtype policy or its name; None: the global policy. Large products are in its compute dtype; sums,
        recurrent products and outputs are float32.

    Attributes:
      training_loop: the `loop` of `call` that training uses, one of `layers.recurrent.LOOPS`.
    """

    def __init__(self, config: SampleRnnConfig, classes: int, dtype=None):
        super().__init__(name="sample_rnn", dtype=dtype, autocast=False)
        self.config = config
        self.classes = classes
        self.training_loop = "graph"
        sizes = config.frame_sizes
        # Steps of the tier below per step of each tier; the lowest recurrent tier conditions one sample at a time.
        ratios = [large // small for small, large in zip((1, *sizes), sizes, strict=False)]
        ratios[0] = sizes[0]
        self.tiers = [
            Tier(config, size, ratio, slowest=size == sizes[-1], dtype=self.dtype_policy, name=f"tier_{size}")
            for size, ratio in zip(sizes[::-1], ratios[::-1], strict=True)
        ]
        self.bottom = SampleTier(config, classes, self.dtype_policy, name="bottom")

    def build(self, input_shape):
        for layer in (*self.tiers, self.bottom):
            layer.build(None)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the same network of, with initial weights."""
        dtype = keras.dtype_policies.serialize(self.dtype_policy)
        return {"config": self.config.model_dump(mode="json"), "classes": self.classes, "dtype": dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects=None):
        """Makes a network of what `get_config` returned."""
        architecture = config_.build(SampleRnnConfig, config["config"], cls.__name__)
        return cls(architecture, config["classes"], keras.dtype_policies.deserialize(config["dtype"]))

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Makes the weights, whose shapes depend on no input."""
        self.build(None)

    def fuse_weights(self, training=False) -> FusedWeights:
        """Applies weight normalisation, and multiplies the embedding by the first kernel."""
        table, bottom = self.bottom.fuse_weights(training)
        return FusedWeights([tier.fuse_weights(training) for tier in self.tiers], table, bottom)

    def initial_state(self, batch) -> list[tf.Tensor]:
        """The state at the start of a clip, for `batch` rows: `[batch, units]`, tier by tier from the slowest."""
        return [tf.tile(state[tf.newaxis], [batch, 1]) for tier in self.tiers for state in tier.initial_state()]

    def scale_levels(self, levels: tf.Tensor) -> tf.Tensor:
        """Input of the recurrent tiers: levels as float32 from -2 to almost 2."""
        return (tf.cast(levels, tf.float32) / (self.classes / 2) - 1.0) * 2.0

    def call(self, levels, state=None, reset=None, loop="graph", training=False):
        """Predicts each sample from the previous ones.

        Args:
          levels: int32 `[batch, context + samples]`; the number of samples is a multiple of `config.context`.
          state: as returned by `initial_state` or by the previous call; None: the start of a clip.
          reset: bool `[batch]`, rows that start a clip whatever their state; None: no rows.
          loop: time loop, one of `layers.recurrent.LOOPS`. `xla` is compiled for each shape, within a `tf.function`
            only. `cudnn` is for a GPU without XLA: cuDNN does not have this GRU, so that the loop is that of `graph`,
            but the gradient of `lookup` is not sorted.
          training: as for `recurrent.run_cell`.

        Returns:
          Logits `[batch, samples, classes]`, whose targets are the last `samples` of `levels`, and the state after
          them.
        """
        context, batch = self.config.context, tf.shape(levels)[0]
        initial = self.initial_state(batch)
        if state is None:
            state = initial
        elif reset is not None:
            state = [tf.where(reset[:, tf.newaxis], new, old) for new, old in zip(initial, state, strict=True)]
        weights = self.fuse_weights(training)
        # Time-major, as the recurrent layers need it. Transposed as floats, or oneDNN logs an error.
        levels = tf.cast(tf.transpose(tf.cast(levels, tf.float32)), tf.int32)
        samples = tf.shape(levels)[0] - context
        above, final = None, []
        for tier, tier_weights in zip(self.tiers, weights.tiers, strict=True):
            inputs = self.scale_levels(levels[context - tier.size : context - tier.size + samples])
            frames = tf.transpose(tf.reshape(inputs, [samples // tier.size, tier.size, batch]), [0, 2, 1])
            tier_state = state[len(final) : len(final) + tier.states]
            above, tier_state = tier.run(tier_weights, frames, above, tier_state, loop == "xla", training)
            final += tier_state
        levels = levels[context - self.config.frame_sizes[0] : -1]
        logits = self.bottom.run(weights.table, weights.bottom, levels, above, loop != "cudnn", training)
        return tf.transpose(logits, [1, 0, 2]), final


class Tier(keras.layers.Layer):
    """A recurrent tier.

    Args:
      config: architecture.
      size: samples of a frame.
      ratio: steps of the tier below per step of this one.
      slowest: whether it is the top tier, whose first recurrent layer gets the frame itself.
      dtype: a Keras dtype policy, of the large products.
      name: name of the layer.
    """

    def __init__(self, config: SampleRnnConfig, size: int, ratio: int, slowest: bool, dtype, name: str):
        super().__init__(name=name, dtype=dtype, autocast=False)
        self.size, self.ratio, self.slowest, self.units = size, ratio, slowest, config.units
        self.cell = "gru_reset_before" if config.cell == "gru" else "lstm"
        self.states = config.layers * recurrent_.STATES[self.cell]
        self.skips = config.skip_connections
        gates = recurrent_.GATES[self.cell]

        def linear(units: int, name: str, initializer="he_uniform", **options) -> Linear:
            return Linear(units, config.weight_norm, initializer=initializer, dtype=dtype, name=name, **options)

        self.expand = None if slowest else linear(config.units, "expand")
        input_initializer, recurrent_initializer = _InputInitializer(gates), _RecurrentInitializer(gates)
        input_bias = _ForgetBias() if config.cell == "lstm" else "zeros"
        self.entries = [
            linear(gates * config.units, f"input_{n}", input_initializer, bias_initializer=input_bias)
            for n in range(config.layers)
        ]
        self.recurrents = [
            linear(gates * config.units, f"recurrent_{n}", recurrent_initializer, use_bias=False)
            for n in range(config.layers)
        ]
        self.exits = [
            linear(config.units, f"skip_{n}", use_bias=n == 0) for n in range(config.layers if self.skips else 0)
        ]
        self.upsample = linear(ratio * config.units, "upsample")
        self.learned = config.learned_state
        self.first = None

    def build(self, _):
        width = self.size if self.slowest else self.units
        if self.expand:
            self.expand.build((None, self.size))
        for number, (entry, recurrent) in enumerate(zip(self.entries, self.recurrents, strict=True)):
            stacked = self.units + width if self.skips else self.units
            entry.build((None, stacked if number else width))
            recurrent.build((None, self.units))
        for layer in (*self.exits, self.upsample):
            layer.build((None, self.units))
        if self.learned:
            shape = (self.states, self.units)
            self.first = self.add_weight(shape=shape, initializer="zeros", autocast=False, name="first_state")

    def initial_state(self) -> list[tf.Tensor]:
        """The state at the start of a clip, tensors `[units]`."""
        return tf.unstack(tf.convert_to_tensor(self.first) if self.learned else tf.zeros([self.states, self.units]))

    def fuse_weights(self, training=False) -> dict[str, tuple]:
        """The effective kernels and biases, by layer name."""
        layers = [*self.entries, *self.exits, self.upsample, *([self.expand] if self.expand else [])]
        weights = {layer.name: layer.effective_weights(training) for layer in layers}
        kernels = {layer.name: layer.effective_kernel(training) for layer in self.recurrents}
        return weights | {name: tuple(recurrent_.split_kernel(self.cell, kernel)) for name, kernel in kernels.items()}

    def run(self, weights, frames, above, state, compiled=False, training=False):
        """Runs over frames.

        Args:
          weights: from `fuse_weights`.
          frames: float32 `[steps, batch, size]`.
          above: `[steps, batch, units]` from the tier above; None for the slowest.
          state: of the recurrent layers, `states` tensors `[batch, units]`.
          compiled: let XLA compile the time loop, for each shape.
          training: as for `recurrent.run_cell`.

        Returns:
          `[steps * ratio, batch, units]` for the tier below, and the state after the last frame.
        """
        dtype = self.compute_dtype
        values = frames if above is None else affine(frames, *weights["expand"], dtype) + above
        inputs, total, final = values, 0.0, []
        count = recurrent_.STATES[self.cell]
        for number, (entry, recurrent) in enumerate(zip(self.entries, self.recurrents, strict=True)):
            if number and self.skips:
                values = tf.concat([values, inputs], axis=-1)
            projected = affine(values, *weights[entry.name], dtype)
            layer_state = state[number * count : (number + 1) * count]
            kernel = weights[recurrent.name]
            series = recurrent_.run_cell(self.cell, projected, kernel, layer_state, None, compiled, training)
            values, final = series[0], final + [states[-1] for states in series]
            if self.skips:
                total += affine(values, *weights[self.exits[number].name], dtype)
        vectors = affine(total if self.skips else values, *weights["upsample"], dtype)
        steps, batch = tf.shape(vectors)[0], tf.shape(vectors)[1]
        vectors = tf.transpose(tf.reshape(vectors, [steps, batch, self.ratio, self.units]), [0, 2, 1, 3])
        return tf.reshape(vectors, [steps * self.ratio, batch, self.units]), final


class SampleTier(keras.layers.Layer):
    """The lowest tier, a multilayer perceptron without state.

    Args:
      config: architecture.
      classes: number of levels.
      dtype: a Keras dtype policy, of the large products.
      name: name of the layer.
    """

    def __init__(self, config: SampleRnnConfig, classes: int, dtype, name: str):
        super().__init__(name=name, dtype=dtype, autocast=False)
        self.frame, self.width, self.classes = config.frame_sizes[0], config.embedding or classes, classes
        self.has_embedding = config.embedding > 0

        def linear(units: int, name: str, initializer="he_uniform", use_bias: bool = True) -> Linear:
            return Linear(units, config.weight_norm, use_bias, initializer, dtype=dtype, name=name)

        self.first = linear(config.units, "first", use_bias=False)
        self.hidden = [linear(config.units, f"hidden_{n}") for n in range(2)]
        # Logits close to 0: the initial loss is that of a uniform distribution.
        small = keras.initializers.VarianceScaling(0.0025, distribution="uniform")
        self.logits = linear(classes, "logits", small)

    def build(self, _):
        self.embedding = None
        if self.has_embedding:
            normal, shape = keras.initializers.RandomNormal(stddev=1.0), (self.classes, self.width)
            self.embedding = self.add_weight(shape=shape, initializer=normal, autocast=False, name="embedding")
        self.first.build((None, self.frame * self.width))
        for layer in (*self.hidden, self.logits):
            layer.build((None, self.hidden[0].units))

    def fuse_weights(self, training=False) -> tuple[tf.Tensor, list[tuple]]:
        """The table `[frame, levels, units]` of `FusedWeights`, and the kernels and biases after it."""
        table = tf.reshape(self.first.effective_kernel(training), [self.frame, self.width, -1])
        if self.has_embedding:
            table = tf.matmul(tf.convert_to_tensor(self.embedding)[tf.newaxis], table)
        return table, [layer.effective_weights(training) for layer in (*self.hidden, self.logits)]

    def run(self, table, weights, levels, above, sort_gradient=True, training=False):
        """Predicts the sample after each frame.

        Args:
          table, weights: from `fuse_weights`.
          levels: int32 `[frame - 1 + steps, batch]`.
          above: `[steps, batch, units]` from the lowest recurrent tier.
          sort_gradient, training: see `lookup`.

        Returns:
          Logits `[steps, batch, levels]`.
        """
        # No activation function here, as in the original's code.
        values = lookup(table, levels, sort_gradient, training) + above
        for kernel, bias in weights[:-1]:
            values = tf.nn.relu(affine(values, kernel, bias, self.compute_dtype))
        return affine(values, *weights[-1], self.compute_dtype)


class _ForgetBias(keras.initializers.Initializer):
    """Biases of an LSTM: 3 for the forget gate, 0 for the others."""

    def __call__(self, shape, dtype=None):
        return tf.reshape(tf.stack([tf.fill([shape[0] // 4], value) for value in (0.0, 3.0, 0.0, 0.0)]), shape)


class _InputInitializer(keras.initializers.Initializer):
    """Input kernels of all gates, concatenated: LeCun uniform for each gate."""

    def __init__(self, gates: int):
        self.gates = gates

    def __call__(self, shape, dtype=None):
        return _concatenated([keras.initializers.LecunUniform() for _ in range(self.gates)], shape, dtype)


class _RecurrentInitializer(keras.initializers.Initializer):
    """Recurrent kernels of all gates, concatenated: LeCun uniform, orthogonal for the candidate of a GRU."""

    def __init__(self, gates: int):
        self.gates = gates

    def __call__(self, shape, dtype=None):
        initializers = [keras.initializers.LecunUniform() for _ in range(self.gates)]
        if self.gates == recurrent_.GATES["gru_reset_before"]:
            initializers[-1] = keras.initializers.Orthogonal()
        return _concatenated(initializers, shape, dtype)


def _concatenated(initializers: list, shape, dtype) -> tf.Tensor:
    """A kernel of several gates: `shape` is that of all of them."""
    gate = (shape[0], shape[1] // len(initializers))
    return tf.concat([initializer(gate, dtype) for initializer in initializers], axis=1)
