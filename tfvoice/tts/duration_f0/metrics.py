"""Errors of predicted prosody: duration in ms, F0 in Hz, voicing; with intervals over utterances."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfvoice import bootstrap
from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.tts.duration_f0 import prosody
from tfvoice.tts.duration_f0.prosody import PhonemeProsody


class ErrorSum(NamedTuple):
    """A sum of errors, and of how many."""

    total: float
    count: int


class ProsodyErrors(NamedTuple):
    """The errors of an utterance.

    Attributes:
      duration_ms: absolute errors of the durations, of all phonemes.
      speech_ms, silence_ms: the same, of phonemes and of silences alone.
      f0_hz: absolute errors of F0 in the frames where it was measured, whatever voicing is predicted. The frames of a
        phoneme are those of its true duration.
      voicing: phonemes whose voicing is right.
    """

    duration_ms: ErrorSum
    speech_ms: ErrorSum
    silence_ms: ErrorSum
    f0_hz: ErrorSum
    voicing: ErrorSum


def errors(alignment: PhonemeAlignment, reference: PhonemeProsody, predicted: PhonemeProsody) -> ProsodyErrors:
    """The errors of an utterance.

    Args:
      alignment: of the utterance.
      reference: from `prosody.measure`.
      predicted: of its phonemes.
    """
    silent = np.array([prosody.is_silence(symbol) for symbol in alignment.phonemes])
    milliseconds = 1000 * np.abs(predicted.seconds - reference.seconds)
    voiced = alignment.f0_hz > 0
    frames_hz = prosody.frame_f0(alignment.ends, predicted.f0_hz, alignment.frame_samples)
    f0_hz = np.abs(frames_hz - alignment.f0_hz)[voiced]
    right = (predicted.voiced >= 0.5) == (reference.voiced >= 0.5)
    parts = (milliseconds, milliseconds[~silent], milliseconds[silent], f0_hz, right)
    return ProsodyErrors(*(ErrorSum(float(part.sum()), len(part)) for part in parts))


def means(found: Sequence[ProsodyErrors]) -> dict[str, float]:
    """The mean of each kind of error over all utterances; 0 where there is none."""
    return {
        name: sum(each.total for each in sums) / max(1, sum(each.count for each in sums))
        for name, sums in zip(ProsodyErrors._fields, zip(*found, strict=True), strict=True)
    }


def intervals(found: Sequence[ProsodyErrors]) -> dict[str, bootstrap.Interval]:
    """95 % bootstrap intervals of `means`, over utterances."""
    columns = zip(ProsodyErrors._fields, zip(*found, strict=True), strict=True)
    return {name: bootstrap.ratio_interval(sums) for name, sums in columns}
