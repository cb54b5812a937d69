"""How a generator is trained: its batches, its objective, and what a validation finds and lets one hear."""

import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfvoice.audio import io as audio_io
from tfvoice.generation import likelihood, sample
from tfvoice.generation.generator import Generator
from tfvoice.report import plots
from tfvoice.training import callbacks, objectives
from tfvoice.training.callbacks import Validation


class Generation:
    """The training of a generator.

    Args:
      experiment: the run, made for training.
      data_dir: folder of the shards.

    Attributes:
      objective: bits of the next sample.
      train_data, valid_data: batches.
    """

    def __init__(self, experiment: Generator, data_dir: str | Path):
        train_index, valid_index = (experiment.scan(data_dir, split) for split in ("train", "valid"))
        self.train_data = experiment.pipeline(train_index, shuffled=True)
        self.valid_data = experiment.pipeline(valid_index)
        self.objective = objectives.NextSample(experiment.model, self.train_data)
        self._scorer = likelihood.Scorer(experiment.model, self.valid_data)
        self._sampler = sample.Sampler(experiment)
        self._experiment = experiment

    def validate(self) -> Validation:
        """Scores the split `valid`; the best weights are those of the fewest bits per sample."""
        bits = likelihood.per_sample(self._scorer.score())
        drawn = self._drawn()
        return Validation(bits, bits, {}, "bits per sample", functools.partial(self._show, drawn))

    def _drawn(self) -> np.ndarray:
        """Samples of the weights as they are, `[count, samples]`; the same random numbers each time."""
        chosen = self._experiment.config.sampling
        how = sample.Draw((chosen.temperature,), seed=self._experiment.config.training.seed)
        count = round(chosen.seconds * self._experiment.sample_rate_hz)
        return self._sampler.collect(chosen.count, count, how)

    def _show(self, drawn: np.ndarray, epoch: int) -> None:
        """Writes the samples to TensorBoard, and as files into the folder of the run."""
        if not len(drawn):
            return
        rate_hz, step = self._experiment.sample_rate_hz, tf.summary.experimental.get_step()
        folder = self._experiment.run_dir / "samples"
        folder.mkdir(exist_ok=True)
        names = [f"step-{step:07d}-{number}" for number in range(len(drawn))]
        for number, (name, samples) in enumerate(zip(names, drawn, strict=True)):
            audio_io.write(folder / f"{name}.wav", samples, rate_hz)
            callbacks.write_audio(f"samples/{number}", samples, rate_hz)
        picture = plots.waveforms(drawn, rate_hz, [str(n) for n in range(len(drawn))], f"epoch {epoch}, step {step}")
        tf.summary.image("samples/picture", picture[np.newaxis])
        plots.write(folder / f"step-{step:07d}.png", picture)
