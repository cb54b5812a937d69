"""Audio that is encoded block by block is a file that others decode."""

import io
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from tfvoice.audio import io as audio_io
from tfvoice.audio.encoder import FALLBACK_HZ, FORMATS, AudioEncoder


def tone(rate_hz, seconds=1.5):
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def encoded(format, samples, rate_hz, pieces):
    encoder = AudioEncoder(format, rate_hz, len(samples))
    parts = [encoder.start(), *map(encoder.encode, np.split(samples, pieces)), encoder.finish()]
    return b"".join(parts), encoder.rate_hz, parts


@pytest.mark.parametrize("rate_hz", [16000, 16384])
@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "opus"])
def test_a_file_is_decoded_to_the_samples(format, rate_hz):
    samples = tone(rate_hz)
    data, file_hz, _ = encoded(format, samples, rate_hz, [100, 9000, 9001, 20000])
    assert file_hz == (rate_hz if rate_hz == 16000 or format in ("wav", "flac") else FALLBACK_HZ)
    assert soundfile.info(io.BytesIO(data)).samplerate in (file_hz, 48000)
    if format in ("wav", "flac"):
        assert soundfile.info(io.BytesIO(data)).frames == len(samples)
    decoded = audio_io.read(data, rate_hz)
    # Lossy formats add some samples before and after; Opus says how many of them do not count.
    assert -400 < len(decoded) - len(samples) < 0.2 * rate_hz
    if format in ("wav", "flac"):
        np.testing.assert_array_equal(decoded, audio_io.to_pcm16(samples) / np.float32(32768))
    else:
        assert np.sqrt(np.mean(decoded[4000:20000] ** 2)) == pytest.approx(0.3 / 2**0.5, rel=0.05)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "opus"])
def test_ffmpeg_decodes_it_without_a_warning(format):
    data, _, _ = encoded(format, tone(16000), 16000, [400, 8000])
    command = ["ffmpeg", "-v", "warning", "-i", "pipe:0", "-f", "s16le", "-ar", "16000", "pipe:1"]
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    assert len(done.stdout) / 2 == pytest.approx(24000, abs=2000)
    # A WAV does not name the loudspeaker that its channel is for.
    assert format == "wav" or not done.stderr


@pytest.mark.parametrize("format", FORMATS)
def test_blocks_do_not_change_the_file_and_are_sent_before_its_end(format):
    samples = tone(16000)
    data, _, parts = encoded(format, samples, 16000, list(range(1600, 24000, 1600)))
    if format not in ("mp3", "opus"):
        assert data == encoded(format, samples, 16000, [])[0]
    assert sum(map(len, parts[:-1])) > len(data) // 2


def test_raw_samples_are_those_and_pcm_has_24_kilohertz():
    samples = tone(16000)
    raw, raw_hz, _ = encoded("raw", samples, 16000, [5])
    assert raw_hz == 16000 and raw == audio_io.to_pcm16(samples).astype("<i2").tobytes()
    pcm, pcm_hz, _ = encoded("pcm", samples, 16000, [5, 7000])
    assert pcm_hz == 24000 and len(pcm) == 2 * 36000
    np.testing.assert_allclose(np.frombuffer(pcm, "<i2")[3000:33000] / 32768, tone(24000)[3000:33000], atol=1e-3)
