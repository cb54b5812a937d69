"""Laws of tfvoice_transcribe."""

import functools
import io
import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tfvoice import experiment
from tfvoice.asr import recognizer
from tfvoice.asr.transcribe import Transcriber
from tfvoice.audio import features
from tfvoice.cli import flags, transcribe
from tfvoice.training import checkpoints

ROOT = Path(flags.__file__).parents[2]
RATE = 8000
SETTINGS = (
    "model.width=8",
    "model.dilations=[1,2]",
    "model.stacks=1",
    "features.bins=10",
    "features.sample_rate_hz=8000",
)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, talkative):
    """The folder of a run with random weights."""
    made = recognizer.Recognizer.create(
        tmp_path_factory.mktemp("runs") / "small", experiment.resolve("wavenet_asr", overrides=list(SETTINGS))
    )
    talkative(made.model)
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    return made.run_dir


@pytest.fixture(scope="module")
def read(run_dir):
    """What the library reads in a file."""
    return Transcriber(recognizer.Recognizer.load(run_dir)).transcribe


@pytest.fixture
def command(run_dir, in_process, monkeypatch, tmp_path):
    """Runs the command in a folder of its own and returns its exit status, output and errors."""
    monkeypatch.chdir(tmp_path)
    return functools.partial(in_process, transcribe.main, "bin/tfvoice_transcribe", f"--run={run_dir}")


def write(path, seconds=2.0, seed=0, rate=RATE, channels=1):
    random = np.random.default_rng(seed)
    level = np.repeat(random.random(int(seconds * 10) + 1), rate // 10)[: round(seconds * rate)]
    samples = 0.2 * level[:, np.newaxis] * random.standard_normal([len(level), channels])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)
    return str(path)


def test_the_text_of_one_file_stands_alone(command, read):
    write("a.wav")
    expected = read("a.wav").text
    assert len(expected.split()) > 1
    assert command("a.wav") == (0, f"{expected}\n", "")


def test_the_texts_of_several_files_follow_their_names(command, read):
    for number, name in enumerate(["b.flac", "a.ogg", "c.wav"]):
        write(name, 1 + number, number, rate=[8000, 44100, 22050][number], channels=number + 1)
    status, out, err = command("b.flac", "a.ogg", "c.wav")
    assert (status, err) == (0, "")
    assert out == "".join(f"{name}\t{read(name).text}\n" for name in ("b.flac", "a.ogg", "c.wav"))


def test_a_folder_stands_for_all_audio_files_below_it(command):
    for name in ("d/z.wav", "d/b/y.FLAC", "d/b/a.ogg", "d/.hidden.wav"):
        write(name)
    Path("d/notes.txt").write_text("no audio")
    for arguments in (["d"], ["d", "d/z.wav"]):
        status, out, _ = command(*arguments)
        assert status == 0
        assert [line.split("\t")[0] for line in out.splitlines()] == ["d/b/a.ogg", "d/b/y.FLAC", "d/z.wav"]
    assert command("d/b", "--format=json")[1].count("\n") == 2


def test_a_folder_with_one_file_still_names_it(command, read):
    write("d/a.wav")
    assert command("d")[1] == f"d/a.wav\t{read('d/a.wav').text}\n"


def test_standard_input_is_a_file_like_any_other(command, read, monkeypatch):
    content = Path(write("a.wav")).read_bytes()
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))
    assert command("-") == (0, f"{read('a.wav').text}\n", "")


def test_json_has_a_line_for_each_file(command, read):
    write("a.wav")
    write("b.wav", seed=1)
    status, out, _ = command("--format=json", "a.wav", "b.wav")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [line["file"] for line in lines] == ["a.wav", "b.wav"]
    for line in lines:
        found = read(line["file"])
        assert (line["seconds"], line["text"]) == (2.0, found.text)
        assert [word["word"] for word in line["words"]] == found.text.split()


