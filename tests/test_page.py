"""The server's page and the reports in a real browser, which hears a clip as its microphone."""

import base64
import json

import pytest
import soundfile

from tfvoice import experiment
from tfvoice.asr import evaluate
from tfvoice.asr.recognizer import Recognizer
from tfvoice.audio import io as audio_io
from tfvoice.generation import evaluate as generation_evaluate
from tfvoice.generation.generator import Generator
from tfvoice.training import checkpoints

pytest.importorskip("kserve", reason="needs the extra serve")

from browser import CHROMIUM, Browser
from server import Server
from test_web import ask, listener

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")


@pytest.fixture(scope="module")
def port(exported):
    with Server(exported[1]) as server:
        yield server.port


@pytest.fixture(scope="module")
def clip(clips, tmp_path_factory):
    """A clip as a WAV file of 48 kHz, with a second of silence behind it."""
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    audio_io.write(path, audio_io.read(max(clips.rglob("*.opus"), key=lambda one: one.stat().st_size), 48000), 48000)
    return path


def visit(browser, port):
    browser.open(f"http://127.0.0.1:{port}/")
    browser.wait("state.about !== null")


def open_file(browser, path):
    data = base64.b64encode(path.read_bytes()).decode()
    browser.run(f"fetch('data:audio/any;base64,{data}').then(answer => answer.blob()).then(openFile)")


def test_a_file_becomes_words_at_their_times(port, clip, tmp_path):
    wanted = json.loads(ask(port, "/transcribe", clip.read_bytes())[1])
    with Browser(tmp_path / "profile") as browser:
        visit(browser, port)
        open_file(browser, clip)
        browser.wait("state.found !== null")
        words = browser.run("[...document.querySelectorAll('#text .word')].map(word => word.textContent)")
        assert " ".join(words) == wanted["text"]
        assert browser.run("document.querySelectorAll('#times span').length") == len(words) > 1
        lit = "[...$('spectrogram').getContext('2d').getImageData(0, 0, 200, 100).data].some(value => value > 0)"
        assert browser.run(lit) and browser.run("document.documentElement.scrollWidth <= innerWidth")
        browser.run("document.querySelector('#text .word').click()")
        browser.wait("document.querySelector('#text .word.now') !== null")
        srt = browser.run("post('srt', state.body).then(answer => answer.text())")
        assert srt.startswith("1\n00:00:")


def test_the_microphone_becomes_words(port, clip, tmp_path):
    seconds = soundfile.info(clip).duration
    with Browser(tmp_path / "profile", microphone=clip) as browser:
        visit(browser, port)
        browser.run("$('record').click()")
        browser.wait("$('record').textContent.startsWith('Stop ·')")
        # By what has come of the sound, not by the clock: the button tells it.
        browser.wait(f"parseFloat($('record').textContent.match(/[0-9.]+/)) > {seconds + 0.1}", 120)
        browser.run("$('record').click()")
        browser.wait("state.found !== null")
        assert browser.run("state.samples.length / state.rate") >= seconds
        assert browser.run("state.samples.reduce((a, b) => Math.max(a, b))") > 0.05
        assert browser.run("state.found.text.length") > 0 and "read in" in browser.run("$('status').textContent")


def test_a_recording_ends_at_the_longest_that_is_taken(exported, clip, tmp_path):
    with (
        Server(exported[1], "--max_seconds=2") as server,
        Browser(tmp_path / "profile", microphone=clip) as browser,
    ):
        visit(browser, server.port)
        # Two clicks are one recording.
        browser.run("$('record').click(), $('record').click()")
        browser.wait("state.found !== null")
        assert browser.run("state.samples.length / state.rate") == 2
        assert browser.run("$('record').textContent") == "Record"
        open_file(browser, clip)
        assert "longer than 2 s" in browser.run("$('status').textContent")


