"""The report page of a model of duration and F0: errors, training curves, and predicted against true prosody."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfvoice.report import html, plots
from tfvoice.report.html import ComparedRun
from tfvoice.tts.duration_f0 import prosody
from tfvoice.tts.duration_f0.data import ProsodyIndex
from tfvoice.tts.duration_f0.prosody import PhonemeProsody
from tfvoice.tts.duration_f0.run import DurationF0Run

METRIC = "prosody_errors"
_PLOTTED = 8
_PANELS = (
    plots.loss_panel("loss of a phoneme"),
    plots.Panel("duration error on valid (ms)", (plots.Curve("duration_ms", "all", ".-"),)),
    plots.Panel("F0 error on valid (Hz)", (plots.Curve("f0_hz", "voiced frames", ".-"),)),
)


def row(run: ComparedRun) -> dict[str, Any]:
    """The cells of a run in the table of a comparison."""
    errors = run.report[METRIC]
    return {name: errors[name] for name in ("duration_ms", "speech_ms", "f0_hz", "voicing")}


def write(
    run: DurationF0Run,
    index: ProsodyIndex,
    predicted: list[PhonemeProsody],
    report: dict[str, Any],
    compared: list[ComparedRun],
) -> Path:
    """Writes the page of a report.

    Args:
      run: the run.
      index: the utterances.
      predicted: prosody of each.
      report: from `evaluate`.
      compared: runs beside it, from `html.load_compared`.

    Returns:
      The path.
    """
    runs = [html.this_run(run, report), *compared]
    results = report["results"]
    ordered = sorted(range(len(results)), key=lambda place: results[place]["f0_hz"])
    shown = [ordered[round(place)] for place in np.linspace(0, len(ordered) - 1, min(_PLOTTED, len(ordered)))]
    content = {
        "tiles": _tiles(report),
        "runs": html.comparison(runs, row),
        "curves": html.training_curves(runs, _PANELS),
        "errors": report[METRIC],
        "scatter": html.picture_uri(durations(index, predicted)),
        "utterances": [
            results[place] | {"picture": html.picture_uri(contours(index, place, predicted[place]))} for place in shown
        ],
    }
    footnote = "Intervals are 95 % bootstrap intervals over utterances."
    return html.write(run, "duration_f0.html", report, content, footnote, html.report_name(run, report))


def durations(index: ProsodyIndex, predicted: list[PhonemeProsody]) -> np.ndarray:
    """Predicted against true durations of all phonemes, on logarithmic axes: uint8 `[height, width, 3]`."""
    silent = np.array([prosody.is_silence(symbol) for symbols in index.phonemes for symbol in symbols], bool)
    true, found = (
        1000 * np.concatenate([each.seconds for each in every])
        for every in ([target.prosody for target in index.targets], predicted)
    )
    figure = Figure(figsize=(5, 5), dpi=plots.DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    for chosen, label in ((~silent, "phonemes"), (silent, "silences")):
        axes.plot(true[chosen], found[chosen], ".", markersize=2, alpha=0.5, label=label)
    ends = [min(true.min(), found.min()), max(true.max(), found.max())]
    axes.plot(ends, ends, color="black", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="true duration (ms)", ylabel="predicted duration (ms)")
    axes.legend(frameon=False, fontsize=8)
    return plots.pixels(FigureCanvasAgg(figure))


def contours(index: ProsodyIndex, place: int, predicted: PhonemeProsody) -> np.ndarray:
    """F0 of an utterance over its phonemes: true, and predicted with true and with its own durations.

    Args:
      index: the utterances.
      place: number of the utterance.
      predicted: its prosody.

    Returns:
      uint8 `[height, width, 3]`.
    """
    alignment, rate_hz = index.alignments[place], index.sample_rate_hz
    true = np.where(alignment.f0_hz > 0, alignment.f0_hz, np.nan)
    own_ends = np.round(np.cumsum(predicted.seconds) * rate_hz).astype(int)
    figure = Figure(figsize=(9, 4.2), dpi=plots.DOTS_PER_INCH, layout="constrained")
    rows = (("true durations", alignment.ends), ("predicted durations", own_ends))
    longest = max(alignment.ends[-1], own_ends[-1]) / rate_hz
    for axes, (title, ends) in zip(figure.subplots(2, 1), rows, strict=True):
        curves = {"predicted": _contour(predicted, ends, alignment.frame_samples)}
        if ends is alignment.ends:
            curves["true"] = true
        for label, curve in curves.items():
            seconds = (np.arange(len(curve)) + 0.5) * alignment.frame_samples / rate_hz
            axes.plot(seconds, curve, ".", markersize=2, label=label)
        _label(axes, alignment.phonemes, ends / rate_hz)
        axes.set(xlim=(0, longest), ylabel="F0 (Hz)")
        axes.set_title(title, fontsize=8, loc="left")
        axes.legend(frameon=False, fontsize=7, loc="upper right")
    axes.set_xlabel("seconds")
    return plots.pixels(FigureCanvasAgg(figure))


def _contour(predicted: PhonemeProsody, ends: np.ndarray, frame_samples: int) -> np.ndarray:
    """Predicted F0 of each frame; NaN where the phoneme has no voice."""
    voiced = predicted.voiced[prosody.frame_phonemes(ends, frame_samples)] >= 0.5
    return np.where(voiced, prosody.frame_f0(ends, predicted.f0_hz, frame_samples), np.nan)


def _label(axes, symbols: list[str], ends: np.ndarray) -> None:
    """Writes phonemes at the lower edge of a plot, whatever its range, and marks their ends, in seconds."""
    starts = np.concatenate([[0], ends[:-1]])
    for symbol, start, end in zip(symbols, starts, ends, strict=True):
        axes.axvline(end, color="0.85", linewidth=0.5, zorder=0)
        place = axes.get_xaxis_transform()
        axes.text((start + end) / 2, 0.02, symbol, fontsize=6, ha="center", rotation=90, transform=place)


def _tiles(report: dict[str, Any]) -> list[dict[str, str]]:
    tiles = []
    for key, name, unit, factor in (
        ("duration_ms", "duration error", "ms", 1),
        ("f0_hz", "F0 error", "Hz", 1),
        ("voicing", "voicing right", "%", 100),
    ):
        mean, (low, high) = report[METRIC][key].values()
        note = f"{factor * low:.1f} to {factor * high:.1f}"
        tiles.append({"name": name, "value": f"{factor * mean:.1f} {unit}", "note": note})
    return [
        *tiles,
        {"name": "utterances", "value": f"{report['utterances']:,}", "note": f"{report['phonemes']:,} phonemes"},
    ]
