"""tfvoice_eval: its output, its flags, its errors."""

import functools
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from tfvoice import checkpoints, tasks
from tfvoice.asr import evaluate, recognizer
from tfvoice.cli import eval as eval_

ROOT = Path(eval_.__file__).parents[2]
DEVICE = re.compile("Device: CPU, .*\n")
SMALL = ("model.width=4", "model.kernel_size=3", "model.dilations=[1]", "model.stacks=1", "features.bins=20")


@pytest.fixture
def command(in_process):
    """Runs the command in this process; returns exit status, standard output and standard error."""
    return functools.partial(in_process, eval_.main, "tfvoice_eval")


@pytest.fixture(scope="module")
def run(converted, tmp_path_factory):
    """The folder of a run with initial weights. Its report is overwritten."""
    run = recognizer.Recognizer.create(
        tmp_path_factory.mktemp("runs") / "run",
        tasks.resolve("wavenet_asr", overrides=SMALL),
        info={"data": str(converted)},
    )
    for name in ("best", "last"):
        checkpoints.save(run.checkpoint(name), {"weights": run.model.weights}, {})
    return run.run_dir


def test_the_help_has_a_command_line_to_paste_and_needs_no_tensorflow():
    code = "import sys; from tfvoice.cli import eval; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
    assert "tfvoice_eval --run=runs/vctk --split=test\n" in eval_.__doc__


@pytest.mark.parametrize("more", [(), ("--decoder=beam", "--beam_width=4", "--split=valid", "--checkpoint=last")])
def test_the_report_is_printed_and_written(command, run, more):
    status, out, err = command(f"--run={run}", "--worst=2", *more)
    split = "valid" if more else "test"
    path = run / "report" / f"eval-{split}.html"
    assert status == 0, err
    report = json.loads(path.with_suffix(".json").read_text())
    assert (report["split"], report["checkpoint"]) == (split, "last" if more else "best")
    assert report["decoder"] == ("beam of 4" if more else "greedy")
    device = DEVICE.match(out)
    assert out == f"{device[0]}{evaluate.as_text(report, 2)}\n\nWritten to {path}\n"
    assert out.count("REF: ") == 2 and f"WER        {report['wer']['rate']:6.2%}" in out


def test_flags_reach_the_library(command, monkeypatch):
    calls = []
    task = types.SimpleNamespace(
        evaluate=lambda *arguments: calls.append(arguments) or ({}, "path"), format_report=lambda *arguments: "text"
    )
    monkeypatch.setattr(tasks, "of_run", lambda _: task)
    more = ("--data=d", "--split=s", "--checkpoint=last", "--decoder=beam", "--beam_width=7", "--compare=o")
    status, out, err = command("--run=r", *more)
    assert (status, DEVICE.sub("", out), err) == (0, "text\n\nWritten to path\n", "")
    command("--run=r")
    assert calls == [
        ("r", "d", "s", "last", ("o",), {"name": "beam", "beam_width": 7}),
        ("r", None, "test", "best", (), {}),
    ]


def test_a_recogniser_is_for_voices(command, run, monkeypatch):
    status, _, err = command(f"--run={run}", "--recognizer=r")
    sentence = f"--recognizer is for voices, and {run} is a run of a recogniser; leave it out."
    assert (status, err) == (1, f"tfvoice_eval: error: {sentence}\n")
    calls = []
    task = types.SimpleNamespace(
        name="voice",
        evaluate=lambda *_, recognizer: calls.append(recognizer) or ({}, "path"),
        format_report=lambda *_: "text",
    )
    monkeypatch.setattr(tasks, "of_run", lambda _: task)
    assert command("--run=r", "--recognizer=asr")[0] == 0 and calls == ["asr"]


@pytest.mark.parametrize(
    ("how", "more", "sentence"),
    [
        ("foreign", [], "{run}: is not the folder of a run (it has no experiment.json); make one with tfvoice_train"),
        ("damaged", [], "{run}/experiment.json: is damaged ("),
        ("untrained", [], "{run}: has no checkpoint best yet; train it with tfvoice_train"),
        ("half", [], "{run}/checkpoints/best.safetensors: this checkpoint is damaged ("),
        ("moved", [], "{run}: its data, /gone/"),
        ("", ["--data={run}/none"], "{run}/none: no converted corpus is here; make one with tfvoice_convert"),
        ("", ["--split=dev"], "{data}: there is no split dev; known: test, train, valid."),
        ("", ["--decoder=fast"], "--decoder=fast is not valid; expected one of greedy, beam, lm."),
        ("", ["--decoder=lm"], "--decoder=lm: needs --lm=FILE, an ARPA file or a KenLM binary, or a run that"),
        ("", ["--decoder=lm", "--lm=no.arpa"], "--lm=no.arpa: no such file; docs/language_model.md shows"),
        ("", ["--decoder=lm", "--lm_weight=-1"], "--lm_weight=-1.0: input should be greater than or equal to 0."),
        ("", ["--beam_width=0"], "--beam_width=0 is not valid; expected a positive integer."),
        ("", ["--checkpoint=first"], "--checkpoint=first is not valid; expected one of best, last."),
        ("", ["--run="], "--run is empty; add --run=DIR."),
    ],
)
def test_an_error_is_one_sentence(command, run, converted, broken_run, how, more, sentence):
    copy = broken_run(run, how)
    paths = {"run": copy, "data": converted}
    status, out, err = command(f"--run={copy}", *(text.format(**paths) for text in more))
    assert (status, DEVICE.sub("", out)) == (1, "")
    assert err.startswith(f"tfvoice_eval: error: {sentence.format(**paths)}") and err.count("\n") == 1
    assert not (copy / "report").exists()
