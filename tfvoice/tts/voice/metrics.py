"""How well a voice is understood: error rates of a recogniser on its speech; and how fast it speaks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tfvoice.asr import metrics
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.transcribe import Transcriber


class Listener:
    """A recogniser that transcribes speech which is in no records, by greedy decoding.

    Args:
      recognizer: with its weights.
    """

    def __init__(self, recognizer: Recognizer):
        self._transcriber, self._alphabet = Transcriber(recognizer), recognizer.alphabet

    def transcribe(self, waves: Sequence[np.ndarray], sample_rate_hz: int) -> list[str]:
        """The text of each wave, float32 `[samples]` at any rate; that of an empty one is empty."""
        filled = [place for place, wave in enumerate(waves) if len(wave)]
        found = self._transcriber.transcribe_batch([waves[place] for place in filled], sample_rate_hz)
        texts = {place: transcript.text for place, transcript in zip(filled, found, strict=True)}
        return [texts.get(place, "") for place in range(len(waves))]

    def error_rates(self, references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, Any]:
        """`cer` and `wer` as `asr.metrics.summarise` gives them; references are spelled as the recogniser does."""
        pairs = [
            (self._alphabet.normalise(text), hypothesis)
            for text, hypothesis in zip(references, hypotheses, strict=True)
        ]
        return {
            "cer": metrics.summarise([metrics.character_errors(*pair) for pair in pairs]),
            "wer": metrics.summarise([metrics.word_errors(*pair) for pair in pairs]),
        }


class Timing(NamedTuple):
    """The time that speaking a sentence took, text analysis included, in seconds.

    Attributes:
      speech: length of what was spoken.
      taken: until the last sample.
      first: until the first samples.
    """

    speech: float
    taken: float
    first: float


def speed(timings: Sequence[Timing]) -> dict[str, float]:
    """How many times faster than real time, over all sentences; and the median time to the first sound."""
    taken = sum(each.taken for each in timings)
    return {
        "times_real_time": sum(each.speech for each in timings) / max(taken, 1e-9),
        "first_sound_seconds": float(np.median([each.first for each in timings])) if timings else 0.0,
    }
