"""WAV files in the graph."""

import io

import numpy as np
import pytest
import soundfile
import soxr
import tensorflow as tf

from tfvoice.audio import wav


def encoded(samples, rate_hz):
    data = io.BytesIO()
    soundfile.write(data, samples, rate_hz, "PCM_16", format="WAV")
    return data.getvalue()


def tones(rate_hz, seconds=0.5):
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return 0.3 * np.sin(2 * np.pi * 440 * times) + 0.2 * np.sin(2 * np.pi * 1300 * times)


def test_samples_at_the_rate_of_the_model_are_those_of_the_file():
    samples = tones(16000)
    found = wav.decode(encoded(samples, 16000), 16000)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, samples, atol=2 / 2**15)


def test_channels_are_averaged():
    samples = tones(16000)
    found = wav.decode(encoded(np.stack([samples + 0.1, samples - 0.1], axis=1), 16000), 16000)
    np.testing.assert_allclose(found, samples, atol=2 / 2**15)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 44100, 48000])
def test_other_rates_are_resampled(rate_hz):
    decode = tf.function(lambda data: wav.decode(data, 16000), input_signature=[tf.TensorSpec([], tf.string)])
    samples = tones(rate_hz)
    found = decode(encoded(samples, rate_hz)).numpy()
    expected = soxr.resample(samples, rate_hz, 16000)
    assert len(found) == round(len(samples) * 16000 / rate_hz)
    np.testing.assert_allclose(found[500:-500], expected[500 : len(found) - 500], atol=2e-3)


@pytest.mark.parametrize("rate_hz", [1000, 3999, 192001, 32_000_000])
def test_an_unusual_rate_is_an_error_of_the_client(rate_hz):
    content = bytearray(encoded(np.zeros(1000), 16000))
    # The rate, and the bytes of a second.
    content[24:32] = rate_hz.to_bytes(4, "little") + (2 * rate_hz).to_bytes(4, "little")
    with pytest.raises(tf.errors.InvalidArgumentError, match="sample rate must be 4000 to 192000 Hz, not"):
        wav.decode(bytes(content), 16000)


@pytest.mark.parametrize("data", [b"", b"RIFF", bytes(range(256)) * 9])
def test_bytes_that_are_no_wav_are_an_error_of_the_client(data):
    with pytest.raises(tf.errors.InvalidArgumentError):
        wav.decode(data, 16000)
