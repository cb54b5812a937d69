"""A few numbers that tell music from speech, and both from noise, silence and clipping."""

from typing import NamedTuple

import librosa
import numpy as np

_FRAME_SECONDS, _HOP_SECONDS = 0.032, 0.016
_BANDS = 64
# Frames whose spectra are in memory at a time: half a minute.
_BLOCK = 2048
_SILENT_DB = -50.0
_CLIPPED = 0.999


class Statistics(NamedTuple):
    """What `of` finds.

    Attributes:
      level_db: root mean square of all samples, below full scale.
      silence: share of frames of 32 ms below -50 dB.
      clipping: share of samples at or beyond 0.999 of full scale.
      flatness: mean spectral flatness of the frames that are not silent, 0 to 1: noise is near 0.56, tones near 0.
      log_mel_db: `[64]`, mean level of each mel band over the frames that are not silent, relative to the mean of all
        bands: the colour of the sound, whatever its loudness.
    """

    level_db: float
    silence: float
    clipping: float
    flatness: float
    log_mel_db: np.ndarray


def of(samples: np.ndarray, sample_rate_hz: int) -> Statistics:
    """Measures a recording.

    Args:
      samples: float32 `[samples]` in -1 to 1.
      sample_rate_hz: their rate.
    """
    size, hop = round(_FRAME_SECONDS * sample_rate_hz), round(_HOP_SECONDS * sample_rate_hz)
    samples = np.pad(samples, (0, max(0, size - len(samples)))).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    filters = librosa.filters.mel(sr=sample_rate_hz, n_fft=size, n_mels=_BANDS)
    heard, flatness, colour = 0, 0.0, np.zeros(_BANDS)
    for start in range(0, len(frames), _BLOCK):
        block = frames[start : start + _BLOCK]
        loud = block[_decibels(np.mean(block**2, axis=1)) >= _SILENT_DB]
        power = np.abs(np.fft.rfft(loud * np.hanning(size), axis=1)) ** 2
        floored = power + 1e-10
        heard += len(loud)
        flatness += float(np.sum(np.exp(np.log(floored).mean(axis=1)) / floored.mean(axis=1)))
        colour += _decibels(power @ filters.T).sum(axis=0)
    if heard:
        flatness, colour = flatness / heard, colour / heard
        colour -= colour.mean()
    return Statistics(
        level_db(samples),
        1 - heard / len(frames),
        float(np.mean(np.abs(samples) >= _CLIPPED)),
        flatness,
        colour,
    )


def level_db(samples: np.ndarray) -> float:
    """Root mean square of samples, in dB below full scale."""
    return float(_decibels(np.mean(np.square(samples, dtype=np.float64))))


def log_mel_distance_db(one: Statistics, other: Statistics) -> float:
    """Root mean square difference of the mean log-mel levels of two recordings, in dB, whatever their loudness."""
    return float(np.sqrt(np.mean((one.log_mel_db - other.log_mel_db) ** 2)))


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, 1e-10))
