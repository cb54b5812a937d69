"""Whether the memory of training grows with its epochs: resident memory after epochs 20 and 3.

  python tests/benchmarks/memory.py --config=wavenet_asr_demo

It trains on the corpus in tests/data, which takes ten minutes on 2 cores. The ratio is meaningless for much smaller
networks: oneDNN allocates some 20 MiB when a thread first sees a length, and there not all of that is before epoch 3.
The experiment that this project starts from ran out of 32 GB after ten epochs.
"""

import argparse
import json
import tempfile
from pathlib import Path

import measure
from measure import Options, Row

EPOCHS, EARLY = 20, 3
LIMIT = 1.03
CONFIG = "wavenet_asr_demo"


def rows(options: Options, config: str = CONFIG) -> list[Row]:
    """Resident memory of the training process, from `metrics.jsonl`."""
    records, run = options.folder / "memory_records", options.folder / "memory_run"
    corpus = measure.ROOT / "tests" / "data" / "asterisk"
    flags = ["--corpus=vctk", f"--input={corpus}", f"--output={records}", "--split_by=utterance"]
    measure.timed([*measure.command("tfvoice_convert"), *flags])
    flags = [f"--data={records}", f"--run={run}", f"--config={config}", f"--epochs={EPOCHS}"]
    measure.timed([*measure.command("tfvoice_train"), *flags])
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    mib = {line["epoch"]: line["memory_mib"] for line in map(json.loads, lines)}
    growth = mib[EPOCHS] / mib[EARLY]
    what = f"memory of training, epoch {EPOCHS} / epoch {EARLY}"
    notes = ("MiB after each epoch: " + " ".join(f"{mib[epoch]:.0f}" for epoch in sorted(mib)),)
    return [Row(what, f"{growth:.3f}", target=f"<= {LIMIT}", met=growth <= LIMIT, notes=notes)]


def main() -> int:
    """Returns 1 if memory grew by more than the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=CONFIG, help=f"file or name of a configuration (default {CONFIG})")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tfvoice-memory-") as folder:
        (row,) = rows(Options(1, "", Path(folder)), flags.config)
    print(f"{row.benchmark}: {row.tfvoice} (target: {row.target})\n{row.notes[0]}")
    return int(not row.met)


if __name__ == "__main__":
    raise SystemExit(main())
