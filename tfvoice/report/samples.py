"""Samples of a validation: to TensorBoard, and as files with a picture into the folder of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfvoice.audio import io as audio_io
from tfvoice.report import plots
from tfvoice.training import callbacks


def write(
    run_dir: Path, samples: Sequence[np.ndarray], pictured: Mapping[str, np.ndarray], sample_rate_hz: int, epoch: int
) -> None:
    """Writes `samples/step-N-I.wav` for each of the samples, and `samples/step-N.png`.

    Args:
      run_dir: folder of the run.
      samples: float32 `[samples]` each.
      pictured: what the picture shows, by caption; perhaps more than the samples.
      sample_rate_hz: of all of them.
      epoch: for the title of the picture.
    """
    step, folder = tf.summary.experimental.get_step(), run_dir / "samples"
    folder.mkdir(exist_ok=True)
    for number, wave in enumerate(samples):
        audio_io.write(folder / f"step-{step:07d}-{number}.wav", wave, sample_rate_hz)
        callbacks.write_audio(f"samples/{number}", wave, sample_rate_hz)
    title = f"epoch {epoch}, step {step}"
    picture = plots.waveforms(list(pictured.values()), sample_rate_hz, list(pictured), title)
    tf.summary.image("samples/picture", picture[np.newaxis])
    plots.write(folder / f"step-{step:07d}.png", picture)
