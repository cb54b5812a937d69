"""tfvoice_train: its flags, its output, its errors, and stopping it."""

import functools
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tfvoice import tasks
from tfvoice.cli import train
from tfvoice.training.trainer import TrainingState

ROOT = Path(train.__file__).parents[2]
DEVICE = re.compile("Device: CPU, .*\n")
TINY = (
    "--set=model.width=4", "--set=model.kernel_size=3", "--set=model.dilations=[1]", "--set=model.stacks=1",
    "--set=features.bins=20", "--set=training.xla=off",
)  # fmt: skip


@pytest.fixture
def command(in_process):
    """Runs the command in this process; returns exit status, standard output and standard error."""
    return functools.partial(in_process, train.main, "tfvoice_train")


@pytest.fixture
def calls(monkeypatch):
    """The arguments of `tasks.train`; nothing is trained."""
    calls = []

    def recorded(*arguments):
        calls.append(arguments)
        return TrainingState(best_validation=1)

    monkeypatch.setattr(tasks, "train", recorded)
    return calls


def test_the_help_has_a_command_line_to_paste_and_needs_no_tensorflow():
    code = "import sys; from tfvoice.cli import train; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
    assert "tfvoice_train --model=wavenet_asr --data=vctk_records --run=runs/vctk\n" in train.__doc__


def test_the_help_names_every_model(command):
    status, out, _ = command("--help")
    assert status == 0 and all(name in out for name in tasks.TASKS)


def test_flags_reach_the_library(command, calls):
    status, out, err = command(
        "--data=records", "--run=runs/a", "--config=wavenet_asr_demo", "--set", "training.batch_size=3",
        "--set=data.buckets=2", "--epochs=7", "--max_steps=5", "--max_minutes=1.5",
        "--checkpoint_minutes=0", "--overwrite",
    )  # fmt: skip
    assert (status, DEVICE.sub("", out), err) == (0, "Next: tfvoice_eval --run=runs/a --split=test\n", "")
    ((run, data, settings, stop, overwrite, init_from),) = calls
    assert (run, data, overwrite, init_from) == ("runs/a", "records", True, None)
    assert (stop.max_steps, stop.max_minutes, stop.checkpoint_minutes, stop.requested()) == (5, 1.5, 0.0, False)
    assert (settings.training.batch_size, settings.training.epochs, settings.data.buckets) == (3, 7, 2)
    assert settings.features.bins == 64, "the value of wavenet_asr_demo"
    command("--data=records", "--run=runs/a")
    settings, stop, overwrite = calls[1][2:5]
    assert (stop.max_steps, stop.max_minutes, stop.checkpoint_minutes, overwrite) == (None, None, 5.0, False)
    assert settings == tasks.resolve("wavenet_asr")


def test_a_voice_says_what_is_next_only_when_it_is_whole(command, calls, voice_run, monkeypatch):
    common = ("--model=deep_voice", "--data=records", "--run=voices/a")
    status, out, _ = command(*common, "--set=vocoder.training.epochs=3")
    assert status == 0 and calls[0][2].vocoder.training.epochs == 3
    assert "Next: tfvoice_eval --run=voices/a" in out
    monkeypatch.setattr(tasks, "train", lambda *_: None)
    assert "Next" not in command(*common)[1]
    sentence = "a voice has several parts; name one, as in --set vocoder.training.epochs=30."
    extended = ("--data=records", f"--run={voice_run.run_dir}", "--epochs=+2")
    for arguments in ((*common, "--epochs=7"), extended):
        status, _, err = command(*arguments)
        assert status == 1 and err.endswith(f"{sentence}\n") and err.count("\n") == 1


def test_a_start_from_another_run_takes_its_configuration(command, calls, recognizer_run):
    source = recognizer_run.run_dir
    command("--data=records", "--run=runs/a", f"--init_from={source}", "--epochs=7", "--set=alphabet.characters=abc")
    ((*_, settings, _, _, init_from),) = calls
    assert init_from == str(source)
    expected = [(key, getattr(recognizer_run.config, key)) for key in ("model", "features")]
    assert [(key, getattr(settings, key)) for key in ("model", "features")] == expected
    assert (settings.alphabet.characters, settings.training.epochs) == ("abc", 7)


def test_a_finished_run_is_extended_by_one_flag(command, converted, tmp_path):
    common = (f"--data={converted}", f"--run={tmp_path}/run")
    changes = (*TINY, "--set=training.batch_size=8")
    for epochs in ("1", "+2"):
        status, out, err = command(*common, f"--epochs={epochs}", *(changes if epochs == "1" else ()))
        assert status == 0, err
    assert [line.split()[1] for line in out.splitlines() if line.startswith("epoch")] == ["2", "3"]
    status, out, _ = command(*common, *changes, "--epochs=3")
    assert status == 0 and "has already finished after 3 epochs." in out


