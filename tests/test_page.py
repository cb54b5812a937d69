"""The web page of the server, and the reports, in a real browser with a clip as its microphone."""

import base64
import io
import json
from pathlib import Path

import pytest
import soundfile
from samples import streaming_export

from tfvoice import checkpoints, tasks
from tfvoice.asr import evaluate
from tfvoice.asr.recognizer import Recognizer
from tfvoice.audio import io as audio_io
from tfvoice.generation import evaluate as generation_evaluate
from tfvoice.generation.generator import Generator

pytest.importorskip("fastapi", reason="needs the extra serve")

from browser import CHROMIUM, Browser
from server import Server, fetch

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")


@pytest.fixture(scope="module")
def port(exported):
    with Server(exported[1]) as server:
        yield server.port


@pytest.fixture(scope="module")
def clip(clips, tmp_path_factory):
    """The longest clip as a WAV file of 48 kHz."""
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    audio_io.write(path, audio_io.read(max(clips.rglob("*.opus"), key=lambda file: file.stat().st_size), 48000), 48000)
    return path


def visit(browser, port):
    browser.open(f"http://127.0.0.1:{port}/")
    browser.wait("state.about !== null")


def open_file(browser, path):
    data = base64.b64encode(path.read_bytes()).decode()
    browser.run(f"fetch('data:audio/any;base64,{data}').then(response => response.blob()).then(openFile)")


def test_a_file_is_shown_as_words_at_their_times(port, clip, tmp_path):
    expected = json.loads(fetch(port, "/transcribe", clip.read_bytes())[1])
    with Browser(tmp_path / "profile") as browser:
        visit(browser, port)
        open_file(browser, clip)
        browser.wait("state.transcript !== null")
        words = browser.run("[...document.querySelectorAll('#text .word')].map(word => word.textContent)")
        assert " ".join(words) == expected["text"]
        assert browser.run("document.querySelectorAll('#times span').length") == len(words) > 1
        has_pixels = "[...$('spectrogram').getContext('2d').getImageData(0, 0, 200, 100).data].some(value => value > 0)"
        assert browser.run(has_pixels) and browser.run("document.documentElement.scrollWidth <= innerWidth")
        browser.run("document.querySelector('#text .word').click()")
        browser.wait("document.querySelector('#text .word.playing') !== null")
        srt = browser.run("post('srt', state.body).then(response => response.text())")
        assert srt.startswith("1\n00:00:")


def test_a_recording_is_transcribed(port, clip, tmp_path):
    seconds = soundfile.info(clip).duration
    with Browser(tmp_path / "profile", microphone=clip) as browser:
        visit(browser, port)
        browser.run("$('record').click()")
        browser.wait("$('record').textContent.startsWith('Stop ·')")
        # The button shows how much audio was recorded, which lags the clock on a busy machine.
        browser.wait(f"parseFloat($('record').textContent.match(/[0-9.]+/)) > {seconds + 0.1}", 120)
        browser.run("$('record').click()")
        browser.wait("state.transcript !== null")
        assert browser.run("state.samples.length / state.rate") >= seconds
        assert browser.run("state.samples.reduce((a, b) => Math.max(a, b))") > 0.05
        assert browser.run("state.transcript.text.length") > 0 and "transcribed in" in browser.run(
            "$('status').textContent"
        )


def test_a_recording_stops_at_the_limit_of_the_server(exported, clip, tmp_path):
    with (
        Server(exported[1], "--max_seconds=2") as server,
        Browser(tmp_path / "profile", microphone=clip) as browser,
    ):
        visit(browser, server.port)
        # Two clicks are one recording.
        browser.run("$('record').click(), $('record').click()")
        browser.wait("state.transcript !== null")
        assert browser.run("state.samples.length / state.rate") == 2
        assert browser.run("$('record').textContent") == "Record"
        open_file(browser, clip)
        assert "longer than 2 s" in browser.run("$('status').textContent")


def test_live_text_appears_while_recording(clip, tmp_path):
    _, model = streaming_export(tmp_path)
    with Server(model) as server, Browser(tmp_path / "profile", microphone=clip) as browser:
        visit(browser, server.port)
        assert "live text" in browser.run("$('about').textContent")
        browser.run("$('record').click()")
        browser.wait("$('result').className === 'live' && $('text').textContent.trim().length > 3")
        assert browser.run("state.stopRecording !== null && getComputedStyle($('actions')).display") == "none"
        browser.run("$('record').click()")
        browser.wait("$('result').className === 'done'")
        assert browser.run("state.transcript.words.length") > 0
        # Firefox captures the microphone at its own rate only. A recording supersedes a file opened meanwhile.
        refuse = "if (this.sampleRate === 8000) throw new Error('another rate'); return create.call(this, stream);"
        browser.run(
            "{ const create = AudioContext.prototype.createMediaStreamSource;"
            f"AudioContext.prototype.createMediaStreamSource = function (stream) {{ {refuse} }} }}"
        )
        browser.run("$('record').click(), openFile(new File([new Uint8Array(999)], 'noise.wav')), 0")
        browser.wait("$('result').className === 'live' && $('text').textContent.trim().length > 3")
        browser.run("$('record').click()")
        browser.wait("$('result').className === 'done'")
        assert browser.run("state.transcript.words.length") > 0 and browser.run("state.rate") == 8000
        means = browser.run("[...resampler(48000, 16000)(Float32Array.from([1, 2, 3, 4, 5, 6]))]")
        assert means == [2, 5] and browser.run("resampler(44100, 16000)(new Float32Array(44100)).length") == 16000


