"""The report page of a vocoder: bits per sample, and copy synthesis to listen to beside the recordings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfvoice.report import html, plots
from tfvoice.report.html import ComparedRun
from tfvoice.tts.vocoder.run import VocoderRun

METRIC = "bits_per_sample"
# Copies that can be played in the page.
_PLAYED = 6
_PANELS = (plots.loss_panel("bits per sample"),)


def row(run: ComparedRun) -> dict[str, Any]:
    """The cells of a run in the table of a comparison."""
    report = run.report
    return {"bits": report["bits_per_sample"], "interval": report["interval_95"], **report["copy_errors"]}


def write(run: VocoderRun, copies: Sequence, report: dict[str, Any], compared: list[ComparedRun]) -> Path:
    """Writes the page of a report.

    Args:
      run: the run.
      copies: from `evaluate.copy_synthesis`.
      report: from `evaluate`.
      compared: runs beside it, from `html.load_compared`.

    Returns:
      The path.
    """
    rate_hz, (low, high) = run.sample_rate_hz, report["interval_95"]
    minutes = report["audio_seconds"] / 60
    runs = [html.this_run(run, report), *compared]
    content = {
        "tiles": [
            {"name": "bits per sample", "value": f"{report[METRIC]:.3f}", "note": f"{low:.3f} to {high:.3f}"},
            {
                "name": "uniform baseline",
                "value": f"{np.log2(report['levels']):.2f}",
                "note": f"{report['levels']} levels",
            },
            {"name": "utterances", "value": f"{report['utterances']:,}", "note": f"{minutes:.1f} minutes"},
            {"name": "speed", "value": f"{report['times_real_time']:.2f}", "note": "times real time"},
        ],
        "runs": html.comparison(runs, row),
        "curves": html.training_curves(runs, _PANELS),
        "errors": report["copy_errors"],
        "copies": [
            {
                "id": each.id,
                "text": each.text,
                "distortion_db": each.errors.distortion_db,
                "audio": [html.audio_uri(wave, rate_hz) for wave in (each.recording, each.copy)],
                "picture": html.picture_uri(
                    plots.waveforms([each.recording, each.copy], rate_hz, ["recording", "copy synthesis"])
                ),
            }
            for each in copies[:_PLAYED]
        ],
    }
    footnote = "Intervals are 95 % bootstrap intervals over utterances."
    return html.write(run, "vocoder.html", report, content, footnote, html.report_name(run, report))