def test_one_step_on_real_data_and_the_checkpoint_that_it_saves(command, converted, tmp_path):
    run = tmp_path / "run"
    status, out, err = command(
        f"--data={converted}",
        f"--run={run}",
        "--max_steps=1",
        "--set=training.batch_size=4",
        *TINY,
    )
    assert status == 0, err
    assert DEVICE.match(out)
    assert re.sub(r"\d+\.\d+", "N", out).splitlines()[1:] == [
        "train: 13 utterances, N hours",
        "valid: 2 utterances, N hours",
        "step 1: train loss N nats per utterance",
        "Stopped at the limit, after step 1; a higher or no limit resumes from there.",
        f"Next: tfvoice_eval --run={run} --checkpoint=last --split=test",
    ]
    assert (run / "checkpoints" / "last.safetensors").is_file()


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
        (["--data=d", "--run=r", "--epochs=+0"], "--epochs=+0 is not valid; expected a positive integer"),
        (["--data=d", "--run=r", "--epochs=+2"], "r: is not the folder of a run (it has no experiment.json); make"),
        (["--data=d", "--run=r", "--init_from=s"], "s: is not the folder of a run (it has no experiment.json); make"),
        (["--data=d", "--run=r", "--epochs=+2", "--overwrite"], "--overwrite starts from scratch, --epochs=+N ext"),
        (["--data=d", "--run=r", "--epochs=0"], "--epochs=0 is not valid; expected a positive integer, or + and one."),
        (
            ["--data=d", "--run=r", "--max_minutes=-1"],
            "--max_minutes=-1 is not valid; expected a non-negative number.",
        ),
        (["--data=d", "--run=r", "--config=c.toml"], "--config=c.toml: no such file, and no such name; "),
        (["--data=d", "--run=r", "--ovrwrite"], "there is no flag --ovrwrite; did you mean --overwrite?"),
        (["--data=d", "--run=r", "extra"], "unexpected argument extra; flags begin with --"),
    ],
)
def test_an_error_is_one_sentence(command, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    status, out, err = command(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert (status, DEVICE.sub("", out)) == (1, "")
    assert err.startswith(f"tfvoice_train: error: {sentence.format(tmp=tmp_path)}") and err.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_a_run_that_is_a_file_is_an_error(command, converted, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = command(f"--data={converted}", f"--run={tmp_path}/file", *TINY)
    assert status == 1 and f"{tmp_path}/file" in err and "Traceback" not in err


def test_an_interrupted_run_says_how_to_resume_it(command, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt("saved after step 3; the same command resumes from there.")

    monkeypatch.setattr(tasks, "train", interrupted)
    status, out, err = command("--data=d", "--run=r")
    assert (status, DEVICE.sub("", out), err) == (
        130, "", "tfvoice_train: interrupted; saved after step 3; the same command resumes from there.\n",
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_requests_a_stop_and_the_handlers_are_restored(command, monkeypatch, number):
    def train(run_dir, data_dir, config, stop, overwrite, init_from):
        assert not stop.requested()
        signal.raise_signal(number)
        assert stop.requested()
        return TrainingState(best_validation=1)

    monkeypatch.setattr(tasks, "train", train)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert command("--data=d", "--run=r")[0] == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_full_disk_is_a_sentence_with_the_place_and_the_way_on(command, monkeypatch):
    def train(*_):
        raise OSError(28, "No space left on device", "r/checkpoints/last.safetensors")

    monkeypatch.setattr(tasks, "train", train)
    status, _, err = command("--data=d", "--run=r")
    assert status == 1 and err == (
        "tfvoice_train: error: r/checkpoints/last.safetensors: No space left on device; free some space, then the same "
        "command resumes the run.\n"
    )


def test_the_next_command_names_a_split_that_exists(command, monkeypatch, tmp_path, converted):
    monkeypatch.setattr(tasks, "train", lambda *_: TrainingState(best_validation=1))
    assert command(f"--data={converted}", "--run=r")[1].endswith("Next: tfvoice_eval --run=r --split=test\n")
    content = json.loads((converted / "manifest.json").read_text())
    del content["splits"]["test"]
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    assert command(f"--data={tmp_path}", "--run=r")[1].endswith("Next: tfvoice_eval --run=r --split=valid\n")
