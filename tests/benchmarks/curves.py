"""Plots the training curves of one or more runs, for docs/results.md.

python tests/benchmarks/curves.py docs/images/adventure.png runs/adventure
"""

import json
import sys
from pathlib import Path

from tfvoice.report import plots

ERROR_RATES = plots.Panel(
    "error rate (%)", (plots.Curve("wer", "WER", ".--", 100), plots.Curve("cer", "CER", ".-", 100))
)


def main(output: str, *run_dirs: str) -> None:
    """Writes a figure from the `metrics.jsonl` of each run: losses and, of recognisers, error rates."""
    logs = {
        Path(run_dir).name: [json.loads(line) for line in (Path(run_dir) / "metrics.jsonl").open(encoding="utf-8")]
        for run_dir in run_dirs
    }
    has_errors = any("cer" in line for lines in logs.values() for line in lines)
    panels = [plots.loss_panel("loss"), ERROR_RATES] if has_errors else [plots.loss_panel("bits per sample")]
    plots.training_curves(logs, panels).savefig(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
