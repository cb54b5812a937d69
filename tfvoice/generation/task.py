"""The task of generating audio: its training, and what commands, reports and exports ask of it."""

import functools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from tfvoice.data.windows import WindowBatch, WindowPipeline
from tfvoice.generation import metrics, sample, scoring
from tfvoice.generation.generator import Generator
from tfvoice.report import samples as samples_
from tfvoice.training.task import Losses, ModelCard, UndecodedTask, Validation


class GeneratorTraining:
    """The training of a generator; see `tfvoice.training.task.TrainingJob`.

    Args:
      run: made for training.
      data_dir: folder of the shards.
    """

    def __init__(self, run: Generator, data_dir: str | Path):
        train_index, valid_index = (run.scan(data_dir, split) for split in ("train", "valid"))
        self.train_data = run.pipeline(train_index, shuffled=True)
        self.valid_data = run.pipeline(valid_index)
        self.objective = NextSampleObjective(run.model, self.train_data)
        self._scorer = scoring.LikelihoodScorer(run.model, self.valid_data)
        self._sampler = sample.Sampler(run)
        self._run = run

    def validate(self) -> Validation:
        """Scores the split `valid`, and generates samples; the best weights are those of the fewest bits per sample."""
        bits = scoring.bits_per_sample(self._scorer.score())
        samples = self._sample()
        return Validation(bits, bits, {}, f"{bits:.4f} bits per sample", functools.partial(self._log_samples, samples))

    def _sample(self) -> np.ndarray:
        """Samples with the weights as they are, `[count, samples]`; the same random numbers each time."""
        config = self._run.config.sampling
        options = sample.SamplingOptions((config.temperature,), seed=self._run.config.training.seed)
        return self._sampler.sample(config.count, round(config.seconds * self._run.sample_rate_hz), options)

    def _log_samples(self, samples: np.ndarray, epoch: int) -> None:
        """Writes the samples to TensorBoard, and as files into the folder of the run."""
        if len(samples):
            pictured = {str(number): wave for number, wave in enumerate(samples)}
            samples_.write(self._run.run_dir, samples, pictured, self._run.sample_rate_hz, epoch)


class NextSampleObjective:
    """Negative log-likelihood of the next level, in bits per sample (Mehri et al., arXiv 1612.07837, equation 1).

    Args:
      model: a SampleRNN.
      data: gives the shape of a batch.
    """

    unit = "bits per sample"

    def __init__(self, model, data: WindowPipeline):
        self.model = model
        self.signature = data.signature
        self._context = data.context

    def split(self, batch: WindowBatch):
        """Levels and the rows that start a clip; target levels and how many of them count."""
        return (batch.levels, batch.reset), (batch.levels[:, self._context :], batch.lengths)

    def units(self, batch: WindowBatch):
        """The number of samples."""
        return tf.maximum(tf.cast(batch.samples, tf.float32), 1.0)

    def initial_state(self, batch_size: int):
        """The state at the start of a clip."""
        return self.model.initial_state(batch_size)

    def forward(self, inputs, carried, seed):
        """The logits, and the state after the window (truncated back-propagation through time)."""
        levels, reset = inputs
        return self.model(levels, carried, reset, loop=self.model.training_loop, training=True)

    def losses(self, outputs, targets, units):
        """Bits per sample, of the samples that count."""
        loss = tf.reduce_sum(metrics.bits(outputs, *targets)) / units
        return Losses(loss, loss)


class GenerationTask(UndecodedTask):
    """Unconditional generation of audio; see `tfvoice.training.task.Task`.

    What only an evaluation or an export needs is imported by their methods: training starts without it.
    """

    name = "generation"
    summary = "a generator of audio"
    commands = ("tfvoice_sample",)
    run = Generator
    no_decoder = "generates audio, so that there is no text to decode; leave --decoder out."

    @staticmethod
    def evaluation() -> ModuleType:
        """The module `evaluate`."""
        from tfvoice.generation import evaluate

        return evaluate

    def training(self, run: Generator, data_dir: str | Path) -> GeneratorTraining:
        """Windows, the likelihood of the next sample, and validation by bits per sample."""
        return GeneratorTraining(run, data_dir)

    def card(self, run: Generator) -> ModelCard:
        """Sample rate and quantisation."""
        quantization = run.config.quantization
        return ModelCard(
            "Generates audio like its training data, sample by sample, without control over words or notes. Voices can "
            "resemble those of the training data.",
            {
                "sample rate": f"{run.sample_rate_hz} Hz",
                "levels": f"{quantization.levels}, {quantization.kind}",
            },
        )

    def describe(self, run: Generator) -> dict[str, Any]:
        """Sample rate and levels."""
        return {"sample_rate_hz": run.sample_rate_hz, "levels": run.config.quantization.levels}

    def signatures(self, run: Generator) -> dict[str, Callable]:
        """`generate`."""
        from tfvoice.generation import signatures

        return signatures.signatures(run)


GENERATION = GenerationTask()
