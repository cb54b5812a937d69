"""Evaluation of a segmentation model on a split: pair and phoneme error rates, and improbable alignments."""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from tfvoice.asr import metrics
from tfvoice.report import evaluation
from tfvoice.report.evaluation import Measured
from tfvoice.tts import align
from tfvoice.tts.segmentation import report as report_
from tfvoice.tts.segmentation import scoring
from tfvoice.tts.segmentation.data import LatticeIndex
from tfvoice.tts.segmentation.run import SegmentationRun
from tfvoice.tts.segmentation.scoring import ScoredAlignment

# Rows of the report, by their key in it.
RATES = {"pair_error_rate": "pairs", "per": "phonemes without silence"}


def evaluate_run(
    run_dir: str | Path,
    data_dir: str | Path | None = None,
    split: str = "test",
    checkpoint: str = "best",
    compare: tuple[str, ...] = (),
) -> tuple[dict[str, Any], Path]:
    """Evaluates a run on a whole split, see `report.evaluation.evaluate`.

    Phonemes are recognised without the text, by the beam search of Deep Voice, and compared with those of the forced
    alignment.
    """
    run = SegmentationRun.load(run_dir, checkpoint)

    def measure(data_dir: str | Path, split: str) -> Measured:
        scanned = run.scan(data_dir, split, filtered=False)
        results = scoring.Scorer(run, scanned).score(progress=True)
        return Measured(summarise(scanned, results), functools.partial(report_.write, run, scanned, results))

    return evaluation.evaluate(run, data_dir, split, compare, report_.METRIC, report_.row, measure)


def summarise(scanned: LatticeIndex, results: list[ScoredAlignment]) -> dict[str, Any]:
    """What `report/eval-<split>.json` holds about the results; plain values."""
    least = align.threshold([result.score for result in results])
    improbable = sum(result.score < least for result in results)
    return {
        "total": len(results) + len(scanned.unusable),
        "scored": len(results),
        "audio_seconds": round(scanned.index.seconds, 3),
        "unusable": {id: str(error) for id, error in scanned.unusable.items()},
        "loss": float(np.mean([result.loss for result in results])),
        "pair_error_rate": metrics.summarise([result.pair_errors for result in results]),
        "per": metrics.summarise([result.phoneme_errors for result in results]),
        "threshold": least,
        "improbable": improbable,
        "improbable_share": improbable / len(results),
        "results": [_result(scanned, result, least) for result in results],
    }


def as_text(report: dict[str, Any], count: int) -> str:
    """The report for the terminal, with the `count` least probable alignments."""
    minutes = report["audio_seconds"] / 60
    lines = [f"split      {report['split']}: {report['scored']} of {report['total']} utterances, {minutes:.1f} minutes"]
    lines += [f"{name:<26} {_percent(report[key])} errors" for key, name in RATES.items()]
    lines.append("[ ] is the 95 % bootstrap interval over utterances")
    lines.append(
        f"improbable alignments: {report['improbable']} ({report['improbable_share']:.1%}), scores below "
        f"{report['threshold']:.3f} nats per frame"
    )
    lines += [f"unusable: {id}: {reason}" for id, reason in list(report["unusable"].items())[:count]]
    for result in sorted(report["results"], key=lambda result: result["score"])[:count]:
        lines.append(f"{result['score']:8.3f}  {result['id']}: {result['text']}")
    return "\n".join(lines)


def as_line(report: dict[str, Any]) -> str:
    """Pair and phoneme error rates in one line; "" where it is no report of this task."""
    if report_.METRIC not in report:
        return ""
    rates = "; ".join(f"{name} {_percent(report[key])} errors" for key, name in RATES.items())
    return f"{rates}; {report['improbable']} of {report['scored']} alignments improbable"


def _result(scanned: LatticeIndex, result: ScoredAlignment, least: float) -> dict[str, Any]:
    index = scanned.index
    return {
        "id": index.ids[result.row],
        "text": index.texts[result.row],
        "score": round(result.score, 5),
        "improbable": result.score < least,
        "loss": round(result.loss, 3),
        "pair_errors": result.pair_errors.total,
        "reference": " ".join(result.alignment.phonemes),
        "ends": result.alignment.ends.tolist(),
        "hypothesis": " ".join(result.hypothesis),
    }


def _percent(rate: dict[str, Any]) -> str:
    low, high = rate["interval_95"]
    return f"{100 * rate['rate']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
