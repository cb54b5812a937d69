"""F0: tones whose F0 is known, what has none, and speech by two methods."""

import sys

import numpy as np
import pytest
import soundfile

from tfvoice import config
from tfvoice.audio import f0
from tfvoice.audio.f0 import F0Config
from tfvoice.config import ConfigError
from tfvoice.errors import TfvoiceError

RATE_HZ = 16000
FRAME = 64
# Share of the frames of noise in which a voice may be found.
SPURIOUS = {"pyin": 0.2, "world": 0.4}


@pytest.fixture(params=["pyin", "world"])
def method(request):
    if request.param == "world":
        pytest.importorskip("pyworld")
    return request.param


def voice(f0_hz, harmonics=10, weights=None):
    """A periodic signal whose F0 is given for each sample."""
    phase = 2 * np.pi * np.cumsum(f0_hz) / RATE_HZ
    weights = weights or [1 / number for number in range(1, harmonics + 1)]
    wave = sum(weight * np.sin(number * phase) for number, weight in enumerate(weights, 1))
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def pulses(period_samples, seconds=0.5):
    wave = np.zeros(int(seconds * RATE_HZ), np.float32)
    wave[::period_samples] = 0.8
    return wave


def middles(values):
    """Values for each sample, at the middles of whole frames."""
    return values[FRAME // 2 :: FRAME]


def inner(values):
    """All but the first and the last 50 ms, where a window is not full."""
    return values[13:-13]


def steady(f0_hz, seconds=0.5):
    return np.full(int(seconds * RATE_HZ), float(f0_hz))


@pytest.mark.parametrize("f0_hz", [80, 150, 300, 450])
def test_a_tone_has_its_frequency(method, f0_hz):
    estimated = f0.estimate(voice(steady(f0_hz)), RATE_HZ, F0Config(method=method))
    assert len(estimated) == 8000 // FRAME and estimated.dtype == np.float32
    np.testing.assert_allclose(inner(estimated), f0_hz, rtol=0.01)


def test_a_glide_is_followed_at_the_middle_of_each_frame(method):
    course = 120 * 2 ** (np.arange(RATE_HZ) / RATE_HZ)
    for values in (course, course[::-1]):
        estimated = f0.estimate(voice(values), RATE_HZ, F0Config(method=method))
        bias = inner(estimated / middles(values) - 1)
        assert np.abs(bias).max() < 0.02
        # An octave a second: an error of one frame would be a bias of 0.28 %.
        assert abs(bias.mean()) < 0.0014


@pytest.mark.parametrize("period_samples", [50, 100, 200])
def test_pulses_have_the_frequency_of_their_period(method, period_samples):
    estimated = f0.estimate(pulses(period_samples), RATE_HZ, F0Config(method=method))
    np.testing.assert_allclose(np.median(inner(estimated)), RATE_HZ / period_samples, rtol=0.01)


@pytest.mark.parametrize("weights", [[0.1, 1, 0.5, 0.3], [0.3, 0.2, 1, 0.2], [1, 0, 1]], ids=str)
def test_strong_harmonics_are_not_mistaken_for_f0(weights):
    estimated = f0.estimate(voice(steady(110), weights=weights), RATE_HZ)
    np.testing.assert_allclose(inner(estimated), 110, rtol=0.01)


def test_neither_silence_nor_noise_has_a_voice(method):
    random = np.random.default_rng(0)
    settings = F0Config(method=method)
    for quiet in (np.zeros(4000, np.float32), np.full(4000, 0.2, np.float32), 1e-5 * voice(steady(200))):
        assert not f0.estimate(quiet, RATE_HZ, settings).any()
    for level in (0.001, 0.1):
        noise = (level * random.standard_normal(RATE_HZ)).astype(np.float32)
        assert (f0.estimate(noise, RATE_HZ, settings) > 0).mean() < SPURIOUS[method]


@pytest.mark.parametrize(("noise", "offset"), [(0.002, 0), (0, 0), (0, 0.1)], ids=["noise", "zeros", "constant"])
def test_voicing_changes_where_the_voice_does(method, noise, offset):
    random = np.random.default_rng(0)
    wave = (noise * random.standard_normal(RATE_HZ) + offset).astype(np.float32)
    wave[4000:12000] += voice(steady(200))
    voiced = f0.estimate(wave, RATE_HZ, F0Config(method=method)) > 0
    start = FRAME * np.arange(len(voiced))
    # Half a window of 50 ms around the ends is left out.
    assert voiced[(start >= 4400) & (start < 11600)].mean() > 0.95
    assert voiced[(start < 3600) | (start >= 12400)].mean() < (SPURIOUS[method] if noise else 0.01)


def test_the_level_does_not_matter():
    wave = voice(150 + 30 * np.sin(np.arange(RATE_HZ) / 3000))
    np.testing.assert_array_equal(f0.estimate(wave, RATE_HZ), f0.estimate(wave / 8, RATE_HZ))


@pytest.mark.parametrize("samples", [0, 1, 63, 64, 65, 160, 1000])
def test_every_length_has_a_value_for_each_started_frame(method, samples):
    estimated = f0.estimate(voice(steady(200))[:samples], RATE_HZ, F0Config(method=method))
    assert estimated.shape == (-(-samples // FRAME),) and np.isfinite(estimated).all()


@pytest.mark.parametrize(("rate_hz", "frame_samples"), [(16384, 64), (48000, 192), (8000, 80), (22050, 441)])
def test_other_rates_and_frames(rate_hz, frame_samples):
    course = np.linspace(150, 250, rate_hz)
    wave = (0.5 * np.sin(2 * np.pi * np.cumsum(course) / rate_hz)).astype(np.float32)
    estimated = f0.estimate(wave, rate_hz, F0Config(frame_samples=frame_samples))
    assert len(estimated) == -(-rate_hz // frame_samples)
    truth = course[np.minimum(np.arange(len(estimated)) * frame_samples + frame_samples // 2, rate_hz - 1)]
    inside = slice(len(truth) // 10, -len(truth) // 10)
    np.testing.assert_allclose(estimated[inside], truth[inside], rtol=0.01)


def test_both_methods_agree_on_speech(clips):
    pytest.importorskip("pyworld")
    wave, rate_hz = soundfile.read(sorted(clips.glob("wav48/*/*.opus"))[4], dtype="float32")
    one, other = (f0.estimate(wave, rate_hz, F0Config(method=method)) for method in ("pyin", "world"))
    both = (one > 0) & (other > 0)
    assert both.mean() > 0.3 and ((one > 0) == (other > 0)).mean() > 0.8
    assert np.median(np.abs(one[both] / other[both] - 1)) < 0.015


def test_gaps_are_filled_linearly_in_log_f0():
    filled = f0.interpolate(np.array([0, 0, 100, 0, 0, 0, 1600, 200, 0], np.float32))
    np.testing.assert_allclose(filled, [100, 100, 100, 200, 400, 800, 1600, 200, 200], rtol=1e-6)
    assert filled.dtype == np.float32


def test_filling_keeps_what_is_voiced_and_is_complete():
    random = np.random.default_rng(0)
    values = (random.uniform(80, 300, 200) * (random.uniform(size=200) > 0.6)).astype(np.float32)
    filled = f0.interpolate(values)
    assert (filled > 0).all() and (filled[values > 0] == values[values > 0]).all()
    np.testing.assert_array_equal(f0.interpolate(filled), filled)
    for nothing in (np.zeros(5, np.float32), np.zeros(0, np.float32)):
        np.testing.assert_array_equal(f0.interpolate(nothing), nothing)


def test_what_cannot_be_used_is_refused_in_a_sentence(monkeypatch):
    wave = voice(steady(200))
    with pytest.raises(TfvoiceError, match="max_hz=500 is too high for audio of 1000 Hz; set it lower"):
        f0.estimate(wave, 1000)
    with pytest.raises(TfvoiceError, match="samples that are not finite"):
        f0.estimate(np.array([0.1, np.nan], np.float32), RATE_HZ)
    with pytest.raises(ConfigError, match=r"max_hz=100 must be at least twice min_hz=60"):
        config.build(F0Config, {"max_hz": 100})
    monkeypatch.setitem(sys.modules, "pyworld", None)
    with pytest.raises(TfvoiceError, match=r"needs pyworld; install it with pip install 'tfvoice\[pyworld\]'"):
        f0.estimate(wave, RATE_HZ, F0Config(method="world"))


def test_the_pace_is_that_of_the_estimates_without_the_first(monkeypatch):
    now, called = [0.0], []

    def estimate(samples, *_):
        # The first call compiles.
        now[0] += 2.0 if called else 100.0
        called.append(len(samples))

    monkeypatch.setattr(f0, "estimate", estimate)
    monkeypatch.setattr(f0.time, "monotonic", lambda: now[0])
    clips = [np.zeros(RATE_HZ, np.float32), np.zeros(3 * RATE_HZ, np.float32)]
    assert f0.pace(clips, RATE_HZ, F0Config()) == pytest.approx(1.0)
    assert called == [RATE_HZ, RATE_HZ, 3 * RATE_HZ]
