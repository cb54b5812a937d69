"""The whole configuration of a recogniser."""

from typing import Annotated

import pydantic

from tfvoice.audio.augment import AugmentationConfig
from tfvoice.audio.features import FeatureConfig
from tfvoice.data.config import DataConfig
from tfvoice.models.deepspeech2 import Deepspeech2Config
from tfvoice.models.wavenet_asr import WavenetAsrConfig
from tfvoice.run import RunConfig
from tfvoice.text.alphabet import AlphabetConfig
from tfvoice.training.config import TrainingConfig


class RecognizerConfig(RunConfig):
    """Everything that decides the result of training a recogniser."""

    model: Annotated[WavenetAsrConfig | Deepspeech2Config, pydantic.Field(discriminator="name")] = WavenetAsrConfig()
    features: FeatureConfig = FeatureConfig()
    alphabet: AlphabetConfig = AlphabetConfig()
    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig = TrainingConfig()
