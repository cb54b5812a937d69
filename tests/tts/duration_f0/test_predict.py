"""Prosody of phonemes from a run, alone and in any batch."""

import numpy as np
import pytest

from tfvoice.errors import TfvoiceError
from tfvoice.tts.duration_f0 import predict
from tfvoice.tts.duration_f0.predict import ProsodyPredictor

UTTERANCES = [["sil", "M", "AA1", "sil"], ["S"], [], ["T", "IY0", "sil", "AA2", "S", "IY1", "M"] * 5]


@pytest.fixture(scope="module")
def predictor(duration_f0_run):
    return ProsodyPredictor(duration_f0_run)


def test_prosody_is_that_of_the_network_in_seconds_and_hertz(duration_f0_run, predictor):
    (found,) = predictor.predict(UTTERANCES[:1])
    classes, stresses = np.array([[0, 3, 1, 0]], np.int32), np.array([[0, 0, 2, 0]], np.int32)
    outputs = duration_f0_run.model(classes, stresses, np.array([4], np.int32))
    mean, deviation, f0_mean, f0_deviation = duration_f0_run.statistics
    seconds = np.maximum(outputs.duration[0] * deviation + mean, predict.MIN_SECONDS)
    np.testing.assert_allclose(found.seconds, seconds, rtol=1e-5)
    f0_hz = np.maximum(outputs.f0[0] * f0_deviation + f0_mean, predict.MIN_F0_HZ)
    np.testing.assert_allclose(found.f0_hz, f0_hz, rtol=1e-5)
    probability = 1 / (1 + np.exp(-outputs.voicing[0])) * [0, 1, 1, 0]
    np.testing.assert_allclose(found.voiced, probability, rtol=1e-5)


def test_the_batch_changes_nothing(predictor):
    together = predictor.predict(UTTERANCES)
    for symbols, found in zip(UTTERANCES, together, strict=True):
        (alone,) = predictor.predict([symbols])
        assert found.seconds.shape == (len(symbols),) and found.f0_hz.shape == (len(symbols), 5)
        for one, other in zip(found, alone, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert predictor.predict([]) == []


def test_nothing_is_shorter_or_lower_than_speech_can_be(duration_f0_run):
    bias = duration_f0_run.model.output_layer.bias
    before = bias.numpy()
    bias.assign(np.full_like(before, -1000))
    try:
        (found,) = ProsodyPredictor(duration_f0_run).predict(UTTERANCES[:1])
    finally:
        bias.assign(before)
    np.testing.assert_allclose(found.seconds, predict.MIN_SECONDS)
    np.testing.assert_allclose(found.f0_hz, predict.MIN_F0_HZ)
    assert not found.voiced.any()


def test_unknown_phonemes_are_named(predictor, duration_f0_run):
    sentence = f"{duration_f0_run.run_dir}: 'ZH' is no phoneme of the network; known: sil, AA, IY, M, S, T."
    with pytest.raises(TfvoiceError) as error:
        predictor.predict([["M"], ["ZH"]])
    assert str(error.value) == sentence
