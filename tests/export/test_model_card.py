"""Model cards hold the facts of a run."""

import json

import pytest

from tfvoice import tasks
from tfvoice.asr.task import RECOGNITION
from tfvoice.data import corpora
from tfvoice.export import model_card
from tfvoice.generation.generator import Generator
from tfvoice.generation.task import GENERATION
from tfvoice.text import lexicon


def test_every_published_corpus_has_a_licence():
    assert set(model_card.LICENCES) == {*corpora.CORPORA, lexicon.CMUDICT} - {"manifest", "audio"}


def test_the_card_of_a_recogniser_has_alphabet_sample_rate_and_error_rates(recognizer_run, tmp_path, monkeypatch):
    monkeypatch.setattr(recognizer_run, "run_dir", tmp_path / "english")
    monkeypatch.setitem(recognizer_run.info, "corpus", "vctk")
    card = model_card.write(RECOGNITION, recognizer_run, "best")
    assert "# english" in card and "16000 Hz" in card and "CC BY 4.0" in card and "abcdefg" in card
    assert "None yet: `tfvoice_eval`" in card
    rate = {"rate": 0.25, "interval_95": [0.2, 0.3]}
    report = {
        "data": "/home/x/records",
        "split": "test",
        "checkpoint": "best",
        "scored": 7,
        "total": 7,
        "decoder": "greedy",
    }
    report |= {"wer": rate, "cer": rate}
    recognizer_run.write_report("eval-test", report)
    (tmp_path / "english" / "report" / "eval-odd.json").write_text("{")
    assert (
        "| records | test | best | WER 25.0 % [20.0, 30.0]; CER 25.0 % [20.0, 30.0]; 7 of 7 utterances scored, greedy |"
        in (model_card.write(RECOGNITION, recognizer_run, "best"))
    )


# Of version 0.1.0, of a split that was evaluated by another task, and what a hand or a full disk leaves.
FOREIGN = [
    {"split": "test", "data": "d", "checkpoint": "best", "decoder": "greedy", "utterances": 46, "wer": {}, "cer": {}},
    {"split": "test", "wer": {"rate": 0.5, "interval_95": [0, 1]}, "cer": {"rate": 0.5, "interval_95": [0, 1]}},
    {"split": "test", "bits_per_sample": 4.5},
    {"wer": 0.5, "cer": None},
    [],
    3,
    "",
]


@pytest.mark.parametrize("report", FOREIGN)
def test_a_report_that_cannot_be_read_is_left_out(recognizer_run, generator_run, tmp_path, monkeypatch, caplog, report):
    for task, run in ((RECOGNITION, recognizer_run), (GENERATION, generator_run)):
        monkeypatch.setattr(run, "run_dir", tmp_path / run.run_dir.name)
        run.write_report("eval-test", report)
        assert "None yet: `tfvoice_eval`" in model_card.write(task, run, "best")
    assert "eval-test.json: cannot be read" in caplog.text


def test_the_card_of_a_generator_has_levels_and_bits_per_sample(tmp_path):
    small = ("model.units=4", "model.embedding=4", "quantization.levels=32")
    run = Generator(tmp_path / "piano", tasks.resolve("sample_rnn", None, small), {"sample_rate_hz": 8000})
    content = {"data": "moh", "split": "test", "checkpoint": "last", "bits_per_sample": 4.5, "clips": 3}
    content |= {"interval_95": [4.25, 4.75]}
    run.write_report("eval-test", content)
    card = model_card.write(GENERATION, run, "last")
    assert "| levels | 32, mu_law |" in card and "ask the publisher of the recordings" in card
    assert "| moh | test | last | 4.500 bits per sample [4.250, 4.750]; 3 clips |" in card
    assert json.loads((tmp_path / "piano" / "report" / "eval-test.json").read_text()) == content
