"""Laws of tfvoice_train."""

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tfvoice.cli import flags, train
from tfvoice.training import trainer
from tfvoice.training.trainer import Limits, State

ROOT = Path(flags.__file__).parents[2]


@pytest.fixture
def command(in_process):
    """Runs the command in this process; returns exit status, standard output and standard error."""
    return functools.partial(in_process, train.main, "tfvoice_train")


@pytest.fixture
def asked(monkeypatch):
    """What the command asks the library for; nothing is trained."""
    found = []

    def recorded(*arguments):
        found.append(arguments)
        return State(best_validation=1)

    monkeypatch.setattr(trainer, "train", recorded)
    return found


def test_the_help_is_a_command_to_paste_and_needs_no_tensorflow():
    loaded = (
        "import sys; from tfvoice.cli import train; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", loaded], cwd=ROOT).returncode == 0
    assert "tfvoice_train --model=wavenet_asr --data=vctk_records --run=runs/vctk\n" in train.__doc__


def test_flags_reach_the_library(command, asked):
    status, out, err = command(
        "--data=records", "--run=runs/a", "--config=wavenet_asr_demo", "--set", "training.batch_size=3",
        "--set=data.buckets=2", "--epochs=7", "--max_steps=5", "--max_minutes=1.5",
        "--checkpoint_minutes=0", "--overwrite",
    )  # fmt: skip
    assert (status, out, err) == (0, "Next: tfvoice_eval --run=runs/a --split=test\n", "")
    ((run, data, settings, limits, overwrite),) = asked
    assert (run, data, limits, overwrite) == ("runs/a", "records", Limits(5, 1.5, 0.0), True)
    assert (settings.training.batch_size, settings.training.epochs, settings.data.buckets) == (3, 7, 2)
    assert settings.features.bins == 64, "of the demo"
    command("--data=records", "--run=runs/a")
    assert asked[1][3:] == (Limits(None, None, 5.0), False)


def test_one_step_on_real_data_and_then_the_checkpoint_that_there_is(command, converted, tmp_path):
    run = tmp_path / "run"
    tiny = ("model.width=4", "model.kernel_size=3", "model.dilations=[1]", "model.stacks=1", "features.bins=20")
    status, out, err = command(
        f"--data={converted}",
        f"--run={run}",
        "--max_steps=1",
        "--set=training.batch_size=4",
        *(f"--set={change}" for change in tiny),
    )
    assert status == 0, err
    assert re.sub(r"0\.00", "N", out).splitlines() == [
        "train: 13 utterances, N hours",
        "valid: 2 utterances, N hours",
        "Stopped at the limit, after step 1; a higher or no limit goes on from there.",
        f"Next: tfvoice_eval --run={run} --checkpoint=last --split=test",
    ]
    assert (run / "checkpoints" / "last.npz").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--run=r"], "--data is missing; add --data=DIR."),
        (["--data=d"], "--run is missing; add --run=DIR."),
        (
            ["--data={tmp}/none", "--run=r"],
            "{tmp}/none: no converted corpus is here; make one with tfvoice_convert --outp",
        ),
        (
            ["--data=d", "--run=r", "--model=wavenet"],
            "--model=wavenet: there is no such model; did you mean wavenet_asr?",
        ),
        (
            ["--data=d", "--run=r", "--set=training.epoch=3"],
            "--set: there is no key training.epoch; did you mean epochs?",
        ),
        (["--data=d", "--run=r", "--epochs=0"], "--epochs=0 does not fit; a whole number of at least 1 is wanted."),
        (
            ["--data=d", "--run=r", "--max_minutes=-1"],
            "--max_minutes=-1 does not fit; a number of at least 0 is wanted.",
        ),
        (["--data=d", "--run=r", "--config=c.toml"], "--config=c.toml: no such file, and no such name; "),
        (["--data=d", "--run=r", "--ovrwrite"], "there is no flag --ovrwrite; did you mean --overwrite?"),
        (["--data=d", "--run=r", "extra"], "extra is not a flag"),
    ],
)
def test_mistakes_are_told_in_a_sentence(command, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    status, out, err = command(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert (status, out) == (1, "")
    assert err.startswith(f"tfvoice_train: error: {sentence.format(tmp=tmp_path)}") and err.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_a_run_that_is_a_file_is_told(command, converted, tmp_path):
    (tmp_path / "file").write_text("")
    tiny = ("model.width=4", "model.dilations=[1]", "model.stacks=1", "features.bins=20")
    status, _, err = command(f"--data={converted}", f"--run={tmp_path}/file", *(f"--set={change}" for change in tiny))
    assert status == 1 and f"{tmp_path}/file" in err and "Traceback" not in err


def test_an_interrupted_run_says_how_to_go_on(command, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt("saved after step 3; the same command goes on from there.")

    monkeypatch.setattr(trainer, "train", interrupted)
    assert command("--data=d", "--run=r") == (
        130, "", "tfvoice_train: interrupted; saved after step 3; the same command goes on from there.\n",
    )  # fmt: skip
