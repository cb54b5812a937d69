"""The training of a G2P model: it learns, it validates, and it can be stopped and resumed."""

import math
import shutil

import numpy as np
import pytest
import tensorflow as tf
from written import assert_same_run, lines

from tfvoice import tasks
from tfvoice.errors import TfvoiceError
from tfvoice.training.trainer import StopConditions
from tfvoice.tts.g2p.predict import G2pPredictor
from tfvoice.tts.g2p.run import G2pRun
from tfvoice.tts.g2p.task import G2P, NextPhonemeObjective

SETTINGS = (
    *("model.units=16", "model.layers=1", "model.dropout=0.1", "training.batch_size=32", "training.epochs=4"),
    *("training.learning_rate=0.03", "training.average=0.9", "training.xla=off", "loss.smoothing=0.05"),
)
EXACT = ("step", "epoch", "validation", "train_loss", "valid_loss", "per", "wer", "wer_no_stress", "skipped_steps")


@pytest.fixture(scope="module")
def settings():
    return tasks.resolve("g2p", None, SETTINGS)


@pytest.fixture(scope="module")
def finished(lexicon_file, settings, tmp_path_factory):
    """A run that was not interrupted. Read only."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    assert tasks.train(run, lexicon_file, settings).finished == "all"
    return run


def test_training_learns_a_language_that_is_spoken_as_it_is_written(finished):
    found = lines(finished)
    assert [line["epoch"] for line in found] == [1, 2, 3, 4] and found[-1]["wer"] < 0.3 < found[0]["wer"]
    assert found[-1]["per"] <= found[-1]["wer"] and found[-1]["wer_no_stress"] <= found[-1]["wer"]
    assert found[-1]["words_per_second"] > 0 and "audio_seconds_per_second" not in found[-1]
    run = G2pRun.load(finished)
    assert G2pPredictor(run).pronounce(["bad"]) == [("B", "AA1", "D")]


def test_a_run_stopped_within_an_epoch_resumes_bit_for_bit(finished, lexicon_file, settings, tmp_path):
    run = tmp_path / "run"
    for step in (3, 20):
        assert tasks.train(run, lexicon_file, settings, StopConditions(max_steps=step)).step == step
    tasks.train(run, lexicon_file, settings)
    assert_same_run(run, finished, EXACT, {"weights", "optimizer", "raw"})


def test_the_search_of_a_finished_run_can_change(finished, lexicon_file, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    tasks.train(run, lexicon_file, tasks.resolve("g2p", None, (*SETTINGS, "search.beam=2")))
    assert G2pRun.load(run).config.search.beam == 2


def test_a_changed_lexicon_is_refused(finished, lexicon_file, settings, tmp_path):
    other = tmp_path / "other.dict"
    other.write_text(lexicon_file.read_text() + "aaaaaaa AA1\n")
    with pytest.raises(TfvoiceError, match=r"another configuration: data: .* \(of other content\)"):
        tasks.train(finished, other, settings)


def test_a_lexicon_that_is_not_there_leaves_no_folder(settings, tmp_path):
    with pytest.raises(TfvoiceError, match="name a lexicon, or cmudict"):
        tasks.train(tmp_path / "run", tmp_path / "none.dict", settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_the_cross_entropy_of_phonemes_and_ends(g2p_run, lexicon_file, smoothing):
    data = G2P.training(g2p_run, lexicon_file).valid_data
    objective = NextPhonemeObjective(g2p_run.model, data, smoothing)
    batch = next(iter(data.batches(epochs=1)))
    inputs, targets = objective.split(batch)
    logits = np.array(g2p_run.model(*inputs))
    expected = smoothed = 0.0
    for row, count in enumerate(batch.phoneme_lengths):
        for step, label in enumerate([*batch.phonemes[row, :count], 0]):
            costs = -np.array(tf.nn.log_softmax(logits[row, step]))
            expected += costs[label]
            smoothed += (1 - smoothing) * costs[label] + smoothing * costs.mean()
    units = float(objective.units(batch))
    assert units == batch.phoneme_lengths.sum() + len(batch.lengths)
    losses = objective.losses(tf.constant(logits), targets, objective.units(batch))
    assert float(losses.logged) == pytest.approx(expected / units, rel=1e-5)
    assert float(losses.minimised) == pytest.approx(smoothed / units, rel=1e-5)


def test_validation_measures_loss_and_rates(g2p_run, lexicon_file):
    found = G2P.training(g2p_run, lexicon_file).validate()
    assert math.isfinite(found.loss) and set(found.rates) == {"per", "wer", "per_no_stress", "wer_no_stress"}
    assert found.rates["wer"] <= found.score < found.rates["wer"] + 0.01
    assert f"WER {found.rates['wer']:6.2%}" in found.text


def test_what_does_not_fit_is_refused(g2p_run):
    with pytest.raises(TfvoiceError, match="leave --decoder out"):
        G2P.evaluate(g2p_run.run_dir, None, "test", "best", (), {"name": "beam"})
    assert G2P.portable_function(g2p_run, "onnx") is None


def test_the_card_and_the_description_name_letters_and_phonemes(g2p_run):
    card = G2P.card(g2p_run)
    assert card.facts == {"letters": "`abcde`", "phonemes": "6: AA1 B D EH0 K S", "search": "beam of 3"}
    assert G2P.describe(g2p_run) == {"letters": "abcde", "phonemes": ["AA1", "B", "D", "EH0", "K", "S"]}
