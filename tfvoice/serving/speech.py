"""Speech synthesis as a service, without HTTP: requests to sentences to encoded audio, while it is made.

A text is planned at once, before anything is sent: its phonemes, durations and F0, and whatever is wrong with it. Its
sentences are then sampled one after the other, each in a worker thread with a place in one queue for all requests, so
that long texts and short ones take turns. What a client does not fetch is not made: the next sentence waits until the
one before it is sent.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import prometheus_client

from tfvoice.audio.encoder import AudioEncoder
from tfvoice.errors import TfvoiceError
from tfvoice.serving.service import BUSY, RequestError, ServerLimits
from tfvoice.tts.voice.speaker import SPEEDS, Speaker, SpeechOptions, SpokenSentence, UnspeakableSentence

# Sentences that are sampled at a time, on one thread each.
_WORKERS = 2
# Of a sentence; its conditioning takes 1.3 MB a second with the smallest vocoder.
_MAX_SENTENCE_SECONDS = 120.0
_WARM_UP_TEXT = "Hello, this is a test. The word zyzzyvix is in no lexicon."
_SPOKEN_SECONDS = prometheus_client.Counter("tfvoice_spoken_seconds", "Seconds of speech that were made.")
_FIRST_SOUND_SECONDS = prometheus_client.Histogram(
    "tfvoice_first_sound_seconds",
    "Seconds from a request to the first samples of its speech.",
    buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, float("inf")),
)
_WAITING = prometheus_client.Gauge("tfvoice_sentences_waiting", "Sentences that wait for a thread to be spoken.")


class SpeechRequest(NamedTuple):
    """What is to be spoken.

    Attributes:
      text: a text, or phonemes such as `HH AH0 L OW1`.
      is_phonemes: which of them it is.
      voice: name of a voice; None: the first.
      options: how it is spoken.
      format: a key of `audio.encoder.FORMATS`.
    """

    text: str
    is_phonemes: bool = False
    voice: str | None = None
    options: SpeechOptions = SpeechOptions()
    format: str = "wav"


class UnspokenPart(NamedTuple):
    """A part of a text that has no phonemes, and where it begins."""

    text: str
    start: int


class PlannedSpeech(NamedTuple):
    """What will be spoken.

    Attributes:
      voice: its name.
      speaker: the voice.
      options: how it is spoken.
      sentences: at least one.
      pause: samples between two sentences.
      unspoken: what is left out.
    """

    voice: str
    speaker: Speaker
    options: SpeechOptions
    sentences: list[SpokenSentence]
    pause: np.ndarray
    unspoken: list[UnspokenPart]

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the voice."""
        return self.speaker.voice.sample_rate_hz

    @property
    def samples(self) -> int:
        """Length of the speech."""
        spoken = sum(int(sentence.alignment.ends[-1]) for sentence in self.sentences)
        return spoken + (len(self.sentences) - 1) * len(self.pause)

    @property
    def seconds(self) -> float:
        """Length of the speech."""
        return self.samples / self.sample_rate_hz


