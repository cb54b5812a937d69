"""A G2P model is judged by error rates in four ways, each with an interval."""

import itertools
import json
import shutil

import pytest

from tfvoice.errors import TfvoiceError
from tfvoice.text import lexicon
from tfvoice.tts.g2p import evaluate, metrics
from tfvoice.tts.g2p import report as report_
from tfvoice.tts.g2p.data import WordIndex
from tfvoice.tts.g2p.metrics import WordResult
from tfvoice.tts.g2p.predict import G2pPredictor
from tfvoice.tts.g2p.task import G2P


@pytest.fixture(scope="module")
def run_dir(g2p_run, tmp_path_factory):
    return shutil.copytree(g2p_run.run_dir, tmp_path_factory.mktemp("runs") / "copied")


@pytest.fixture(scope="module")
def evaluated(run_dir):
    """The report and the path of its page."""
    return evaluate.evaluate_run(run_dir)


def test_the_rates_are_those_of_all_words_of_the_split(evaluated, g2p_run, lexicon_file):
    report, _ = evaluated
    index = WordIndex(lexicon.read(lexicon_file), "test")
    hypotheses = G2pPredictor(g2p_run).pronounce(index.words)
    results = [WordResult(*row) for row in zip(index.words, index.pronunciations, hypotheses, strict=True)]
    assert [one["id"] for one in report["results"]] == index.words and report["words"] == len(index)
    for key, rates in metrics.table(results).items():
        assert (report["phoneme_errors"][key]["wer"], report["phoneme_errors"][key]["per"]) == (rates.wer, rates.per)
    assert set(report["phoneme_errors"]) == set(evaluate.ROWS)
    wrong = [one for one in report["results"] if one["errors"]]
    assert len(wrong) == round(report["phoneme_errors"]["stress"]["wer"] * len(index))
    assert report_.wrong_words(report)[0]["errors"] == max(one["errors"] for one in wrong)


def test_the_report_is_written_beside_its_page(evaluated, run_dir):
    report, path = evaluated
    assert path == run_dir / "report" / "eval-test.html" and path.is_file()
    assert json.loads(path.with_suffix(".json").read_text()) == report


def test_the_report_as_text_has_the_rates_and_the_worst_words(evaluated):
    report, _ = evaluated
    text = G2P.format_report(report, 2).splitlines()
    assert text[0].startswith(f"split      test: {report['words']} words, beam 3, ")
    assert [line.split("  ")[0] for line in text[2:6]] == list(evaluate.ROWS.values())
    assert len(text) == 9 and text[7] == "{id}: {reference} -> {hypothesis}".format(**report_.wrong_words(report)[0])
    line = G2P.format_result(report)
    assert line.startswith("WER with stress ") and line.endswith(f"; {report['words']} words")
    assert G2P.format_result({"wer": 1}) == ""


def test_another_lexicon_is_evaluated_beside_the_own(run_dir, tmp_path):
    other = tmp_path / "other.dict"
    other.write_text("".join(f"{''.join(letters)} AA1 B\n" for letters in itertools.product("abcde", repeat=3)))
    report, path = evaluate.evaluate_run(run_dir, other)
    assert report["data"] == str(other) and path.name == "eval-test-other.dict.html"
    with pytest.raises(TfvoiceError, match="there is no split dev"):
        evaluate.evaluate_run(run_dir, other, split="dev")
