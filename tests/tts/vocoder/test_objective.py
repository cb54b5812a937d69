"""The loss of a vocoder is that of the samples that count, wherever a clip is cut out of its utterance."""

import numpy as np
import tensorflow as tf

from tfvoice.tts.vocoder.objective import NextLevelObjective


def test_the_loss_is_that_of_the_whole_utterance_at_once(vocoder_run, aligned_records):
    index = vocoder_run.index(aligned_records, "test")
    pipeline = vocoder_run.pipeline(index)
    objective = NextLevelObjective(vocoder_run.model, pipeline)
    batch = next(iter(pipeline.batches(epochs=1)))
    inputs, (targets, counts) = objective.split(batch)
    found = objective.logits(*inputs, training=False)
    row = int(batch.rows[0])
    frames, levels = pipeline.conditioning[row], pipeline.levels(row)
    ids = (tf.constant(values[np.newaxis].astype(np.int32)) for values in frames[:2])
    biases = vocoder_run.model.condition(*ids, frames.f0[np.newaxis], tf.constant([len(frames.f0)]))
    before = 2 + 62 * 64
    padded = np.pad(levels, (before, len(frames.f0) * 64 - 62 * 64 - len(levels)), constant_values=16)
    whole = vocoder_run.model(tf.constant(padded[np.newaxis], tf.int32), biases)[0]
    # The clip starts at frame 62. Its conditioner sees some of the frames after it, and not all.
    expected = whole[62 * 64 : 62 * 64 + int(counts[0])]
    np.testing.assert_array_equal(targets[0, : counts[0]], levels[: counts[0]])
    assert float(tf.reduce_max(tf.abs(found[0, : counts[0]] - expected))) < 0.02
