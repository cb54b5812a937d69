"""Whether the memory of a training grows with its epochs: resident memory after epoch 20 beside that after epoch 3.

  python tests/benchmarks/memory.py                              a tiny network on the corpus in tests/data
  python tests/benchmarks/memory.py --config=wavenet_asr_demo    another network on it; takes half an hour

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
_TINY = ("model.width=16", "model.dilations=[1,2]", "model.stacks=1", "features.bins=40", "data.buckets=4")
_TRAINING = (f"training.epochs={EPOCHS}", "augmentation.tempo=0.1", "augmentation.vocal_tract=0.1")


def rows(options: Options) -> list[Row]:
    """Resident memory of the training process, as `metrics.jsonl` has it."""
    return [_row(options.folder, None)]


def _row(folder: Path, config: str | None) -> Row:
    records, run = folder / "memory_records", folder / "memory_run"
    corpus = measure.ROOT / "tests" / "data" / "asterisk"
    flags = ["--corpus=vctk", f"--input={corpus}", f"--output={records}", "--split_by=utterance"]
    measure.timed([*measure.command("tfvoice_convert"), *flags])
    changes = [*_TRAINING, *(() if config else _TINY)]
    flags = [f"--data={records}", f"--run={run}", *(f"--set={change}" for change in changes)]
    measure.timed([*measure.command("tfvoice_train"), *flags, *([f"--config={config}"] if config else [])])
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    mib = {line["epoch"]: line["memory_mib"] for line in map(json.loads, lines)}
    growth = mib[EPOCHS] / mib[EARLY]
    return Row(
        f"memory of training, epoch {EPOCHS} / epoch {EARLY}",
        f"{growth:.3f}",
        target=f"<= {LIMIT}",
        met=growth <= LIMIT,
        notes=("MiB after each epoch: " + " ".join(f"{mib[epoch]:.0f}" for epoch in sorted(mib)),),
    )


def main() -> int:
    """Returns 1 where memory grew by more than the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="file or name of a configuration; default: a tiny network")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tfvoice-memory-") as folder:
        row = _row(Path(folder), flags.config)
    print(f"{row.what}: {row.ours} (wanted: {row.target})\n{row.notes[0]}")
    return int(not row.met)


if __name__ == "__main__":
    raise SystemExit(main())
