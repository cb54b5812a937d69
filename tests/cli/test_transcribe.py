"""tfvoice_transcribe: files, folders, standard input, streams, formats and errors."""

import functools
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
from samples import THAI

from tfvoice import checkpoints, tasks
from tfvoice.asr import beam_search, recognizer, streaming, transcript
from tfvoice.asr.transcribe import Transcriber
from tfvoice.audio import features
from tfvoice.cli import transcribe

ROOT = Path(transcribe.__file__).parents[2]
RATE = 8000
SETTINGS = (
    "model.width=8",
    "model.dilations=[1,2]",
    "model.stacks=1",
    "features.bins=10",
    "features.sample_rate_hz=8000",
)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, random_words):
    """The folder of a run with random weights."""
    run = recognizer.Recognizer.create(
        tmp_path_factory.mktemp("runs") / "small", tasks.resolve("wavenet_asr", overrides=list(SETTINGS))
    )
    random_words(run.model)
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {})
    return run.run_dir


@pytest.fixture(scope="module")
def expected(run_dir):
    """Transcribes a file with the library."""
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


def test_the_text_of_one_file_is_printed_alone(command, expected):
    write("a.wav")
    text = expected("a.wav").text
    assert len(text.split()) > 1
    assert command("a.wav") == (0, f"{text}\n", "")


def test_each_of_several_files_is_printed_as_its_name_and_its_text(command, expected):
    for number, name in enumerate(["b.flac", "a.ogg", "c.wav"]):
        write(name, 1 + number, number, rate=[8000, 44100, 22050][number], channels=number + 1)
    status, out, err = command("b.flac", "a.ogg", "c.wav")
    assert (status, err) == (0, "")
    assert out == "".join(f"{name}\t{expected(name).text}\n" for name in ("b.flac", "a.ogg", "c.wav"))


def test_a_folder_means_all_audio_files_in_it_and_its_subfolders(command):
    for name in ("d/z.wav", "d/b/y.FLAC", "d/b/a.ogg", "d/.hidden.wav"):
        write(name)
    Path("d/notes.txt").write_text("no audio")
    for arguments in (["d"], ["d", "d/z.wav"]):
        status, out, _ = command(*arguments)
        assert status == 0
        assert [line.split("\t")[0] for line in out.splitlines()] == ["d/b/a.ogg", "d/b/y.FLAC", "d/z.wav"]
    assert command("d/b", "--format=json")[1].count("\n") == 2


def test_the_name_is_printed_for_a_folder_with_one_file_too(command, expected):
    write("d/a.wav")
    assert command("d")[1] == f"d/a.wav\t{expected('d/a.wav').text}\n"


def test_the_standard_input_is_transcribed_like_a_file(command, expected, monkeypatch):
    content = Path(write("a.wav")).read_bytes()
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))
    assert command("-") == (0, f"{expected('a.wav').text}\n", "")


def test_json_has_a_line_for_each_file(command, expected):
    write("a.wav")
    write("b.wav", seed=1)
    status, out, _ = command("--format=json", "a.wav", "b.wav")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [line["file"] for line in lines] == ["a.wav", "b.wav"]
    for line in lines:
        text = expected(line["file"]).text
        assert (line["seconds"], line["text"]) == (2.0, text)
        assert [word["word"] for word in line["words"]] == text.split()


@pytest.mark.parametrize("format, start", [("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n00:00:0")])
def test_subtitles_hold_the_text(command, expected, format, start):
    write("a.wav", 20)
    status, out, _ = command(f"--format={format}", "a.wav")
    assert status == 0 and out.startswith(start)
    lines = [line for line in out.splitlines() if line not in ("", "WEBVTT") and "-->" not in line]
    lines = [line for line in lines if not line.isdigit()]
    assert " ".join(lines) == expected("a.wav").text and out.count("-->") > 1


def test_output_gets_one_file_for_each_recording(command, expected):
    for name in ("a.wav", "d/b.wav", "d/e/b.wav"):
        write(name)
    status, out, err = command("--output=o/p", "a.wav", "d")
    assert (status, out, err) == (0, "", "")
    files = {str(path.relative_to("o/p")): path.read_text() for path in Path("o/p").rglob("*") if path.is_file()}
    recordings = {"a.txt": "a.wav", "b.txt": "d/b.wav", "e/b.txt": "d/e/b.wav"}
    assert files == {name: f"{expected(path).text}\n" for name, path in recordings.items()}


def test_output_is_overwritten_only_with_overwrite(command):
    write("a.wav")
    Path("o").mkdir()
    Path("o/a.json").write_text("old")
    sentence = "tfvoice_transcribe: error: o/a.json already exists; add --overwrite to replace it.\n"
    assert command("--output=o", "--format=json", "a.wav") == (1, "", sentence)
    assert Path("o/a.json").read_text() == "old"
    assert command("--output=o", "--format=json", "--overwrite", "a.wav")[0] == 0
    assert json.loads(Path("o/a.json").read_text())["file"] == "a.wav"


