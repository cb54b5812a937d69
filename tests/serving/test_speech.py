"""Speech as a service without HTTP: the samples of the speaker, turns, limits, and what is rejected."""

import asyncio
import threading
import types

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")

import prometheus_client

from tfvoice.audio import io as audio_io
from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.serving import speech as speech_module
from tfvoice.serving.service import RequestError, ServerLimits
from tfvoice.serving.speech import SpeechRequest, SpeechService, UnspokenPart
from tfvoice.tts.voice.speaker import Speaker, SpeechOptions, SpokenSentence

TEXT = "The cat. A dog!"


@pytest.fixture(scope="module")
def speaker(voice_run):
    return Speaker(voice_run, threads=1)


@pytest.fixture
def service(speaker):
    return SpeechService({"noise": speaker}, ServerLimits(max_characters=200))


async def collected(service, request):
    """What will be spoken, and the bytes."""
    speech, *pieces = [piece async for piece in service.speak(request)]
    return speech, b"".join(pieces)


def speak(service, request):
    return asyncio.run(collected(service, request))


def expected(speaker, text, options=SpeechOptions()):  # noqa: B008 - immutable
    """The samples of a text as bytes."""
    parts = []
    for sentence in speaker.sentences(text, options):
        parts += [speaker.pause(options)] if parts else []
        parts.append(speaker.speak(sentence, options))
    return audio_io.to_pcm16(np.concatenate(parts)).astype("<i2").tobytes()


def metric(name):
    return prometheus_client.REGISTRY.get_sample_value(name) or 0


def test_the_audio_is_that_of_the_speaker(service, speaker):
    options = SpeechOptions(speed=2.0, pitch=3.0, temperature=0.5, seed=4)
    before = [metric(name) for name in ("tfvoice_spoken_seconds_total", "tfvoice_first_sound_seconds_count")]
    speech, data = speak(service, SpeechRequest(TEXT, options=options))
    assert data == audio_io.streamed_wav_header(16000, speech.samples) + expected(speaker, TEXT, options)
    assert len(data) - 44 == round(2 * 16000 * speech.seconds) and not speech.unspoken
    after = [metric(name) for name in ("tfvoice_spoken_seconds_total", "tfvoice_first_sound_seconds_count")]
    pause = len(speech.pause) / 16000
    assert after[0] - before[0] == pytest.approx(speech.seconds - pause) and after[1] == before[1] + 1


def test_sixteen_at_once_get_what_each_gets_alone(service, speaker):
    requests = [
        SpeechRequest("A cat. A dog.", options=SpeechOptions(speed=4.0, seed=seed), format="raw") for seed in range(16)
    ]

    async def together():
        return await asyncio.gather(*(collected(service, request) for request in requests))

    for request, (_, data) in zip(requests, asyncio.run(together()), strict=True):
        assert data == expected(speaker, request.text, request.options)
    assert service.waiting == 0


def test_phonemes_are_spoken_as_they_are(service, speaker):
    speech, data = speak(service, SpeechRequest("HH AH0 L OW1", is_phonemes=True, format="raw"))
    assert speech.sentences[0].alignment.phonemes == ["sil", "HH", "AH0", "L", "OW1", "sil"]
    planned = speaker.plan_phonemes("HH AH0 L OW1")
    assert data == audio_io.to_pcm16(speaker.speak(planned)).astype("<i2").tobytes()


def test_what_cannot_be_spoken_is_left_out_and_listed(service):
    text = "A\x00 cat \U0001f600. Привет. A dog."
    speech = service.plan(SpeechRequest(text))
    assert [sentence.text for sentence in speech.sentences] == ["A\x00 cat \U0001f600.", "A dog."]
    assert UnspokenPart("\U0001f600", 7) in speech.unspoken and UnspokenPart("Привет.", 10) in speech.unspoken
    for part in speech.unspoken:
        assert text[part.start :].startswith(part.text)


INVALID = {
    "empty": (SpeechRequest(""), 400, "The text is empty; give some words."),
    "blanks": (SpeechRequest(" \n "), 400, "The text is empty"),
    "a megabyte": (SpeechRequest("a " * 2**19), 413, "longer than 200 characters; send it in parts"),
    "phonemes of a megabyte": (SpeechRequest("S " * 2**19, is_phonemes=True), 413, "longer than 200 characters"),
    "control characters": (SpeechRequest("\x00\x07\x1b"), 400, "Nothing in the text can be spoken"),
    "a lone surrogate": (SpeechRequest("\ud800"), 400, "Nothing in the text can be spoken"),
    "another language": (SpeechRequest("Привет, мир."), 400, "is it of another language"),
    "an unknown phoneme": (SpeechRequest("HH QQ", is_phonemes=True), 400, "'QQ' is no phoneme"),
    "an unknown phoneme in a text": (SpeechRequest("A cat. Say {QQ}."), 400, "'QQ' is no phoneme"),
    "no phonemes": (SpeechRequest("sil", is_phonemes=True), 400, "no phonemes to speak"),
    "another voice": (SpeechRequest("A cat.", voice="anna"), 404, "There is no such voice; use noise"),
}


@pytest.mark.parametrize(("request_", "status", "sentence"), INVALID.values(), ids=INVALID)
def test_what_cannot_be_spoken_at_all_is_rejected(service, request_, status, sentence):
    with pytest.raises(RequestError, match=sentence) as rejected:
        speak(service, request_)
    assert rejected.value.status == status
    # Its place in the queue is free again.
    assert service._active == 0


