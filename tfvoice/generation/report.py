"""The report page of a generator: bits per sample, training curves, statistics, and samples to listen to."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tfvoice.generation.generator import Generator
from tfvoice.report import html, plots
from tfvoice.report.html import ComparedRun

METRIC = "bits_per_sample"
_VALIDATIONS = 6
_PANELS = (plots.loss_panel("bits per sample"),)


def row(run: ComparedRun) -> dict[str, Any]:
    """The cells of a run in the table of a comparison."""
    samples = run.report["statistics"]["samples"]
    return {
        "bits": run.report["bits_per_sample"],
        "interval": run.report["interval_95"],
        "distance": samples["log_mel_distance_db"],
        "silence": samples["silence"],
    }


def write(run: Generator, samples: np.ndarray, report: dict[str, Any], compared: list[ComparedRun]) -> Path:
    """Writes the page of a report.

    Args:
      run: the run, with its weights.
      samples: generated audio, float32 `[recordings, samples]`.
      report: from `evaluate`.
      compared: runs beside it, from `html.load_compared`.

    Returns:
      The path.
    """
    low, high = report["interval_95"]
    rate_hz = run.sample_rate_hz
    tiles = [
        {"name": "bits per sample", "value": f"{report['bits_per_sample']:.3f}", "note": f"{low:.3f} to {high:.3f}"},
        {"name": "uniform baseline", "value": f"{np.log2(report['levels']):.2f}", "note": f"{report['levels']} levels"},
        {"name": "clips", "value": f"{report['clips']:,}", "note": f"{report['audio_seconds'] / 60:.1f} minutes"},
    ]
    runs = [html.this_run(run, report), *compared]
    names = [str(number) for number in range(len(samples))]
    content = {
        "tiles": tiles,
        "runs": html.comparison(runs, row),
        "curves": html.training_curves(runs, _PANELS),
        "statistics": report["statistics"],
        "samples": {
            "audio": [html.audio_uri(wave, rate_hz) for wave in samples],
            "picture": html.picture_uri(plots.waveforms(samples, rate_hz, names)),
        },
        "history": [_validation(path) for path in _spread(_validations(run.run_dir))],
        "compared": [
            {"run": other.name} | _validation(path) for other in compared for path in _validations(other.folder)[-1:]
        ],
    }
    footnote = "Intervals are 95 % bootstrap intervals over clips."
    return html.write(run, "generator.html", report, content, footnote, html.report_name(run, report))


def _validations(folder: Path) -> list[Path]:
    """Pictures of the samples of a run at its validations, in their order."""
    return sorted((folder / "samples").glob("step-*.png"))


def _spread(paths: list[Path]) -> list[Path]:
    """Some of them, from the first to the last."""
    places = np.linspace(0, len(paths) - 1, min(_VALIDATIONS, len(paths)))
    return [paths[place] for place in sorted({round(place) for place in places})]


def _validation(path: Path) -> dict[str, Any]:
    """The samples of a validation, by the path of their picture."""
    waves = [soundfile.read(wave, dtype="float32") for wave in sorted(path.parent.glob(f"{path.stem}-*.wav"))]
    return {
        "name": f"step {int(path.stem.removeprefix('step-')):,}",
        "audio": [html.audio_uri(samples, rate_hz) for samples, rate_hz in waves],
        "picture": html.picture_uri(path.read_bytes()),
    }
