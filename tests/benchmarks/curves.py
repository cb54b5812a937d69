"""Draws the learning curves of runs, for docs/results.md.

python tests/benchmarks/curves.py docs/images/adventure.png runs/adventure
"""

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

_NAMES = {"train_loss": "train, augmented", "valid_loss": "valid"}


def main(output: str, *runs: str) -> None:
    """Losses on the left, error rates on the right, against minutes of training."""
    figure = Figure(figsize=(9, 3.4), dpi=100, layout="constrained")
    losses, rates = figure.subplots(1, 2)
    for run in map(Path, runs):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        minutes = [line["minutes"] for line in lines]
        of = f" ({run.name})" if len(runs) > 1 else ""
        for key, name in _NAMES.items():
            losses.plot(minutes, [line[key] for line in lines], ".-", markersize=4, label=name + of)
        for key in ("wer", "cer"):
            rates.plot(minutes, [100 * line[key] for line in lines], ".-", markersize=4, label=key.upper() + of)
    losses.set_ylabel("loss (nats per utterance)")
    rates.set_ylabel("error rate on valid, greedy (%)")
    for axes in (losses, rates):
        axes.set_xlabel("minutes of training")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
