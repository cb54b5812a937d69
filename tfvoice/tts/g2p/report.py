"""The report page of a G2P model: rates, training curves, confused phonemes, and the words of the most errors."""

from collections import Counter
from pathlib import Path
from typing import Any

from tfvoice.asr import metrics
from tfvoice.report import html, plots
from tfvoice.report.html import ComparedRun
from tfvoice.tts.g2p.run import G2pRun

METRIC = "phoneme_errors"
_WORST, _CONFUSIONS = 100, 30
_NOTHING = "∅"
_PANELS = (
    plots.loss_panel("loss (nats per phoneme)"),
    plots.Panel(
        "error rate on valid, greedy (%)",
        (
            plots.Curve("wer", "WER", ".-", 100),
            plots.Curve("wer_no_stress", "WER without stress", ".--", 100),
            plots.Curve("per", "PER", ".:", 100),
        ),
    ),
)


def row(run: ComparedRun) -> dict[str, Any]:
    """The cells of a run in the table of a comparison."""
    rates = run.report[METRIC]
    return {"beam": run.report["beam"], "stress": rates["stress"], "no_stress": rates["no_stress"]}


def wrong_words(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The results with errors, those of the most errors first."""
    wrong = [result for result in report["results"] if result["errors"]]
    return sorted(wrong, key=lambda result: (-result["errors"], result["id"]))


def write(run: G2pRun, report: dict[str, Any], compared: list[ComparedRun]) -> Path:
    """Writes the page of a report.

    Args:
      run: the run.
      report: from `evaluate`.
      compared: runs beside it, from `html.load_compared`.

    Returns:
      The path.
    """
    runs = [html.this_run(run, report), *compared]
    wrong = wrong_words(report)
    content = {
        "tiles": _tiles(report),
        "runs": html.comparison(runs, row),
        "curves": html.training_curves(runs, _PANELS),
        "rates": report[METRIC],
        "confusions": _confusions(wrong),
        "worst": [_word(one, compared) for one in wrong[:_WORST]],
        "wrong": len(wrong),
    }
    footnote = "Intervals are 95 % bootstrap intervals over words."
    return html.write(run, "g2p.html", report, content, footnote, html.report_name(run, report))


def _tiles(report: dict[str, Any]) -> list[dict[str, str]]:
    tiles = []
    for key, rate, name in (
        ("stress", "wer", "WER with stress"),
        ("no_stress", "wer", "WER without stress"),
        ("stress", "per", "PER with stress"),
    ):
        rates = report[METRIC][key]
        low, high = rates[f"{rate}_interval"]
        note = f"{100 * low:.1f} to {100 * high:.1f} %"
        tiles.append({"name": name, "value": f"{100 * rates[rate]:.1f} %", "note": note})
    speed = f"{report['words_per_second']:,.0f} words/s"
    return [*tiles, {"name": "words", "value": f"{report['words']:,}", "note": speed}]


def _confusions(wrong: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The commonest errors: phoneme of the reference, phoneme of the hypothesis, count."""
    counts: Counter[tuple[str, str]] = Counter()
    for one in wrong:
        pairs = metrics.pairs(one["reference"], one["hypothesis"])
        counts.update((pair.reference, pair.hypothesis) for pair in pairs if pair.operation != "equal")
    return [
        {"reference": reference or _NOTHING, "hypothesis": hypothesis or _NOTHING, "count": count}
        for (reference, hypothesis), count in counts.most_common(_CONFUSIONS)
    ]


def _word(result: dict[str, Any], compared: list[ComparedRun]) -> dict[str, Any]:
    """What the page shows of a word."""
    others = [
        {"name": other.name, "pairs": metrics.pairs(result["reference"], found["hypothesis"])}
        for other in compared
        for found in other.report["results"]
        if found["id"] == result["id"]
    ]
    return result | {"pairs": metrics.pairs(result["reference"], result["hypothesis"]), "others": others}
