"""Reports as HTML: one file each, with audio and figures inside, that needs no network.

A task gives the template, its content, and the row of a run in the table of a comparison; this module knows no task.
"""

import base64
import contextlib
import datetime
import io
import json
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


def load_compared(run_dir: str | Path, compare: Sequence[str], split: str, metric: str, row: Row) -> list[ComparedRun]:
    """Loads the reports of other runs; they are called by their folder, or its whole path where names collide.

    Args:
      run_dir: folder of the run that they are compared with.
      compare: their folders.
      split: of the reports.
      metric: a key of every report of the task.
      row: makes the cells of a run.

    Raises:
      TfvoiceError: one has no such report, or is a run of another task.
    """
    names = [Path(folder).resolve().name for folder in compare]
    taken = [*names, Path(run_dir).resolve().name]
    names = [folder if taken.count(name) > 1 else name for name, folder in zip(names, compare, strict=True)]
    return [_load(name, folder, split, metric, row) for name, folder in zip(names, compare, strict=True)]


def comparison(runs: Sequence[ComparedRun], row: Row) -> list[dict[str, Any]]:
    """Rows of runs, the first being that of the report; runs that were evaluated on other utterances are marked."""
    ids = [{result["id"] for result in run.report["results"]} for run in runs]
    return [row(run) | {"name": run.name, "other_data": own != ids[0]} for run, own in zip(runs, ids, strict=True)]


def write(run: Run, template: str, report: dict[str, Any], content: dict[str, Any], footnote: str) -> Path:
    """Writes `report/eval-<split>.html`; returns its path."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True)
    page = environment.get_template(template).render(
        title=f"{run.run_dir.resolve().name}: {report['split']}",
        subtitle=f"{run.config.model.name}, checkpoint {report['checkpoint']}, data {Path(report['data']).name}",
        version=tfvoice.__version__,
        date=datetime.date.today().isoformat(),
        footnote=footnote,
        **content,
    )
    path = run.run_dir / "report" / f"eval-{report['split']}.html"
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


def _load(name: str, folder: str, split: str, metric: str, row: Row) -> ComparedRun:
    """A run with its report of a split, from which its row can be made."""
    advice = f"with tfvoice_eval --run={folder} --split={split}."
    try:
        report = dict(storage.read_json(Path(folder) / "report" / f"eval-{split}.json"))
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
