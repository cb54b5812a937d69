"""Laws of scoring in batches."""

import pytest

from tfvoice import tasks
from tfvoice.asr import decoders, scoring
from tfvoice.asr.decoders import DecoderConfig
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.scoring import ScoredUtterance

SMALL = ("model.width=8", "model.kernel_size=3", "model.dilations=[1,2]", "model.stacks=1", "features.bins=20")


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory, random_words):
    """A recogniser of random weights that emits words."""
    settings = tasks.resolve("wavenet_asr", overrides=SMALL)
    recognizer = Recognizer.create(tmp_path_factory.mktemp("runs") / "run", settings)
    random_words(recognizer.model)
    return recognizer


def test_an_evaluator_gives_the_same_again_without_a_new_trace(recognizer, converted):
    pipeline = recognizer.pipeline(recognizer.scan(converted, "test"))
    decode = decoders.build(DecoderConfig(), recognizer.alphabet).labels
    evaluator = scoring.Evaluator(recognizer.network, pipeline, recognizer.alphabet, decode)
    results = evaluator.evaluate()
    assert len(results) == len(pipeline.index) and any(result.hypothesis for result in results)
    assert evaluator.evaluate() == results
    assert evaluator._step.experimental_get_tracing_count() == 1


def test_the_mean_loss_is_that_of_the_utterances_that_have_one():
    results = [ScoredUtterance(str(loss), "", 1.0, "a", "a", loss) for loss in (1.0, None, 2.0)]
    assert scoring.score(results).loss == 1.5
    assert scoring.score(results[1:2]).loss == 0.0
