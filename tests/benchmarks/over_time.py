"""Draws what a run generated at each of its validations below a recording of its data, for docs/results.md.

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


def main(output: str, folder: str) -> None:
    """The run is of a generator; of the samples of a validation the first is drawn."""
    run = Generator.load(folder)
    pipeline = run.pipeline(run.scan(run.data_dir(), "valid"))
    drawn, captions = [quantize.decode(run.config.quantization, pipeline.levels(0)).numpy()], ["data"]
    with (Path(folder) / "metrics.jsonl").open(encoding="utf-8") as log:
        for line in map(json.loads, log):
            path = Path(folder) / "samples" / f"step-{line['step']:07d}-0.wav"
            drawn.append(io.read(path, run.sample_rate_hz))
            captions.append(f"{line['minutes']:.0f} minutes")
    samples = min(map(len, drawn))
    waves = np.stack([wave[:samples] for wave in drawn])
    picture = plots.waveforms(waves, run.sample_rate_hz, captions, "a clip, and samples by minutes of training")
    # A picture of noise is large; a few colours show it as well.
    Image.fromarray(picture).quantize(96).save(output, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
