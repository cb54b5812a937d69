"""Draws the learning curves of runs, for docs/results.md.

python tests/benchmarks/curves.py docs/images/adventure.png runs/adventure
"""

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

_NAMES = {"train_loss": "train", "valid_loss": "valid"}


def main(output: str, *runs: str) -> None:
    """Losses, and of recognisers error rates beside them, against minutes of training."""
    logs = {Path(run).name: _read(Path(run) / "metrics.jsonl") for run in runs}
    reads = any("wer" in line for lines in logs.values() for line in lines)
    figure = Figure(figsize=(9, 3.4) if reads else (6, 3.4), dpi=100, layout="constrained")
    losses, *others = figure.subplots(1, 2 if reads else 1, squeeze=False)[0]
    for number, (name, lines) in enumerate(logs.items()):
        minutes = [line["minutes"] for line in lines]
        of = f" ({name})" if len(logs) > 1 else ""
        for (key, title), style in zip(_NAMES.items(), (".:", ".-"), strict=True):
            color = {} if reads else {"color": f"C{number}"}
            losses.plot(minutes, [line[key] for line in lines], style, markersize=4, label=title + of, **color)
        for key in ("wer", "cer") if reads else ():
            others[0].plot(minutes, [100 * line[key] for line in lines], ".-", markersize=4, label=key.upper() + of)
    losses.set_ylabel("loss (nats per utterance)" if reads else "bits per sample")
    for axes in others:
        axes.set_ylabel("error rate on valid, greedy (%)")
    for axes in (losses, *others):
        axes.set_xlabel("minutes of training")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        if reads:
            axes.set_ylim(bottom=0)
    figure.savefig(output)


def _read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main(*sys.argv[1:])