@pytest.mark.parametrize("format, start", [("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n00:00:0")])
def test_subtitles_hold_the_text(command, read, format, start):
    write("a.wav", 20)
    status, out, _ = command(f"--format={format}", "a.wav")
    assert status == 0 and out.startswith(start)
    lines = [line for line in out.splitlines() if line not in ("", "WEBVTT") and "-->" not in line]
    lines = [line for line in lines if not line.isdigit()]
    assert " ".join(lines) == read("a.wav").text and out.count("-->") > 1


def test_output_gets_one_file_for_each_recording(command, read):
    for name in ("a.wav", "d/b.wav", "d/e/b.wav"):
        write(name)
    status, out, err = command("--output=o/p", "a.wav", "d")
    assert (status, out, err) == (0, "", "")
    found = {str(path.relative_to("o/p")): path.read_text() for path in Path("o/p").rglob("*") if path.is_file()}
    expected = {"a.txt": "a.wav", "b.txt": "d/b.wav", "e/b.txt": "d/e/b.wav"}
    assert found == {name: f"{read(path).text}\n" for name, path in expected.items()}


def test_output_is_not_overwritten_unless_told(command):
    write("a.wav")
    Path("o").mkdir()
    Path("o/a.json").write_text("old")
    sentence = "tfvoice_transcribe: error: o/a.json is there already; add --overwrite to replace it.\n"
    assert command("--output=o", "--format=json", "a.wav") == (1, "", sentence)
    assert Path("o/a.json").read_text() == "old"
    assert command("--output=o", "--format=json", "--overwrite", "a.wav")[0] == 0
    assert json.loads(Path("o/a.json").read_text())["file"] == "a.wav"


def test_two_recordings_never_share_a_file(command):
    write("a.wav")
    write("d/a.flac")
    status, _, err = command("--output=o", "a.wav", "d")
    assert status == 1 and "a.wav and d/a.flac would both become o/a.txt" in err and not Path("o").exists()


def test_a_bad_file_does_not_stop_the_others(command, read):
    write("good.wav")
    Path("empty.wav").touch()
    Path("noise.wav").write_bytes(b"no audio at all" * 100)
    write("cut.flac", 60)
    Path("cut.flac").write_bytes(Path("cut.flac").read_bytes()[:-20000])
    soundfile.write("nan.wav", np.full(8000, np.nan), RATE, subtype="FLOAT")
    soundfile.write("header.wav", np.zeros(0), RATE)
    Path("folder").mkdir()
    bad = ["missing.wav", "empty.wav", "noise.wav", "cut.flac", "nan.wav", "header.wav"]
    status, out, err = command("folder", *bad, "good.wav", "--format=json", "--window_seconds=5")
    assert status == 1 and json.loads(out)["text"] == read("good.wav").text
    sentences = err.splitlines()
    for name, sentence in zip(["folder", *bad], sentences, strict=False):
        assert sentence.startswith(f"tfvoice_transcribe: {name}: ") and sentence.endswith(".")
    assert sentences[7:] == ["tfvoice_transcribe: 7 of 8 failed."]


def test_a_bad_file_alone_needs_no_count(command):
    assert command("x.wav") == (1, "", "tfvoice_transcribe: x.wav: there is no such file; check the path.\n")


def test_silence_is_an_empty_line(command):
    soundfile.write("a.wav", np.zeros(RATE * 3), RATE)
    assert command("a.wav") == (0, "\n", "")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "no recording is named"),
        (["a.wav", "b.wav", "--format=srt"], "add --output=DIR"),
        (["a.wav", "--output=a.wav"], "this is a file"),
        (["a.wav", "--window_seconds=0"], "at least 1"),
        (["a.wav", "--decoder=best"], "one of greedy, beam"),
        (["a.wav", "--checkpoint=last"], "has no checkpoint last yet"),
        (["a.wav", "--run=."], "is not the folder of a run"),
    ],
)
def test_what_cannot_be_done_is_told_before_any_work(command, arguments, words):
    write("a.wav")
    status, out, err = command(*arguments)
    assert (status, out) == (1, "") and words in err and err.count("\n") == 1


def test_the_beam_gives_words_with_times(command):
    write("a.wav")
    status, out, _ = command("a.wav", "--decoder=beam", "--beam_width=5", "--format=json")
    words = json.loads(out)["words"]
    assert status == 0 and words and all(0 <= word["start"] < word["end"] <= 2 for word in words)


