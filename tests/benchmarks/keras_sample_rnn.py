"""SampleRNN in plain Keras layers as in PRISM: stateful GRUs, an embedding and a convolution, no weight norm.

A call samples a frame of the slowest tier, in a graph that is unrolled over the samples of the frame.
"""

import itertools
from typing import Any

import keras
import measure
import tensorflow as tf


class Tier(keras.layers.Layer):
    """Frames `[batch, steps, size]` to `[batch, steps * ratio, units]` for the tier below."""

    def __init__(self, size: int, ratio: int, units: int, layers: int):
        super().__init__()
        self.size, self.ratio, self.units = size, ratio, units
        self.expand = keras.layers.Dense(units)
        self.recurrents = [
            keras.layers.GRU(units, return_sequences=True, stateful=True, use_cudnn=False) for _ in range(layers)
        ]

    def build(self, _):
        shape = [self.ratio, self.units, self.units]
        self.kernel = self.add_weight(shape=shape, initializer="glorot_normal", name="upsample")

    def call(self, frames, above=None):
        values = self.expand(frames)
        values = values if above is None else values + above
        for recurrent in self.recurrents:
            values = recurrent(values)
        batch, steps = values.shape[0], values.shape[1]
        shape = [batch, steps * self.ratio, self.units]
        return tf.nn.conv1d_transpose(values, tf.convert_to_tensor(self.kernel), shape, self.ratio)


class Network(keras.Model):
    """Levels `[batch, context + samples]` to logits `[batch, samples, classes]`; for one batch size."""

    def __init__(self, model: dict[str, Any], classes: int):
        super().__init__()
        sizes, units = model["frame_sizes"], model["units"]
        ratios = [sizes[0]] + [large // small for small, large in itertools.pairwise(sizes)]
        self.classes, self.frame, self.context = classes, sizes[0], sizes[-1]
        pairs = list(zip(sizes, ratios, strict=True))[::-1]
        self.tiers = [Tier(size, ratio, units, model["layers"]) for size, ratio in pairs]
        self.embedding = keras.layers.Embedding(classes, model["embedding"])
        self.first = keras.layers.Conv1D(units, self.frame, use_bias=False)
        self.hidden = [keras.layers.Dense(units, activation="relu") for _ in range(2)]
        self.last = keras.layers.Dense(classes)

    def scale_levels(self, levels):
        return 2 * (tf.cast(levels, tf.float32) / (self.classes / 2) - 1)

    def bottom(self, levels, above):
        values = self.first(self.embedding(levels)) + above
        for layer in self.hidden:
            values = layer(values)
        return self.last(values)

    def call(self, levels):
        above = None
        for tier in self.tiers:
            inputs = self.scale_levels(levels[:, self.context - tier.size : -tier.size])
            frames = tf.reshape(inputs, [levels.shape[0], inputs.shape[1] // tier.size, tier.size])
            above = tier(frames, above)
        return self.bottom(levels[:, self.context - self.frame : -1], above)

    def sample(self, levels):
        """The frame `[batch, context]` that follows a frame."""
        vectors = [None] * len(self.tiers)
        for position in range(self.context, 2 * self.context):
            above = None
            for number, tier in enumerate(self.tiers):
                if position % tier.size == 0:
                    vectors[number] = tier(
                        self.scale_levels(levels[:, position - tier.size : position])[:, tf.newaxis], above
                    )
                below = self.tiers[number + 1].size if number + 1 < len(self.tiers) else 1
                at = position % tier.size // below
                above = vectors[number][:, at : at + 1]
            logits = self.bottom(levels[:, position - self.frame : position], above)[:, 0]
            new = tf.random.categorical(logits, 1, dtype=tf.int32)
            levels = tf.concat([levels, new], axis=1)
        return levels[:, self.context :]


def prepare(spec: dict[str, Any]):
    """Takes {model, classes, batch, samples, generated} from the other side."""
    keras.utils.set_random_seed(0)
    network = Network(spec["model"], spec["classes"])
    context = network.context
    levels = tf.random.uniform([spec["batch"], context + spec["samples"]], 0, spec["classes"], tf.int32)
    network(levels)
    optimizer = keras.optimizers.Adam(1e-3, epsilon=1e-4)
    optimizer.build(network.trainable_variables)

    @tf.function
    def update():
        with tf.GradientTape() as tape:
            logits = network(levels)
            target = levels[:, context:]
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits))
        gradients = tape.gradient(loss, [variable.value for variable in network.trainable_variables])
        gradients, _ = tf.clip_by_global_norm(gradients, 5.0)
        optimizer.apply(gradients, network.trainable_variables)
        return loss

    def sample(rows):
        # Stateful layers have a fixed batch size.
        sampled = Network(spec["model"], spec["classes"])
        sampled(tf.zeros([rows, 2 * context], tf.int32))
        graph = tf.function(sampled.sample)

        def run():
            frame = tf.fill([rows, context], spec["classes"] // 2)
            for _ in range(spec["generated"] // context):
                frame = graph(frame)
            return {"samples": rows * spec["generated"] + 0 * int(frame[0, 0])}

        return run

    parameters = sum(variable.shape.num_elements() for variable in network.trainable_variables)
    about = {"version": keras.__version__, "parameters": parameters}
    actions = {"step": lambda: {"loss": float(update())}, "sample 1": sample(1), "sample 16": sample(16)}
    return actions, about


if __name__ == "__main__":
    measure.serve(prepare)
