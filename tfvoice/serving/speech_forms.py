"""The wire forms of `POST /speak`: its JSON, its headers, and speech as JSON that is written while it is made."""

import base64
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import numpy as np

from tfvoice.audio import encoder
from tfvoice.serving import json_body
from tfvoice.serving.service import RequestError
from tfvoice.serving.speech import PlannedSpeech, SpeechRequest
from tfvoice.text.phonemes import SILENCE
from tfvoice.tts.duration_f0 import prosody
from tfvoice.tts.voice.speaker import PITCHES, SEEDS, SPEEDS, TEMPERATURES, SpeechOptions, SpokenSentence

# Speech as an object with its phonemes; the audio in it is WAV.
JSON = "json"
FORMATS = (*(name for name in encoder.FORMATS if name != "pcm"), JSON)
_FIELDS = ("text", "phonemes", "voice", "speed", "pitch", "temperature", "seed", "format")
# Of what is left out of a text, in a header.
_LISTED = 20
_CHARACTERS = 40


def parse(body: bytes) -> tuple[SpeechRequest, str]:
    """The request in a body, and its format, one of `FORMATS`; raises `RequestError` where it is not valid."""
    values = json_body.parse(body, _FIELDS)
    text, phonemes = (json_body.text(values, name) for name in ("text", "phonemes"))
    if (text is None) == (phonemes is None):
        raise RequestError(400, 'A request must have either "text" or "phonemes".', "text")
    format = json_body.one_of(values, "format", FORMATS, "wav")
    audio_format = "wav" if format == JSON else format
    chosen = text if phonemes is None else phonemes
    voice = json_body.text(values, "voice")
    return SpeechRequest(chosen, phonemes is not None, voice, options(values), audio_format), format


def options(values: dict[str, Any]) -> SpeechOptions:
    """The options in a request."""
    default = SpeechOptions()
    return SpeechOptions(
        json_body.number(values, "speed", SPEEDS, default.speed),
        json_body.number(values, "pitch", PITCHES, default.pitch),
        json_body.number(values, "temperature", TEMPERATURES, default.temperature),
        json_body.integer(values, "seed", SEEDS, default.seed),
    )


def headers(speech: PlannedSpeech) -> dict[str, str]:
    """Headers of a response: length, voice, how many parts of the text are left out, and the first of them as JSON."""
    found = {"Speech-Seconds": f"{speech.seconds:.3f}", "Speech-Voice": json.dumps(speech.voice)}
    if speech.unspoken:
        first = [[part.text[:_CHARACTERS], part.start] for part in speech.unspoken[:_LISTED]]
        found |= {"Speech-Unspoken-Count": str(len(speech.unspoken)), "Speech-Unspoken": json.dumps(first)}
    return found


async def as_json(speech: PlannedSpeech, audio: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """Speech as one JSON object, whose last member is the audio in base64: what is before it is known at once."""
    head = json.dumps(describe(speech))
    yield f'{head[:-1]}, "audio": "'.encode()
    rest = b""
    async with contextlib.aclosing(audio) as blocks:
        async for block in blocks:
            rest += block
            # Three bytes are four characters.
            whole = len(rest) - len(rest) % 3
            yield base64.b64encode(rest[:whole])
            rest = rest[whole:]
    yield base64.b64encode(rest) + b'"}\n'


def describe(speech: PlannedSpeech) -> dict[str, Any]:
    """What is spoken: words and phonemes with their times, and F0; what is left out."""
    words, phonemes, contours, start = [], [], [], 0
    rate_hz = speech.sample_rate_hz
    frame_samples = speech.sentences[0].alignment.frame_samples
    for number, sentence in enumerate(speech.sentences):
        if number:
            phonemes.append(_timed(SILENCE, start, start + len(speech.pause), rate_hz))
            contours.append(np.zeros(len(speech.pause) // frame_samples))
            start += len(speech.pause)
        bounds = start + np.concatenate([[0], sentence.alignment.ends])
        phonemes += [
            _timed(phoneme, *bounds[place : place + 2], rate_hz)
            for place, phoneme in enumerate(sentence.alignment.phonemes)
        ]
        words += _timed_words(sentence, bounds, rate_hz)
        contours.append(sentence.alignment.f0_hz)
        start = int(bounds[-1])
    return {
        "voice": speech.voice,
        "sample_rate_hz": rate_hz,
        "seconds": round(speech.seconds, 4),
        "words": [{"word": name, "start": first, "end": last} for name, first, last in words],
        "phonemes": [{"phoneme": name, "start": first, "end": last} for name, first, last in phonemes],
        "frame_seconds": frame_samples / rate_hz,
        "f0_hz": [round(float(value), 1) for value in np.concatenate(contours)],
        "unspoken": [part._asdict() for part in speech.unspoken],
    }


def _timed_words(sentence: SpokenSentence, bounds: np.ndarray, rate_hz: int) -> list[tuple[str, float, float]]:
    """The words of a sentence: their phonemes are those of its alignment in order, silence apart."""
    places = [place for place, symbol in enumerate(sentence.alignment.phonemes) if not prosody.is_silence(symbol)]
    words, taken = [], 0
    for word in sentence.words:
        count = sum(not prosody.is_silence(symbol) for symbol in word.phonemes)
        if count:
            first, last = places[taken], places[taken + count - 1]
            words.append(_timed(word.word, bounds[first], bounds[last + 1], rate_hz))
            taken += count
    return words


def _timed(name: str, start: int, end: int, rate_hz: int) -> tuple[str, float, float]:
    return name, round(int(start) / rate_hz, 4), round(int(end) / rate_hz, 4)
