"""The page of a segmentation model shows rates, scores and alignments, beside another run."""

import json
import shutil

import pytest
from pages import audio_of, external_links
from segmentations import segmentation_run

from tfvoice.errors import TfvoiceError
from tfvoice.tts.segmentation import evaluate

LINE = {"step": 10, "minutes": 1.0, "train_loss": 2.0, "valid_loss": 1.0, "pair_error_rate": 0.5, "per": 0.4}


@pytest.fixture(scope="module")
def evaluated(converted, tmp_path_factory):
    """The page of a run beside another one, and the report."""
    folder = tmp_path_factory.mktemp("runs")
    segmentation_run(folder / "one", converted)
    other = shutil.copytree(folder / "one", folder / "<other>")
    (folder / "one" / "metrics.jsonl").write_text(json.dumps(LINE) + "\n")
    evaluate.evaluate_run(other)
    report, path = evaluate.evaluate_run(folder / "one", compare=(str(other),))
    return path.read_text(encoding="utf-8"), report


def test_the_page_needs_nothing_else_and_shows_rates_and_curves(evaluated):
    page, report = evaluated
    assert external_links(page) == [] and "<svg" in page and "&lt;other&gt;" in page
    for key in ("pair_error_rate", "per"):
        assert f"<td>{100 * report[key]['rate']:.1f} %</td>" in page


def test_typical_and_least_probable_alignments_are_shown_and_played(evaluated):
    page, report = evaluated
    worst = min(report["results"], key=lambda one: one["score"])
    shown = page.split("Least probable alignments")[1]
    assert f"<h3>{worst['id']} <span" in shown and f"score {worst['score']:.3f}" in shown
    assert len(audio_of(page)) == page.count("<article>") == page.count('src="data:image/png') > 1


def test_a_run_of_another_task_cannot_be_compared(evaluated, converted, g2p_run, tmp_path):
    run = segmentation_run(tmp_path / "run", converted)
    with pytest.raises(TfvoiceError, match=r"has no report of split test yet"):
        evaluate.evaluate_run(run.run_dir, compare=(str(g2p_run.run_dir),))
