"""Speech features in the graph: log-mel spectrogram, MFCC, log-magnitude spectrogram.

Training (in tf.data), transcription and exported models all call `compute`. Frames are centred as in librosa: frame t
covers the samples around `t * hop`, and a clip of n samples has `1 + n // hop` frames. The features of a row depend on
its own samples only, never on its padding or on the other rows of the batch.
"""

import functools
import json
from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import pydantic
import tensorflow as tf

from tfvoice.config import Config
from tfvoice.errors import TfvoiceError
from tfvoice.lengths import Sequence, mask

# librosa's floor of the power before it takes decibels.
_MIN_POWER = 1e-10
# A channel with a smaller deviation is divided by this: a dead band or silence must not be amplified into noise.
# In the unit of each kind (nats, decibels, log(1 + magnitude)), far below the deviations of speech.
MIN_DEVIATION = {"log_mel": 0.1, "mfcc": 1.0, "log_spectrogram": 1e-4}
# Mel bands of one matrix product.
_BAND_GROUP = 32


class FeatureConfig(Config):
    """Settings of the feature extraction.

    Kinds, where X is the short-time spectrum of the windowed frame:
      log_mel: `ln(mel @ |X|^2 + log_offset)`, `bins` channels.
      mfcc: the first `mfcc_coefficients` of the orthonormal DCT-II of `10 log10(mel @ |X|^2)`, floored at `top_db`
        below the maximum of the clip. Equal to librosa's `feature.mfcc` with the same settings.
      log_spectrogram: `ln(1 + |X|)`, all `fft_size / 2 + 1` channels; mel settings have no effect.

    Normalizations: `utterance` gives each channel of a clip mean 0 and deviation 1, `utterance_scalar` does so for
    the whole matrix at once (DeepSpeech2), `corpus` uses `FeatureStatistics`. Deviations are divided by n - 1.
    """

    kind: Literal["log_mel", "mfcc", "log_spectrogram"] = "log_mel"
    sample_rate_hz: int = pydantic.Field(16000, gt=0)
    window_ms: float = pydantic.Field(25.0, gt=0)
    hop_ms: float = pydantic.Field(10.0, gt=0)
    fft_size: int | None = pydantic.Field(None, gt=1, description="default: the power of two that holds the window")
    bins: int = pydantic.Field(80, gt=0)
    mfcc_coefficients: int = pydantic.Field(20, gt=0)
    low_hz: float = pydantic.Field(0.0, ge=0)
    high_hz: float | None = pydantic.Field(None, gt=0, description="default: half of the sample rate")
    window: Literal["hann", "hamming"] = "hann"
    pad_mode: Literal["constant", "reflect"] = "constant"
    normalization: Literal["none", "utterance", "utterance_scalar", "corpus"] = "utterance"
    log_offset: float = pydantic.Field(1e-6, gt=0)
    top_db: float = pydantic.Field(80.0, gt=0)

    @property
    def hop_samples(self) -> int:
        """Samples from one frame to the next."""
        return round(self.hop_ms * self.sample_rate_hz / 1000)

    @property
    def window_samples(self) -> int:
        """Samples of the window, rounded to a whole number."""
        return max(round(self.window_ms * self.sample_rate_hz / 1000), 1)

    @property
    def transform_samples(self) -> int:
        """Size of the Fourier transform."""
        return self.fft_size or max(2, 2 ** (self.window_samples - 1).bit_length())

    @pydantic.model_validator(mode="after")
    def _check_sizes(self):
        hop = self.hop_ms * self.sample_rate_hz / 1000
        if self.hop_samples < 1 or abs(hop - self.hop_samples) > 1e-6 * hop:
            raise ValueError(
                f"hop_ms={self.hop_ms:g} is {hop:g} samples at sample_rate_hz={self.sample_rate_hz}, not a whole "
                f"number; set hop_ms={max(self.hop_samples, 1) * 1000 / self.sample_rate_hz!r}"
            )
        if self.transform_samples % 2 or self.transform_samples < self.window_samples:
            raise ValueError(
                f"fft_size={self.fft_size} must be even and hold the window of {self.window_samples} samples; "
                f"set fft_size={max(2, 2 ** (self.window_samples - 1).bit_length())}, or omit it"
            )
        if self.kind != "log_spectrogram":
            self._check_mel()
        return self

    def _check_mel(self):
        nyquist_hz = self.sample_rate_hz / 2
        if not self.low_hz < (self.high_hz or nyquist_hz) <= nyquist_hz:
            raise ValueError(
                f"low_hz={self.low_hz:g} and high_hz={self.high_hz} must be in this order and at most "
                f"{nyquist_hz:g} Hz, half of sample_rate_hz; set high_hz={nyquist_hz:g}"
            )
        if self.kind == "mfcc" and self.mfcc_coefficients > self.bins:
            raise ValueError(
                f"mfcc_coefficients={self.mfcc_coefficients} is more than bins={self.bins}; "
                f"set bins={self.mfcc_coefficients} or more"
            )
        empty = int(np.sum(~_mel_filters(self).any(axis=0)))
        if empty:
            raise ValueError(
                f"bins={self.bins} leaves {empty} mel bands that no frequency of fft_size={self.transform_samples} "
                f"falls into; lower bins, or set fft_size={2 * self.transform_samples}"
            )


