"""Benchmarks tfvoice against the usual alternatives and prints one table.

  python tests/benchmarks/run.py                       all benchmarks; or only those named: training_step conversion ...
  python tests/benchmarks/run.py --torch_python=PATH   interpreter of an environment that has PyTorch
  python tests/benchmarks/run.py --json=speed.json     also writes the time of every run

Runs of tfvoice and of the baseline are interleaved in worker processes, and a ratio is one of medians. The machine
should be otherwise idle.
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
import speech
import startup
import training_step
import transcription
import vocoder
from measure import Failure, Options, Row

BENCHMARKS = {
    "training_step": training_step.rows,
    "deepspeech2_step": deepspeech2_step.rows,
    "sample_rnn": sample_rnn.rows,
    "vocoder": vocoder.rows,
    "speech": speech.rows,
    "conversion": conversion.rows,
    "pipeline": pipeline.rows,
    "transcription": transcription.rows,
    "startup": startup.rows,
}


def main() -> int:
    """Returns 1 if a target was missed or a benchmark failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--runs", type=int, default=9, help="runs of each side; a third for slow ones (default 9)")
    parser.add_argument("--torch_python", default=sys.executable, help="interpreter with PyTorch (default: this one)")
    parser.add_argument("--json", type=Path, help="file for the rows and the time of every run")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"unknown benchmark {sorted(unknown)[0]}; known: {', '.join(BENCHMARKS)}")
    load = os.getloadavg()[0]
    today, versions = datetime.date.today().isoformat(), measure.versions()
    header = f"{today}; {measure.machine()}; " + ", ".join(f"{name} {version}" for name, version in versions.items())
    print(textwrap.fill(header, 120))
    if load > 0.5:
        print(f"Other processes are running (load average {load:.1f}): these figures are not reliable.")
    with tempfile.TemporaryDirectory(prefix="tfvoice-bench-") as folder:
        options = Options(arguments.runs, arguments.torch_python, Path(folder))
        rows = [row for name in arguments.names or BENCHMARKS for row in _rows(name, options)]
    print(_table(rows))
    if arguments.json:
        content = {"date": today, "machine": measure.machine(), "load": load, "versions": versions}
        content["rows"] = [row._asdict() for row in rows]
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return int(any(row.met is False for row in rows))


def _rows(name: str, options: Options) -> list[Row]:
    print(f"{name} ...", file=sys.stderr, flush=True)
    try:
        return BENCHMARKS[name](options)
    except Failure as failure:
        return [Row(name, "failed", met=False, notes=(str(failure),))]


def _table(rows: list[Row]) -> str:
    lines = [("", "tfvoice", "baseline", "ratio", "target", "")]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}" if row.ratio < 10 else f"{row.ratio:.0f}"
        met = "" if row.met is None else "met" if row.met else "MISSED"
        lines.append((row.benchmark, row.tfvoice, row.baseline, ratio, row.target, met))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    notes = [(), *(row.notes for row in rows)]
    text = []
    for line, line_notes in zip(lines, notes, strict=True):
        text.append("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        text += [f"    {note}" for note in line_notes]
    return "\n".join(text)


if __name__ == "__main__":
    sys.exit(main())
