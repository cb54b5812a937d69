"""tfvoice_sample: its flags, its errors, and SIGTERM."""

import functools
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile

from tfvoice import tasks
from tfvoice.cli import sample as sample_
from tfvoice.generation import sample

ROOT = Path(sample_.__file__).parents[2]


@pytest.fixture
def command(in_process):
    return functools.partial(in_process, sample_.main, "tfvoice_sample")


def test_the_help_needs_no_tensorflow():
    code = "import sys; from tfvoice.cli import sample; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_flags_reach_the_library(command, monkeypatch):
    calls, checked = [], []
    paths = [Path("o/a.wav"), Path("o/b.wav")]
    monkeypatch.setattr(sample, "sample", lambda *arguments: calls.append(arguments) or paths)
    monkeypatch.setattr(tasks, "of_run", lambda *arguments: checked.append(arguments))
    assert command("--run=r", "--output=o")[0] == 0
    flags = ("--seconds=2.5", "--count=3", "--temperature=1,0.5", "--top_p=0.9", "--seed=7", "--prime=p.wav")
    status, out, _ = command("--run=r", "--output=o", *flags, "--format=flac", "--checkpoint=last", "--overwrite")
    assert (status, out) == (0, "o/a.wav to b.wav, 2.5 s each; see o/samples.png\n")
    assert checked == [("r", "tfvoice_sample")] * 2
    assert calls == [
        ("r", "o", 5.0, 4, sample.SamplingOptions(), None, "wav", "best", False),
        ("r", "o", 2.5, 3, sample.SamplingOptions((1.0, 0.5), 0.9, 7), "p.wav", "flac", "last", True),
    ]


def test_sigterm_keeps_the_audio_that_has_been_generated(generator_run, tmp_path):
    script = [sys.executable, str(ROOT / "bin" / "tfvoice_sample"), f"--run={generator_run.run_dir}"]
    with subprocess.Popen(
        [*script, f"--output={tmp_path}", "--seconds=36000", "--count=1"], stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as running:
        while running.poll() is None and not any(path.stat().st_size > 10_000 for path in tmp_path.iterdir()):
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        err = running.communicate()[1]
    report = re.search(r"tfvoice_sample: interrupted; .*sample-000.wav holds its first ([\d.]+) s\n$", err)
    assert running.returncode == 130 and report, err
    assert [path.name for path in tmp_path.iterdir()] == ["sample-000.wav"]
    assert soundfile.info(tmp_path / "sample-000.wav").duration == pytest.approx(float(report[1]), abs=0.05)


@pytest.mark.parametrize(
    "flags, fact",
    [
        (("--temperature=warm",), "--temperature=warm: write a number, or several with commas between them"),
        (("--count=0",), "--count=0 is not valid; expected a positive integer."),
        (("--format=mp3",), "--format=mp3 is not valid; expected one of wav, flac."),
        ((), "nowhere: is not the folder of a run"),
    ],
)
def test_an_error_is_one_sentence(command, flags, fact):
    status, _, err = command("--run=nowhere", "--output=o", *flags)
    assert status == 1 and fact in err and len(err.splitlines()) == 1


def test_a_run_of_a_recogniser_is_refused(command, recognizer_run, tmp_path):
    status, out, err = command(f"--run={recognizer_run.run_dir}", f"--output={tmp_path / 'o'}")
    assert (status, out) == (1, "") and not (tmp_path / "o").exists()
    assert err == (
        f"tfvoice_sample: error: {recognizer_run.run_dir}: is a run of wavenet_asr, a recogniser; tfvoice_transcribe, "
        "tfvoice_tune_lm, tfvoice_text and tfvoice_eval are for it, tfvoice_sample is not.\n"
    )
