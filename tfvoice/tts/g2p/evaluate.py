"""Evaluation of a G2P model on a split of a lexicon: PER and WER, in every way in which they are published."""

import functools
import time
from pathlib import Path
from typing import Any

from tfvoice.report import evaluation
from tfvoice.report.evaluation import Measured
from tfvoice.text import phonemes
from tfvoice.tts.g2p import metrics
from tfvoice.tts.g2p import report as report_
from tfvoice.tts.g2p.data import WordIndex
from tfvoice.tts.g2p.metrics import WordResult
from tfvoice.tts.g2p.predict import G2pPredictor
from tfvoice.tts.g2p.run import G2pRun

# Rows of the report, by their key in it.
ROWS = {
    "stress": "with stress, nearest variant",
    "stress_first": "with stress, first variant",
    "no_stress": "without stress, nearest variant",
    "no_stress_first": "without stress, first variant",
}


def evaluate_run(
    run_dir: str | Path,
    data_dir: str | Path | None = None,
    split: str = "test",
    checkpoint: str = "best",
    compare: tuple[str, ...] = (),
) -> tuple[dict[str, Any], Path]:
    """Evaluates a run on a split of a lexicon; the data are `cmudict` or a path, see `report.evaluation.evaluate`."""
    run = G2pRun.load(run_dir, checkpoint)

    def measure(data_dir: str | Path, split: str) -> Measured:
        index = WordIndex(run.lexicon(data_dir), split)
        predictor = G2pPredictor(run)
        # The graph is traced before the clock starts.
        predictor.pronounce(index.words[:1])
        start = time.monotonic()
        hypotheses = predictor.pronounce(index.words)
        seconds = time.monotonic() - start
        results = [WordResult(*row) for row in zip(index.words, index.pronunciations, hypotheses, strict=True)]
        content = {
            "beam": run.config.search.beam,
            "words": len(results),
            "words_per_second": round(len(results) / max(seconds, 1e-9), 1),
            "phoneme_errors": {key: _rounded(rates) for key, rates in metrics.table(results).items()},
            "results": [_result(one) for one in results],
        }
        return Measured(content, functools.partial(report_.write, run))

    return evaluation.evaluate(run, data_dir, split, compare, report_.METRIC, report_.row, measure)


def as_text(report: dict[str, Any], count: int) -> str:
    """The report for the terminal, with the `count` words of the most errors."""
    lines = [
        f"split      {report['split']}: {report['words']} words, beam {report['beam']}, "
        f"{report['words_per_second']:.0f} words/s",
        f"{'':<33} {'WER':>7}  {'95 %':<16} {'PER':>7}  95 %",
    ]
    for key, name in ROWS.items():
        rates = report["phoneme_errors"][key]
        wer, per = (f"{rates[rate]:7.2%}  {_interval(rates[f'{rate}_interval'])}" for rate in ("wer", "per"))
        lines.append(f"{name:<33} {wer:<25} {per}")
    lines.append("[ ] is the 95 % bootstrap interval over words")
    for result in report_.wrong_words(report)[:count]:
        lines.append(f"{result['id']}: {result['reference']} -> {result['hypothesis']}")
    return "\n".join(lines)


def as_line(report: dict[str, Any]) -> str:
    """WER with and without stress in one line; "" where it is no report of this task."""
    if report_.METRIC not in report:
        return ""
    parts = []
    for key, name in (("stress", "WER with stress"), ("no_stress", "without")):
        rates = report[report_.METRIC][key]
        parts.append(f"{name} {rates['wer']:.1%} {_interval(rates['wer_interval'])}")
    return f"{', '.join(parts)}; {report['words']} words"


def _interval(interval) -> str:
    low, high = interval
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def _rounded(rates: metrics.Rates) -> dict[str, Any]:
    values = {"per": rates.per, "wer": rates.wer}
    intervals = {"per_interval": list(rates.per_interval), "wer_interval": list(rates.wer_interval)}
    return values | intervals


def _result(result: WordResult) -> dict[str, Any]:
    """A word for the report: the nearest pronunciation of the lexicon, that of the network, and the errors."""
    reference, errors = metrics.nearest(result.references, result.hypothesis)
    return {
        "id": result.word,
        "reference": phonemes.format(reference),
        "variants": [phonemes.format(one) for one in result.references],
        "hypothesis": phonemes.format(result.hypothesis),
        "errors": errors.total,
    }
