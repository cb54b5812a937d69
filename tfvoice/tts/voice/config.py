"""The whole configuration of a voice: those of its parts."""

from typing import Literal

import pydantic

from tfvoice.audio.f0 import F0Config
from tfvoice.config import Config
from tfvoice.run import RunConfig
from tfvoice.tts.duration_f0.config import DurationF0RunConfig
from tfvoice.tts.segmentation.config import SegmentationRunConfig
from tfvoice.tts.vocoder.config import VocoderRunConfig


class DeepVoiceConfig(Config):
    """Deep Voice has no architecture of its own: its parts have."""

    name: Literal["deep_voice"] = "deep_voice"


class SpeakingConfig(Config):
    """How a voice speaks where nothing else is asked for.

    Attributes:
      temperature: divisor of the logits of the vocoder. Below 1, likely samples are favoured: less noise.
      pause_seconds: of silence between two sentences.
    """

    temperature: float = pydantic.Field(0.8, ge=1e-4, le=2)
    pause_seconds: float = pydantic.Field(0.3, ge=0, le=10)


class VoiceRunConfig(RunConfig):
    """Everything that decides the result of training a voice, its data apart."""

    model: DeepVoiceConfig = DeepVoiceConfig()
    segmentation: SegmentationRunConfig = SegmentationRunConfig()
    f0: F0Config = F0Config()
    duration_f0: DurationF0RunConfig = DurationF0RunConfig()
    vocoder: VocoderRunConfig = VocoderRunConfig()
    speaking: SpeakingConfig = SpeakingConfig()