class FeatureStatistics(NamedTuple):
    """Mean and deviation of every channel over a corpus, both float64 `[channels]`."""

    mean: np.ndarray
    deviation: np.ndarray

    def to_json(self) -> str:
        """Both as JSON lists; `from_json` restores them exactly."""
        return json.dumps({"mean": self.mean.tolist(), "deviation": self.deviation.tolist()})

    @classmethod
    def from_json(cls, text: str) -> "FeatureStatistics":
        """The inverse of `to_json`."""
        values = json.loads(text)
        return cls(np.array(values["mean"], np.float64), np.array(values["deviation"], np.float64))


def statistics(features: Iterable[np.ndarray]) -> FeatureStatistics:
    """Mean and deviation of every channel over a corpus, in one pass and constant memory.

    Chan's parallel form of Welford's update, which avoids the cancellation of a sum of squares.

    Args:
      features: matrices `[frames, channels]` without padding, computed with `normalization="none"`.

    Raises:
      TfvoiceError: the corpus has no frame.
    """
    count, mean, squares = 0, 0.0, 0.0
    for matrix in features:
        matrix = np.asarray(matrix, np.float64)
        if not len(matrix):
            continue
        matrix_mean = matrix.mean(axis=0)
        shift = matrix_mean - mean
        total = count + len(matrix)
        squares = squares + np.square(matrix - matrix_mean).sum(axis=0) + shift**2 * (count * len(matrix) / total)
        mean = mean + shift * (len(matrix) / total)
        count = total
    if not count:
        raise TfvoiceError(
            "There is no frame to compute the corpus statistics from; check the training split of the data, or set "
            "features.normalization=utterance."
        )
    return FeatureStatistics(mean, np.sqrt(squares / max(count - 1, 1)))


def frame_count(config: FeatureConfig, samples):
    """Frames of a clip of `samples` samples (`int`, array or integer tensor): `1 + samples // hop`."""
    return 1 + samples // config.hop_samples


def channels(config: FeatureConfig) -> int:
    """Number of features in a frame."""
    if config.kind == "log_spectrogram":
        return config.transform_samples // 2 + 1
    return config.mfcc_coefficients if config.kind == "mfcc" else config.bins


def compute(
    config: FeatureConfig, samples: tf.Tensor, lengths: tf.Tensor, statistics: FeatureStatistics | None = None
) -> Sequence:
    """Features of a padded batch, with core TensorFlow operations only.

    Args:
      config: what to compute.
      samples: float32 `[batch, samples]` at `config.sample_rate_hz`; the padding past each length is ignored.
      lengths: int32 `[batch]`, in samples. An empty row counts as silence and has one frame.
      statistics: of the corpus, for `normalization="corpus"`; otherwise ignored.

    Returns:
      `[batch, frame_count(samples), channels]`, exact zeros past the frame count of each row, and these counts.

    Raises:
      TfvoiceError: the corpus statistics are required and missing, or have another number of channels.
    """
    samples = tf.convert_to_tensor(samples, tf.float32)
    lengths = tf.minimum(tf.cast(lengths, tf.int32), tf.shape(samples)[1])
    frames = frame_count(config, tf.shape(samples)[1] if samples.shape[1] is None else samples.shape[1])
    frame_lengths = frame_count(config, lengths)
    within = mask(frame_lengths, frames)

    power = _power(_frames(config, samples, lengths, frames), config)
    if config.kind == "log_spectrogram":
        values = tf.math.log1p(tf.sqrt(power))
    elif config.kind == "log_mel":
        values = tf.math.log(_mel(power, config) + config.log_offset)
    else:
        values = _cepstrum(_mel(power, config), within, config)
    values = _normalize(values, within, frame_lengths, config, statistics) * within
    return Sequence(tf.ensure_shape(values, [None, None, channels(config)]), frame_lengths)


