"""Laws of audio in memory: an array gives the samples of its file, and what is no audio is refused."""

import io

import numpy as np
import pytest
import soundfile

from tfvoice.audio import array
from tfvoice.audio import io as audio_io
from tfvoice.audio.io import AudioError

RANDOM = np.random.default_rng(0)
SPEECH = (0.3 * np.sin(np.cumsum(RANDOM.uniform(0.01, 0.1, 22050)))).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [16000, 22050, 44100])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_array_gives_the_samples_of_its_file(rate_hz, channels):
    values = SPEECH if channels == 1 else np.stack([SPEECH, SPEECH[::-1]], axis=1)
    file = io.BytesIO()
    soundfile.write(file, values, rate_hz, "FLOAT", format="WAV")
    found = array.to_samples(values, rate_hz, 16000)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, audio_io.read(file.getvalue(), 16000), atol=1e-5)


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int16])
def test_every_usual_type_of_sample_is_scaled_to_full_scale(kind):
    values = SPEECH * 32767 if kind == np.int16 else SPEECH
    np.testing.assert_allclose(array.to_samples(values.astype(kind), 16000, 16000), SPEECH, atol=1e-3)


def test_an_empty_array_stays_empty():
    assert array.to_samples(np.zeros(0), 8000, 16000).shape == (0,)


@pytest.mark.parametrize(
    ("values", "rate_hz", "sentence"),
    [
        (SPEECH, None, "an array needs the sample rate of its samples, and sample_rate_hz is None."),
        (SPEECH, 0, "an array needs the sample rate of its samples, and sample_rate_hz is 0."),
        (np.zeros(9, np.uint8), 8000, "the array holds uint8; pass float samples in -1..1, or int16."),
        (np.zeros([2, 900]), 8000, "the array is 2x900; pass [samples], or [samples, channels] (`samples.T` of one"),
        (np.zeros([9, 1, 1]), 8000, "the array is 9x1x1; pass [samples], or"),
        (np.full(9, np.nan), 8000, "the array holds samples that are NaN or infinite."),
        (np.zeros([9, 0]), 8000, "the array is 9x0; pass [samples], or"),
        (SPEECH * 32768, 8000, "the array: its samples reach 9830.4, far beyond full scale, which is 1; scale them"),
        (np.stack([SPEECH, -SPEECH], axis=1), 8000, "the array: its channels have opposite signs and cancel"),
    ],
)
def test_what_is_no_audio_is_one_sentence(values, rate_hz, sentence):
    with pytest.raises(AudioError) as caught:
        array.to_samples(values, rate_hz, 16000)
    assert str(caught.value).startswith(sentence[:9]) and sentence.split("9830")[0] in str(caught.value)
