"""Reports as HTML: one file each, with audio and figures inside, that needs no network.

A task gives the template, its content, and the row of a run in the table of a comparison; this module knows no task.
"""

import base64
import contextlib
import datetime
import io
import itertools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import soundfile
import soxr

import tfvoice
from tfvoice import storage
from tfvoice.errors import TfvoiceError
from tfvoice.report import plots
from tfvoice.run import Run, model_name, read_description

_TEMPLATES = Path(__file__).parent / "templates"
# What MP3 knows.
_MP3_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


class ComparedRun(NamedTuple):
    """A run in a report: its name, its folder, the name of its model, and its report."""

    name: str
    folder: Path
    model: str
    report: dict[str, Any]


# Cells of a run in the table of a comparison.
Row = Callable[[ComparedRun], dict[str, Any]]


def this_run(run: Run, report: dict[str, Any]) -> ComparedRun:
    """The run that a report is about."""
    return ComparedRun(run.run_dir.resolve().name, run.run_dir, run.config.model.name, report)


def report_name(run: Run, report: dict[str, Any]) -> str:
    """Name of a report without its suffix: `eval-<split>`, and of other data than the run's `eval-<split>-<data>`.

    Of two folders of data with one name, the second gets a number.
    """
    own = f"eval-{report['split']}"
    if run.is_own_data(report["data"]):
        return own
    for number in itertools.count(1):
        name = f"{own}-{_data_name(report)}{'' if number == 1 else f'-{number}'}"
        other = _report(run.run_dir / "report" / f"{name}.json")
        if other is None or _same_data(other, report["data"]):
            break
    return name


def load_compared(
    run_dir: str | Path, compare: Sequence[str], split: str, metric: str, row: Row, data_dir: str | Path | None = None
) -> list[ComparedRun]:
    """Loads the reports of other runs; they are called by their folder, or its whole path where names collide.

    Of several reports of a split, that of the same data is taken, by its path or else its name; then that of the data
    of the run.

    Args:
      run_dir: folder of the run that they are compared with.
      compare: their folders.
      split: of the reports.
      metric: a key of every report of the task.
      row: makes the cells of a run.
      data_dir: folder of the data; None: each run's own.

    Raises:
      TfvoiceError: one has no such report, or is a run of another task.
    """
    names = [Path(folder).resolve().name for folder in compare]
    taken = [*names, Path(run_dir).resolve().name]
    names = [folder if taken.count(name) > 1 else name for name, folder in zip(names, compare, strict=True)]
    return [_load(name, folder, split, metric, row, data_dir) for name, folder in zip(names, compare, strict=True)]


def comparison(runs: Sequence[ComparedRun], row: Row) -> list[dict[str, Any]]:
    """Rows of runs, the first being that of the report; runs that were evaluated on other utterances are marked."""
    ids = [{result["id"] for result in run.report["results"]} for run in runs]
    return [row(run) | {"name": run.name, "other_data": own != ids[0]} for run, own in zip(runs, ids, strict=True)]


def write(
    run: Run, template: str, report: dict[str, Any], content: dict[str, Any], footnote: str, name: str | None = None
) -> Path:
    """Writes the page of a report, by default `report/eval-<split>.html`; returns its path."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True)
    page = environment.get_template(template).render(
        title=f"{run.run_dir.resolve().name}: {report['split']}",
        subtitle=f"{run.config.model.name}, checkpoint {report['checkpoint']}, data {Path(report['data']).name}",
        version=tfvoice.__version__,
        date=datetime.date.today().isoformat(),
        footnote=footnote,
        **content,
    )
    path = run.run_dir / "report" / f"{name or 'eval-' + report['split']}.html"
    storage.write(path, page)
    return path


def training_curves(runs: Sequence[ComparedRun], panels: Sequence[plots.Panel]) -> str:
    """The training curves of runs as SVG; empty where none has a log."""
    logs = {run.name: read_log(run.folder / "metrics.jsonl") for run in runs}
    logs = {name: lines for name, lines in logs.items() if lines}
    return plots.svg(plots.training_curves(logs, panels)) if logs else ""


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`, without damaged ones; while a run trains, the last may be incomplete."""
    lines = []
    for text in path.read_text("utf-8", "replace").splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError, TypeError):
            line = json.loads(text)
            if {"minutes", "train_loss", "valid_loss"} <= set(line):
                lines.append(line)
    return lines


def audio_uri(samples: np.ndarray, sample_rate_hz: int) -> str:
    """Audio as a data URI: MP3, which every browser plays, at the nearest rate that it knows."""
    data = io.BytesIO()
    rate_hz = min(_MP3_RATES_HZ, key=lambda rate_hz: abs(rate_hz - sample_rate_hz))
    if rate_hz != sample_rate_hz:
        samples = soxr.resample(samples, sample_rate_hz, rate_hz)
    soundfile.write(data, samples, rate_hz, format="MP3", subtype="MPEG_LAYER_III")
    return _data_uri("audio/mpeg", data.getvalue())


def picture_uri(picture: np.ndarray | bytes) -> str:
    """A picture as a data URI: uint8 `[height, width, 3]`, or the bytes of a PNG."""
    return _data_uri("image/png", picture if isinstance(picture, bytes) else plots.png(picture))


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _data_name(report: dict[str, Any]) -> str:
    """Name of the folder of a report's data, fit for a file name."""
    return re.sub(r"[^\w.]+", "_", Path(report["data"]).resolve().name)


def _report(path: Path) -> dict[str, Any] | None:
    """The report in a file; None where there is none that can be read."""
    try:
        report = storage.read_json(path)
        return report if {"split", "data"} <= report.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _same_data(report: dict[str, Any], data_dir: str | Path) -> bool:
    return storage.absolute(report["data"]) == storage.absolute(data_dir)


def _report_of_data(folder: Path, split: str, data_dir: str | Path | None) -> dict[str, Any]:
    """The report of a split in a run's folder; raises `OSError` or `ValueError` where there is none."""
    paths = sorted((folder / "report").glob("eval-*.json"))
    reports = [report for report in map(_report, paths) if report and report["split"] == split]
    if data_dir is not None:
        of_name = [report for report in reports if _data_name(report) == _data_name({"data": data_dir})]
        # The same data first: copies of them on another machine have another path.
        for report in sorted(of_name, key=lambda report: not _same_data(report, data_dir)):
            return report
    return storage.read_json(folder / "report" / f"eval-{split}.json")


def _load(name: str, folder: str, split: str, metric: str, row: Row, data_dir: str | Path | None) -> ComparedRun:
    """A run with its report of a split, from which its row can be made."""
    advice = f"with tfvoice_eval --run={folder} --split={split}."
    try:
        report = dict(_report_of_data(Path(folder), split, data_dir))
        model = model_name(read_description(folder))
    except (OSError, ValueError, TypeError, TfvoiceError):
        raise TfvoiceError(f"--compare={folder}: has no report of split {split} yet; write it {advice}") from None
    if metric not in report:
        raise TfvoiceError(f"--compare={folder}: is a run of {model}, which is measured by other metrics.")
    run = ComparedRun(name, Path(folder), model, report)
    try:
        comparison([run], row)
    except (KeyError, TypeError):
        raise TfvoiceError(
            f"--compare={folder}: its report is of another version of tfvoice; regenerate it {advice}"
        ) from None
    return run
