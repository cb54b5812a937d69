"""Draws the learning curves of runs, for docs/results.md.

python tests/benchmarks/curves.py docs/images/adventure.png runs/adventure
"""

import json
import sys
from pathlib import Path

from tfvoice.report import plots


def main(output: str, *runs: str) -> None:
    """Each run is a folder with a `metrics.jsonl`."""
    logs = {Path(run).name: (Path(run) / "metrics.jsonl").read_text(encoding="utf-8") for run in runs}
    lines = {name: [json.loads(line) for line in text.splitlines()] for name, text in logs.items()}
    plots.learning(lines).savefig(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
