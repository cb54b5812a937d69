"""Duration and F0 is trained, resumed bit for bit, and learns; its loss is what it says."""

import json
import types

import numpy as np
import pytest
import tensorflow as tf
from written import assert_same_run, lines

from tfvoice import tasks
from tfvoice.errors import TfvoiceError
from tfvoice.export import export
from tfvoice.models.deep_voice.duration_f0 import Prosody
from tfvoice.training.trainer import StopConditions
from tfvoice.tts.duration_f0.config import ProsodyLossConfig
from tfvoice.tts.duration_f0.data import ProsodyBatch
from tfvoice.tts.duration_f0.task import DURATION_F0, ProsodyObjective

SMALL = ("model.dense=16", "model.recurrent=8", "model.f0_values=4", "training.batch_size=4", "training.xla=off")


def settings(*overrides):
    return tasks.resolve("duration_f0", None, (*SMALL, "training.epochs=3", *overrides))


@pytest.fixture(scope="module")
def trained(aligned_records, tmp_path_factory):
    """The folder of a run that was trained without an interruption."""
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    assert tasks.train(run_dir, aligned_records, settings()).finished == "all"
    return run_dir


def test_a_run_that_was_stopped_ends_as_one_that_was_not(trained, aligned_records, tmp_path):
    for steps in (2, 5, None):
        tasks.train(tmp_path / "run", aligned_records, settings(), StopConditions(max_steps=steps))
    keys = ("step", "epoch", "valid_loss", "duration_ms", "f0_hz", "voicing")
    assert_same_run(tmp_path / "run", trained, keys, {"weights", "raw", "optimizer"})


def test_it_learns(aligned_records, tmp_path):
    tasks.train(tmp_path / "run", aligned_records, settings("training.epochs=25", "training.learning_rate=0.01"))
    first, last = lines(tmp_path / "run")[0], lines(tmp_path / "run")[-1]
    assert last["valid_loss"] < 0.8 * first["valid_loss"] and last["duration_ms"] < 0.8 * first["duration_ms"]


def test_it_refuses_plain_records_before_it_writes(converted, tmp_path):
    with pytest.raises(TfvoiceError, match="these records are plain, and aligned ones are needed"):
        tasks.train(tmp_path / "run", converted, settings())
    assert not (tmp_path / "run").exists()


def test_it_refuses_a_run_of_another_task(duration_f0_run, generator_run, aligned_records):
    with pytest.raises(TfvoiceError, match="holds a run of sample_rnn, not duration_f0"):
        tasks.train(generator_run.run_dir, aligned_records, settings())
    with pytest.raises(TfvoiceError, match="is a run of duration_f0, a model of duration and F0; tfvoice_eval is for"):
        tasks.of_run(duration_f0_run.run_dir, "tfvoice_sample")


def loss(outputs, targets, **weights):
    objective = ProsodyObjective(None, types.SimpleNamespace(signature=None), ProsodyLossConfig(**weights))
    return float(objective.losses(outputs, targets, tf.constant(1.0)).minimised)


def test_the_loss_is_its_weighted_terms():
    # The second phoneme is padding.
    outputs = Prosody(
        tf.constant([[1.0, 9.0]]), tf.constant([[0.5, 9.0]]), tf.constant([[[1.0, 3.0, 2.0], [9.0, 9.0, 0.0]]])
    )
    targets = (
        tf.constant([[-0.5, 0.0]]),
        tf.constant([[1.0, 0.0]]),
        tf.zeros([1, 2, 3]),
        tf.constant([[[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]]),
        tf.constant([1]),
    )
    expected = 2 * 1.5 + 3 * np.log(1 + np.exp(-0.5)) + 5 * (1 + 2) / 3 + 7 * (2 + 1) / 3
    assert loss(outputs, targets, duration=2, voicing=3, f0=5, f0_change=7) == pytest.approx(expected, rel=1e-6)


def test_f0_changes_from_phoneme_to_phoneme_too():
    f0 = tf.constant([[[1.0, 2.0], [5.0, 5.0], [4.0, 2.0], [100.0, 0.0]]])
    zeros, points = tf.zeros([1, 4]), tf.zeros([1, 4, 2])
    targets = (zeros, zeros, points, points, tf.constant([3]))
    found = loss(Prosody(zeros, zeros, f0), targets, duration=0, voicing=0, f0=0, f0_change=1)
    assert found == (1 + 3 + 0 + 1 + 2) / 2


def test_it_is_evaluated_and_exported(trained, tmp_path):
    report, _ = DURATION_F0.evaluate(trained, None, "valid", "best", (), {})
    export.export(trained, tmp_path / "1")
    assert f"| best | {DURATION_F0.format_result(report)} |" in (tmp_path / "1" / "model_card.md").read_text()
    assert json.loads((tmp_path / "1" / "tfvoice.json").read_text())["task"] == "duration_f0"


def test_batches_have_the_signature(aligned_records, trained):
    run = DURATION_F0.run.load(trained)
    data = run.pipeline(run.index(run.config, aligned_records, "valid"))
    (batch,) = data.batches(epochs=1)
    assert isinstance(batch, ProsodyBatch)
    for spec, value in zip(data.signature, batch, strict=True):
        assert spec.is_compatible_with(tf.constant(value))
