"""In the graph of an export, durations, F0 and conditioning are those of a speaker."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.tts.duration_f0 import prosody
from tfvoice.tts.vocoder import conditioning
from tfvoice.tts.voice import graph
from tfvoice.tts.voice.speaker import Speaker, SpeechOptions


@pytest.fixture(scope="module", autouse=True)
def voiced(voice_run):
    """All phonemes but silence have a voice, for once."""
    bias = voice_run.duration_f0.model.output_layer.bias
    before = bias.numpy()
    bias.assign(before + 20 * np.eye(len(before))[1])
    yield
    bias.assign(before)


@pytest.mark.parametrize(("speed", "pitch"), [(1.0, 0.0), (0.5, 3.0), (1.25, -12.0), (4.0, 0.0)])
@pytest.mark.parametrize("text", ["The cat, the dog.", "{S}"])
def test_the_plan_is_that_of_the_speaker(voice_run, text, speed, pitch):
    expected = Speaker(voice_run, threads=1).plan(text, SpeechOptions(speed=speed, pitch=pitch)).alignment
    run = voice_run.vocoder
    symbols = prosody.symbol_classes(expected.phonemes, run.bases)

    @tf.function
    def planned(phonemes, stresses):
        found = graph.align(voice_run, phonemes, stresses, tf.constant(speed), tf.constant(pitch))
        return found, graph.condition_frames(run, phonemes, stresses, found)

    found, frames = planned(*map(tf.constant, symbols))
    assert 0.2 < np.mean(expected.f0_hz > 0) < 1 and len(np.unique(expected.f0_hz)) > 4
    np.testing.assert_array_equal(found.ends, expected.ends)
    np.testing.assert_allclose(found.f0_hz, expected.f0_hz, rtol=1e-5)
    wanted = conditioning.frames(expected, run.bases, run.statistics, run.sizes.silence)
    for one, other in zip(frames, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_without_a_voice_the_conditioning_has_the_mean(voice_run):
    run, ends = voice_run.vocoder, tf.constant([64, 192])
    silent = graph.GraphAlignment(ends, tf.zeros([3]))
    *_, f0 = graph.condition_frames(run, tf.constant([0, 3]), tf.constant([0, 0]), silent)
    assert f0.shape == (run.sizes.silence + 3, 2) and not f0.numpy().any()
    lone = graph.GraphAlignment(ends, tf.constant([0.0, 150.0, 0.0]))
    *_, f0 = graph.condition_frames(run, tf.constant([0, 3]), tf.constant([0, 0]), lone)
    mean, deviation = run.statistics
    np.testing.assert_allclose(f0[:, 0], np.full(len(f0), (np.log(150) - mean) / deviation), rtol=1e-5)
    assert f0[:, 1].numpy().sum() == 1
