"""The page of a G2P model shows rates, confusions and wrong words, beside another run."""

import html as html_
import json
import shutil

import pytest
from pages import external_links

from tfvoice.errors import TfvoiceError
from tfvoice.tts.g2p import evaluate
from tfvoice.tts.g2p import report as report_

LINE = {"step": 10, "minutes": 1.0, "train_loss": 2.0, "valid_loss": 1.0, "wer": 0.5, "wer_no_stress": 0.4, "per": 0.1}


@pytest.fixture(scope="module")
def evaluated(g2p_run, tmp_path_factory):
    """The page of a run beside another one, and the report."""
    folder = tmp_path_factory.mktemp("runs")
    one, other = (shutil.copytree(g2p_run.run_dir, folder / name) for name in ("one", "<other>"))
    (one / "metrics.jsonl").write_text(json.dumps(LINE) + "\n")
    evaluate.evaluate_run(other)
    report, path = evaluate.evaluate_run(one, compare=(str(other),))
    return path.read_text(encoding="utf-8"), report


def test_the_page_needs_nothing_else_and_shows_rates_and_curves(evaluated):
    page, report = evaluated
    assert external_links(page) == [] and "<svg" in page
    for rates in report["phoneme_errors"].values():
        assert f"<td>{100 * rates['wer']:.1f} %</td>" in page
    assert f"<b>{report['words']:,}</b>" in page


def test_wrong_words_are_shown_beside_those_of_the_other_run(evaluated):
    page, report = evaluated
    wrong = report_.wrong_words(report)
    assert page.count("<article>") == min(100, len(wrong))
    first = page.split("<article>")[1]
    assert f"<h3>{wrong[0]['id']} <span" in first and f"{wrong[0]['errors']} errors" in first
    for symbol in set(wrong[0]["reference"].split()):
        assert f"<i>{symbol}</i>" in first
    assert first.count('class="pairs"') == 2 and html_.escape("<other>") in first and "<other>" not in page


def test_the_commonest_confusions_are_counted(evaluated):
    page, report = evaluated
    table = page.split("<h2>Confused phonemes</h2>")[1].split("</table>")[0]
    counts = [int(row.rsplit("<td>", 1)[1].split("<")[0]) for row in table.split("<tr>")[2:]]
    assert counts == sorted(counts, reverse=True) and sum(counts) <= sum(one["errors"] for one in report["results"])


def test_a_run_of_another_task_is_not_compared(g2p_run, generator_run, tmp_path):
    other = shutil.copytree(generator_run.run_dir, tmp_path / "piano")
    (other / "report").mkdir()
    content = {"split": "test", "data": "d", "bits_per_sample": 1.0, "results": []}
    (other / "report" / "eval-test.json").write_text(json.dumps(content))
    with pytest.raises(TfvoiceError, match="is a run of sample_rnn, which is measured by other metrics"):
        evaluate.evaluate_run(g2p_run.run_dir, compare=(str(other),))
