import json

import pytest
from segmentations import segmentation_run

from tfvoice.tts.segmentation import evaluate
from tfvoice.tts.segmentation.task import SEGMENTATION


@pytest.fixture(scope="module")
def evaluated(converted, tmp_path_factory):
    run = segmentation_run(tmp_path_factory.mktemp("runs") / "segmentation", converted)
    return run, *SEGMENTATION.evaluate(run.run_dir, converted, "test", "best", (), {})


def test_every_utterance_is_in_the_report(evaluated, converted):
    run, report, path = evaluated
    scanned = run.scan(converted, "test", filtered=False)
    assert report["scored"] == len(scanned.index) == len(report["results"])
    assert report["total"] == report["scored"] + len(report["unusable"])
    assert json.loads(path.with_suffix(".json").read_text()) == json.loads(json.dumps(report))
    assert report["improbable"] == sum(one["improbable"] for one in report["results"])
    assert 0 < report["pair_error_rate"]["interval_95"][0] <= report["pair_error_rate"]["rate"]


def test_the_report_as_text(evaluated):
    _, report, _ = evaluated
    text = evaluate.as_text(report, 2)
    assert text.startswith(f"split      test: {report['scored']} of {report['total']} utterances")
    assert "pairs" in text and "improbable alignments: " in text
    worst = min(report["results"], key=lambda one: one["score"])
    assert f"{worst['score']:8.3f}  {worst['id']}: {worst['text']}" in text
    assert evaluate.as_line(report).startswith("pairs ") and evaluate.as_line({}) == ""
