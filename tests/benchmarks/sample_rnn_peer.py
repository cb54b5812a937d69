"""Trains samplernn-pytorch's network on the clips of a run, with the run's sizes and quantiser.

python tests/benchmarks/sample_rnn_peer.py --run=runs/music --output=runs/peer --minutes=60 --torch_python=PATH

Writes `metrics.jsonl` in the format of a run, so that `curves.py` plots both. The minutes exclude validation. It trains
on clips of one length, as that repository does, and validates on the whole split `valid`.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import measure
import numpy as np
from measure import Worker

from tfvoice.generation.generator import Generator

_TURN_MINUTES = 6.0


def main() -> None:
    """Prints a line per validation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a finished run of tfvoice")
    parser.add_argument("--output", type=Path, required=True, help="folder for metrics.jsonl")
    parser.add_argument("--minutes", type=float, default=60.0, help="of training (default 60)")
    parser.add_argument("--torch_python", default=sys.executable, help="interpreter that has PyTorch (default: this)")
    flags = parser.parse_args()
    run = Generator.load(flags.run)
    turns = max(1, round(flags.minutes / _TURN_MINUTES))
    flags.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, (flags.output / "metrics.jsonl").open("w") as log:
        train, valid = levels(run, "train"), levels(run, "valid")
        length = int(np.median([len(clip) for clip in train]))
        whole = [clip for clip in train if len(clip) == length]
        print(f"training on {len(whole)} of {len(train)} clips, with {length} samples; validating on {len(valid)}")
        window = run.config.data.sequence_samples
        padded = -(-max(map(len, valid)) // window) * window
        rows = [np.pad(clip, (0, padded - len(clip)), constant_values=-1) for clip in valid]
        np.savez(f"{folder}/clips.npz", train=np.stack(whole), valid=np.stack(rows))
        spec = {
            "model": run.config.model.model_dump(mode="json"),
            "classes": run.config.quantization.levels,
            "batch": run.config.training.batch_size,
            "samples": run.config.data.sequence_samples,
            "threads": measure.cores(),
            "clips": f"{folder}/clips.npz",
            "seconds": 60 * flags.minutes / turns,
        }
        script = measure.ROOT / "tests" / "benchmarks" / "torch_sample_rnn_training.py"
        with Worker([flags.torch_python, str(script)], spec) as peer:
            print(f"PyTorch {peer.about['version']}, {peer.about['parameters']:,} parameters", flush=True)
            minutes, steps = 0.0, 0
            for turn in range(turns):
                train, valid = peer.do("train"), peer.do("valid")
                minutes, steps = minutes + train["seconds"] / 60, steps + train["steps"]
                line = {"epoch": turn + 1, "step": steps, "minutes": round(minutes, 2)}
                line |= {"train_loss": round(train["loss"], 4), "valid_loss": round(valid["loss"], 4)}
                print(json.dumps(line), file=log, flush=True)
                print(f"{minutes:.1f} minutes, {steps} steps: train {train['loss']:.3f}, valid {valid['loss']:.3f}")


def levels(run: Generator, split: str) -> list[np.ndarray]:
    """Levels of all clips of a split, each int32 `[samples]`."""
    pipeline = run.pipeline(run.scan(run.data_dir(), split))
    return [pipeline.levels(number) for number in range(len(pipeline.index))]


if __name__ == "__main__":
    main()
