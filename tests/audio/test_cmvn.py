"""Laws of normalising a long recording by what is said around each frame."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.audio import cmvn, features
from tfvoice.audio.features import FeatureConfig

CONFIG = FeatureConfig(sample_rate_hz=8000, bins=10)
SCALAR = FeatureConfig(sample_rate_hz=8000, bins=10, normalization="utterance_scalar")


def speech(seconds, level=0.1, seed=0):
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * 8000))).astype(np.float32)


def compute(config, samples, normalization, statistics=None):
    config = config.model_copy(update={"normalization": normalization})
    batch = tf.constant(samples[np.newaxis]), tf.constant([len(samples)])
    return features.compute(config, *batch, statistics).values[0].numpy()


def surveyed(config, samples):
    survey = cmvn.Survey(config)
    survey.add(compute(config, samples, "none"), cmvn.levels(config, samples))
    return survey


def normalised(config, samples):
    survey = surveyed(config, samples)
    values = compute(config, samples, "corpus", survey.statistics())
    return cmvn.normalize(config, values, cmvn.levels(config, samples) >= survey.threshold_db())


def test_the_level_of_a_frame_is_that_of_a_fifth_of_a_second():
    levels = cmvn.levels(CONFIG, np.concatenate([np.zeros(8000), np.full(8000, 0.1)]))
    assert len(levels) == 201 and levels[50] == -120 and levels[150] == -20
    assert levels[100] == -23 and levels[89] == -120 and levels[92] > -40
    assert cmvn.levels(CONFIG, np.full(8000, 1e-9))[50] == -120


@pytest.mark.parametrize("length", [0, 1, 79, 80, 81])
def test_there_is_a_level_for_every_frame(length):
    levels = cmvn.levels(CONFIG, np.ones(length, np.float32))
    assert len(levels) == features.frame_count(CONFIG, length) and np.all(np.isfinite(levels))


@pytest.mark.parametrize("config", [CONFIG, SCALAR])
def test_the_statistics_are_those_of_the_frames_with_sound(config):
    sound, quiet = speech(6), speech(6, 1e-5, seed=1)
    together = surveyed(config, np.concatenate([sound, quiet, sound])).statistics()
    alone = surveyed(config, np.concatenate([sound, sound])).statistics()
    everything = features.statistics([compute(config, np.concatenate([sound, quiet, sound]), "none")])
    # A tenth of a second of quiet at each edge still counts.
    np.testing.assert_allclose(together.mean, alone.mean, atol=0.3)
    assert np.all(everything.mean < alone.mean - 3)


def test_without_quiet_the_statistics_are_those_of_all_frames():
    values = compute(CONFIG, speech(6), "none")
    expected, found = features.statistics([values]), surveyed(CONFIG, speech(6)).statistics()
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6)
    np.testing.assert_allclose(found.deviation, expected.deviation, rtol=1e-6)


def test_utterance_scalar_has_one_mean_and_one_deviation():
    values = compute(SCALAR, speech(6), "none")
    found = surveyed(SCALAR, speech(6)).statistics()
    np.testing.assert_allclose(found.mean, np.full(10, values.mean()), rtol=1e-5)
    np.testing.assert_allclose(found.deviation, np.full(10, values.std(ddof=1)), rtol=1e-2)


def test_a_survey_may_be_made_in_parts():
    values, levels = compute(CONFIG, speech(6), "none"), cmvn.levels(CONFIG, speech(6))
    survey = cmvn.Survey(CONFIG)
    for start in range(0, len(values), 77):
        survey.add(values[start : start + 77], levels[start : start + 77])
    expected = surveyed(CONFIG, speech(6))
    assert survey.threshold_db() == expected.threshold_db()
    np.testing.assert_allclose(survey.statistics(), expected.statistics())


@pytest.mark.parametrize("config", [CONFIG, SCALAR])
def test_a_voice_that_is_softer_gets_nearly_the_same_features(config):
    loud, soft = speech(20, 0.3), speech(20, 0.03)
    found = normalised(config, np.concatenate([loud, soft]))
    first, second = found[500:1400], found[2500:3400]
    assert abs(second.mean() - first.mean()) < 0.5
    np.testing.assert_allclose(second.std(), first.std(), rtol=0.1)
    plain = compute(config, np.concatenate([loud, soft]), "utterance")
    assert abs(plain[2500:3400].mean() - plain[500:1400].mean()) > 1.5


def test_quiet_stays_quiet_however_long_it_is():
    found = normalised(CONFIG, np.concatenate([speech(10), speech(30, 1e-4, seed=1), speech(10)]))
    # Far from any sound the statistics of the whole recording hold.
    assert found[2000:3000].max() < -1 and found[200:800].mean() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("samples", [np.zeros(40000), np.full(40000, 0.1)])
def test_nothing_is_blown_up_where_nothing_varies(samples):
    assert np.abs(normalised(CONFIG, samples.astype(np.float32))[10:-10]).max() < 5


def test_a_frame_depends_on_no_sample_beyond_the_reach():
    samples = speech(20)
    survey = surveyed(CONFIG, samples)
    reach = cmvn.reach_samples(CONFIG)

    def part(start, end):
        values = compute(CONFIG, samples[start:end], "corpus", survey.statistics())
        sound = cmvn.levels(CONFIG, samples[start:end]) >= survey.threshold_db()
        return cmvn.normalize(CONFIG, values, sound)

    start, end = 80000 - reach // 80 * 80, 80000 + reach
    np.testing.assert_allclose(part(start, end)[(80000 - start) // 80], part(0, 160000)[1000], atol=1e-5)
