"""Evaluation of a segmentation model on a split: pair and phoneme error rates, and improbable alignments."""

from pathlib import Path
from typing import Any

import numpy as np

from tfvoice.asr import metrics
from tfvoice.report import html
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
    """Evaluates a run on a whole split, and writes `report/eval-<split>.json` and `.html` into it.

    Phonemes are recognised without the text, by the beam search of Deep Voice, and compared with those of the forced
    alignment. Reports of other data than those of the run have the name of the data as well, see `html.report_name`.

    Args:
      run_dir: folder of the run.
      data_dir: folder of the shards; None: the one that the run was trained on.
      split: name of the split.
      checkpoint: `best` or `last`.
      compare: folders of runs to compare with in the page, by their reports of this split.

    Returns:
      The report, and the path of the page.

    Raises:
      UnwrittenReportError: the report cannot be written.
      TfvoiceError: the run, the data, the split or a run to compare with cannot be used.
    """
    run = SegmentationRun.load(run_dir, checkpoint)
    data_dir = run.data_dir(data_dir)
    compared = html.load_compared(run_dir, compare, split, report_.METRIC, report_.row, data_dir)
    scanned = run.scan(data_dir, split, filtered=False)
    results = scoring.Scorer(run, scanned).score(progress=True)
    report = {
        "split": split,
        "data": str(Path(data_dir).absolute()),
        "checkpoint": run.loaded,
        **summarise(scanned, results),
    }
    with html.writing(run, report):
        run.write_report(html.report_name(run, report), report)
        return report, report_.write(run, report, scanned, results, compared)


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
        "pair_error_rate": _rate([result.pair_errors for result in results]),
        "per": _rate([result.phoneme_errors for result in results]),
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


def _rate(errors: list[metrics.Errors]) -> dict[str, Any]:
    total = metrics.combine(errors)
    return {
        "rate": metrics.rate(errors),
        "interval_95": list(metrics.interval(errors)),
        "substitutions": total.substitutions,
        "deletions": total.deletions,
        "insertions": total.insertions,
        "reference_units": total.reference_units,
    }


def _percent(rate: dict[str, Any]) -> str:
    low, high = rate["interval_95"]
    return f"{100 * rate['rate']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