def test_debug_shows_where_a_file_failed(command):
    assert "Traceback" in command("x.wav", "--debug")[2]


def test_help_does_not_import_tensorflow():
    code = "import sys, tfvoice.cli.transcribe as c; print(c.FLAGS.help(), {'tensorflow', 'numpy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.endswith("set()\n") and "--window_seconds=X" in found.stdout


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """The folder of a run that can follow speech."""
    overrides = ("model.units=6", "model.layers=1", "model.convolution_channels=2", "features.sample_rate_hz=8000")
    settings = experiment.resolve("deepspeech2", "deepspeech2_streaming", overrides)
    statistics = features.Statistics(*np.ones([2, features.channels(settings.features)]))
    made = recognizer.Recognizer.create(tmp_path_factory.mktemp("runs") / "live", settings, statistics)
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    return made.run_dir


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_standard_input_is_followed(live, in_process, monkeypatch, tmp_path, form):
    path = write(tmp_path / "a.wav", 3)
    content = soundfile.read(path, dtype="int16")[0].tobytes()
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))
    command = functools.partial(in_process, transcribe.main, "tfvoice_transcribe", f"--run={live}")
    status, out, err = command("--stream", f"--format={form}")
    assert (status, err) == (0, "")
    expected = json.loads(command(path, "--format=json")[1])
    if form == "text":
        assert out.split() == expected["text"].split() and out.endswith("\n")
    else:
        assert [json.loads(line)["word"] for line in out.splitlines()] == expected["text"].split()


def test_an_interrupt_ends_the_stream_and_loses_nothing(live, in_process, monkeypatch, tmp_path):
    path = write(tmp_path / "a.wav", 3)
    command = functools.partial(in_process, transcribe.main, "tfvoice_transcribe", f"--run={live}")
    expected = command(path)[1].split()
    reading, writing = os.pipe()
    os.write(writing, soundfile.read(path, dtype="int16")[0].tobytes())

    class Microphone:
        """Whose next block never comes."""

        calls = 0

        def read1(self, size):
            self.calls += 1
            if self.calls > 1:
                os.kill(os.getpid(), signal.SIGINT)
            return os.read(reading, size)

    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=Microphone(), fileno=lambda: reading))
    before = signal.getsignal(signal.SIGINT)
    status, out, err = command("--stream")
    for each in (reading, writing):
        os.close(each)
    assert (status, out.split()) == (130, expected)
    assert err == "tfvoice_transcribe: interrupted; what was said until then is written.\n"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.wav", "--stream"], "--stream reads the standard input and prints; leave files, --output and --overwrite"),
        (["--stream", "--overwrite"], "leave files, --output and --overwrite out."),
        (["--stream", "--window_seconds=9"], "--stream has windows of its own; leave --window_seconds out."),
        (["--stream", "--lm=a.arpa"], "--lm is for --decoder=lm; add that, or leave it out."),
        (["a.wav", "--stream_hz=8000"], "--stream_hz is for --stream; add that, or leave it out."),
        (["a.wav", "--nolexicon"], "--[no]lexicon is for --decoder=lm; add that, or leave it out."),
        (["a.wav", "--decoder=beam", "--lm_weight=1"], "--lm_weight is for --decoder=lm"),
        (["a.wav", "--word_score=1"], "--word_score is for --decoder=lm"),
        (["a.wav", "--beam_width=10"], "--beam_width is for --decoder=beam or lm; add one of these, or leave it out."),
        (["--stream", "--output=x"], "--stream reads the standard input and prints"),
        (["--stream", "--format=srt"], "--stream goes with --decoder=greedy and --format=text or json."),
        (["--stream", "--decoder=beam"], "--stream goes with --decoder=greedy"),
        (["--stream"], "cannot follow speech as it is spoken: its network reads what comes after"),
    ],
)
def test_what_cannot_be_followed_is_told(command, arguments, words):
    status, out, err = command(*arguments)
    assert (status, out) == (1, "") and words in err and err.count("\n") == 1
