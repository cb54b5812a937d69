"""Prosody of phonemes: seconds, voicing and F0 of each phoneme from an alignment, and frames from them again.

F0 is sampled at the middles of equal parts of a phoneme (20 of them in Deep Voice), whatever its duration; each of them
takes the conditioning frame in which it lies. A phoneme is voiced where at least half of these points are.
"""

from typing import NamedTuple

import numpy as np

from tfvoice.audio import f0
from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.text import phonemes
from tfvoice.text.phonemes import PhonemeError


class PhonemeProsody(NamedTuple):
    """Prosody of the phonemes of an utterance.

    Attributes:
      seconds: float32 `[phonemes]`.
      voiced: float32 `[phonemes]`, the probability of a voice; 0 or 1 in what was measured.
      f0_hz: float32 `[phonemes, values]`, also where there is no voice.
    """

    seconds: np.ndarray
    voiced: np.ndarray
    f0_hz: np.ndarray


class MeasuredProsody(NamedTuple):
    """The prosody of an alignment, and where its F0 was measured: bool `[phonemes, values]`; elsewhere it is filled."""

    prosody: PhonemeProsody
    measured: np.ndarray


def measure(alignment: PhonemeAlignment, sample_rate_hz: int, values: int) -> MeasuredProsody:
    """The prosody of the phonemes of an alignment.

    Args:
      alignment: of an utterance.
      sample_rate_hz: rate of its audio.
      values: points of F0 for each phoneme.
    """
    ends = np.asarray(alignment.ends, np.float64)
    starts = np.concatenate([[0], ends[:-1]])
    share = (np.arange(values) + 0.5) / values
    points = starts[:, np.newaxis] + share * (ends - starts)[:, np.newaxis]
    frames = (points // alignment.frame_samples).astype(int)
    measured = alignment.f0_hz[frames] > 0
    voiced = measured.mean(axis=1) >= 0.5
    seconds = (ends - starts) / sample_rate_hz
    filled = f0.interpolate(alignment.f0_hz)[frames]
    return MeasuredProsody(PhonemeProsody(*(part.astype(np.float32) for part in (seconds, voiced, filled))), measured)


def frame_phonemes(ends: np.ndarray, frame_samples: int) -> np.ndarray:
    """The phoneme in which the middle of each frame lies, int `[frames]`; the last where that is beyond the end."""
    middles = (np.arange(-(-int(ends[-1]) // frame_samples)) + 0.5) * frame_samples
    return np.minimum(np.searchsorted(ends, middles, side="right"), len(ends) - 1)


def frame_f0(ends: np.ndarray, f0_hz: np.ndarray, frame_samples: int) -> np.ndarray:
    """F0 at the middle of each frame, linearly between the points of its phoneme: what `measure` sampled.

    Args:
      ends: end of each phoneme in samples, strictly increasing.
      f0_hz: `[phonemes, values]`.
      frame_samples: samples of a frame.

    Returns:
      float32 `[frames]`.
    """
    phoneme = frame_phonemes(ends, frame_samples)
    starts = np.concatenate([[0], ends[:-1]])
    middles = (np.arange(len(phoneme)) + 0.5) * frame_samples
    values = f0_hz.shape[1]
    share = (middles - starts[phoneme]) / (ends - starts)[phoneme]
    place = np.clip(share * values - 0.5, 0, values - 1)
    before = place.astype(int)
    after = np.minimum(before + 1, values - 1)
    weight = place - before
    return ((1 - weight) * f0_hz[phoneme, before] + weight * f0_hz[phoneme, after]).astype(np.float32)


def is_silence(symbol: str) -> bool:
    """Whether a phoneme is silence."""
    return symbol == phonemes.SILENCE


def symbol_classes(symbols, bases: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Classes of phonemes, as the network takes them.

    Args:
      symbols: phonemes with stress.
      bases: the class of each phoneme without stress.

    Returns:
      Classes without stress, and those of stress: 0 without, else 1 more than the digit. int32 `[phonemes]` each.

    Raises:
      PhonemeError: one is not in `bases`, or its digit is not 0, 1 or 2.
    """
    classes, stresses = [], []
    for symbol in symbols:
        base, stress = phonemes.base(symbol), phonemes.stress(symbol)
        if base not in bases or str(stress or 0) not in phonemes.STRESSES:
            raise PhonemeError(f"{symbol!r} is no phoneme of the network; known: {', '.join(bases)}.")
        classes.append(bases[base])
        stresses.append(0 if stress is None else 1 + stress)
    return np.array(classes, np.int32), np.array(stresses, np.int32)
