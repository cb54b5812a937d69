"""Bits per sample are those of the logits, over the samples that count."""

import types

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import tasks
from tfvoice.data import windows
from tfvoice.generation import metrics, task
from tfvoice.generation.generator import Generator
from tfvoice.training import step


def test_bits_are_those_of_the_softmax_over_the_counted_samples():
    random = np.random.default_rng(0)
    logits = random.standard_normal((3, 5, 7))
    levels = random.integers(0, 7, (3, 5))
    found = metrics.bits(tf.constant(logits, tf.float32), tf.constant(levels, tf.int32), tf.constant([5, 2, 0]))
    logs = np.log2(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    each = -np.take_along_axis(logs, levels[..., None], -1)[..., 0]
    np.testing.assert_allclose(found, [each[0].sum(), each[1, :2].sum(), 0], rtol=1e-5)


def test_uniform_logits_cost_the_bits_of_the_levels():
    found = metrics.bits(tf.zeros([1, 4, 256]), tf.constant([[0, 9, 255, 3]]), tf.constant([4]))
    assert float(found[0]) == pytest.approx(32.0)


def test_the_gradient_does_not_depend_on_what_xla_compiles(tmp_path):
    small = ("model.units=8", "model.embedding=4", "model.frame_sizes=[2,4]", "quantization.levels=16")
    levels = np.random.default_rng(0).integers(16, size=[3, 4 + 8])
    number = tf.constant(0, tf.int64)
    batch = windows.WindowBatch(
        levels=tf.constant(levels, tf.int32),
        lengths=tf.fill([3], 8),
        reset=tf.fill([3], True),
        clips=tf.range(3, dtype=tf.int64),
        epoch=number,
        position=number,
        samples=tf.constant(24, tf.int64),
    )
    found = []
    for xla in ("off", "auto", "on"):
        settings = [*small, f"training.xla={xla}", "training.batch_size=3", "data.sequence_samples=8"]
        config = tasks.resolve("sample_rnn", None, settings)
        model = Generator(tmp_path, config, {"sample_rate_hz": 8000}, training=True).model
        data = types.SimpleNamespace(signature=windows.signature(3, 4 + 8), context=4)
        trained = step.Learner(task.NextSampleObjective(model, data), config.training, tf.distribute.get_strategy())
        found.append(trained.gradients([batch]))
    for loss, norm, gradients in found[1:]:
        assert (loss, norm) == (pytest.approx(found[0][0], rel=1e-5), pytest.approx(found[0][1], rel=1e-4))
        for one, other in zip(gradients, found[0][2], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
