"""The whole configuration of a voice: those of its parts."""

from typing import Any, Literal

import pydantic

from tfvoice.audio.f0 import F0Config
from tfvoice.config import Config
from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES
from tfvoice.run import RunConfig
from tfvoice.tts.duration_f0.config import DurationF0RunConfig
from tfvoice.tts.segmentation.config import SegmentationRunConfig
from tfvoice.tts.vocoder.config import VocoderRunConfig


class DeepVoiceConfig(Config):
    """Deep Voice has no architecture of its own: its parts have."""

    name: Literal["deep_voice"] = "deep_voice"


class AlignmentConfig(Config):
    """Which alignments a voice is trained on.

    Attributes:
      min_score: those of a lower score, in nats per frame, are left out; None: by the scores of the split, see
        `tfvoice.tts.align.threshold`.
    """

    min_score: float | None = None


class SpeakingConfig(Config):
    """How a voice speaks where nothing else is asked for.

    Attributes:
      temperature: divisor of the logits of the vocoder. Below 1, likely samples are favoured: less noise.
      pause_seconds: of silence between two sentences.
    """

    temperature: float = pydantic.Field(1.0, ge=1e-4, le=2)
    pause_seconds: float = pydantic.Field(0.3, ge=0, le=10)


class VoiceRunConfig(RunConfig):
    """Everything that decides the result of training a voice, its data apart."""

    model: DeepVoiceConfig = DeepVoiceConfig()
    segmentation: SegmentationRunConfig = SegmentationRunConfig()
    alignment: AlignmentConfig = AlignmentConfig()
    f0: F0Config = F0Config()
    duration_f0: DurationF0RunConfig = DurationF0RunConfig()
    vocoder: VocoderRunConfig = VocoderRunConfig()
    speaking: SpeakingConfig = SpeakingConfig()

    @pydantic.model_validator(mode="before")
    @classmethod
    def _training_is_that_of_a_part(cls, values: Any) -> Any:
        if isinstance(values, dict) and "training" in values:
            raise ValueError("a voice has several parts; name one, as in --set vocoder.training.epochs=30")
        return values

    @pydantic.model_validator(mode="after")
    def _frames_of_a_vocoder(self):
        if self.f0.frame_samples != FRAME_SAMPLES:
            raise ValueError(f"f0.frame_samples={self.f0.frame_samples}: the frames of a vocoder have {FRAME_SAMPLES}")
        return self
