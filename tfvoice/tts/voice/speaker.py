"""Speaking: text to phonemes, to durations and F0, to samples, sentence by sentence.

A sentence is spoken alone: whatever stands before it, its samples are the same. Long texts take no more memory than
their longest sentence.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfvoice.audio import f0
from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.errors import TfvoiceError
from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES
from tfvoice.text.english.sentences import sentences
from tfvoice.text.phonemes import SILENCE, PhonemeError
from tfvoice.tts import align
from tfvoice.tts.duration_f0 import prosody
from tfvoice.tts.duration_f0.predict import ProsodyPredictor
from tfvoice.tts.pronounce import PronouncedWord
from tfvoice.tts.vocoder import conditioning
from tfvoice.tts.vocoder.synthesis import Synthesizer
from tfvoice.tts.voice.run import VoiceRun

# From the slowest to the fastest speech that is still speech, and two octaves of pitch.
SPEEDS = (0.25, 4.0)
PITCHES = (-12.0, 12.0)
TEMPERATURES = (1e-4, 2.0)
SEEDS = (0, 2**31 - 1)


class SpeechOptions(NamedTuple):
    """How something is spoken.

    Attributes:
      speed: factor of the speed; 2 takes half the time.
      pitch: semitones that F0 is moved by.
      temperature: divisor of the logits; None: that of the voice.
      seed: of the random numbers. The same seed gives the same samples.
    """

    speed: float = 1.0
    pitch: float = 0.0
    temperature: float | None = None
    seed: int = 0


class SpokenSentence(NamedTuple):
    """What is to be spoken.

    Attributes:
      text: as it is written; "" for phonemes.
      words: of the text, pauses included, those that cannot be spoken as well; empty for phonemes.
      alignment: its phonemes with their ends in samples, and F0.
      start: where it begins in a longer text, in characters.
    """

    text: str
    words: list[PronouncedWord]
    alignment: PhonemeAlignment
    start: int = 0

    @property
    def unspoken(self) -> list[PronouncedWord]:
        """The words without phonemes, and the parts that are no words."""
        return [word for word in self.words if not word.phonemes]


class UnspeakableSentence(NamedTuple):
    """A sentence of which nothing can be spoken.

    Attributes:
      text: as it is written.
      start: where it begins in a longer text, in characters.
      error: why.
    """

    text: str
    start: int
    error: TfvoiceError


class Speaker:
    """Speaks with a voice.

    Args:
      voice: with its weights.
      threads: of the vocoder; None: what is fastest for one sentence at a time.
    """

    def __init__(self, voice: VoiceRun, threads: int | None = None):
        self.voice = voice
        self._predictor = ProsodyPredictor(voice.duration_f0)
        self._synthesizer = Synthesizer(voice.vocoder, threads)

    def plan(self, text: str, options: SpeechOptions = SpeechOptions()) -> SpokenSentence:  # noqa: B008 - immutable
        """The phonemes of a sentence, with the durations and F0 that the voice predicts.

        Args:
          text: a sentence, perhaps with phonemes in braces; its words without phonemes are left out, see
            `SpokenSentence.unspoken`.
          options: how it is spoken.

        Raises:
          PhonemeError: braces hold what is no phoneme of the voice.
          TfvoiceError: nothing in it can be spoken, or an option is out of range.
        """
        words = self.voice.sources.pronouncer.pronounce(text, pauses=True)
        symbols = [symbol for word in words for symbol in word.phonemes]
        if all(map(prosody.is_silence, symbols)):
            raise TfvoiceError(_nothing_to_speak(text, words))
        return SpokenSentence(text, words, self._predicted(symbols, options))

    def plan_phonemes(self, text: str, options: SpeechOptions = SpeechOptions()) -> SpokenSentence:  # noqa: B008
        """As `plan`, of phonemes as in `HH AH0 L OW1`, with `sil` for a pause.

        Raises:
          PhonemeError: there are none, or one that the voice does not know.
        """
        parse, symbols = self.voice.sources.lexicon.inventory.parse, []
        for pause, group in itertools.groupby(text.split(), key=lambda symbol: symbol.lower() == SILENCE):
            symbols += [SILENCE] if pause else parse(" ".join(group))
        if all(map(prosody.is_silence, symbols)):
            raise PhonemeError("There are no phonemes to speak; give some, such as HH AH0 L OW1.")
        return SpokenSentence("", [], self._predicted(symbols, options))

    def plan_copy(self, samples: np.ndarray, text: str, name: str, options: SpeechOptions = SpeechOptions()):  # noqa: B008
        """As `plan`, with the durations and F0 of a recording of the text.

        Args:
          samples: of the recording, float32 `[samples]` at the rate of the voice.
          text: what is spoken in it.
          name: of the recording, for messages.
          options: how it is spoken.

        Raises:
          TfvoiceError: the recording has no speech, or none of this text; or as `plan`.
        """
        words = self.voice.sources.pronouncer.pronounce(text, pauses=True)
        found = align.align_clip(self.voice.segmentation, samples, text, name)
        contour = f0.estimate(samples, self.voice.sample_rate_hz, self.voice.config.f0)
        if not contour.any():
            raise TfvoiceError(f"{name}: has no speech, no F0 was found in it; give a recording of a voice.")
        measured = PhonemeAlignment(found.phonemes, found.ends, contour, FRAME_SAMPLES)
        return SpokenSentence(text, words, retimed(measured, options))

    def sentences(
        self,
        text: str | Iterable[str],
        options: SpeechOptions = SpeechOptions(),  # noqa: B008
    ) -> Iterator[SpokenSentence | UnspeakableSentence]:
        """The sentences of a text, or of its parts such as lines.

        Raises:
          PhonemeError: braces hold what is no phoneme of the voice.
        """
        for sentence in sentences(text):
            try:
                yield self.plan(sentence.text, options)._replace(start=sentence.start)
            except PhonemeError:
                raise
            except TfvoiceError as error:
                yield UnspeakableSentence(sentence.text, sentence.start, error)

    def stream(self, sentence: SpokenSentence, options: SpeechOptions = SpeechOptions()) -> Iterator[np.ndarray]:  # noqa: B008
        """Samples a sentence in blocks, float32 `[samples]` in -1 to 1; their concatenation does not depend on them."""
        vocoder = self.voice.vocoder
        silence = vocoder.sizes.silence
        frames = conditioning.frames(sentence.alignment, vocoder.bases, vocoder.statistics, silence)
        temperature = self.voice.config.speaking.temperature if options.temperature is None else options.temperature
        yield from self._synthesizer.stream(frames, temperature, options.seed)

    def speak(self, sentence: SpokenSentence, options: SpeechOptions = SpeechOptions()) -> np.ndarray:  # noqa: B008
        """As `stream`, in one piece."""
        return np.concatenate(list(self.stream(sentence, options)))

    def pause(self, options: SpeechOptions = SpeechOptions()) -> np.ndarray:  # noqa: B008
        """The silence between two sentences, whole frames of it."""
        seconds = self.voice.config.speaking.pause_seconds / options.speed
        frames = round(seconds * self.voice.sample_rate_hz / FRAME_SAMPLES)
        return np.zeros(frames * FRAME_SAMPLES, np.float32)

    def _predicted(self, symbols: Sequence[str], options: SpeechOptions) -> PhonemeAlignment:
        """Phonemes with predicted durations and F0, with silence at both ends, and one of several in a row."""
        chosen = [SILENCE]
        for symbol in (*symbols, SILENCE):
            if not (prosody.is_silence(symbol) and prosody.is_silence(chosen[-1])):
                chosen.append(symbol)
        (predicted,) = self._predictor.predict([chosen])
        ends = np.rint(np.cumsum(predicted.seconds.astype(np.float64)) * self.voice.sample_rate_hz).astype(np.int64)
        contour = prosody.frame_f0(ends, predicted.f0_hz, FRAME_SAMPLES)
        voiced = predicted.voiced[prosody.frame_phonemes(ends, FRAME_SAMPLES)] >= 0.5
        return retimed(PhonemeAlignment(chosen, ends, np.where(voiced, contour, 0), FRAME_SAMPLES), options)


def check(options: SpeechOptions) -> None:
    """Raises `TfvoiceError` where an option is out of range."""
    ranges = {"speed": SPEEDS, "pitch": PITCHES, "temperature": TEMPERATURES, "seed": SEEDS}
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            raise TfvoiceError(f"{name}={value:g} is out of range; choose {low:g} to {high:g}.")


def retimed(alignment: PhonemeAlignment, options: SpeechOptions) -> PhonemeAlignment:
    """An alignment at another speed and pitch, with whole frames; each phoneme keeps a sample at least."""
    ends = np.rint(alignment.ends / options.speed).astype(np.int64)
    places = np.arange(1, len(ends) + 1)
    ends = np.maximum.accumulate(ends - places).clip(0) + places
    frames = -(-int(ends[-1]) // FRAME_SAMPLES)
    ends[-1] = frames * FRAME_SAMPLES
    source = ((np.arange(frames) + 0.5) * options.speed).astype(int)
    contour = alignment.f0_hz[np.minimum(source, len(alignment.f0_hz) - 1)] * 2 ** (options.pitch / 12)
    return PhonemeAlignment(list(alignment.phonemes), ends, contour.astype(np.float32), FRAME_SAMPLES)


def _nothing_to_speak(text: str, words: list[PronouncedWord]) -> str:
    unspoken = next((word for word in words if not word.phonemes), None)
    if unspoken is None:
        return "The text is empty; give some words."
    fact = f"the first is {unspoken.word[:40]!r} at character {unspoken.start + 1}"
    return f"Nothing in the text can be spoken by this voice, {fact}; is it of another language?"
