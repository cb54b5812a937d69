"""The training of a segmentation model: it learns, it validates, and it can be stopped and resumed."""

import aligned_records
import numpy as np
import pytest
import tensorflow as tf
from segmentations import SMALL, segmentation_run
from written import assert_same_run, lines

from tfvoice import tasks
from tfvoice.errors import TfvoiceError
from tfvoice.training.trainer import StopConditions
from tfvoice.tts.segmentation.scoring import Scorer
from tfvoice.tts.segmentation.task import SEGMENTATION, PairObjective

SETTINGS = (
    *(*SMALL, "training.batch_size=4", "training.epochs=3", "training.learning_rate=0.01", "training.xla=off"),
    *("training.average=0.5", "silence.guided_epochs=1"),
)
EXACT = ("step", "epoch", "validation", "train_loss", "valid_loss", "pair_error_rate", "per", "score", "skipped_steps")


@pytest.fixture(scope="module")
def settings():
    return tasks.resolve("segmentation", None, SETTINGS)


@pytest.fixture(scope="module")
def finished(converted, settings, tmp_path_factory):
    """A run that was not interrupted. Read only."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    assert tasks.train(run, converted, settings).finished == "all"
    return run


def test_training_lowers_the_loss(finished):
    found = lines(finished)
    assert [line["epoch"] for line in found] == [1, 2, 3]
    assert found[-1]["valid_loss"] < found[0]["valid_loss"] and found[-1]["score"] <= 0


def test_a_run_stopped_within_an_epoch_resumes_bit_for_bit(finished, converted, settings, tmp_path):
    run = tmp_path / "run"
    for step in (1, 5):
        assert tasks.train(run, converted, settings, StopConditions(max_steps=step)).step == step
    tasks.train(run, converted, settings)
    assert_same_run(run, finished, EXACT, {"weights", "optimizer", "raw"})


def test_only_the_first_epochs_are_guided(converted, tmp_path):
    run = segmentation_run(tmp_path / "run", converted, ["silence.guided_epochs=2", "training.batch_size=4"])
    scanned = run.scan(converted, "train")
    objective = PairObjective(run, scanned)
    batch = next(iter(run.pipeline(scanned, augmented=True).batches(epochs=1)))
    values = batch.features.numpy()
    values[:, :6, 0] = -50
    for epoch, guided in ((1, True), (2, False)):
        _, (*_, silence) = objective.split(
            batch._replace(features=tf.constant(values), epoch=tf.constant(epoch, tf.int64))
        )
        assert bool((silence.numpy() >= 0).all()) == guided


def test_the_loss_is_a_mean_over_the_utterances_that_are_there(converted, tmp_path):
    run = segmentation_run(tmp_path / "run", converted, ["training.batch_size=5", "silence.guided_epochs=0"])
    scanned = run.scan(converted, "valid")
    objective = PairObjective(run, scanned)
    assert len(scanned.index) < 5
    batch = next(iter(run.pipeline(scanned).batches(epochs=1)))
    inputs, targets = objective.split(batch)
    units = objective.units(batch)
    assert units == len(scanned.index)
    loss = objective.losses(run.model(*inputs), targets, units).minimised
    results = Scorer(run, scanned).score(beam=False)
    np.testing.assert_allclose(loss, np.mean([result.loss for result in results]), rtol=1e-4)


def test_aligned_records_are_refused(converted, settings, tmp_path):
    data = aligned_records.write(converted, tmp_path / "aligned")
    with pytest.raises(TfvoiceError, match="these records are aligned already"):
        tasks.train(tmp_path / "run", data, settings)
    assert not (tmp_path / "run").exists()


def test_what_the_commands_say_about_it(converted, tmp_path):
    run = segmentation_run(tmp_path / "run", converted)
    card, known = SEGMENTATION.card(run), SEGMENTATION.describe(run)
    assert card.facts["lexicon"] == "cmudict" and card.facts["phonemes"].startswith("40: sil AA ")
    assert known["seconds_per_frame"] == 0.01 and len(known["phonemes"]) == 40
    with pytest.raises(TfvoiceError, match="there is no text to decode; omit --decoder"):
        SEGMENTATION.evaluate(run.run_dir, converted, "test", "best", (), {"decoder": "lm"})
    assert SEGMENTATION.portable_function(run, "onnx") is None
