"""The report page of a recogniser: rates, training curves, error analysis, and the worst utterances to listen to."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfvoice.asr import alignment_plot, error_analysis, metrics
from tfvoice.asr.recognizer import Recognizer
from tfvoice.audio import features
from tfvoice.audio.level import level_db
from tfvoice.data.index import Index
from tfvoice.report import html, plots
from tfvoice.report.html import ComparedRun

METRIC = "wer"
_WORST, _WORDS, _SPEAKERS, _CHARACTERS = 12, 30, 25, 30
# Of the utterances that are shown: longer ones would make a page of many megabytes.
_LONGEST_SECONDS = 30.0
_NOTHING, _SPACE = "∅", "␣"
_PANELS = (
    plots.loss_panel("loss (nats per utterance)"),
    plots.Panel(
        "error rate on valid, greedy (%)",
        (plots.Curve("wer", "WER", ".--", 100), plots.Curve("cer", "CER", ".-", 100)),
    ),
)


def row(run: ComparedRun) -> dict[str, Any]:
    """The cells of a run in the table of a comparison."""
    keys = ("decoder", "scored", "wer", "cer")
    return {"model": run.model} | {key: run.report[key] for key in keys}


def write(run: Recognizer, index: Index, report: dict[str, Any], compared: list[ComparedRun]) -> Path:
    """Writes the page of a report.

    Args:
      run: the run, with its weights.
      index: of the split, with every utterance of the report.
      report: from `evaluate`.
      compared: runs beside it, from `html.load_compared`.

    Returns:
      The path.
    """
    results = [result for result in report["results"] if not result["unreadable"]]
    rows = {name: number for number, name in enumerate(index.ids)}
    levels_db = {result["id"]: level_db(index.audio(rows[result["id"]])) for result in results}
    speakers = error_analysis.groups(results, lambda result: result["speaker"] or "unknown")
    runs = [html.this_run(run, report), *compared]
    worst = [result for result in report["worst"] if not result["unreadable"]][:_WORST]
    content = {
        "tiles": _tiles(report),
        "runs": html.comparison(runs, row),
        "curves": html.training_curves(runs, _PANELS),
        "lengths": error_analysis.by_length(results),
        "levels": error_analysis.by_level(results, levels_db),
        "speakers": speakers[:_SPEAKERS],
        "more_speakers": max(0, len(speakers) - _SPEAKERS),
        "matrix": _matrix(error_analysis.confusions(results)),
        "words": error_analysis.misrecognised_words(results)[:_WORDS],
        "worst": [_utterance(run, index, rows[result["id"]], result, report["decoder"], compared) for result in worst],
    }
    footnote = f"Decoder: {report['decoder']}. Intervals are 95 % bootstrap intervals over utterances."
    return html.write(run, "recogniser.html", report, content, footnote, html.report_name(run, report))


def _tiles(report: dict[str, Any]) -> list[dict[str, str]]:
    minutes = f"{report['audio_seconds'] / 60:.1f} minutes"
    speed = f"{1 / max(report['real_time_factor'], 1e-9):.0f} x"
    return [
        _rate_tile("word error rate", report["wer"]),
        _rate_tile("character error rate", report["cer"]),
        {"name": "utterances scored", "value": f"{report['scored']:,} of {report['total']:,}", "note": minutes},
        {"name": "speed", "value": speed, "note": "real time"},
    ]


def _rate_tile(name: str, rate: dict[str, Any]) -> dict[str, str]:
    low, high = rate["interval_95"]
    return {"name": name, "value": f"{100 * rate['rate']:.1f} %", "note": f"{100 * low:.1f} to {100 * high:.1f} %"}


def _matrix(confusions: list[error_analysis.Confusion]) -> dict[str, Any]:
    """The commonest confusions as a table."""
    names = {"": _NOTHING, " ": _SPACE}
    common = confusions[: 4 * _CHARACTERS]
    references = sorted({pair.reference for pair in common}, key=lambda name: (name == "", name))
    hypotheses = sorted({pair.hypothesis for pair in common}, key=lambda name: (name == "", name))
    counts = {(pair.reference, pair.hypothesis): pair.count for pair in common}
    return {
        "columns": [names.get(name, name) for name in hypotheses],
        "rows": [
            {"name": names.get(row, row), "counts": [counts.get((row, name), 0) for name in hypotheses]}
            for row in references
        ],
        "most": max(counts.values(), default=1),
    }


def _utterance(
    run: Recognizer, index: Index, row: int, result: dict[str, Any], decoder: str, compared: list[ComparedRun]
) -> dict[str, Any]:
    """What the page shows of an utterance: of a long one, its beginning."""
    samples = index.audio(row)[: round(_LONGEST_SECONDS * index.sample_rate_hz)]
    lengths = tf.constant([len(samples)])
    inputs = features.compute(run.config.features, samples[np.newaxis], lengths, run.statistics).values[0].numpy()
    logits = run.logits(samples[np.newaxis], lengths).values[0]
    caption = "" if decoder == "greedy" else f"HYP: the best path, without {decoder}"
    picture = alignment_plot.alignment(
        inputs,
        tf.nn.log_softmax(logits).numpy(),
        run.alphabet,
        result["reference"],
        len(samples) / index.sample_rate_hz,
        caption,
    )
    others = [
        {"name": other.name, "pairs": metrics.pairs(result["reference"], found["hypothesis"])}
        for other in compared
        for found in other.report["results"]
        if found["id"] == result["id"]
    ]
    return result | {
        "errors": metrics.character_errors(result["reference"], result["hypothesis"]).total,
        "pairs": metrics.pairs(result["reference"], result["hypothesis"]),
        "others": others,
        "audio": html.audio_uri(samples, index.sample_rate_hz),
        "picture": html.picture_uri(picture),
    }
