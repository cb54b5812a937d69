"""Lookup: outputs and gradients of an embedding and a dense layer."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.layers import xla
from tfvoice.layers.lookup import lookup

LEVELS, SIZE, UNITS, STEPS, BATCH = 11, 6, 5, 7, 3


@pytest.mark.parametrize("frame", [1, 2, 4])
@pytest.mark.parametrize(("steps", "batch"), [(1, BATCH), (STEPS, BATCH)])
def test_lookup_equals_embedding_times_matrix(frame, steps, batch):
    random = np.random.default_rng(0)
    embedding = tf.constant(random.standard_normal((LEVELS, SIZE)), tf.float32)
    matrix = tf.constant(random.standard_normal((frame * SIZE, UNITS)), tf.float32)
    levels = tf.constant(random.integers(0, LEVELS, (frame - 1 + steps, batch)), tf.int32)
    upstream = tf.constant(random.standard_normal((steps, batch, UNITS)), tf.float32)

    def product():
        joined = tf.concat(
            [tf.gather(embedding, levels[position : position + steps]) for position in range(frame)], axis=-1
        )
        return tf.tensordot(joined, matrix, 1)

    def fused(sort_gradient=True, training=True):
        table = tf.einsum("le,feu->flu", embedding, tf.reshape(matrix, [frame, SIZE, UNITS]))
        return lookup(table, levels, sort_gradient, training)

    results = []
    for function in (
        product,
        fused,
        tf.function(fused),
        tf.function(lambda: fused(False)),
        lambda: fused(training=False),
    ):
        with tf.GradientTape() as tape:
            tape.watch([embedding, matrix])
            outputs = function()
        results.append([outputs, *tape.gradient(outputs, [embedding, matrix], output_gradients=upstream)])
    for result in results[1:]:
        for actual, desired in zip(result, results[0], strict=True):
            np.testing.assert_allclose(actual, tf.convert_to_tensor(desired), atol=2e-5)


@pytest.mark.parametrize(
    ("sort_gradient", "in_jit_scope", "sorts"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_the_argument_decides_whether_the_gradient_is_sorted(monkeypatch, sort_gradient, in_jit_scope, sorts):
    """A visible GPU does not: what is traced must not depend on the machine."""
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])

    def gradient(table, levels):
        with tf.GradientTape() as tape:
            tape.watch(table)
            outputs = lookup(table, levels, sort_gradient, training=True)
        return tape.gradient(outputs, table)

    function = tf.function(xla.jit_scope(gradient) if in_jit_scope else gradient)
    graph = function.get_concrete_function(
        tf.TensorSpec([2, LEVELS, UNITS]), tf.TensorSpec([STEPS, BATCH], tf.int32)
    ).graph
    assert ("SparseSegmentSumWithNumSegments" in {node.type for node in graph.get_operations()}) == sorts
