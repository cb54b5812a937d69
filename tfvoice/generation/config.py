"""The whole configuration of a generator."""

import pydantic

from tfvoice.audio.quantize import QuantizationConfig
from tfvoice.config import Config
from tfvoice.data.config import WindowConfig
from tfvoice.models.sample_rnn import SampleRnnConfig
from tfvoice.run import RunConfig
from tfvoice.training.config import TrainingConfig


class SamplingConfig(Config):
    """What is sampled at each validation.

    Attributes:
      count: how many samples; 0: none.
      seconds: length of each.
      temperature: logits are divided by it.
    """

    count: int = pydantic.Field(2, ge=0)
    seconds: float = pydantic.Field(2.0, gt=0)
    temperature: float = pydantic.Field(1.0, gt=0)


class GeneratorConfig(RunConfig):
    """Everything that decides the result of training a generator."""

    model: SampleRnnConfig = SampleRnnConfig()
    quantization: QuantizationConfig = QuantizationConfig()
    data: WindowConfig = WindowConfig()
    sampling: SamplingConfig = SamplingConfig()
    training: TrainingConfig = TrainingConfig()

    @pydantic.model_validator(mode="after")
    def _windows_are_made_of_frames(self):
        frame, window = self.model.context, self.data.sequence_samples
        if window % frame:
            below = window // frame * frame
            fit = f"{below} or {below + frame}" if below else frame
            raise ValueError(
                f"data.sequence_samples={window} cannot be cut into frames of {frame} samples (model.frame_sizes); "
                f"set data.sequence_samples={fit}"
            )
        return self