def _frames(config: FeatureConfig, samples: tf.Tensor, lengths: tf.Tensor, frames) -> tf.Tensor:
    """Frames `[batch, frames, hops_per_frame * hop]`; the window starts at the left edge of each frame.

    Whole hops are gathered, not samples: 1.9 ms instead of 14 ms for 16 x 4 s. The position of the frame inside the
    transform changes the phase only, which no feature keeps.
    """
    hop, size = config.hop_samples, config.window_samples
    hops_per_frame = -(-size // hop)
    left = config.transform_samples // 2 - (config.transform_samples - size) // 2
    total = (frames + hops_per_frame - 1) * hop

    padded = tf.shape(samples)[1]
    samples = tf.where(tf.range(padded) < lengths[:, tf.newaxis], samples, 0.0)
    samples = tf.pad(samples, [[0, 0], [left, tf.maximum(total - left - padded, size - left)]])
    if config.pad_mode == "reflect":
        samples = _reflect(samples, lengths, left, size - left)
    hops = tf.reshape(samples[:, :total], [-1, frames + hops_per_frame - 1, hop])
    starts = tf.range(frames)[:, tf.newaxis] + tf.range(hops_per_frame)
    return tf.reshape(tf.gather(hops, starts, axis=1), [-1, frames, hops_per_frame * hop])


def _reflect(padded: tf.Tensor, lengths: tf.Tensor, left: int, right: int) -> tf.Tensor:
    """Reflects each row about its first and last sample, into `left` samples before it and `right` after it.

    A row shorter than the pad is reflected repeatedly, as `numpy.pad` does; a row of one sample repeats it, and an
    empty row stays zero.
    """
    rows, width = tf.unstack(tf.shape(padded))
    lengths = lengths[:, tf.newaxis]
    outside = tf.concat([tf.tile(tf.range(-left, 0)[tf.newaxis], [rows, 1]), lengths + tf.range(right)], axis=1)
    folded = tf.math.floormod(outside, tf.maximum(2 * (lengths - 1), 1))
    source = tf.minimum(folded, tf.abs(2 * (lengths - 1) - folded))
    # By flat indices, and added to the zeros of the pad: twice as fast as a gather per row and a scatter.
    start = width * tf.range(rows)[:, tf.newaxis] + left
    values = tf.where(lengths > 0, tf.gather(tf.reshape(padded, [-1]), source + start), 0.0)
    reflected = tf.raw_ops.SparseToDense(
        sparse_indices=tf.reshape(outside + start, [-1]),
        output_shape=[rows * width],
        sparse_values=tf.reshape(values, [-1]),
        default_value=0.0,
        validate_indices=False,
    )
    return padded + tf.reshape(reflected, [rows, width])


def _power(frames: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    """Power spectrum `[batch, frames, transform / 2 + 1]` of the windowed frames."""
    # CPU time for 16 x 4 s up to log-mel: 15 ms; with the transform as a matrix product 35 ms, folded in half 28 ms.
    # tf.abs would cost twice as much as the two squares.
    window = np.zeros(-(-config.window_samples // config.hop_samples) * config.hop_samples, np.float32)
    window[: config.window_samples] = _window(config)
    spectrum = tf.signal.rfft(frames * window, [config.transform_samples])
    return tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))


def _mel(power: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    """Mel spectrogram `[batch, frames, bins]`.

    Neighbouring bands cover the same part of the spectrum: in groups, the products take two thirds of the time.
    """
    filters, bands = _mel_filters(config), []
    for first in range(0, config.bins, _BAND_GROUP):
        group = filters[:, first : first + _BAND_GROUP]
        covered = np.flatnonzero(group.any(axis=1))
        part = slice(covered[0], covered[-1] + 1)
        bands.append(tf.tensordot(power[:, :, part], group[part], 1))
    return tf.concat(bands, axis=2)


def _cepstrum(mel: tf.Tensor, within: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    level_db = tf.math.log(tf.maximum(mel, _MIN_POWER)) * (10 / np.log(10))
    loudest_db = tf.reduce_max(tf.where(within > 0, level_db, -np.inf), axis=[1, 2], keepdims=True)
    floor_db = loudest_db - config.top_db
    cosines = _cosines(config.bins, config.mfcc_coefficients)
    floor_cepstrum = floor_db * cosines.sum(axis=0).astype(np.float32)
    # Summed relative to the floor, whose cepstrum is added at the end: float32 sums of many equal large levels drift
    # by 1e-3.
    return tf.tensordot(tf.maximum(level_db - floor_db, 0), cosines.astype(np.float32), 1) + floor_cepstrum


def _normalize(values, within, frame_lengths, config: FeatureConfig, statistics: FeatureStatistics | None) -> tf.Tensor:
    min_deviation = MIN_DEVIATION[config.kind]
    if config.normalization == "none":
        return values
    if config.normalization == "corpus":
        if statistics is None or len(statistics.mean) != channels(config):
            defect = "are absent" if statistics is None else f"have {len(statistics.mean)} channels"
            raise TfvoiceError(
                f"features.normalization=corpus needs the statistics of {channels(config)} channels, and they "
                f"{defect}; train on this data first, or set features.normalization=utterance."
            )
        scale = 1 / np.maximum(statistics.deviation, min_deviation)
        return (values - statistics.mean.astype(np.float32)) * scale.astype(np.float32)
    scalar = config.normalization == "utterance_scalar"
    axes = [1, 2] if scalar else [1]
    count = tf.cast(frame_lengths, tf.float32)[:, tf.newaxis, tf.newaxis] * (channels(config) if scalar else 1)
    # Relative to the first frame, so that the mean of a band that hardly varies keeps its last digits.
    values -= values[:, :1, :1] if scalar else values[:, :1]
    values -= tf.reduce_sum(values * within, axes, keepdims=True) / count
    squares = tf.reduce_sum(tf.square(values) * within, axes, keepdims=True)
    return values / tf.maximum(tf.sqrt(squares / tf.maximum(count - 1, 1)), min_deviation)


def _window(config: FeatureConfig) -> np.ndarray:
    """Periodic window, as for spectral analysis, not the symmetric one."""
    offset = {"hann": 0.5, "hamming": 0.54}[config.window]
    phase = 2 * np.pi * np.arange(config.window_samples) / config.window_samples
    return (offset - (1 - offset) * np.cos(phase)).astype(np.float32)


def _mel_filters(config: FeatureConfig) -> np.ndarray:
    high_hz = config.high_hz or config.sample_rate_hz / 2
    return mel_filters(config.sample_rate_hz, config.transform_samples, config.bins, config.low_hz, high_hz)


@functools.lru_cache(maxsize=16)
def mel_filters(sample_rate_hz: int, transform_samples: int, bins: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Triangles of equal area on Slaney's mel scale (Auditory Toolbox, 1998).

    Equal to `librosa.filters.mel`; importing librosa would add more than a second of start-up for this one matrix.

    Args:
      sample_rate_hz, transform_samples: those of the spectrum, whose bins are multiples of their quotient.
      bins: number of triangles.
      low_hz, high_hz: where the first begins and the last ends.

    Returns:
      float32 `[transform_samples // 2 + 1, bins]`.
    """
    edges_hz = _mel_to_hz(np.linspace(_hz_to_mel(low_hz), _hz_to_mel(high_hz), bins + 2))
    lower_hz, centre_hz, upper_hz = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    count = transform_samples // 2
    bins_hz = np.linspace(0, sample_rate_hz * count / transform_samples, count + 1)[:, np.newaxis]
    rising = (bins_hz - lower_hz) / (centre_hz - lower_hz)
    falling = (upper_hz - bins_hz) / (upper_hz - centre_hz)
    return (np.maximum(0, np.minimum(rising, falling)) * 2 / (upper_hz - lower_hz)).astype(np.float32)


# Slaney's scale: 3 mel per 200 Hz up to 1 kHz, then 27 mel per factor of 6.4.
def _hz_to_mel(hz):
    return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4))


def _mel_to_hz(mel):
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def _cosines(bins: int, coefficients: int) -> np.ndarray:
    """Orthonormal DCT-II as a matrix `[bins, coefficients]`."""
    angles = np.pi * (np.arange(bins)[:, np.newaxis] + 0.5) * np.arange(coefficients) / bins
    scale = np.where(np.arange(coefficients) == 0, 1, np.sqrt(2)) / np.sqrt(bins)
    return np.cos(angles) * scale