class SpeechService:
    """What the server speaks.

    Args:
      speakers: of one thread each, by the names of their voices; the first is the default.
      limits: of the server.

    Attributes:
      speakers, limits: as given.
      capacity: the most requests at a time.
      waiting: sentences that wait for a thread.
    """

    def __init__(self, speakers: dict[str, Speaker], limits: ServerLimits):
        self.speakers, self.limits = speakers, limits
        self.capacity, self._active, self.waiting = limits.max_waiting + _WORKERS, 0, 0
        # A thread of its own: what cannot be spoken is rejected at once, however long the queue is.
        self._planner = ThreadPoolExecutor(1, "planner")
        self._workers, self._slots = ThreadPoolExecutor(_WORKERS, "speech"), asyncio.Semaphore(_WORKERS)
        _WAITING.set_function(lambda: self.waiting)

    def warm_up(self) -> float:
        """Speaks with each voice, so that no client waits for what is compiled or read at the first time.

        Returns:
          Seconds that the slowest voice takes for a character at the slowest speed.
        """
        slowest = 0.0
        for name in self.speakers:
            speech = self.plan(SpeechRequest(_WARM_UP_TEXT, voice=name))
            start = time.perf_counter()
            for sentence in speech.sentences:
                speech.speaker.speak(sentence)
            slowest = max(slowest, (time.perf_counter() - start) / len(_WARM_UP_TEXT) / SPEEDS[0])
        return slowest

    def grace_seconds(self, seconds_per_character: float) -> float:
        """How long a full queue of the longest texts takes."""
        return seconds_per_character * self.limits.max_characters * self.capacity / _WORKERS

    async def speak(self, request: SpeechRequest) -> AsyncIterator[PlannedSpeech | bytes]:
        """Speaks a text: first what will be spoken, then the encoded audio while it is made.

        Closing the iterator stops the synthesis within a block.

        Raises:
          RequestError: from the first step: the queue is full, or as for `plan`.
        """
        with self._reserve():
            start = time.perf_counter()
            speech = await asyncio.get_running_loop().run_in_executor(self._planner, self.plan, request)
            yield speech
            encoder = AudioEncoder(request.format, speech.sample_rate_hz, speech.samples)
            yield encoder.start()
            for number, sentence in enumerate(speech.sentences):
                if number:
                    yield encoder.encode(speech.pause)
                async with contextlib.aclosing(self._sampled(speech, sentence, encoder)) as blocks:
                    async for block in blocks:
                        if start:
                            _FIRST_SOUND_SECONDS.observe(time.perf_counter() - start)
                            start = 0.0
                        yield block
            yield encoder.finish()

    def plan(self, request: SpeechRequest) -> PlannedSpeech:
        """Finds what will be spoken.

        Raises:
          RequestError: the text is too long, nothing in it can be spoken, it has a phoneme that the voice does not
            know, or there is no such voice.
        """
        name = request.voice or next(iter(self.speakers))
        if name not in self.speakers:
            raise RequestError(404, f"There is no such voice; use {' or '.join(self.speakers)}.", "voice")
        if len(request.text) > self.limits.max_characters:
            fact = f"The text is longer than {self.limits.max_characters} characters"
            raise RequestError(413, f"{fact}; send it in parts.")
        speaker, planned, unspoken = self.speakers[name], [], []
        try:
            if request.is_phonemes:
                planned.append(speaker.plan_phonemes(request.text, request.options))
            else:
                planned, unspoken = _plan_sentences(speaker, request.text, request.options)
        except TfvoiceError as error:
            # A phoneme of the lexicon that the network does not know: its folder is not for clients.
            raise RequestError(400, str(error).removeprefix(f"{speaker.voice.duration_f0.run_dir}: ")) from None
        for sentence in planned:
            seconds = sentence.alignment.ends[-1] / speaker.voice.sample_rate_hz
            if seconds > _MAX_SENTENCE_SECONDS:
                fact = f"A sentence takes {seconds:.0f} s, and {_MAX_SENTENCE_SECONDS:g} s are possible"
                raise RequestError(413, f"{fact}; divide it.")
        pause = speaker.pause(request.options)
        return PlannedSpeech(name, speaker, request.options, planned, pause, unspoken)

    @contextlib.contextmanager
    def _reserve(self) -> Iterator[None]:
        if self._active >= self.capacity:
            raise RequestError(429, BUSY)
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1

    async def _sampled(
        self, speech: PlannedSpeech, sentence: SpokenSentence, encoder: AudioEncoder
    ) -> AsyncIterator[bytes]:
        """The encoded blocks of a sentence, from a worker thread."""
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        loop, blocks, stopped = asyncio.get_running_loop(), asyncio.Queue(), threading.Event()

        def sample() -> None:
            for samples in speech.speaker.stream(sentence, speech.options):
                if stopped.is_set():
                    return
                _SPOKEN_SECONDS.inc(len(samples) / speech.sample_rate_hz)
                loop.call_soon_threadsafe(blocks.put_nowait, encoder.encode(samples))

        def ended(_) -> None:
            self._slots.release()
            blocks.put_nowait(None)

        work = loop.run_in_executor(self._workers, sample)
        work.add_done_callback(ended)
        try:
            while (block := await blocks.get()) is not None:
                yield block
            await work
        finally:
            stopped.set()


def _plan_sentences(
    speaker: Speaker, text: str, options: SpeechOptions
) -> tuple[list[SpokenSentence], list[UnspokenPart]]:
    """The sentences of a text, and what is left out; raises `TfvoiceError` where nothing can be spoken."""
    planned, unspoken, first = [], [], None
    for sentence in speaker.sentences(text, options):
        if isinstance(sentence, UnspeakableSentence):
            first = first or sentence.error
            unspoken.append(UnspokenPart(sentence.text, sentence.start))
            continue
        planned.append(sentence)
        unspoken += [UnspokenPart(word.word, sentence.start + word.start) for word in sentence.unspoken]
    if not planned:
        raise first or TfvoiceError("The text is empty; give some words.")
    return planned, unspoken
