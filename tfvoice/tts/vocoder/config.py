"""The whole configuration of a vocoder."""

import pydantic

from tfvoice.audio.quantize import QuantizationConfig
from tfvoice.config import Config
from tfvoice.generation.config import SamplingConfig
from tfvoice.models.deep_voice.vocoder import VocoderConfig
from tfvoice.run import RunConfig
from tfvoice.training.config import TrainingConfig


class ClipConfig(Config):
    """What a vocoder is trained on.

    Attributes:
      seconds: of a clip, rounded to whole frames.
      silence_seconds: of silence before each utterance; a clip is preceded by as much audio, as far as the network sees
        it.
      max_silence: clips with a larger share of silence are left out.
    """

    seconds: float = pydantic.Field(1.0, gt=0)
    silence_seconds: float = pydantic.Field(0.25, gt=0)
    max_silence: float = pydantic.Field(0.5, gt=0, le=1)


class CopySynthesisConfig(SamplingConfig):
    """What is spoken at each validation: utterances of the split `valid`, with their own durations and F0.

    Attributes:
      seconds: longest that is spoken of each.
    """

    seconds: float = pydantic.Field(4.0, gt=0)


class VocoderRunConfig(RunConfig):
    """Everything that decides the result of training a vocoder, its data apart."""

    model: VocoderConfig = VocoderConfig()
    quantization: QuantizationConfig = QuantizationConfig()
    data: ClipConfig = ClipConfig()
    sampling: CopySynthesisConfig = CopySynthesisConfig()
    training: TrainingConfig = TrainingConfig()
