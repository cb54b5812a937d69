"""An exported vocoder gives the logits of the network."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.export import export


def test_logits_of_the_export_are_those_of_the_run(vocoder_run, tmp_path):
    folder = export.export(vocoder_run.run_dir, tmp_path / "1")
    logits = tf.saved_model.load(str(folder)).signatures["logits"]
    random = np.random.default_rng(0)
    levels = tf.constant(random.integers(0, 32, (2, 2 + 3 * 64)), tf.int32)
    phonemes = tf.constant(random.integers(0, len(vocoder_run.labels), (2, 3, 5)), tf.int32)
    stresses, f0 = tf.zeros([2, 3, 5], tf.int32), tf.constant(random.normal(size=(2, 3, 2)), tf.float32)
    found = logits(levels=levels, phonemes=phonemes, stresses=stresses, f0=f0)["logits"]
    biases = vocoder_run.model.condition(phonemes, stresses, f0, tf.constant([3, 3]))
    np.testing.assert_allclose(found, vocoder_run.model(levels, biases), atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="levels must have 2 and 64 for each frame"):
        logits(levels=levels[:, 1:], phonemes=phonemes, stresses=stresses, f0=f0)
