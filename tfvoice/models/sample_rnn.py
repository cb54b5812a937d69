"""SampleRNN: audio sample by sample, from tiers of recurrent networks that run at different speeds.

The network is the one of Mehri et al. (arXiv 1612.07837): each tier but the lowest is recurrent, sees a frame of raw
samples at a time (section 2.1), and tells the tier below what to expect at each step of its own; the lowest tier is a
small network without memory that sees the last few samples as categories (section 2.2). `docs/models.md` lists what
the default changes and how to get the original.

One step serves training and generation: `Tier.run` and `Bottom.run` take any number of steps, one included, and the
matrices that `SampleRnn.prepared` has put together, once for a training step or for hours of audio.
"""

import itertools
from typing import Literal, NamedTuple

import keras
import pydantic
import tensorflow as tf

from tfvoice.config import Config
from tfvoice.layers import cells
from tfvoice.layers.linear import Linear, affine
from tfvoice.layers.lookup import lookup


class SampleRnnConfig(Config):
    """Shape of the network.

    Attributes:
      frame_sizes: samples that a step of each tier is about, from the lowest tier up. The first is how many samples
        the lowest tier sees, and the frame of the lowest recurrent tier. Each divides the next. Two tiers of the paper
        are one size, three tiers are two.
      units: size of every state and hidden layer.
      layers: recurrent layers of a tier.
      cell: `gru` or `lstm`.
      skip_connections: recurrent layers above the first see the tier's input too, and the outputs of all of them are
        added up.
      weight_norm: hold each matrix as directions and lengths.
      learned_state: learn the state that a clip begins with; otherwise it is 0.
      embedding: size of the vector that stands for a level in the lowest tier; 0: one-hot.
    """

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
    def _each_divides_the_next(cls, sizes):
        if not sizes or sizes[0] < 1:
            raise ValueError("name the samples of a frame for each recurrent tier, such as [4, 16]")
        for small, large in itertools.pairwise(sizes):
            if large % small or large == small:
                raise ValueError(f"a frame of {large} samples cannot be cut into several of {small}")
        return sizes

    @pydantic.model_validator(mode="after")
    def _skips_need_layers(self):
        if self.skip_connections and self.layers == 1:
            raise ValueError("skip_connections needs layers of 2 or more")
        return self

    @property
    def context(self) -> int:
        """Samples that must be known before the first prediction: a frame of the slowest tier."""
        return self.frame_sizes[-1]


class Matrices(NamedTuple):
    """The matrices of the network as they are multiplied, weight normalisation and embedding worked in.

    Attributes:
      tiers: for each tier from the slowest down, its matrices by name.
      table: `[frame, levels, units]`, embedding times the first matrix of the lowest tier: what each level at each
        place of the frame adds.
      bottom: the other matrices of the lowest tier, from its input to its output.
    """

    tiers: list[dict[str, tuple]]
    table: tf.Tensor
    bottom: list[tuple]


