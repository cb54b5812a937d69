"""The report page of a segmentation model: rates, scores, training curves, and alignments to look at and listen to."""

from pathlib import Path
from typing import Any

import numpy as np

from tfvoice.audio import f0
from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.report import html, plots
from tfvoice.report.html import ComparedRun
from tfvoice.tts import alignment_output
from tfvoice.tts.alignment_output import AlignedClip
from tfvoice.tts.segmentation.data import LatticeIndex
from tfvoice.tts.segmentation.run import SegmentationRun
from tfvoice.tts.segmentation.scoring import ScoredAlignment

METRIC = "pair_error_rate"
_TYPICAL, _WORST = 3, 3
_PANELS = (
    plots.loss_panel("loss (nats per utterance)"),
    plots.Panel(
        "error rate on valid, greedy (%)",
        (plots.Curve("pair_error_rate", "pairs", ".-", 100), plots.Curve("per", "phonemes", ".--", 100)),
    ),
)


def row(run: ComparedRun) -> dict[str, Any]:
    """The cells of a run in the table of a comparison."""
    report = run.report
    return {"pairs": report["pair_error_rate"], "per": report["per"], "improbable": report["improbable_share"]}


def write(
    run: SegmentationRun,
    scanned: LatticeIndex,
    results: list[ScoredAlignment],
    report: dict[str, Any],
    compared: list[ComparedRun],
) -> Path:
    """Writes the page of a report.

    Args:
      run: the run.
      scanned: the utterances.
      results: of the utterances.
      report: from `evaluate`.
      compared: runs beside it, from `html.load_compared`.

    Returns:
      The path.
    """
    runs = [html.this_run(run, report), *compared]
    order = sorted(results, key=lambda result: result.score)
    worst, middle = order[:_WORST], len(order) // 2
    typical = [result for result in order[middle : middle + _TYPICAL] if result not in worst]
    content = {
        "tiles": _tiles(report),
        "runs": html.comparison(runs, row),
        "curves": html.training_curves(runs, _PANELS),
        "rates": [(name, report[key]) for name, key in (("pairs", "pair_error_rate"), ("phonemes", "per"))],
        "scores": _percentiles([result.score for result in results]),
        "threshold": report["threshold"],
        "groups": [
            ("Typical alignments", [_utterance(run, scanned, result) for result in typical]),
            ("Least probable alignments", [_utterance(run, scanned, result) for result in worst]),
        ],
        "unusable": list(report["unusable"].items()),
    }
    footnote = "Intervals are 95 % bootstrap intervals over utterances."
    return html.write(run, "segmentation.html", report, content, footnote, html.report_name(run, report))


def _tiles(report: dict[str, Any]) -> list[dict[str, str]]:
    tiles = []
    for key, name in (("pair_error_rate", "pair error rate"), ("per", "phoneme error rate")):
        low, high = report[key]["interval_95"]
        value = f"{100 * report[key]['rate']:.1f} %"
        tiles.append({"name": name, "value": value, "note": f"{100 * low:.1f} to {100 * high:.1f} %"})
    share = f"{report['improbable']} of {report['scored']}"
    tiles.append({"name": "improbable", "value": f"{100 * report['improbable_share']:.1f} %", "note": share})
    minutes = f"{report['audio_seconds'] / 60:.1f} minutes"
    return [*tiles, {"name": "utterances", "value": f"{report['scored']:,}", "note": minutes}]


def _percentiles(scores: list[float]) -> list[tuple[int, float]]:
    places = (0, 1, 5, 25, 50, 75, 95)
    return list(zip(places, np.percentile(scores, places).tolist(), strict=True))


def _utterance(run: SegmentationRun, scanned: LatticeIndex, result: ScoredAlignment) -> dict[str, Any]:
    """What the page shows of an utterance."""
    index, alignment = scanned.index, result.alignment
    audio, rate_hz = index.audio(result.row), index.sample_rate_hz
    config = f0.F0Config()
    of_frames = PhonemeAlignment(
        alignment.phonemes, alignment.ends, f0.estimate(audio, rate_hz, config), config.frame_samples
    )
    clip = AlignedClip(index.ids[result.row], index.texts[result.row], rate_hz, audio, of_frames)
    return {
        "id": clip.id,
        "text": clip.text,
        "score": result.score,
        "hypothesis": " ".join(result.hypothesis),
        "audio": html.audio_uri(audio, rate_hz),
        "picture": html.picture_uri(alignment_output.figure(clip)),
    }
