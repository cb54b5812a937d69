"""Laws of tfvoice_sample."""

import functools
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile

from tfvoice.cli import flags
from tfvoice.cli import sample as command_
from tfvoice.generation import sample

ROOT = Path(flags.__file__).parents[2]


@pytest.fixture
def command(in_process):
    return functools.partial(in_process, command_.main, "tfvoice_sample")


def test_the_help_is_a_command_to_paste_and_needs_no_tensorflow():
    loaded = "import sys; from tfvoice.cli import sample; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], cwd=ROOT).returncode == 0


def test_flags_reach_the_library(command, monkeypatch):
    found = []
    monkeypatch.setattr(sample, "sample", lambda *given: found.append(given) or [Path("o/a.wav"), Path("o/b.wav")])
    assert command("--run=r", "--output=o")[0] == 0
    given = ("--seconds=2.5", "--count=3", "--temperature=1,0.5", "--top_p=0.9", "--seed=7", "--prime=p.wav")
    status, out, _ = command("--run=r", "--output=o", *given, "--format=flac", "--checkpoint=last", "--overwrite")
    assert (status, out) == (0, "o/a.wav to b.wav, 2.5 s each; see o/samples.png\n")
    assert found == [
        ("r", "o", 5.0, 4, sample.Draw(), None, "wav", "best", False),
        ("r", "o", 2.5, 3, sample.Draw((1.0, 0.5), 0.9, 7), "p.wav", "flac", "last", True),
    ]


def test_sigterm_keeps_what_was_drawn(generator_run, tmp_path):
    script = [sys.executable, str(ROOT / "bin" / "tfvoice_sample"), f"--run={generator_run.run_dir}"]
    with subprocess.Popen(
        [*script, f"--output={tmp_path}", "--seconds=36000", "--count=1"], stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as running:
        while running.poll() is None and not any(path.stat().st_size > 10_000 for path in tmp_path.iterdir()):
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        err = running.communicate()[1]
    told = re.search(r"tfvoice_sample: interrupted; .*sample-000.wav holds its first ([\d.]+) s\n$", err)
    assert running.returncode == 130 and told, err
    assert [path.name for path in tmp_path.iterdir()] == ["sample-000.wav"]
    assert soundfile.info(tmp_path / "sample-000.wav").duration == pytest.approx(float(told[1]), abs=0.05)


@pytest.mark.parametrize(
    "given, fact",
    [
        (("--temperature=warm",), "--temperature=warm: write a number, or several with commas between them"),
        (("--count=0",), "--count=0 does not fit; a whole number of at least 1 is wanted."),
        (("--format=mp3",), "--format=mp3 does not fit; one of wav, flac is wanted."),
        ((), "nowhere: is not the folder of a run"),
    ],
)
def test_what_cannot_be_used_is_told(command, given, fact):
    status, _, err = command("--run=nowhere", "--output=o", *given)
    assert status == 1 and fact in err and len(err.splitlines()) == 1
