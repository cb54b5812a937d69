"""A clip has the same likelihood alone, in a batch and again."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import tasks
from tfvoice.generation import metrics, scoring
from tfvoice.generation.generator import Generator

TINY = ("model.units=6", "model.frame_sizes=[2,8]", "model.embedding=4", "quantization.levels=16")


@pytest.fixture(scope="module")
def scored_run(tmp_path_factory, converted):
    settings = tasks.resolve("sample_rnn", None, [*TINY, "training.batch_size=2", "data.sequence_samples=800"])
    made = Generator.new(tmp_path_factory.mktemp("runs") / "run", settings, converted, {})
    for number, weight in enumerate(made.model.weights):
        weight.assign(np.random.default_rng(number).standard_normal(weight.shape) / 2)
    return made


def test_a_clip_has_the_same_likelihood_alone_and_again(scored_run, converted):
    pipeline = scored_run.pipeline(scored_run.scan(converted, "test"))
    scorer = scoring.LikelihoodScorer(scored_run.model, pipeline)
    clips = scorer.score()
    assert clips == scorer.score() and scorer._step.experimental_get_tracing_count() == 1
    assert [clip.id for clip in clips] == pipeline.index.ids
    # Outside of a graph the loops over frames run in Python.
    read = tf.function(lambda levels: scored_run.model(levels)[0])
    for number, clip in enumerate(clips[:3]):
        levels = pipeline.levels(number)
        assert clip.samples == len(levels)
        rest = -len(levels) % pipeline.window
        padded = np.pad(levels, (pipeline.context, rest), constant_values=8)[np.newaxis].astype(np.int32)
        alone = metrics.bits(read(padded), padded[:, pipeline.context :], tf.constant([len(levels)]))
        assert clip.bits == pytest.approx(float(alone[0]), rel=1e-5)
    total = sum(clip.bits for clip in clips) / sum(clip.samples for clip in clips)
    assert scoring.bits_per_sample(clips) == pytest.approx(total)
