"""The whole configuration of a model of duration and F0."""

import pydantic

from tfvoice.config import Config
from tfvoice.models.deep_voice.duration_f0 import DurationF0Config
from tfvoice.run import RunConfig
from tfvoice.training.config import TrainingConfig


class ProsodyLossConfig(Config):
    """Weights of the terms of the loss of a phoneme, whose durations and F0 are normalised.

    Attributes:
      duration: of the absolute error of the duration.
      voicing: of the cross entropy of the voicing.
      f0: of the absolute error of F0, a mean over its values, those without a voice counting as 0.
      f0_change: of the absolute change of predicted F0 from value to value, a mean over a phoneme and to the next one.
    """

    duration: float = pydantic.Field(1.0, ge=0)
    voicing: float = pydantic.Field(0.5, ge=0)
    f0: float = pydantic.Field(1.0, ge=0)
    f0_change: float = pydantic.Field(0.1, ge=0)


class DurationF0RunConfig(RunConfig):
    """Everything that decides the result of training a model of duration and F0, its data apart."""

    model: DurationF0Config = DurationF0Config()
    loss: ProsodyLossConfig = ProsodyLossConfig()
    training: TrainingConfig = TrainingConfig()
