"""A run of a recogniser: its logits and its batches."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.asr.recognizer import Recognizer
from tfvoice.audio import features
from tfvoice.data import records


@pytest.fixture(scope="module")
def run(recognizer_run):
    """Read only."""
    return recognizer_run


def test_logits_are_batch_invariant_and_traced_once(run, converted):
    used = Recognizer.load(run.run_dir)
    scanned = used.scan(converted, "test")
    waves = [records.decode(record)["audio"].numpy() for record in scanned.read(np.arange(len(scanned)))]
    longest = max(map(len, waves)) + 777
    padded = np.stack([np.pad(wave, (0, longest - len(wave))) for wave in waves])
    together = used.logits(padded, [len(wave) for wave in waves])
    for row, wave in enumerate(waves):
        alone = used.logits(wave[np.newaxis], [len(wave)])
        inputs = features.compute(
            used.config.features, tf.constant(wave[np.newaxis]), tf.constant([len(wave)]), used.statistics
        )
        eager = used.network(*inputs)
        length = int(alone.lengths[0])
        assert length == int(together.lengths[row]) == int(eager.lengths[0])
        np.testing.assert_allclose(together.values[row, :length], alone.values[0], atol=1e-4)
        np.testing.assert_allclose(eager.values[0], alone.values[0], atol=1e-4)
        assert abs(length * used.seconds_per_frame() - len(wave) / 16000) <= 2 * used.seconds_per_frame()
    assert used._logits.experimental_get_tracing_count() == 1


def test_only_training_is_augmented_and_shuffled(run, converted):
    scanned = run.scan(converted, "train")
    plain, augmented = run.pipeline(scanned), run.pipeline(scanned, augmented=True)
    assert plain.augmentation is None and augmented.augmentation == run.config.augmentation
    assert (np.diff(scanned.samples[np.concatenate(plain.plan(0).batches)] // 160) >= 0).all()
    assert plain.statistics is run.statistics and augmented.batch_size == run.config.training.batch_size
