"""How a generator is trained: its batches, its objective, and what a validation finds and lets one hear."""

from pathlib import Path

from tfvoice import likelihood, objectives
from tfvoice.generator import Generator
from tfvoice.monitoring import Validation


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
        self._experiment = experiment

    def validate(self) -> Validation:
        """Scores the split `valid`; the best weights are those of the fewest bits per sample."""
        bits = likelihood.per_sample(self._scorer.score())
        return Validation(bits, bits, {}, "bits per sample", lambda epoch: None)
