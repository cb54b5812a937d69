"""Evaluation of a model of duration and F0 on a split of aligned records."""

import functools
from pathlib import Path
from typing import Any

from tfvoice.report import evaluation
from tfvoice.report.evaluation import Measured
from tfvoice.tts.duration_f0 import metrics
from tfvoice.tts.duration_f0 import report as report_
from tfvoice.tts.duration_f0.data import ProsodyIndex
from tfvoice.tts.duration_f0.metrics import ProsodyErrors
from tfvoice.tts.duration_f0.predict import ProsodyPredictor
from tfvoice.tts.duration_f0.prosody import PhonemeProsody
from tfvoice.tts.duration_f0.run import DurationF0Run

# Rows of the report: name, unit and factor by the key of each kind of error.
ROWS = {
    "duration_ms": ("duration", "ms", 1),
    "speech_ms": ("  of phonemes", "ms", 1),
    "silence_ms": ("  of silences", "ms", 1),
    "f0_hz": ("F0, voiced frames", "Hz", 1),
    "voicing": ("voicing, right", "%", 100),
}


def evaluate_run(
    run_dir: str | Path,
    data_dir: str | Path | None = None,
    split: str = "test",
    checkpoint: str = "best",
    compare: tuple[str, ...] = (),
) -> tuple[dict[str, Any], Path]:
    """Evaluates a run on a split of aligned records, see `report.evaluation.evaluate`.

    The report has mean absolute errors with their 95 % intervals.
    """
    run = DurationF0Run.load(run_dir, checkpoint)

    def measure(data_dir: str | Path, split: str) -> Measured:
        index = run.index(run.config, data_dir, split)
        found, predicted = predicted_errors(run, index)
        content = {
            "utterances": len(index),
            "phonemes": sum(map(len, index.phonemes)),
            "prosody_errors": summarise(found),
            "results": [_result(id, text, each) for id, text, each in zip(index.ids, index.texts, found, strict=True)],
        }
        return Measured(content, functools.partial(report_.write, run, index, predicted))

    return evaluation.evaluate(run, data_dir, split, compare, report_.METRIC, report_.row, measure)


def predicted_errors(run: DurationF0Run, index: ProsodyIndex) -> tuple[list[ProsodyErrors], list[PhonemeProsody]]:
    """Predicts the prosody of every utterance; returns its errors, and the prosody."""
    predicted = ProsodyPredictor(run).predict(index.phonemes)
    rows = zip(index.alignments, index.targets, predicted, strict=True)
    return [metrics.errors(alignment, target.prosody, each) for alignment, target, each in rows], predicted


def summarise(found: list[ProsodyErrors]) -> dict[str, Any]:
    """Mean and 95 % interval of each error."""
    intervals = metrics.intervals(found)
    return {
        name: {"mean": round(mean, 6), "interval_95": list(intervals[name])}
        for name, mean in metrics.means(found).items()
    }


def as_text(report: dict[str, Any], count: int) -> str:
    """The report for the terminal, with the `count` utterances of the largest errors of duration."""
    lines = [f"split      {report['split']}: {report['utterances']} utterances, {report['phonemes']} phonemes"]
    for key, (name, unit, factor) in ROWS.items():
        mean, interval = report["prosody_errors"][key].values()
        low, high = (factor * value for value in interval)
        lines.append(f"{name:<18} {factor * mean:7.2f} {unit:<3} [{low:.2f}, {high:.2f}]")
    lines.append("errors are mean absolute errors; [ ] is the 95 % bootstrap interval over utterances")
    worst = sorted(report["results"], key=lambda result: -result["duration_ms"])
    for one in worst[:count]:
        lines.append(f"{one['duration_ms']:.1f} ms, {one['f0_hz']:.1f} Hz: {one['id']}: {one['text']}")
    return "\n".join(lines)


def as_line(report: dict[str, Any]) -> str:
    """Errors of duration and F0 in one line; "" where it is no report of this task."""
    if report_.METRIC not in report:
        return ""
    parts = []
    for key, name in (("duration_ms", "duration"), ("f0_hz", "F0")):
        mean, (low, high) = report[report_.METRIC][key].values()
        parts.append(f"{name} {mean:.1f} {ROWS[key][1]} [{low:.1f}, {high:.1f}]")
    return f"mean absolute errors: {', '.join(parts)}; {report['utterances']} utterances"


def _result(id: str, text: str, found: ProsodyErrors) -> dict[str, Any]:
    """The means of an utterance."""
    means = metrics.means([found])
    return {"id": id, "text": text} | {key: round(mean, 4) for key, mean in means.items()}