class SampleRnn(keras.Model):
    """Levels to logits over the next level (sections 2.1 and 2.2 of the paper).

    Args:
      config: shape of the network.
      classes: levels.
      product_dtype: type of the large products while training; `float32`, `bfloat16` or `float16`.
    """

    def __init__(self, config: SampleRnnConfig, classes: int, product_dtype: str = "float32"):
        super().__init__(name="sample_rnn")
        self.config = config
        self.classes = classes
        sizes = config.frame_sizes
        # Steps of the tier below in a step of each; the lowest recurrent tier leads one sample at a time.
        ratios = [large // small for small, large in zip((1, *sizes), sizes, strict=False)]
        ratios[0] = sizes[0]
        self.tiers = [
            Tier(config, size, ratio, slowest=size == sizes[-1], product_dtype=product_dtype, name=f"tier_{size}")
            for size, ratio in zip(sizes[::-1], ratios[::-1], strict=True)
        ]
        self.bottom = Bottom(config, classes, product_dtype, name="bottom")
        # Time loops are compiled by XLA; learners turn it off where nothing is to be.
        self.jit_loops = True

    def build(self, input_shape):
        for layer in (*self.tiers, self.bottom):
            layer.build(None)

    def prepared(self) -> Matrices:
        """Works weight normalisation and embedding into the matrices."""
        table, bottom = self.bottom.matrices()
        return Matrices([tier.matrices() for tier in self.tiers], table, bottom)

    def start(self, batch) -> list[tf.Tensor]:
        """The state of so many rows at the start of a clip: tensors `[batch, units]`, tier by tier from the slowest."""
        return [tf.tile(first[tf.newaxis], [batch, 1]) for tier in self.tiers for first in tier.first_state()]

    def real(self, levels: tf.Tensor) -> tf.Tensor:
        """What the recurrent tiers see of levels: float32 from -2 to almost 2."""
        return (tf.cast(levels, tf.float32) / (self.classes / 2) - 1.0) * 2.0

    def call(self, levels, state=None, reset=None):
        """Predicts each sample from those before it.

        Args:
          levels: int32 `[batch, context + samples]`; the number of samples is a multiple of `config.context`.
          state: as `start` gives it, or as the last call did; None: the start of a clip.
          reset: bool `[batch]`, rows that begin a clip whatever the state says; None: none of them.

        Returns:
          Logits `[batch, samples, classes]` for what follows each sample but the last (the last `samples` of `levels`
          are the targets), and the state after them.
        """
        context, batch = self.config.context, tf.shape(levels)[0]
        first = self.start(batch)
        if state is None:
            state = first
        elif reset is not None:
            state = [tf.where(reset[:, tf.newaxis], new, old) for new, old in zip(first, state, strict=True)]
        matrices = self.prepared()
        # Time comes first: recurrent layers go through it, and everything else does not care. As numbers that oneDNN
        # can transpose, or it logs an error.
        levels = tf.cast(tf.transpose(tf.cast(levels, tf.float32)), tf.int32)
        samples = tf.shape(levels)[0] - context
        above, after = None, []
        for tier, kernels in zip(self.tiers, matrices.tiers, strict=True):
            seen = self.real(levels[context - tier.size : context - tier.size + samples])
            frames = tf.transpose(tf.reshape(seen, [samples // tier.size, tier.size, batch]), [0, 2, 1])
            own = state[len(after) : len(after) + tier.states]
            above, own = tier.run(kernels, frames, above, own, self.jit_loops)
            after += own
        logits = self.bottom.run(
            matrices.table, matrices.bottom, levels[context - self.config.frame_sizes[0] : -1], above
        )
        return tf.transpose(logits, [1, 0, 2]), after


class Tier(keras.layers.Layer):
    """A recurrent tier.

    Args:
      config: shape of the network.
      size: samples of a frame.
      ratio: steps of the tier below in one of this.
      slowest: whether there is no tier above, so that its first recurrent layer sees the frame itself.
      product_dtype: type of the large products.
      name: name of the layer.
    """

    def __init__(self, config: SampleRnnConfig, size: int, ratio: int, slowest: bool, product_dtype: str, name: str):
        super().__init__(name=name, dtype="float32")
        self.size, self.ratio, self.slowest = size, ratio, slowest
        self.units, self.product_dtype = config.units, product_dtype
        self.cell = "gru_reset_before" if config.cell == "gru" else "lstm"
        self.states = config.layers * cells.STATES[self.cell]
        self.skips = config.skip_connections
        norm, gates = config.weight_norm, cells.GATES[self.cell]
        self.expand = None if slowest else Linear(config.units, norm, initializer="he_uniform", name="expand")
        forget = _ForgetBias() if config.cell == "lstm" else "zeros"
        self.entries = [
            Linear(gates * config.units, norm, initializer=_Gates(gates), bias_initializer=forget, name=f"input_{n}")
            for n in range(config.layers)
        ]
        recurrent = _Recurrent(gates)
        self.recurrents = [
            Linear(gates * config.units, norm, use_bias=False, initializer=recurrent, name=f"recurrent_{n}")
            for n in range(config.layers)
        ]
        self.exits = [
            Linear(config.units, norm, use_bias=n == 0, initializer="he_uniform", name=f"skip_{n}")
            for n in range(config.layers if self.skips else 0)
        ]
        self.upsample = Linear(ratio * config.units, norm, initializer="he_uniform", name="upsample")
        self.learned = config.learned_state
        self.first = None

    def build(self, _):
        width = self.size if self.slowest else self.units
        if self.expand:
            self.expand.build((None, self.size))
        for number, (entry, recurrent) in enumerate(zip(self.entries, self.recurrents, strict=True)):
            above = self.units + width if self.skips else self.units
            entry.build((None, above if number else width))
            recurrent.build((None, self.units))
        for layer in (*self.exits, self.upsample):
            layer.build((None, self.units))
        if self.learned:
            self.first = self.add_weight(shape=(self.states, self.units), initializer="zeros", name="first_state")

    def first_state(self) -> list[tf.Tensor]:
        """The state at the start of a clip, each tensor `[units]`."""
        return tf.unstack(tf.convert_to_tensor(self.first) if self.learned else tf.zeros([self.states, self.units]))

    def matrices(self) -> dict[str, tuple]:
        """The matrices and biases in use, by layer."""
        layers = [*self.entries, *self.exits, self.upsample, *([self.expand] if self.expand else [])]
        found = {layer.name: layer.weights_in_use() for layer in layers}
        return found | {layer.name: tuple(cells.parts(self.cell, layer.matrix())) for layer in self.recurrents}

    def run(self, matrices, frames, above, state, compiled=False):
        """Goes through frames.

        Args:
          matrices: as `matrices` gives them.
          frames: float32 `[steps, batch, size]`.
          above: `[steps, batch, units]` from the tier above; None for the slowest.
          state: of the recurrent layers, `states` tensors `[batch, units]`.
          compiled: let XLA compile the time loop, anew for each shape.

        Returns:
          `[steps * ratio, batch, units]` for the tier below, and the state after the last frame.
        """
        values = frames if above is None else affine(frames, *matrices["expand"], self.product_dtype) + above
        seen, total, after = values, 0.0, []
        each = cells.STATES[self.cell]
        for number, (entry, recurrent) in enumerate(zip(self.entries, self.recurrents, strict=True)):
            if number and self.skips:
                values = tf.concat([values, seen], axis=-1)
            projected = affine(values, *matrices[entry.name], self.product_dtype)
            own = state[number * each : (number + 1) * each]
            series = cells.run(self.cell, projected, matrices[recurrent.name], own, compiled=compiled)
            values, after = series[0], after + [steps[-1] for steps in series]
            if self.skips:
                total += affine(values, *matrices[self.exits[number].name], self.product_dtype)
        vectors = affine(total if self.skips else values, *matrices["upsample"], self.product_dtype)
        steps, batch = tf.shape(vectors)[0], tf.shape(vectors)[1]
        vectors = tf.transpose(tf.reshape(vectors, [steps, batch, self.ratio, self.units]), [0, 2, 1, 3])
        return tf.reshape(vectors, [steps * self.ratio, batch, self.units]), after


class Bottom(keras.layers.Layer):
    """The lowest tier, a network without memory.

    Args:
      config: shape of the network.
      classes: levels.
      product_dtype: type of the large products.
      name: name of the layer.
    """

    def __init__(self, config: SampleRnnConfig, classes: int, product_dtype: str, name: str):
        super().__init__(name=name, dtype="float32")
        self.frame, self.width, self.classes = config.frame_sizes[0], config.embedding or classes, classes
        self.has_embedding = config.embedding > 0
        self.product_dtype = product_dtype
        norm = config.weight_norm
        self.first = Linear(config.units, norm, use_bias=False, initializer="he_uniform", name="first")
        self.hidden = [Linear(config.units, norm, initializer="he_uniform", name=f"hidden_{n}") for n in range(2)]
        # Logits close to 0: the first loss is that of knowing nothing.
        small = keras.initializers.VarianceScaling(0.0025, distribution="uniform")
        self.logits = Linear(classes, norm, initializer=small, name="logits")

    def build(self, _):
        self.embedding = None
        if self.has_embedding:
            normal = keras.initializers.RandomNormal(stddev=1.0)
            self.embedding = self.add_weight(shape=(self.classes, self.width), initializer=normal, name="embedding")
        self.first.build((None, self.frame * self.width))
        for layer in (*self.hidden, self.logits):
            layer.build((None, self.hidden[0].units))

    def matrices(self) -> tuple[tf.Tensor, list[tuple]]:
        """The table `[frame, levels, units]` of `Matrices`, and the layers after it."""
        first, _ = self.first.weights_in_use()
        table = tf.reshape(first, [self.frame, self.width, -1])
        if self.has_embedding:
            table = tf.matmul(tf.convert_to_tensor(self.embedding)[tf.newaxis], table)
        return table, [layer.weights_in_use() for layer in (*self.hidden, self.logits)]

    def run(self, table, layers, levels, above):
        """Predicts the samples that follow.

        Args:
          table, layers: as `matrices` gives them.
          levels: int32 `[frame - 1 + steps, batch]`.
          above: `[steps, batch, units]` from the lowest recurrent tier.

        Returns:
          Logits `[steps, batch, levels]`.
        """
        # No activation here, as in the original's code.
        values = lookup(table, levels) + above
        for matrix, bias in layers[:-1]:
            values = tf.nn.relu(affine(values, matrix, bias, self.product_dtype))
        return affine(values, *layers[-1], self.product_dtype)


class _ForgetBias(keras.initializers.Initializer):
    """Biases of an LSTM: 3 for the gate that forgets, 0 for the others."""

    def __call__(self, shape, dtype=None):
        return tf.reshape(tf.stack([tf.fill([shape[0] // 4], value) for value in (0.0, 3.0, 0.0, 0.0)]), shape)


class _Gates(keras.initializers.Initializer):
    """Uniform of variance 1 / inputs for a matrix of several gates side by side."""

    def __init__(self, gates: int):
        self.gates = gates

    def __call__(self, shape, dtype=None):
        parts = [
            keras.initializers.LecunUniform()((shape[0], shape[1] // self.gates), dtype) for _ in range(self.gates)
        ]
        return tf.concat(parts, axis=1)


class _Recurrent(keras.initializers.Initializer):
    """For a matrix of gates side by side: uniform of variance 1 / inputs, and orthogonal for a GRU's candidate."""

    def __init__(self, gates: int):
        self.gates = gates

    def __call__(self, shape, dtype=None):
        kinds = [keras.initializers.LecunUniform() for _ in range(self.gates)]
        if self.gates == cells.GATES["gru_reset_before"]:
            kinds[-1] = keras.initializers.Orthogonal()
        return tf.concat([kind((shape[0], shape[1] // self.gates), dtype) for kind in kinds], axis=1)
