"""How far speech is from a recording of the same frames: mel-cepstral distortion, and errors of F0 and voicing."""

from typing import NamedTuple

import numpy as np

from tfvoice.audio import f0

_COEFFICIENTS = 24
_BANDS = 80
_WINDOW_SECONDS, _HOP_SECONDS = 0.025, 0.005
# Below the loudest frame of the recording; quieter frames do not count.
_RANGE_DB = 40.0
# Below the largest amplitude of a recording: what is quieter, as between the harmonics, is as loud as this.
_FLOOR_DB = 80.0


class CopyErrors(NamedTuple):
    """Errors of a copy of a recording.

    Attributes:
      distortion_db: mel-cepstral distortion (Kubichek, 1993), a mean over the frames that are not silent.
      f0_hz: mean absolute error of F0 where both have a voice; NaN where none has.
      voicing: share of frames whose voicing differs.
    """

    distortion_db: float
    f0_hz: float
    voicing: float


def copy_errors(recording: np.ndarray, copy: np.ndarray, sample_rate_hz: int) -> CopyErrors:
    """Compares a copy with the recording, frame by frame; both are float32 `[samples]` of one length."""
    contours = [f0.estimate(samples, sample_rate_hz) for samples in (recording, copy)]
    voiced = [contour > 0 for contour in contours]
    both = voiced[0] & voiced[1]
    error_hz = float(np.abs(contours[0] - contours[1])[both].mean()) if both.any() else float("nan")
    return CopyErrors(
        mel_cepstral_distortion_db(recording, copy, sample_rate_hz), error_hz, float(np.mean(voiced[0] != voiced[1]))
    )


def mel_cepstral_distortion_db(recording: np.ndarray, copy: np.ndarray, sample_rate_hz: int) -> float:
    """`10 / ln 10 sqrt(2 sum over m of (c[m] - c'[m])^2)`, a mean over frames, with 24 mel-cepstral coefficients.

    The cepstrum is that of the logarithm of mel amplitudes, `ln A[k] = c[0] + sum over m of c[m] cos(pi m (k + 1/2) /
    bands)`; without c[0], loudness does not count.
    """
    logs = [_log_mel(samples, sample_rate_hz) for samples in (recording, copy)]
    loud = logs[0].max(axis=0) > logs[0].max() - _RANGE_DB * np.log(10) / 20
    band = np.arange(_BANDS) + 0.5
    basis = 2 / _BANDS * np.cos(np.pi * np.arange(1, _COEFFICIENTS + 1)[:, np.newaxis] * band / _BANDS)
    difference = basis @ (logs[0] - logs[1])[:, loud]
    return float(10 / np.log(10) * np.sqrt(2 * (difference**2).sum(axis=0)).mean())


def _log_mel(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """ln of mel amplitudes, float64 `[bands, frames]`."""
    # Takes a second.
    from tfvoice import compiled

    window, hop = (round(seconds * sample_rate_hz) for seconds in (_WINDOW_SECONDS, _HOP_SECONDS))
    amplitudes = compiled.load_librosa().feature.melspectrogram(
        y=samples.astype(np.float64),
        sr=sample_rate_hz,
        n_fft=1 << (window - 1).bit_length(),
        win_length=window,
        hop_length=hop,
        n_mels=_BANDS,
        power=1.0,
    )
    floor = amplitudes.max() * 10 ** (-_FLOOR_DB / 20)
    return np.log(np.maximum(amplitudes, max(floor, 1e-10)))