def test_recordings_that_differ_in_their_suffix_keep_it(command):
    write("d/a.wav")
    write("d/a.flac")
    write("d/b.wav")
    assert command("--output=o", "d")[0] == 0
    assert sorted(path.name for path in Path("o").iterdir()) == ["a.flac.txt", "a.wav.txt", "b.txt"]


def test_a_transcript_that_cannot_be_written_does_not_end_the_command(command):
    write("d/a.wav")
    write("d/" + "é" * 125 + "x.wav")
    status, _, err = command("--output=o", "--format=json", "d")
    assert status == 1 and "json: cannot be written (File name too long); choose another --output." in err
    assert err.endswith("1 of 2 failed.\n") and [path.name for path in Path("o").iterdir()] == ["a.json"]


def test_two_recordings_with_the_same_output_file_are_refused(command):
    write("a.wav")
    write("d/a.flac")
    status, _, err = command("--output=o", "a.wav", "d")
    assert status == 1 and "a.wav and d/a.flac would both become o/a.txt" in err and not Path("o").exists()


def test_a_bad_file_does_not_stop_the_others(command, expected):
    write("good.wav")
    Path("empty.wav").touch()
    Path("noise.wav").write_bytes(b"no audio at all" * 100)
    soundfile.write("nan.wav", np.full(8000, np.nan), RATE, subtype="FLOAT")
    soundfile.write("header.wav", np.zeros(0), RATE)
    Path("folder").mkdir()
    bad = ["missing.wav", "empty.wav", "noise.wav", "nan.wav", "header.wav"]
    status, out, err = command("folder", *bad, "good.wav", "--format=json", "--window_seconds=5")
    assert status == 1 and json.loads(out)["text"] == expected("good.wav").text
    sentences = err.splitlines()
    for name, sentence in zip(["folder", *bad], sentences, strict=False):
        assert sentence.startswith(f"tfvoice_transcribe: {name}: ") and sentence.endswith(".")
    assert sentences[6:] == ["tfvoice_transcribe: 6 of 7 failed."]


@pytest.mark.parametrize("window_seconds", [5, 100])
def test_a_file_that_is_cut_off_is_transcribed_up_to_there_with_one_warning(command, window_seconds):
    write("cut.wav", 20)
    Path("cut.wav").write_bytes(Path("cut.wav").read_bytes()[: 44 + 2 * RATE * 15])
    status, out, err = command("cut.wav", "--format=json", f"--window_seconds={window_seconds}")
    assert status == 0 and json.loads(out)["seconds"] == 15.0
    assert err == (
        "tfvoice_transcribe: cut.wav: damaged or cut off after 15.0 s (its header states 20.0 s); copy it again. "
        "It is transcribed up to there.\n"
    )


def test_the_error_of_a_single_file_is_printed_without_a_count(command):
    assert command("x.wav") == (1, "", "tfvoice_transcribe: x.wav: there is no such file; check the path.\n")


def test_silence_is_an_empty_line(command):
    soundfile.write("a.wav", np.zeros(RATE * 3), RATE)
    assert command("a.wav") == (0, "\n", "")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "no recording is given"),
        (["a.wav", "b.wav", "--format=srt"], "add --output=DIR"),
        (["a.wav", "--output=a.wav"], "a.wav: is a file; name a folder"),
        (["a.wav", "--window_seconds=0"], "expected number >= 1"),
        (["a.wav", "--decoder=best"], "expected one of greedy, beam"),
        (["a.wav", "--checkpoint=last"], "has no checkpoint last yet"),
        (["a.wav", "--run=."], "is not the folder of a run"),
    ],
)
def test_an_error_is_reported_before_anything_is_transcribed(command, arguments, words):
    write("a.wav")
    status, out, err = command(*arguments)
    assert (status, out) == (1, "") and words in err and err.count("\n") == 1


def test_the_beam_gives_words_with_times(command):
    write("a.wav")
    status, out, _ = command("a.wav", "--decoder=beam", "--beam_width=5", "--format=json")
    words = json.loads(out)["words"]
    assert status == 0 and words and all(0 <= word["start"] < word["end"] <= 2 for word in words)


def test_the_best_texts_are_listed_by_one_search(command, monkeypatch):
    lines = ["\\data\\", "ngram 1=4", "", "\\1-grams:", *(f"-1\t{word}" for word in ("<s>", "</s>", "the", "ox"))]
    Path("words.arpa").write_text("\n".join([*lines, "", "\\end\\", ""]))
    searches, search = [], beam_search.search
    monkeypatch.setattr(beam_search, "search", lambda *arguments: searches.append(arguments) or search(*arguments))
    write("a.wav")
    lm = ("a.wav", "--decoder=lm", "--lm=words.arpa", "--word_score=5", "--format=json")
    status, out, _ = command(*lm, "--nbest=3")
    found = json.loads(out)
    scores = [each["score"] for each in found["alternatives"]]
    assert status == 0 and len(scores) == 3 and scores == sorted(scores, reverse=True) and len(searches) == 1
    assert found["alternatives"][0]["text"] == found["text"] and set(found["text"].split()) <= {"the", "ox"}
    alone = json.loads(command(*lm)[1])
    assert alone == {key: value for key, value in found.items() if key != "alternatives"}


