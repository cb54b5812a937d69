"""What a vocoder knows of each frame: the phonemes around it, whether it has a voice, and its F0."""

from typing import NamedTuple

import numpy as np

from tfvoice.audio import f0
from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.models.deep_voice.vocoder import WINDOW
from tfvoice.text.phonemes import SILENCE
from tfvoice.tts.duration_f0 import prosody


class F0Statistics(NamedTuple):
    """Mean and deviation of ln F0 in Hz, of voiced frames: the network sees values normalised by them."""

    log_f0_mean: float
    log_f0_deviation: float


class ConditioningFrames(NamedTuple):
    """The conditioning of an utterance, or of a part of it.

    Attributes:
      phonemes: int16 `[frames, WINDOW]`, classes without stress of the phonemes around each frame's; where there is
        none, the class after the last.
      stresses: int8 `[frames, WINDOW]`: 0 without stress, else 1 more than the digit.
      f0: float32 `[frames, 2]`, ln F0, normalised and filled where there is no voice, and 1 where there is one, else 0.
    """

    phonemes: np.ndarray
    stresses: np.ndarray
    f0: np.ndarray

    def part(self, start: int, end: int) -> "ConditioningFrames":
        """The frames from `start` to `end`."""
        return ConditioningFrames(*(values[start:end] for values in self))


def frames(
    alignment: PhonemeAlignment, bases: dict[str, int], statistics: F0Statistics, silence_frames: int
) -> ConditioningFrames:
    """The conditioning of an utterance.

    Args:
      alignment: phonemes, their ends, and F0 of each frame; 0 where there is no voice.
      bases: class of each phoneme without stress.
      statistics: of the training data.
      silence_frames: frames of silence before the utterance.

    Raises:
      PhonemeError: a phoneme is not in `bases`.
    """
    classes, stresses = prosody.symbol_classes(alignment.phonemes, bases)
    place = prosody.frame_phonemes(alignment.ends, alignment.frame_samples)
    if not prosody.is_silence(alignment.phonemes[0]):
        classes, stresses, place = np.append(bases[SILENCE], classes), np.append(0, stresses), place + 1
    place = np.pad(place, (silence_frames, 0))
    reach = WINDOW // 2
    around = place[:, np.newaxis] + np.arange(WINDOW)
    classes = np.pad(classes, reach, constant_values=len(bases)).astype(np.int16)
    stresses = np.pad(stresses, reach).astype(np.int8)
    f0_hz = np.pad(alignment.f0_hz, (silence_frames, 0))
    filled = f0.interpolate(f0_hz)
    log_f0 = (np.log(np.maximum(filled, 1.0)) - statistics.log_f0_mean) / statistics.log_f0_deviation
    # Where no frame has a voice there is nothing to fill with: the mean.
    log_f0 = np.where(filled > 0, log_f0, 0.0)
    values = np.stack([log_f0, f0_hz > 0], axis=1).astype(np.float32)
    return ConditioningFrames(classes[around], stresses[around], values)
