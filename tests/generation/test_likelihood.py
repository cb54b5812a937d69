"""Scores of clips: each as if it were alone, and the sum over what counts."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import experiment
from tfvoice.generation import likelihood
from tfvoice.generation.generator import Generator
from tfvoice.training import objectives

SMALL = ("model.units=6", "model.frame_sizes=[2,8]", "model.embedding=4", "quantization.levels=16")


@pytest.fixture(scope="module")
def run(tmp_path_factory, converted):
    settings = experiment.resolve("sample_rnn", None, [*SMALL, "training.batch_size=2", "data.sequence_samples=800"])
    made = Generator.new(tmp_path_factory.mktemp("runs") / "run", settings, converted, {})
    for number, weight in enumerate(made.model.weights):
        weight.assign(np.random.default_rng(number).standard_normal(weight.shape) / 2)
    return made


def test_each_clip_costs_what_it_costs_alone_and_again(run, converted):
    pipeline = run.pipeline(run.scan(converted, "test"))
    scorer = likelihood.Scorer(run.model, pipeline)
    clips = scorer.score()
    assert clips == scorer.score() and scorer._step.experimental_get_tracing_count() == 1
    assert [clip.id for clip in clips] == pipeline.index.ids
    # Outside of a graph the loops over frames run in Python.
    read = tf.function(lambda levels: run.model(levels)[0])
    for number, clip in enumerate(clips[:3]):
        levels = pipeline.levels(number)
        assert clip.samples == len(levels)
        rest = -len(levels) % pipeline.window
        padded = np.pad(levels, (pipeline.context, rest), constant_values=8)[np.newaxis].astype(np.int32)
        alone = objectives.bits(read(padded), padded[:, pipeline.context :], tf.constant([len(levels)]))
        assert clip.bits == pytest.approx(float(alone[0]), rel=1e-5)
    total = sum(clip.bits for clip in clips) / sum(clip.samples for clip in clips)
    assert likelihood.per_sample(clips) == pytest.approx(total)
