"""Measures tfvoice beside what one would use instead, and prints one table.

  python tests/benchmarks/run.py                       everything; or the names of some: training_step conversion ...
  python tests/benchmarks/run.py --torch_python=PATH   where PyTorch lives in another environment
  python tests/benchmarks/run.py --json=speed.json     keeps every single run as well

Both sides of a row run in turn in processes of one tree, and a ratio is one of medians. Nothing else should run.
"""

import argparse
import datetime
import json
import os
import sys
import tempfile
import textwrap
from pathlib import Path

import conversion
import deepspeech2_step
import measure
import pipeline
import sample_rnn
import startup
import training_step
import transcription
from measure import Failure, Options, Row

BENCHMARKS = {
    "training_step": training_step.rows,
    "deepspeech2_step": deepspeech2_step.rows,
    "sample_rnn": sample_rnn.rows,
    "conversion": conversion.rows,
    "pipeline": pipeline.rows,
    "transcription": transcription.rows,
    "startup": startup.rows,
}


def main() -> int:
    """Returns 1 where a target was missed or a benchmark failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--runs", type=int, default=9, help="of each side; long ones run a third as often (default 9)")
    parser.add_argument("--torch_python", default=sys.executable, help="interpreter that has PyTorch (default: this)")
    parser.add_argument("--json", type=Path, help="file for the rows and all single runs")
    flags = parser.parse_args()
    if unknown := set(flags.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {sorted(unknown)[0]}; known: {', '.join(BENCHMARKS)}")
    load = os.getloadavg()[0]
    today, versions = datetime.date.today().isoformat(), measure.versions()
    header = f"{today}; {measure.machine()}; " + ", ".join(f"{name} {version}" for name, version in versions.items())
    print(textwrap.fill(header, 120))
    if load > 0.5:
        print(f"Other work is running (load {load:.1f}): these figures are not worth keeping.")
    with tempfile.TemporaryDirectory(prefix="tfvoice-bench-") as folder:
        options = Options(flags.runs, flags.torch_python, Path(folder))
        rows = [row for name in flags.names or BENCHMARKS for row in _rows(name, options)]
    print(_table(rows))
    if flags.json:
        content = {"date": today, "machine": measure.machine(), "load": load, "versions": versions}
        content["rows"] = [row._asdict() for row in rows]
        flags.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return int(any(row.met is False for row in rows))


def _rows(name: str, options: Options) -> list[Row]:
    print(f"{name} ...", file=sys.stderr, flush=True)
    try:
        return BENCHMARKS[name](options)
    except Failure as failure:
        return [Row(name, "failed", met=False, notes=(str(failure),))]


def _table(rows: list[Row]) -> str:
    lines = [("", "tfvoice", "instead", "ratio", "target", "")]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}" if row.ratio < 10 else f"{row.ratio:.0f}"
        met = "" if row.met is None else "met" if row.met else "MISSED"
        lines.append((row.what, row.ours, row.instead, ratio, row.target, met))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    notes = [(), *(row.notes for row in rows)]
    text = []
    for line, below in zip(lines, notes, strict=True):
        text.append("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        text += [f"    {note}" for note in below]
    return "\n".join(text)


if __name__ == "__main__":
    sys.exit(main())
