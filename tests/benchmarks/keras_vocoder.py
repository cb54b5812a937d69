"""The WaveNet of Deep Voice's vocoder in plain TensorFlow and Keras: a cached sampling loop in one graph.

The rings of all layers are one tensor that a `tf.while_loop` carries, as a graph and compiled by XLA.
"""

from typing import Any

import keras
import measure
import numpy as np
import tensorflow as tf


class Network(keras.Model):
    """Samples levels, or gives the logits of given ones."""

    def __init__(self, weights: dict[str, np.ndarray], biases: np.ndarray, dilations: list[int], frame: int):
        super().__init__()
        net = {name.removeprefix("wavenet/"): value for name, value in weights.items()}
        layers, _, self.r, _ = net["gate_kernels"].shape
        self.frame, self.layers_, self.rows = frame, layers, sum(dilations)
        self.dilations = tf.constant(dilations)
        self.starts = tf.constant(np.cumsum(dilations) - dilations, tf.int32)
        net["biases"] = biases + net.pop("gate_biases")
        self.net = {
            name: self.add_weight(shape=value.shape, initializer=lambda *_, value=value, **__: value, name=name)
            for name, value in net.items()
        }

    def step(self, older, newer, sample, memory):
        """Logits of a sample, and the rings after it."""
        net = {name: tf.convert_to_tensor(value) for name, value in self.net.items()}
        rows = self.starts + sample % self.dilations
        past = tf.einsum("lr,lrk->lk", tf.gather(memory, rows), net["gate_kernels"][:, 0])
        sums = past + net["biases"][sample // self.frame]
        hidden = tf.tanh(net["first_kernel"][0, older] + net["first_kernel"][1, newer] + net["first_bias"])
        inputs, gates = [], []
        for layer in range(self.layers_):
            inputs.append(hidden)
            total = sums[layer] + tf.linalg.matvec(net["gate_kernels"][layer, 1], hidden, transpose_a=True)
            gate = tf.tanh(total[: self.r]) * tf.sigmoid(total[self.r :])
            gates.append(gate)
            product = tf.linalg.matvec(net["residual_kernels"][layer], gate, transpose_a=True)
            hidden = hidden + product + net["residual_biases"][layer]
        memory = tf.tensor_scatter_nd_update(memory, rows[:, tf.newaxis], tf.stack(inputs))
        value = tf.concat(gates, 0)
        for name in ("skip", "head", "output"):
            value = value if name == "skip" else tf.nn.relu(value)
            value = tf.linalg.matvec(net[f"{name}_kernel"], value, transpose_a=True) + net[f"{name}_bias"]
        return value, memory

    def sample(self, samples: int):
        """Levels that follow silence."""
        classes = self.net["output_bias"].shape[0]

        def body(sample, levels, memory):
            logits, memory = self.step(levels[sample], levels[sample + 1], sample, memory)
            new = tf.random.stateless_categorical(logits[tf.newaxis], 1, tf.stack([sample, 0]), tf.int32)[0]
            return sample + 1, tf.tensor_scatter_nd_update(levels, [[sample + 2]], new), memory

        state = (tf.constant(0), tf.fill([samples + 2], classes // 2), tf.zeros([self.rows, self.r]))
        return tf.while_loop(lambda sample, *_: sample < samples, body, state, maximum_iterations=samples)[1]


def prepare(spec: dict[str, Any]):
    """Takes {path, dilations, frame_samples, samples} from our side."""
    arrays = dict(np.load(spec["path"]))
    weights = {n.removeprefix("weights/"): v for n, v in arrays.items() if n.startswith("weights/wavenet/")}
    network = Network(weights, arrays["biases"], spec["dilations"], spec["frame_samples"])
    step = tf.function(network.step, reduce_retracing=True)
    memory, levels, logits = tf.zeros([network.rows, network.r]), tf.constant(arrays["levels"]), []
    for sample in range(len(arrays["levels"]) - 2):
        value, memory = step(levels[sample], levels[sample + 1], tf.constant(sample), memory)
        logits.append(value.numpy())
    error = float(np.abs(np.stack(logits) - arrays["logits"]).max())
    ways = {}
    for name, compiled in (("graph", None), ("XLA", True)):
        graph = tf.function(lambda: network.sample(spec["samples"]), jit_compile=compiled)
        ways[name] = lambda graph=graph: {"samples": len(graph().numpy()) - 2}
    return ways, {"version": keras.__version__, "error": error, "ways": list(ways)}


if __name__ == "__main__":
    measure.serve(prepare)
