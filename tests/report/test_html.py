"""Laws of report pages that hold for every task."""

import json

import numpy as np
import pytest
from pages import audio_of

from tfvoice.errors import TfvoiceError
from tfvoice.report import html
from tfvoice.run import Run


def row(run):
    return {"rate": run.report["wer"]["rate"]}


@pytest.fixture
def run_with(tmp_path):
    """Makes the folder of a run with a report."""

    def run_with(name, report, model="wavenet_asr"):
        folder = tmp_path / name
        (folder / "report").mkdir(parents=True)
        (folder / "report" / "eval-test.json").write_text(json.dumps(report))
        description = {"schema": 2, "config": {"model": {"name": model}}, "info": {}}
        (folder / "experiment.json").write_text(json.dumps(description))
        return str(folder)

    return run_with


def report(*ids, rate=0.5):
    return {"wer": {"rate": rate}, "results": [{"id": name} for name in ids]}


def test_runs_are_compared_by_their_rows_and_other_utterances_are_marked(run_with):
    folders = [run_with("one", report("a", "b")), run_with("two", report("a", rate=0.25))]
    runs = html.load_compared("mine", folders, "test", "wer", row)
    assert [(run.name, run.model) for run in runs] == [("one", "wavenet_asr"), ("two", "wavenet_asr")]
    assert html.comparison(runs, row) == [
        {"rate": 0.5, "name": "one", "other_data": False},
        {"rate": 0.25, "name": "two", "other_data": True},
    ]


def test_runs_whose_folders_have_the_same_name_are_called_by_their_paths(run_with):
    folders = [run_with("a/run", report("a")), run_with("b/run", report("a"))]
    assert [run.name for run in html.load_compared("mine", folders, "test", "wer", row)] == folders


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ({"bits_per_sample": 4.0, "results": []}, "is a run of wavenet_asr, which is measured by other metrics."),
        ({"wer": 0.5}, "its report is of another version of tfvoice; regenerate it with tfvoice_eval --run="),
    ],
)
def test_a_report_that_cannot_be_compared_is_an_error(run_with, content, fact):
    with pytest.raises(TfvoiceError, match=fact):
        html.load_compared("mine", [run_with("other", content)], "test", "wer", row)


def test_a_run_without_a_report_is_an_error(run_with, tmp_path):
    run_with("other", report("a"))
    for folder, split in ((tmp_path / "other", "valid"), (tmp_path / "none", "test")):
        with pytest.raises(TfvoiceError, match=f"has no report of split {split} yet; write it with tfvoice_eval"):
            html.load_compared("mine", [str(folder)], split, "wer", row)


def test_damaged_lines_of_a_log_are_ignored(tmp_path):
    line = {"minutes": 1.0, "train_loss": 9.0, "valid_loss": 8.0}
    with (tmp_path / "metrics.jsonl").open("wb") as log:
        log.write(json.dumps(line).encode() + b'\n{"step": 30, \xff\n[3]\n{"epoch": 3}\n{"epoch": 3, "min')
    assert html.read_log(tmp_path / "metrics.jsonl") == [line]
    assert html.read_log(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(("rate_hz", "played_hz"), [(16000, 16000), (10000, 11025), (96000, 48000)])
def test_audio_is_mp3_at_a_rate_that_browsers_know(rate_hz, played_hz):
    wave = 0.5 * np.sin(np.arange(rate_hz) * 2 * np.pi * 400 / rate_hz)
    ((samples, found_hz),) = audio_of(f'<audio src="{html.audio_uri(wave, rate_hz)}">')
    assert found_hz == played_hz and len(samples) / found_hz == pytest.approx(1, abs=0.1)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.1)


def test_pictures_are_png():
    picture = np.zeros([2, 3, 3], np.uint8)
    assert html.picture_uri(picture) == html.picture_uri(html.plots.png(picture))
    assert html.picture_uri(picture).startswith("data:image/png;base64,")


class FakeRun:
    def __init__(self, folder, data=None):
        self.run_dir, self.info = folder, {"data": data}

    own_data, is_own_data = Run.own_data, Run.is_own_data


def test_reports_of_two_data_sets_have_two_names(tmp_path):
    run = FakeRun(tmp_path / "run", str(tmp_path / "own"))
    (run.run_dir / "report").mkdir(parents=True)

    def named(folder, split="test"):
        name = html.report_name(run, {"split": split, "data": str(folder)})
        (run.run_dir / "report" / f"{name}.json").write_text(json.dumps({"split": split, "data": str(folder)}))
        return name

    (tmp_path / "link").symlink_to(tmp_path / "own")
    assert named(tmp_path / "own") == named(tmp_path / "link") == "eval-test"
    assert named(tmp_path / "a" / "other") == named(tmp_path / "a" / "other") == "eval-test-other"
    assert named(tmp_path / "b" / "other") == named(tmp_path / "b" / "other") == "eval-test-other-2"
    assert (
        named(tmp_path / "c" / "other") == "eval-test-other-3" and named(tmp_path / "a" / "other") == "eval-test-other"
    )
    assert named(tmp_path / "a b [c]", "valid") == "eval-valid-a_b_c_"
    assert html.report_name(FakeRun(tmp_path), {"split": "test", "data": "x/y"}) == "eval-test-y", "an imported run"


def test_runs_are_compared_by_their_reports_of_the_same_data(run_with, tmp_path):
    folder = run_with("one", report("a") | {"split": "test", "data": "/data/own"})
    for number, (name, rate) in enumerate((("/here/other", 0.1), ("/there/other", 0.2))):
        content = report("b", rate=rate) | {"split": "test", "data": name}
        (tmp_path / "one" / "report" / f"eval-test-other-{number}.json").write_text(json.dumps(content))

    def rate(data_dir):
        return html.load_compared("mine", [folder], "test", "wer", row, data_dir)[0].report["wer"]["rate"]

    assert [rate(data) for data in ("/there/other", "/here/other", "/data/own")] == [0.2, 0.1, 0.5]
    assert rate("/moved/own") == 0.5 and rate("/moved/other") in (0.1, 0.2), "by name, on another machine"
    assert rate("/elsewhere/third") == rate(None) == 0.5, "the run's own data where it has no others"
