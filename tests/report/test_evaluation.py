"""Laws of the frame of evaluations."""

import types

import pytest

from tfvoice.errors import TfvoiceError
from tfvoice.report import evaluation
from tfvoice.report.evaluation import Measured


@pytest.fixture
def run(tmp_path):
    written = {}
    return types.SimpleNamespace(
        run_dir=tmp_path,
        loaded="best",
        written=written,
        data_dir=lambda data_dir: data_dir or "own",
        data_info=lambda data_dir: {"data": f"/data/{data_dir}"},
        is_own_data=lambda data_dir: data_dir == "/data/own",
        write_report=written.__setitem__,
    )


def evaluate(run, data_dir=None, compare=(), write_page=lambda report, compared: "page"):
    measured = []

    def measure(data_dir, split):
        measured.append((data_dir, split))
        return Measured({"wer": 0.5}, write_page)

    found = evaluation.evaluate(run, data_dir, "test", compare, "wer", lambda run: {}, measure)
    assert measured == [(data_dir or "own", "test")]
    return found


def test_the_report_says_what_was_measured_and_is_called_by_its_split_and_data(run):
    report, page = evaluate(run)
    assert report == {"split": "test", "data": "/data/own", "checkpoint": "best", "wer": 0.5} and page == "page"
    other, _ = evaluate(run, "other")
    assert run.written == {"eval-test": report, "eval-test-other": other}


def test_a_run_to_compare_with_that_cannot_be_used_is_found_before_anything_is_measured(run):
    with pytest.raises(TfvoiceError, match="has no report of split test yet"):
        evaluation.evaluate(run, None, "test", ["none"], "wer", lambda run: {}, lambda data_dir, split: 1 / 0)


def test_a_report_that_cannot_be_written_is_kept(run):
    def write_page(report, compared):
        raise OSError(30, "Read-only file system")

    expected = r"report: the report was not written \(Read-only file system\); copy the run"
    with pytest.raises(evaluation.UnwrittenReportError, match=expected) as error:
        evaluate(run, write_page=write_page)
    assert error.value.report["wer"] == 0.5
