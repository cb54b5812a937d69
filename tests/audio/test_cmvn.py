"""Laws of sliding-window mean and variance normalisation."""

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


def accumulated(config, samples):
    return cmvn.accumulate(cmvn.start(config), compute(config, samples, "none"), cmvn.levels_db(config, samples))


def statistics(config, samples):
    return tuple(part.numpy() for part in cmvn.statistics(config, accumulated(config, samples)))


def normalised(config, samples):
    levels = cmvn.levels_db(config, samples)
    return cmvn.normalize(config, compute(config, samples, "none"), levels, accumulated(config, samples)).numpy()


def test_the_level_of_a_frame_is_that_of_a_fifth_of_a_second():
    levels = cmvn.levels_db(CONFIG, np.concatenate([np.zeros(8000), np.full(8000, 0.1)]).astype(np.float32)).numpy()
    assert len(levels) == 201 and levels[50] == -120 and levels[150] == -20
    assert levels[100] == -23 and levels[89] == -120 and levels[92] > -40
    assert cmvn.levels_db(CONFIG, np.full(8000, 1e-9))[50] == -120


@pytest.mark.parametrize("length", [0, 1, 79, 80, 81])
def test_there_is_a_level_for_every_frame(length):
    levels = cmvn.levels_db(CONFIG, np.ones(length, np.float32)).numpy()
    assert len(levels) == features.frame_count(CONFIG, length) and np.all(np.isfinite(levels))


@pytest.mark.parametrize("config", [CONFIG, SCALAR])
def test_the_statistics_are_those_of_the_frames_with_sound(config):
    sound, quiet = speech(6), speech(6, 1e-5, seed=1)
    mean, _ = statistics(config, np.concatenate([sound, quiet, sound]))
    alone, _ = statistics(config, np.concatenate([sound, sound]))
    everything = features.statistics([compute(config, np.concatenate([sound, quiet, sound]), "none")])
    # A tenth of a second of quiet at each edge still counts.
    np.testing.assert_allclose(mean, alone, atol=0.3)
    assert np.all(everything.mean < alone - 3)


def test_without_quiet_the_statistics_are_those_of_all_frames():
    values = compute(CONFIG, speech(6), "none")
    expected, (mean, deviation) = features.statistics([values]), statistics(CONFIG, speech(6))
    np.testing.assert_allclose(mean, expected.mean, rtol=1e-6)
    np.testing.assert_allclose(deviation, expected.deviation, rtol=1e-6)


def test_utterance_scalar_has_one_mean_and_one_deviation():
    values = compute(SCALAR, speech(6), "none")
    mean, deviation = statistics(SCALAR, speech(6))
    np.testing.assert_allclose(mean, np.full(10, values.mean()), rtol=1e-5)
    np.testing.assert_allclose(deviation, np.full(10, values.std(ddof=1)), rtol=1e-2)


def test_the_sums_may_be_taken_window_by_window():
    values, levels = compute(CONFIG, speech(6), "none"), cmvn.levels_db(CONFIG, speech(6))
    sums = cmvn.start(CONFIG)
    for start in range(0, len(values), 77):
        sums = cmvn.accumulate(sums, values[start : start + 77], levels[start : start + 77])
    expected = accumulated(CONFIG, speech(6))
    assert cmvn.threshold_db(sums) == cmvn.threshold_db(expected)
    for part, whole in zip(cmvn.statistics(CONFIG, sums), cmvn.statistics(CONFIG, expected), strict=True):
        np.testing.assert_allclose(part, whole)


@pytest.mark.parametrize("config", [CONFIG, SCALAR])
def test_normalising_equals_the_formulas_in_numpy(config):
    """Frame by frame, with the statistics of the whole and then those of the frames with sound within 5 s."""
    samples = np.concatenate([speech(8, 0.3), speech(4, 1e-4, seed=2), speech(3, 0.02, seed=3)])
    values, levels = compute(config, samples, "none").astype(np.float64), cmvn.levels_db(config, samples).numpy()
    sound = levels >= levels.max() - 35
    alike = config.normalization == "utterance_scalar"
    axis = None if alike else 0
    mean, square = values[sound].mean(axis=axis), np.square(values[sound]).mean(axis=axis)
    values = (values - mean) / np.sqrt((square - mean**2) * sound.sum() / (sound.sum() - 1))
    expected = []
    for frame in range(len(values)):
        near = values[max(0, frame - 500) : frame + 501][sound[max(0, frame - 500) : frame + 501]]
        total = 100 + len(near)
        mean = (near.mean(axis=1) if alike else near).sum(axis=0) / total
        square = (100 + (np.square(near).mean(axis=1) if alike else np.square(near)).sum(axis=0)) / total
        expected.append((values[frame] - mean) / np.sqrt(square - mean**2))
    np.testing.assert_allclose(normalised(config, samples), expected, atol=1e-4)


@pytest.mark.parametrize("level", [0.0, np.nan, 1e30])
def test_no_samples_make_the_sums_fail(level):
    sums = accumulated(CONFIG, np.full(800, level, np.float32))
    assert np.isfinite(cmvn.threshold_db(sums))


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
    sums, reach = accumulated(CONFIG, samples), cmvn.reach_samples(CONFIG)

    def part(start, end):
        window = samples[start:end]
        return cmvn.normalize(CONFIG, compute(CONFIG, window, "none"), cmvn.levels_db(CONFIG, window), sums).numpy()

    start, end = 80000 - reach // 80 * 80, 80000 + reach
    np.testing.assert_allclose(part(start, end)[(80000 - start) // 80], part(0, 160000)[1000], atol=1e-5)