def test_errors_of_the_server_are_shown(port, tmp_path):
    with Browser(tmp_path / "profile", width=390) as browser:
        visit(browser, port)
        browser.run("openFile(new File([new Uint8Array(999)], 'noise.wav'))")
        browser.wait("$('status').classList.contains('error')")
        assert "not an audio file" in browser.run("$('status').textContent")
        # A proxy in front of the server might respond like this.
        browser.run("window.fetch = async () => new Response('<h1>Bad Gateway</h1>', { status: 502 })")
        browser.run("openFile(new File([new Uint8Array(999)], 'noise.wav'))")
        assert browser.run("$('status').textContent") == "The server responded with status 502."
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def test_a_file_that_only_the_server_decodes_is_transcribed(port, clip, tmp_path):
    samples, rate = soundfile.read(clip)
    soundfile.write(tmp_path / "clip.aiff", samples, rate)
    expected = json.loads(fetch(port, "/transcribe", clip.read_bytes())[1])["text"]
    with Browser(tmp_path / "profile") as browser:
        visit(browser, port)
        open_file(browser, tmp_path / "clip.aiff")
        browser.wait("state.transcript !== null")
        assert browser.run("state.samples") is None and browser.run("$('text').textContent").strip() == expected
        assert browser.run("getComputedStyle($('plots')).display") == "none"
        browser.run("document.querySelector('#text .word').click()")
        assert browser.run("state.player") is None


def test_a_text_is_spoken_and_shown(voice_run, tmp_path):
    with (
        Server(None, f"--voice={voice_run.run_dir}", "--max_characters=100") as server,
        Browser(tmp_path / "profile", width=390) as browser,
    ):
        browser.open(f"http://127.0.0.1:{server.port}/")
        browser.wait("state.about !== null")
        assert browser.run("$('transcribe').hidden && $('voices').hidden")
        browser.run("$('text').value = 'The cat \\u{1F600} sat.'; $('seed').value = 3; $('speak').click()")
        browser.wait("state.done")
        body = json.dumps({"text": "The cat \U0001f600 sat.", "seed": 3, "format": "json"})
        expected = json.loads(fetch(server.port, "/speak", body)[1])
        samples = browser.run("[...state.samples]")
        found, _ = soundfile.read(io.BytesIO(base64.b64decode(expected["audio"])), dtype="float32")
        assert samples == found.tolist() and browser.run("state.filled") == len(found)
        marks = browser.run("[...document.querySelectorAll('#phonemes span')].map(mark => mark.textContent)")
        assert marks == [each["phoneme"].replace("sil", "·") for each in expected["phonemes"]]
        assert browser.run("[...document.querySelectorAll('#words span')].length") == 3
        assert "the first sound after" in browser.run("$('status').textContent")
        assert "Left out: “\U0001f600”" in browser.run("$('legend').textContent")
        browser.run("state.speech.f0_hz = state.speech.f0_hz.map((_, n) => n % 50 < 25 ? 0 : 100 + n), plotF0()")
        for plot in ("wave", "f0"):
            pixels = f"$('{plot}').getContext('2d').getImageData(0, 0, $('{plot}').width, 70).data"
            assert browser.run(f"[...{pixels}].some(value => value > 0)")
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        browser.wait("state.player === null")
        browser.run("document.querySelector('#words span').click()")
        browser.wait("document.querySelector('#words .playing') !== null")
        browser.run("$('text').value = '\\u{1F600}'; $('speak').click()")
        browser.wait("$('status').classList.contains('error')")
        assert "Nothing in the text can be spoken" in browser.run("$('status').textContent")


@pytest.mark.parametrize("width, dark", [(390, True), (1280, False)])
def test_reports_fit_small_and_large_screens(converted, random_words, tmp_path, monkeypatch, width, dark):
    small = ("model.width=8", "model.kernel_size=3", "model.dilations=[1,2]", "model.stacks=1", "features.bins=20")
    info = {"data": str(converted)}
    run = Recognizer.create(tmp_path / "recogniser", tasks.resolve("wavenet_asr", overrides=small), info=info)
    random_words(run.model)
    tiny = ("model.units=4", "model.embedding=4", "quantization.levels=64")
    generator = Generator.new(tmp_path / "piano", tasks.resolve("sample_rnn", None, tiny), converted, info)
    generator.write()
    monkeypatch.setattr(generation_evaluate, "_SECONDS", 0.5)
    for evaluated, evaluate_run in ((run, evaluate.evaluate_run), (generator, generation_evaluate.evaluate_run)):
        checkpoints.save(evaluated.checkpoint("best"), {"weights": evaluated.model.weights}, {})
        _, path = evaluate_run(evaluated.run_dir)
        with Browser(tmp_path / f"profile-{Path(evaluated.run_dir).name}", width=width, dark=dark) as browser:
            browser.open(path.as_uri())
            assert browser.run("document.documentElement.scrollWidth <= innerWidth")
            background = browser.run("getComputedStyle(document.body).backgroundColor")
            assert background == ("rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)")
            assert browser.run("[...document.images].every(image => image.complete && image.naturalWidth > 100)")
            assert browser.run("document.querySelector('audio').play().then(() => true)")
            # Labels of 9 points in a plot 480 pixels high: scaled to no less than two thirds.
            assert browser.run("[...document.querySelectorAll('.alignment')].every(image => image.height >= 320)")
