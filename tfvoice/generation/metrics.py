"""Metrics of a generator: the likelihood of a split, and statistics that compare samples with the data."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfvoice import lengths
from tfvoice.audio import features

_FRAME_SECONDS, _HOP_SECONDS = 0.032, 0.016
_BANDS = 64
# Frames whose spectra are in memory at once: half a minute.
_BLOCK = 2048
_SILENCE_DB = -50.0
_CLIPPING_LEVEL = 0.999


class AudioStatistics(NamedTuple):
    """Statistics of a recording, which tell music, speech, noise and silence apart.

    Attributes:
      level_db: RMS level of all samples, relative to full scale.
      silence: fraction of frames of 32 ms below -50 dB.
      clipping: fraction of samples at or beyond 0.999 of full scale.
      flatness: mean spectral flatness of the frames that are not silent, 0 to 1: noise is near 0.56, tones near 0.
      log_mel_db: `[64]`, mean level of each mel band over the frames that are not silent, relative to the mean of all
        bands: the spectral envelope, independent of the loudness.
    """

    level_db: float
    silence: float
    clipping: float
    flatness: float
    log_mel_db: np.ndarray


def measure(samples: np.ndarray, sample_rate_hz: int) -> AudioStatistics:
    """Computes the statistics of a recording.

    Args:
      samples: float32 `[samples]` in -1 to 1.
      sample_rate_hz: their rate.
    """
    size, hop = round(_FRAME_SECONDS * sample_rate_hz), round(_HOP_SECONDS * sample_rate_hz)
    samples = np.pad(samples, (0, max(0, size - len(samples)))).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    filters = features.mel_filters(sample_rate_hz, size, _BANDS, 0, sample_rate_hz / 2)
    active, flatness, log_mel_db = 0, 0.0, np.zeros(_BANDS)
    for start in range(0, len(frames), _BLOCK):
        block = frames[start : start + _BLOCK]
        loud = block[_decibels(np.mean(block**2, axis=1)) >= _SILENCE_DB]
        power = np.abs(np.fft.rfft(loud * np.hanning(size), axis=1)) ** 2
        floored = power + 1e-10
        active += len(loud)
        flatness += float(np.sum(np.exp(np.log(floored).mean(axis=1)) / floored.mean(axis=1)))
        log_mel_db += _decibels(power @ filters).sum(axis=0)
    if active:
        flatness, log_mel_db = flatness / active, log_mel_db / active
        log_mel_db -= log_mel_db.mean()
    return AudioStatistics(
        level_db(samples),
        1 - active / len(frames),
        float(np.mean(np.abs(samples) >= _CLIPPING_LEVEL)),
        flatness,
        log_mel_db,
    )


def level_db(samples: np.ndarray) -> float:
    """RMS level of samples, in dB relative to full scale."""
    return float(_decibels(np.mean(np.square(samples, dtype=np.float64))))


def log_mel_distance_db(first: AudioStatistics, second: AudioStatistics) -> float:
    """RMS difference of the mean log-mel levels of two recordings, in dB, independent of their loudness."""
    return float(np.sqrt(np.mean((first.log_mel_db - second.log_mel_db) ** 2)))


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, 1e-10))


def bits(logits: tf.Tensor, levels: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Negative log-likelihood of each row, in bits.

    Args:
      logits: `[batch, samples, levels]`.
      levels: int32 `[batch, samples]`, the targets.
      counts: int32 `[batch]`, samples of each row without its padding.

    Returns:
      float32 `[batch]`, sums over the samples.
    """
    nats = tf.nn.sparse_softmax_cross_entropy_with_logits(levels, logits)
    return tf.reduce_sum(nats * lengths.mask(counts, tf.shape(nats)[1])[:, :, 0], axis=1) / math.log(2)