def test_debug_shows_the_traceback_of_a_failed_file(command):
    assert "Traceback" in command("x.wav", "--debug")[2]


def test_help_does_not_import_tensorflow():
    code = "import sys, tfvoice.cli.transcribe as c; print(c.FLAGS.help(), {'tensorflow', 'keras'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert printed.stdout.endswith("set()\n") and "--window_seconds=X" in printed.stdout


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """The folder of a run of a streaming model."""
    overrides = ("model.units=6", "model.layers=1", "model.convolution_channels=2", "features.sample_rate_hz=8000")
    settings = tasks.resolve("deepspeech2", "deepspeech2_streaming", overrides)
    statistics = features.FeatureStatistics(*np.ones([2, features.channels(settings.features)]))
    run = recognizer.Recognizer.create(tmp_path_factory.mktemp("runs") / "live", settings, statistics)
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {})
    return run.run_dir


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_stream_gives_the_text_of_the_same_file(live, in_process, monkeypatch, tmp_path, form):
    path = write(tmp_path / "a.wav", 3)
    content = soundfile.read(path, dtype="int16")[0].tobytes()
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))
    command = functools.partial(in_process, transcribe.main, "tfvoice_transcribe", f"--run={live}")
    status, out, err = command("--stream", f"--format={form}")
    assert (status, err) == (0, "")
    text = json.loads(command(path, "--format=json")[1])["text"]
    if form == "text":
        assert out.split() == text.split() and out.endswith("\n")
    else:
        assert [json.loads(line)["word"] for line in out.splitlines()] == text.split()


def test_a_stream_without_spaces_is_printed_without_them(live, in_process, monkeypatch, tmp_path):
    description = json.loads((live / "experiment.json").read_text(encoding="utf-8"))
    copied = shutil.copytree(live, tmp_path / "run")
    description["config"]["alphabet"]["characters"] = THAI
    (copied / "experiment.json").write_text(json.dumps(description))
    spoken = [transcript.Word(text, 0.0, 1.0, 1.0) for text in ("ก", "ขี")]
    monkeypatch.setattr(streaming.StreamingTranscriber, "words", lambda *_: iter(spoken))
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO()))
    assert in_process(transcribe.main, "tfvoice_transcribe", f"--run={copied}", "--stream") == (0, "กขี\n", "")


def test_an_interrupt_ends_the_stream_and_no_word_is_lost(live, in_process, monkeypatch, tmp_path):
    path = write(tmp_path / "a.wav", 3)
    command = functools.partial(in_process, transcribe.main, "tfvoice_transcribe", f"--run={live}")
    words = command(path)[1].split()
    reading, writing = os.pipe()
    os.write(writing, soundfile.read(path, dtype="int16")[0].tobytes())

    class Microphone:
        """Blocks after the first block of samples."""

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
    assert (status, out.split()) == (130, words)
    assert err == "tfvoice_transcribe: interrupted; everything up to then is transcribed.\n"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["a.wav", "--stream"],
            "--stream reads the standard input and prints; leave out files, --output and --overwrite.",
        ),
        (["--stream", "--overwrite"], "leave out files, --output and --overwrite."),
        (["--stream", "--window_seconds=9"], "--stream has no windows; leave out --window_seconds."),
        (["--stream", "--lm=a.arpa"], "--lm is for --decoder=lm; add that, or leave it out."),
        (["a.wav", "--stream_hz=8000"], "--stream_hz is for --stream; add that, or leave it out."),
        (["a.wav", "--nolexicon"], "--[no]lexicon is for --decoder=lm; add that, or leave it out."),
        (["a.wav", "--decoder=beam", "--lm_weight=1"], "--lm_weight is for --decoder=lm"),
        (["a.wav", "--word_score=1"], "--word_score is for --decoder=lm"),
        (["a.wav", "--beam_width=10"], "--beam_width is for --decoder=beam or lm; add one of these, or leave it out."),
        (["--stream", "--output=x"], "--stream reads the standard input and prints"),
        (["--stream", "--format=srt"], "--stream needs --decoder=greedy and --format=text or json."),
        (["--stream", "--decoder=beam"], "--stream needs --decoder=greedy"),
        (["a.wav", "--nbest=2"], "--nbest is for --decoder=lm --format=json; add these, or leave it out."),
        (["--stream"], "cannot transcribe a stream: its network depends on what comes after"),
    ],
)
def test_flags_that_contradict_each_other_or_the_model_are_refused(command, arguments, words):
    status, out, err = command(*arguments)
    assert (status, out) == (1, "") and words in err and err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["a.wav"], ["--stream"]])
def test_a_run_of_a_generator_is_refused(in_process, generator_run, arguments):
    status, out, err = in_process(transcribe.main, "tfvoice_transcribe", f"--run={generator_run.run_dir}", *arguments)
    assert (status, out) == (1, "")
    assert err == (
        f"tfvoice_transcribe: error: {generator_run.run_dir}: is a run of sample_rnn, a generator of audio; "
        "tfvoice_sample and tfvoice_eval are for it, tfvoice_transcribe is not.\n"
    )
