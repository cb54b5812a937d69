"""The wire forms of OpenAI's API: what clients send works as it is, and what is not possible gets a sentence."""

import asyncio
import base64
import json

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")

from tfvoice.asr.transcript import Transcript, Word
from tfvoice.serving import openai_forms
from tfvoice.serving.openai_forms import TranscriptionRequest
from tfvoice.serving.service import RequestError
from tfvoice.serving.speech import SpeechRequest
from tfvoice.tts.voice.speaker import SpeechOptions

VOICES = ("mary", "anna")
SPEECH = {"model": "tts-1", "input": "A cat.", "voice": "alloy"}


def parse(**changed):
    values = {name: value for name, value in (SPEECH | changed).items() if value is not ...}
    return openai_forms.parse_speech(json.dumps(values).encode(), VOICES)


def test_names_of_openai_mean_the_first_voice_and_ours_are_ours():
    assert parse() == (SpeechRequest("A cat.", format="mp3"), False)
    assert parse(voice="anna")[0].voice == "anna" and parse(voice={"id": "anna"})[0].voice == "anna"
    assert parse(model="anna")[0].voice == "anna" and parse(model="anna", voice="mary")[0].voice == "mary"
    # Unknown: the service says which there are.
    assert parse(voice="bertha")[0].voice == "bertha"
    own = openai_forms.parse_speech(json.dumps(SPEECH).encode(), ("mary", "alloy"))
    assert own[0].voice == "alloy"


def test_options_and_formats():
    asked, events = parse(
        response_format="pcm", speed=4, stream_format="sse", instructions="Be glad.", seed=3, pitch=1, temperature=1
    )
    assert asked == SpeechRequest("A cat.", options=SpeechOptions(4.0, 1.0, 1.0, 3), format="pcm") and events


INVALID = {
    "no input": ({"input": ...}, 400, "input", "The request has no 'input'"),
    "no voice": ({"voice": None}, 400, "voice", "The request has no 'voice'"),
    "a number": ({"input": 3}, 400, "input", "input must be a string"),
    "another model": ({"model": "gpt-9"}, 404, "model", "no such model; use mary or anna or tts-1"),
    "aac": ({"response_format": "aac"}, 400, "response_format", "use mp3, opus, flac, wav, pcm"),
    "speed": ({"speed": 5}, 400, "speed", r"from 0\.25 to 4"),
    "stream_format": ({"stream_format": "x"}, 400, "stream_format", "one of audio, sse"),
    "voice": ({"voice": 3}, 400, "voice", "voice must be a name"),
    "another name": ({"inputs": "x"}, 400, "inputs", "did you mean input"),
}


@pytest.mark.parametrize(("changed", "status", "field", "sentence"), INVALID.values(), ids=INVALID)
def test_another_request_for_speech_is_rejected(changed, status, field, sentence):
    with pytest.raises(RequestError, match=sentence) as rejected:
        parse(**changed)
    assert (rejected.value.status, rejected.value.field) == (status, field)


def test_events_hold_the_audio():
    async def collected():
        async def audio():
            for block in (b"abc", b"", b"d"):
                yield block

        return b"".join([event async for event in openai_forms.events(audio())])

    events = asyncio.run(collected()).decode()
    assert events.endswith("\n\n")
    found = [json.loads(event.removeprefix("data: ")) for event in events.strip().split("\n\n")]
    assert [event["type"] for event in found] == ["speech.audio.delta", "speech.audio.delta", "speech.audio.done"]
    assert b"".join(base64.b64decode(event.get("audio", "")) for event in found) == b"abcd"


def test_a_form_has_a_model_and_a_format():
    def form(**fields):
        return openai_forms.parse_transcription({"model": ["whisper-1"]} | fields, "english")

    assert form() == TranscriptionRequest() == form(model=["english"], prompt=["x"], temperature=["0.2"])
    asked = form(**{"response_format": ["verbose_json"], "timestamp_granularities[]": ["word"], "language": ["en"]})
    assert asked == TranscriptionRequest("verbose_json", ("word",), "en")
    invalid = {
        "no such model": {"model": ["whisper-9"]},
        "not streamed": {"stream": ["true"]},
        "include": {"include[]": ["logprobs"]},
        "use json, text, srt, verbose_json, vtt": {"response_format": ["diarized_json"]},
        "need response_format=verbose_json": {"timestamp_granularities[]": ["word"]},
        "segment or word": {"response_format": ["verbose_json"], "timestamp_granularities[]": ["phoneme"]},
    }
    for sentence, fields in invalid.items():
        with pytest.raises(RequestError, match=sentence):
            form(**fields)
    with pytest.raises(RequestError, match="The form has no 'model'"):
        openai_forms.parse_transcription({}, "english")


WORDS = [Word("hello", 0.1, 0.5, 0.9), Word("there", 0.6, 1.0, 0.8), Word("world", 5.0, 5.5, 0.5)]
TRANSCRIPT = Transcript(6.0, "hello there world", 0.7, WORDS)


def test_a_transcript_in_each_format():
    def written(format, *granularities):
        return openai_forms.transcription(TranscriptionRequest(format, granularities, "en"), TRANSCRIPT)

    assert json.loads(written("json")[0]) == {"text": "hello there world"}
    assert written("text") == ("hello there world\n", "text/plain")
    assert written("srt")[0].startswith("1\n00:00:00,100 --> ") and written("vtt")[0].startswith("WEBVTT\n")
    both = json.loads(written("verbose_json", "word", "segment")[0])
    assert (both["task"], both["language"], both["duration"], both["text"]) == (
        "transcribe", "en", 6.0, "hello there world"
    )  # fmt: skip
    assert both["words"][2] == {"word": "world", "start": 5.0, "end": 5.5, "confidence": 0.5}
    assert [segment["text"] for segment in both["segments"]] == ["hello there", "world"]
    assert both["segments"][0]["avg_logprob"] == pytest.approx(-0.1643, abs=1e-3)
    assert "words" not in json.loads(written("verbose_json", "segment")[0])
    assert "segments" not in json.loads(written("verbose_json", "word")[0])


def test_silence_has_neither_words_nor_segments():
    asked = TranscriptionRequest("verbose_json", ("word", "segment"))
    content = json.loads(openai_forms.transcription(asked, Transcript(1.0, "", None, []))[0])
    assert (content["text"], content["words"], content["segments"], content["language"]) == ("", [], [], "unknown")
