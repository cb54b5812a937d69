"""Laws of tfvoice_eval."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tfvoice import experiment, tasks
from tfvoice.asr import evaluate, recognizer
from tfvoice.asr.decoders import DecoderConfig
from tfvoice.cli import eval as eval_
from tfvoice.cli import flags
from tfvoice.training import checkpoints

ROOT = Path(flags.__file__).parents[2]
SMALL = ("model.width=4", "model.kernel_size=3", "model.dilations=[1]", "model.stacks=1", "features.bins=20")


@pytest.fixture
def command(in_process):
    """Runs the command in this process; returns exit status, standard output and standard error."""
    return functools.partial(in_process, eval_.main, "tfvoice_eval")


@pytest.fixture(scope="module")
def run(converted, tmp_path_factory):
    """The folder of a run of fresh weights. Its report is overwritten."""
    made = recognizer.Recognizer.create(
        tmp_path_factory.mktemp("runs") / "run",
        experiment.resolve("wavenet_asr", overrides=SMALL),
        info={"data": str(converted)},
    )
    for name in ("best", "last"):
        checkpoints.save(made.checkpoint(name), {"weights": made.model.weights}, {})
    return made.run_dir


def test_the_help_is_a_command_to_paste_and_needs_no_tensorflow():
    loaded = "import sys; from tfvoice.cli import eval; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], cwd=ROOT).returncode == 0
    assert "tfvoice_eval --run=runs/vctk --split=test\n" in eval_.__doc__


@pytest.mark.parametrize("more", [(), ("--decoder=beam", "--beam_width=4", "--split=valid", "--checkpoint=last")])
def test_what_is_printed_is_what_is_written(command, run, more):
    status, out, err = command(f"--run={run}", "--worst=2", *more)
    split = "valid" if more else "test"
    path = run / "report" / f"eval-{split}.html"
    assert status == 0, err
    report = json.loads(path.with_suffix(".json").read_text())
    assert (report["split"], report["checkpoint"]) == (split, "last" if more else "best")
    assert report["decoder"] == ("beam of 4" if more else "greedy")
    assert out == f"{evaluate.as_text(report, 2)}\n\nWritten to {path}\n"
    assert out.count("REF: ") == 2 and f"WER        {report['wer']['rate']:6.2%}" in out


def test_flags_reach_the_library(command, monkeypatch):
    found = []
    task = tasks.TASKS["recognition"]._replace(
        evaluate=lambda *arguments: found.append(arguments) or ({}, "path"), as_text=lambda *arguments: "text"
    )
    monkeypatch.setattr(tasks, "of_run", lambda _: task)
    more = ("--data=d", "--split=s", "--checkpoint=last", "--decoder=beam", "--beam_width=7", "--compare=o")
    assert command("--run=r", *more) == (0, "text\n\nWritten to path\n", "")
    command("--run=r")
    assert found == [
        ("r", "d", "s", "last", DecoderConfig(name="beam", beam_width=7), ("o",)),
        ("r", None, "test", "best", DecoderConfig(), ()),
    ]


@pytest.mark.parametrize(
    ("how", "more", "sentence"),
    [
        ("foreign", [], "{run}: is not the folder of a run (it has no experiment.json); make one with tfvoice_train"),
        ("damaged", [], "{run}/experiment.json: is damaged ("),
        ("untrained", [], "{run}: has no checkpoint best yet; train it with tfvoice_train"),
        ("half", [], "{run}/checkpoints/best.npz: this checkpoint is damaged ("),
        ("moved", [], "{run}: its data, /gone/"),
        ("", ["--data={run}/none"], "{run}/none: no converted corpus is here; make one with tfvoice_convert"),
        ("", ["--split=dev"], "{data}: there is no split dev; known: test, train, valid."),
        ("", ["--decoder=fast"], "--decoder=fast does not fit; one of greedy, beam, lm is wanted."),
        ("", ["--decoder=lm"], "--decoder=lm: needs --lm=FILE, an ARPA file or a KenLM binary, or a run that"),
        ("", ["--decoder=lm", "--lm=no.arpa"], "--lm=no.arpa: no such file; docs/language_model.md shows"),
        ("", ["--decoder=lm", "--lm_weight=-1"], "--lm_weight=-1.0: input should be greater than or equal to 0."),
        ("", ["--beam_width=0"], "--beam_width=0 does not fit; a whole number of at least 1 is wanted."),
        ("", ["--checkpoint=first"], "--checkpoint=first does not fit; one of best, last is wanted."),
        ("", ["--run="], "--run is empty; add --run=DIR."),
    ],
)
def test_mistakes_are_told_in_a_sentence(command, run, converted, broken_run, how, more, sentence):
    copied = broken_run(run, how)
    places = {"run": copied, "data": converted}
    status, out, err = command(f"--run={copied}", *(text.format(**places) for text in more))
    assert (status, out) == (1, "")
    assert err.startswith(f"tfvoice_eval: error: {sentence.format(**places)}") and err.count("\n") == 1
    assert not (copied / "report").exists()