def test_a_sentence_that_takes_too_long_is_rejected(service, monkeypatch):
    monkeypatch.setattr(speech_module, "_MAX_SENTENCE_SECONDS", 0.5)
    with pytest.raises(RequestError, match=r"A sentence takes \d+ s, and 0.5 s are possible") as rejected:
        service.plan(SpeechRequest("A cat and a dog and a cat.", options=SpeechOptions(speed=0.25)))
    assert rejected.value.status == 413


def test_a_phoneme_that_the_network_lacks_is_named_without_the_folder(service, speaker, monkeypatch):
    known = {name: number for name, number in speaker._predictor._bases.items() if name != "ZH"}
    monkeypatch.setattr(speaker._predictor, "_bases", known)
    with pytest.raises(RequestError, match=r"^'ZH' is no phoneme of the network"):
        service.plan(SpeechRequest("ZH AH0", is_phonemes=True))


class FakeSpeaker:
    """Speaks a second of zeros for each sentence, in blocks of a tenth; each waits until it may be made."""

    def __init__(self, allowed):
        self.voice = types.SimpleNamespace(sample_rate_hz=1000, duration_f0=types.SimpleNamespace(run_dir="x"))
        self.started, self.made, self.allowed = [], 0, threading.Semaphore(allowed)

    def plan(self, text, options):
        return SpokenSentence(text, [], PhonemeAlignment(["sil"], np.array([1000]), np.zeros(10), 100))

    sentences = Speaker.sentences

    def pause(self, options):
        return np.zeros(100, np.float32)

    def stream(self, sentence, options):
        self.started.append(sentence.text)
        for _ in range(10):
            assert self.allowed.acquire(timeout=60)
            self.made += 1
            yield np.zeros(100, np.float32)


def fake_service(allowed, max_waiting=9):
    speaker = FakeSpeaker(allowed)
    return SpeechService({"fake": speaker}, ServerLimits(max_waiting=max_waiting)), speaker


async def until(condition):
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come true")


def test_closing_stops_the_synthesis_within_a_block():
    service, speaker = fake_service(3)

    async def run():
        made = service.speak(SpeechRequest("One. Two.", format="raw"))
        await anext(made)
        while not await anext(made):
            pass
        await until(lambda: speaker.made == 3)
        await made.aclose()
        speaker.allowed.release(20)
        await collected(service, SpeechRequest("Three.", format="raw"))

    asyncio.run(run())
    # One more block is made before the worker sees it; the second sentence is never begun.
    assert speaker.started == ["One.", "Three."] and speaker.made <= 14 and service._active == 0


def test_the_next_sentence_waits_until_the_client_has_the_one_before():
    service, speaker = fake_service(100)

    async def run():
        made = service.speak(SpeechRequest("One. Two.", format="raw"))
        received = 0
        async for piece in made:
            received += len(piece) if isinstance(piece, bytes) else 0
            if 0 < received < 2000:
                await asyncio.sleep(0.02)
                assert speaker.started == ["One."]
        assert received == 2 * (2 * 1000 + 100)

    asyncio.run(run())


def test_sentences_of_several_texts_take_turns():
    service, speaker = fake_service(0)

    async def run():
        texts = ["A1. A2. A3.", "B1. B2.", "C1."]
        tasks = []
        for text in texts:
            tasks.append(asyncio.create_task(collected(service, SpeechRequest(text, format="raw"))))
            await until(lambda: len(speaker.started) + service.waiting == len(tasks))
        assert speaker.started == ["A1.", "B1."] and metric("tfvoice_sentences_waiting") == 1
        speaker.allowed.release(60)
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert speaker.started.index("C1.") == 2 and len(speaker.started) == 6


def test_more_requests_than_there_is_room_for_are_rejected():
    service, speaker = fake_service(0, max_waiting=1)

    async def run():
        accepted = [asyncio.create_task(collected(service, SpeechRequest("One.", format="raw"))) for _ in range(3)]
        await until(lambda: service._active == 3)
        with pytest.raises(RequestError, match="queue is full") as rejected:
            await collected(service, SpeechRequest("One."))
        assert rejected.value.status == 429
        speaker.allowed.release(30)
        await asyncio.gather(*accepted)
        speaker.allowed.release(10)
        await collected(service, SpeechRequest("One."))

    asyncio.run(run())


def test_an_error_in_a_worker_reaches_the_client_and_frees_the_thread():
    service, speaker = fake_service(100)
    stream = speaker.stream

    def broken(sentence, options):
        yield from list(stream(sentence, options))[:2]
        raise ValueError("broken")

    async def run():
        for _ in range(3):
            with pytest.raises(ValueError, match="broken"):
                await collected(service, SpeechRequest("One.", format="raw"))
        speaker.stream = stream
        await collected(service, SpeechRequest("One.", format="raw"))

    speaker.stream = broken
    asyncio.run(run())


def test_the_warm_up_uses_every_voice(speaker):
    service = SpeechService({"one": speaker, "two": speaker}, ServerLimits())
    assert service.warm_up() > 0
    assert service.grace_seconds(0.01) == 0.01 * 5000 * 258 / 2
