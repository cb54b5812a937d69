"""The wire forms of speech: requests, headers, and JSON that is written while it is made."""

import asyncio
import base64
import itertools
import json

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")

from tfvoice.audio import io as audio_io
from tfvoice.serving import speech_forms
from tfvoice.serving.service import RequestError, ServerLimits
from tfvoice.serving.speech import SpeechRequest, SpeechService
from tfvoice.tts.voice.speaker import Speaker, SpeechOptions


@pytest.fixture(scope="module")
def service(voice_run):
    return SpeechService({"noise": Speaker(voice_run, threads=1)}, ServerLimits())


def parse(**values):
    return speech_forms.parse(json.dumps(values).encode())


def test_a_request_has_a_text_or_phonemes_and_options():
    assert parse(text="A cat.") == (SpeechRequest("A cat."), "wav")
    options = SpeechOptions(2.0, -3.0, 0.5, 7)
    asked = parse(phonemes="S", voice="anna", speed=2, pitch=-3, temperature=0.5, seed=7, format="json")
    assert asked == (SpeechRequest("S", True, "anna", options, "wav"), "json")


INVALID = {
    "no text": ({}, 'either "text" or "phonemes"'),
    "both": ({"text": "a", "phonemes": "S"}, 'either "text" or "phonemes"'),
    "a number": ({"text": 3}, "text must be a string"),
    "speed": ({"text": "a", "speed": 5}, r"speed must be a number from 0\.25 to 4"),
    "pitch": ({"text": "a", "pitch": "high"}, "pitch must be a number from -12 to 12"),
    "temperature": ({"text": "a", "temperature": 0}, r"temperature must be a number from 0\.0001 to 2"),
    "seed": ({"text": "a", "seed": 1.5}, "seed must be an integer from 0 to 2147483647"),
    "format": ({"text": "a", "format": "pcm"}, "format must be one of wav, raw, flac, mp3, opus, json"),
    "voice": ({"text": "a", "voice": ["x"]}, "voice must be a string"),
    "another name": ({"txt": "a"}, "There is no 'txt' in a request; did you mean text"),
}


@pytest.mark.parametrize(("values", "sentence"), INVALID.values(), ids=INVALID)
def test_another_request_is_rejected(values, sentence):
    with pytest.raises(RequestError, match=sentence) as rejected:
        parse(**values)
    assert rejected.value.status == 400


def test_headers_list_what_is_left_out_in_ascii(service):
    assert "Speech-Unspoken" not in speech_forms.headers(service.plan(SpeechRequest("A cat.")))
    headers = speech_forms.headers(service.plan(SpeechRequest("A cat \U0001f600\r\n" + "Привет. " * 30)))
    assert headers["Speech-Unspoken-Count"] == "31" and float(headers["Speech-Seconds"]) > 0.1
    found = json.loads(headers["Speech-Unspoken"])
    assert found[0] == ["\U0001f600", 6] and len(found) == 20
    for value in headers.values():
        value.encode("ascii")
        assert value.isprintable()


def test_json_has_words_and_phonemes_at_their_times(service):
    async def collected():
        made = service.speak(SpeechRequest("The cat, a zzyzx. {S AH0} dog."))
        speech = await anext(made)
        return speech, [piece async for piece in speech_forms.as_json(speech, made)]

    speech, pieces = asyncio.run(collected())
    content = json.loads(b"".join(pieces))
    data = base64.b64decode(content["audio"], validate=True)
    assert data[:44] == audio_io.streamed_wav_header(16000, speech.samples)
    samples = (len(data) - 44) // 2
    phonemes, words = content["phonemes"], content["words"]
    assert content["seconds"] == pytest.approx(samples / 16000, abs=1e-4) and content["sample_rate_hz"] == 16000
    expected = "sil DH AH0 K AE1 T sil AH0 sil sil sil S AH0 D AO1 G sil"
    assert " ".join(phoneme["phoneme"] for phoneme in phonemes) == expected
    assert phonemes[0]["start"] == 0 and phonemes[-1]["end"] == pytest.approx(samples / 16000, abs=1e-4)
    for one, other in itertools.pairwise(phonemes):
        assert one["end"] == other["start"]
    assert [word["word"] for word in words] == ["the", "cat", "a", "S AH0", "dog"]
    for word, (first, last) in zip(words, ((1, 2), (3, 5), (7, 7), (11, 12), (13, 15)), strict=True):
        assert (word["start"], word["end"]) == (phonemes[first]["start"], phonemes[last]["end"])
    assert len(content["f0_hz"]) * content["frame_seconds"] == pytest.approx(samples / 16000)
    assert content["unspoken"] == [{"text": "zzyzx", "start": 11}]
    # What is known is sent before the audio.
    assert b'"f0_hz"' in pieces[0] and len(pieces) > 3
