"""Sound files as bytes: encoded noise, and files without their length in the header, as encoders write to a pipe."""

import io

import numpy as np
import soundfile


def without_xing_header(mp3):
    """Drops the first frame of an MP3; the next one starts with the same sync word."""
    assert b"Xing" in mp3[:200] or b"Info" in mp3[:200]
    return mp3[mp3.index(mp3[:2], 4) :]


def without_length(flac):
    """Clears the number of samples, 36 bits of the first block, in a FLAC."""
    flac = bytearray(flac)
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    return flac


def noise(frames, seed=0):
    """White noise, float32 `[frames]`."""
    return (0.1 * np.random.default_rng(seed).standard_normal(frames)).astype(np.float32)


def encoded(samples, form, sample_rate_hz=16000, **options):
    """The bytes of a file that libsndfile writes."""
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate_hz, format=form, **options)
    return file.getvalue()