def test_text_appears_while_it_is_spoken(clip, tmp_path):
    _, model = listener(tmp_path)
    with Server(model) as server, Browser(tmp_path / "profile", microphone=clip) as browser:
        visit(browser, server.port)
        assert "reads while you speak" in browser.run("$('about').textContent")
        browser.run("$('record').click()")
        browser.wait("$('result').className === 'live' && $('text').textContent.trim().length > 3")
        assert browser.run("state.recording !== null && getComputedStyle($('actions')).display") == "none"
        browser.run("$('record').click()")
        browser.wait("$('result').className === 'read'")
        assert browser.run("state.found.words.length") > 0
        # Firefox gives the microphone at its own rate only. A file that is opened meanwhile gives way.
        refuse = "if (this.sampleRate === 8000) throw new Error('another rate'); return found.call(this, stream);"
        browser.run(
            "{ const found = AudioContext.prototype.createMediaStreamSource;"
            f"AudioContext.prototype.createMediaStreamSource = function (stream) {{ {refuse} }} }}"
        )
        browser.run("$('record').click(), openFile(new File([new Uint8Array(999)], 'noise.wav')), 0")
        browser.wait("$('result').className === 'live' && $('text').textContent.trim().length > 3")
        browser.run("$('record').click()")
        browser.wait("$('result').className === 'read'")
        assert browser.run("state.found.words.length") > 0 and browser.run("state.rate") == 8000
        means = browser.run("[...resampler(48000, 16000)(Float32Array.from([1, 2, 3, 4, 5, 6]))]")
        assert means == [2, 5] and browser.run("resampler(44100, 16000)(new Float32Array(44100)).length") == 16000


def test_what_is_no_audio_is_told_in_the_page(port, tmp_path):
    with Browser(tmp_path / "profile", width=390) as browser:
        visit(browser, port)
        browser.run("openFile(new File([new Uint8Array(999)], 'noise.wav'))")
        browser.wait("$('status').classList.contains('error')")
        assert "no audio file" in browser.run("$('status').textContent")
        # What a proxy before the server might say.
        browser.run("window.fetch = async () => new Response('<h1>Bad Gateway</h1>', { status: 502 })")
        browser.run("openFile(new File([new Uint8Array(999)], 'noise.wav'))")
        assert browser.run("$('status').textContent") == "The server answered with status 502."
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def test_a_file_that_only_the_server_can_decode_is_read(port, clip, tmp_path):
    samples, rate = soundfile.read(clip)
    soundfile.write(tmp_path / "clip.aiff", samples, rate)
    wanted = json.loads(ask(port, "/transcribe", clip.read_bytes())[1])["text"]
    with Browser(tmp_path / "profile") as browser:
        visit(browser, port)
        open_file(browser, tmp_path / "clip.aiff")
        browser.wait("state.found !== null")
        assert browser.run("state.samples") is None and browser.run("$('text').textContent").strip() == wanted
        assert browser.run("getComputedStyle($('pictures')).display") == "none"
        browser.run("document.querySelector('#text .word').click()")
        assert browser.run("state.player") is None


@pytest.mark.parametrize("width, dark", [(390, True), (1280, False)])
def test_reports_fit_a_telephone_and_a_desk(converted, talkative, tmp_path, monkeypatch, width, dark):
    small = ("model.width=8", "model.kernel_size=3", "model.dilations=[1,2]", "model.stacks=1", "features.bins=20")
    info = {"data": str(converted)}
    run = Recognizer.create(tmp_path / "reader", experiment.resolve("wavenet_asr", overrides=small), info=info)
    talkative(run.model)
    tiny = ("model.units=4", "model.embedding=4", "quantization.levels=64")
    made = Generator.new(tmp_path / "piano", experiment.resolve("sample_rnn", None, tiny), converted, info)
    made.write()
    monkeypatch.setattr(generation_evaluate, "_SECONDS", 0.5)
    for one, measure in ((run, evaluate.evaluate_run), (made, generation_evaluate.evaluate_run)):
        checkpoints.save(one.checkpoint("best"), {"weights": one.model.weights}, {})
        _, path = measure(one.run_dir)
        with Browser(tmp_path / f"profile-{one.task}", width=width, dark=dark) as browser:
            browser.open(path.as_uri())
            assert browser.run("document.documentElement.scrollWidth <= innerWidth")
            background = browser.run("getComputedStyle(document.body).backgroundColor")
            assert background == ("rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)")
            assert browser.run("[...document.images].every(image => image.complete && image.naturalWidth > 100)")
            assert browser.run("document.querySelector('audio').play().then(() => true)")
            # Letters of 9 points on 480 pixels: not smaller than two thirds of that.
            assert browser.run("[...document.querySelectorAll('.alignment')].every(image => image.height >= 320)")
