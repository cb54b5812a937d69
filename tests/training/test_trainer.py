"""Laws of training: it can be killed, stopped, limited and resumed, and its configuration alone decides the weights."""

import hashlib
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from written import arrays, assert_same_run, lines, state_of

from tfvoice import hardware, storage, tasks
from tfvoice.asr import scoring, task
from tfvoice.asr.recognizer import Recognizer
from tfvoice.audio import features
from tfvoice.data import records
from tfvoice.errors import TfvoiceError
from tfvoice.training import step, trainer
from tfvoice.training.config import TrainingConfig
from tfvoice.training.trainer import StopConditions

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "bin" / "tfvoice_train"
# Everything that uses random numbers is on.
TINY = """
[model]
name = "wavenet_asr"
width = 8
kernel_size = 3
dilations = [1, 2]
stacks = 1
dropout = 0.1
[features]
bins = 20
[data]
buckets = 3
[augmentation]
frequency_width = 4
tempo = 0.1
vocal_tract = 0.1
noise = 0.1
[training]
epochs = 3
batch_size = 1
accumulate = 2
average = 0.9
"""
# Off: what takes time to trace and matters to few laws.
PLAIN = (
    "augmentation.tempo=0",
    "augmentation.vocal_tract=0",
    "augmentation.noise=0",
    "model.dropout=0",
    "training.xla=off",
)
# Not that of the process: the moments of the signals are to differ from run to run.
RANDOM = random.Random()
EXACT = ("step", "epoch", "train_loss", "valid_loss", "wer", "cer", "skipped_steps")
GROUPS = {"weights", "optimizer", "raw"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def settings(tiny):
    """The tiny configuration, with changes."""
    return lambda *changes: tasks.resolve("wavenet_asr", str(tiny), changes)


@pytest.fixture(scope="module")
def finished(converted, settings, tmp_path_factory):
    """A run that was not interrupted. Read only."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    state = tasks.train(run, converted, settings())
    assert state.finished == "all" and state.step == 3 * 7
    return run


def fingerprints(run):
    return {str(path): hashlib.sha256(path.read_bytes()).digest() for path in sorted(run.rglob("*")) if path.is_file()}


class Command:
    """`tfvoice_train` in a process of its own."""

    def __init__(self, tiny, data, run, *more):
        self.run = run
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        command = [SCRIPT, f"--config={tiny}", f"--data={data}", f"--run={run}", "--checkpoint_minutes=0", *more]
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def signal_after(self, step, number):
        """Sends a signal at a random moment after the run has saved `step`; returns status and errors."""
        deadline = time.monotonic() + 300
        while self.process.poll() is None and time.monotonic() < deadline:
            if (self.run / "checkpoints" / "last.safetensors").is_file() and state_of(self.run)["step"] >= step:
                break
            time.sleep(0.005)
        time.sleep(RANDOM.uniform(0, 0.1))
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=300)
        return self.process.returncode, err


def test_an_interrupted_and_killed_run_resumes_bit_for_bit(finished, converted, tiny, settings, tmp_path):
    run = tmp_path / "run"
    moments = [RANDOM.randint(1, 6), RANDOM.randint(8, 16)]
    print(f"moments: {moments}")
    status, err = Command(tiny, converted, run).signal_after(moments[0], signal.SIGINT)
    saved = state_of(run)["step"]
    assert status == 130 and moments[0] <= saved < 21
    assert err.splitlines()[-1] == (
        f"tfvoice_train: interrupted; saved after step {saved}; the same command resumes from there."
    )
    status, err = Command(tiny, converted, run).signal_after(moments[1], signal.SIGKILL)
    assert status == -signal.SIGKILL, err
    assert tasks.train(run, converted, settings()).finished == "all"
    assert_same_run(run, finished, EXACT, GROUPS)


def test_a_run_that_is_trained_elsewhere_is_refused_at_once(finished, converted, settings, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    sentence = f"{run}: another tfvoice_train is writing here; wait until it ends."
    with storage.locked(run, "tfvoice_train"), pytest.raises(TfvoiceError, match=f"^{re.escape(sentence)}$"):
        tasks.train(run, converted, settings())


def test_leftovers_of_a_killed_process_are_ignored(finished, converted, settings, tmp_path, capsys):
    run = tmp_path / "run"
    state = tasks.train(run, converted, settings(), StopConditions(max_steps=9))
    assert (state.step, state.epoch, state.position, state.finished) == (9, 1, 4, "")
    out = capsys.readouterr().out
    assert "Stopped at the limit, after step 9; a higher or no limit resumes from there." in out
    loss = re.search(r"^step 9: train loss (\d+\.\d{4}) nats per utterance$", out, re.MULTILINE)[1]
    assert float(loss) == pytest.approx(state.loss, abs=1e-4)
    (run / "checkpoints" / ".tfvoice-0123.safetensors").write_bytes(b"half a checkpoint")
    (run / ".tfvoice-4567.jsonl").write_bytes(b"half")
    later = json.dumps(lines(run)[0] | {"step": 9, "epoch": 2, "validation": 2}) + "\n"
    with open(run / "metrics.jsonl", "a") as file:
        file.write(later + later.replace('"step": 9', '"step": 14') + later[:20])
    tasks.train(run, converted, settings())
    assert_same_run(run, finished, EXACT, GROUPS)


def test_a_finished_run_is_not_changed(finished, converted, settings, capsys):
    before = fingerprints(finished)
    state = tasks.train(finished, converted, settings(), StopConditions(max_steps=5))
    assert (state.step, state.finished) == (21, "all")
    assert capsys.readouterr().out == f"{finished}: has already finished after 3 epochs.\n"
    assert fingerprints(finished) == before


def test_a_run_is_resumed_in_its_own_precision_on_any_machine(finished, converted, settings, monkeypatch):
    monkeypatch.setattr(hardware, "has_fast_bfloat16", lambda: True)
    assert tasks.train(finished, converted, settings("training.precision=auto")).finished == "all"
    with pytest.raises(TfvoiceError, match=r"training\.precision: float32 -> bfloat16"):
        tasks.train(finished, converted, settings("training.precision=bfloat16"))


def test_another_configuration_or_other_data_are_refused_by_key(finished, converted, settings, tmp_path):
    before = fingerprints(finished)
    expected = (
        f"{finished}: holds a run of another configuration: model.width: 8 -> 16; training.epochs: 3 -> 4. "
        "Use another --run, or --overwrite to start this one from scratch."
    )
    with pytest.raises(TfvoiceError, match=f"^{re.escape(expected)}$"):
        tasks.train(finished, converted, settings("model.width=16", "training.epochs=4"))
    other = shutil.copytree(converted, tmp_path / "other")
    with open(other / "manifest.json", "a") as file:
        file.write("\n")
    fact = f"another configuration: data: {converted} -> {other} (of other content). Use"
    with pytest.raises(TfvoiceError, match=re.escape(fact)):
        tasks.train(finished, other, settings())
    assert fingerprints(finished) == before


def test_settings_that_no_weight_depends_on_can_change(finished, converted, settings, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    before = fingerprints(run / "checkpoints")
    tasks.train(run, converted, settings("training.patience=5", "training.validate_steps=3"))
    assert fingerprints(run / "checkpoints") == before
    known = json.loads((run / "experiment.json").read_text())["config"]["training"]
    assert (known["patience"], known["validate_steps"]) == (5, 3)


def test_overwriting_starts_from_scratch_once_the_data_have_been_checked(finished, converted, settings, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "report").mkdir()
    (run / "report" / "eval-test.json").write_text("{}")
    (run / "notes.txt").write_text("mine")
    before = fingerprints(run)
    with pytest.raises(TfvoiceError, match="nothing to use in train"):
        tasks.train(run, converted, settings("data.min_seconds=15"), overwrite=True)
    assert fingerprints(run) == before
    state = tasks.train(run, converted, settings("training.seed=1"), StopConditions(max_steps=1), overwrite=True)
    assert state.step == 1 and state_of(run)["step"] == 1
    assert Recognizer.open(run).config.training.seed == 1
    assert not (run / "metrics.jsonl").exists() and not (run / "checkpoints" / "best.safetensors").exists()
    assert not list((run / "report").iterdir()) and (run / "notes.txt").read_text() == "mine"
    assert len(list((run / "logs").iterdir())) == 1


def test_unusable_data_leave_no_run_behind(converted, settings, tmp_path):
    with pytest.raises(TfvoiceError, match=r"features\.sample_rate_hz=16000"):
        tasks.train(tmp_path / "run", converted, settings("features.sample_rate_hz=8000"))
    assert not (tmp_path / "run").exists()


def test_an_incomplete_run_is_refused(finished, converted, settings, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "experiment.json").unlink()
    before = fingerprints(run)
    fact = f"{run}: holds checkpoints/best.safetensors but no experiment.json, so it is not a whole run; use another"
    with pytest.raises(TfvoiceError, match=re.escape(fact)):
        tasks.train(run, converted, settings())
    assert fingerprints(run) == before


def test_a_damaged_checkpoint_is_an_error_and_not_replaced(finished, converted, settings, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    path = run / "checkpoints" / "last.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    before = fingerprints(run)
    fact = rf"^{re.escape(str(path))}: this checkpoint is damaged .* --overwrite starts the run from scratch\.$"
    with pytest.raises(TfvoiceError, match=fact):
        tasks.train(run, converted, settings())
    assert fingerprints(run) == before


def test_steps_without_a_finite_loss_change_nothing_and_ten_in_a_row_end_the_run(
    converted, settings, tmp_path, monkeypatch
):
    gradients = step.Learner.gradients

    def poisoned(self, group, wishes):
        return gradients(self, [batch._replace(features=batch.features * math.nan) for batch in group], wishes)

    monkeypatch.setattr(step.Learner, "gradients", poisoned)
    run, chosen = tmp_path / "run", settings(*PLAIN)
    state = tasks.train(run, converted, chosen, StopConditions(max_steps=8))
    assert (state.step, state.skipped, state.losses, state.loss) == (8, 8, 0, None)
    fresh = Recognizer.open(run)
    untouched = step.Learner(
        task.CtcObjective(fresh.model, 20, chosen.training), chosen.training, tf.distribute.get_strategy()
    ).groups()
    for name, variables in untouched.items():
        for key, variable in variables.items():
            np.testing.assert_array_equal(arrays(run)[f"{name}/{key}"], variable)
    assert [line["train_loss"] for line in lines(run)] == [None]
    fact = f"{run}: the loss was not finite in 10 steps in a row, the last at step 9; start a new run with --set "
    with pytest.raises(TfvoiceError, match=re.escape(fact) + "training.learning_rate=0.0003"):
        tasks.train(run, converted, chosen)
    assert state_of(run)["step"] == 8


def test_patience_stops_a_run_early(converted, settings, tmp_path, monkeypatch, capsys):
    rates = iter([0.9, 0.8, 0.85, 0.8])
    monkeypatch.setattr(scoring, "score", lambda results: scoring.Score(1.0, next(rates), 5.0))
    run, chosen = (
        tmp_path / "run",
        settings("training.patience=2", "training.epochs=9", "training.batch_size=8", *PLAIN),
    )
    state = tasks.train(run, converted, chosen, StopConditions(max_minutes=60))
    assert (state.epoch, state.best_validation, state.best_score, state.finished) == (4, 2, 0.8, "early")
    assert "Stopped early: no better result in 2 validations." in capsys.readouterr().out
    assert state_of(run)["finished"] == "early"


def test_corpus_statistics_are_those_of_the_training_split_and_are_kept_in_the_run(converted, settings, tmp_path):
    chosen = settings("features.normalization=corpus", *PLAIN)
    assert tasks.train(tmp_path / "run", converted, chosen, StopConditions(max_minutes=0)).step == 0
    run = Recognizer.load(tmp_path / "run", "last")
    utterances = run.scan(converted, "train")
    matrices = []
    for record in utterances.read(np.arange(len(utterances))):
        audio = records.decode(record)["audio"][tf.newaxis]
        matrices.append(features.compute(chosen.features, audio, tf.shape(audio)[1:], run.statistics).values[0])
    frames = np.concatenate(matrices)
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(frames.std(axis=0, ddof=1), 1, atol=1e-3)


def test_the_learning_rate_warms_up_and_follows_its_schedule():
    chosen = TrainingConfig(learning_rate=0.5, warmup=0.1)
    rates = [trainer.learning_rate(step, 200, chosen) for step in range(201)]
    assert rates[:20] == pytest.approx([0.5 * (step + 1) / 20 for step in range(20)])
    cosine = [0.25 * (1 + math.cos(math.pi * (step - 20) / 180)) for step in range(20, 200)]
    assert rates[20:200] == pytest.approx([max(0.0005, rate) for rate in cosine])
    assert rates[200] == 0.0005
    constant = chosen.model_copy(update={"decay": "constant", "warmup": 0.0})
    assert {trainer.learning_rate(step, 200, constant) for step in range(300)} == {0.5}
    stepwise = constant.model_copy(update={"decay": "exponential", "epoch_factor": 0.9, "epochs": 4})
    rates = [trainer.learning_rate(step, 40, stepwise) for step in range(40)]
    assert rates == pytest.approx([0.5 * 0.9 ** (step // 10) for step in range(40)])
    of_steps = stepwise.model_copy(update={"decay_steps": 3})
    rates = [trainer.learning_rate(step, 40, of_steps) for step in range(40)]
    assert rates == pytest.approx([0.5 * 0.9 ** (step // 3) for step in range(40)])
    for total in (1, 3, 25, 27):
        assert max(trainer.learning_rate(step, total, chosen) for step in range(total)) <= 0.5


class Recorder(keras.callbacks.Callback):
    """Keeps what Keras callbacks are called with, and stops after an epoch."""

    def __init__(self, last_epoch):
        super().__init__()
        self.last_epoch, self.events = last_epoch, []

    def on_train_begin(self, logs=None):
        self.events.append(("begin", None, set()))

    def on_train_batch_end(self, batch, logs=None):
        self.events.append(("batch", batch, set(logs)))

    def on_epoch_end(self, epoch, logs=None):
        self.events.append(("epoch", epoch, set(logs)))
        self.weights = [weight.numpy() for weight in self.model.weights]
        self.model.stop_training = epoch == self.last_epoch

    def on_train_end(self, logs=None):
        self.events.append(("end", None, set()))


def test_keras_callbacks_are_called_and_can_stop_a_run_that_resumes(finished, converted, settings, tmp_path, capsys):
    run, recorder = tmp_path / "run", Recorder(last_epoch=1)
    state = tasks.train(run, converted, settings(), callbacks=[recorder])
    assert (state.epoch, state.finished) == (2, "")
    epochs = [
        [("batch", number, {"loss"}) for number in range(7)]
        + [("epoch", epoch, {"loss", "val_loss", "val_wer", "val_cer"})]
        for epoch in (0, 1)
    ]
    assert recorder.events == [("begin", None, set()), *epochs[0], *epochs[1], ("end", None, set())]
    assert "Stopped by a callback, after step 14; the same call resumes from there." in capsys.readouterr().out
    validated = [array for name, array in arrays(run).items() if name.startswith("weights/")]
    assert sorted(weight.sum() for weight in recorder.weights) == sorted(array.sum() for array in validated)
    tasks.train(run, converted, settings())
    assert_same_run(run, finished, EXACT, GROUPS)


def test_two_processes_interrupted_and_resumed_end_as_two_that_were_not(tiny, converted, tmp_path):
    """The wish to stop reaches one of them, and all stop after the same step; only the chief writes."""
    changes = (*PLAIN, "training.batch_size=2", "training.accumulate=1", "training.epochs=2")
    together = ("--processes=2", *(f"--set={change}" for change in changes))

    def start(name):
        return Command(tiny, converted, tmp_path / name, *together)

    process = start("whole").process
    assert (process.communicate(timeout=300), process.returncode)[1] == 0
    status, err = start("stopped").signal_after(3, signal.SIGTERM)
    assert status == 130 and "tfvoice_train: interrupted; saved after step" in err and "Traceback" not in err
    assert state_of(tmp_path / "stopped")["step"] < state_of(tmp_path / "whole")["step"]
    process = start("stopped").process
    assert (process.communicate(timeout=300), process.returncode)[1] == 0
    assert_same_run(tmp_path / "stopped", tmp_path / "whole", EXACT, GROUPS)
    assert len(list((tmp_path / "whole" / "logs").iterdir())) == 1
