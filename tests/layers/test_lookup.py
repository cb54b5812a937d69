"""The table gives what the embedding and the product would, and so do its gradients."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.layers.lookup import lookup

LEVELS, SIZE, UNITS, STEPS, BATCH = 11, 6, 5, 7, 3


@pytest.mark.parametrize("frame", [1, 2, 4])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (1, BATCH), (STEPS, BATCH)])
def test_it_is_embedding_times_matrix(frame, steps, batch):
    random = np.random.default_rng(0)
    embedding = tf.constant(random.standard_normal((LEVELS, SIZE)), tf.float32)
    matrix = tf.constant(random.standard_normal((frame * SIZE, UNITS)), tf.float32)
    levels = tf.constant(random.integers(0, LEVELS, (frame - 1 + steps, batch)), tf.int32)
    upstream = tf.constant(random.standard_normal((steps, batch, UNITS)), tf.float32)

    def product():
        joined = tf.concat([tf.gather(embedding, levels[place : place + steps]) for place in range(frame)], axis=-1)
        return tf.tensordot(joined, matrix, 1)

    def folded():
        return lookup(tf.einsum("le,feu->flu", embedding, tf.reshape(matrix, [frame, SIZE, UNITS])), levels)

    found = []
    for function in (product, folded, tf.function(folded)):
        with tf.GradientTape() as tape:
            tape.watch([embedding, matrix])
            outputs = function()
        found.append([outputs, *tape.gradient(outputs, [embedding, matrix], output_gradients=upstream)])
    for mine in found[1:]:
        for one, other in zip(mine, found[0], strict=True):
            np.testing.assert_allclose(one, tf.convert_to_tensor(other), atol=2e-5)
