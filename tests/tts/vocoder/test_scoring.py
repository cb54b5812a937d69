"""The score of an utterance is that of all its samples."""

import numpy as np

from tfvoice.tts.vocoder.objective import NextLevelObjective
from tfvoice.tts.vocoder.scoring import LikelihoodScorer


def test_every_utterance_is_scored_the_same_in_batches_of_any_size(vocoder_run, aligned_records):
    index = vocoder_run.index(aligned_records, "test")
    pipeline = vocoder_run.pipeline(index)
    scorer = LikelihoodScorer(NextLevelObjective(vocoder_run.model, pipeline), pipeline)
    found = scorer.score()
    assert [one.id for one in found] == index.clips.ids
    assert [one.samples for one in found] == index.clips.samples.tolist()
    bits = np.array([one.bits / one.samples for one in found])
    assert (bits > 2).all() and (bits < 12).all()
    pipeline.batch_size = 3
    other = LikelihoodScorer(NextLevelObjective(vocoder_run.model, pipeline), pipeline).score()
    np.testing.assert_allclose([one.bits for one in other], [one.bits for one in found], rtol=1e-5)
