"""Plots the samples that a run generated at each validation, below a clip of its data, for docs/results.md.

python tests/benchmarks/over_time.py docs/images/moh-samples.png runs/moh
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tfvoice.audio import io, quantize
from tfvoice.generation.generator import Generator
from tfvoice.report import plots


def main(output: str, run_dir: str) -> None:
    """Writes waveforms and spectrograms of the first sample of each validation of a generator."""
    run = Generator.load(run_dir)
    pipeline = run.pipeline(run.scan(run.data_dir(), "valid"))
    waves, captions = [quantize.decode(run.config.quantization, pipeline.levels(0)).numpy()], ["data"]
    with (Path(run_dir) / "metrics.jsonl").open(encoding="utf-8") as file:
        for validation in map(json.loads, file):
            path = Path(run_dir) / "samples" / f"step-{validation['step']:07d}-0.wav"
            waves.append(io.read(path, run.sample_rate_hz))
            captions.append(f"{validation['minutes']:.0f} minutes")
    samples = min(map(len, waves))
    batch = np.stack([wave[:samples] for wave in waves])
    figure = plots.waveforms(batch, run.sample_rate_hz, captions, "a clip, and samples by minutes of training")
    # Spectrograms of noise compress badly; a palette of 96 colours looks the same.
    Image.fromarray(figure).quantize(96).save(output, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
