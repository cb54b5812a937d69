"""The whole configuration of a segmentation model."""

import pydantic

from tfvoice.audio.augment import AugmentationConfig
from tfvoice.audio.features import FeatureConfig
from tfvoice.config import Config
from tfvoice.data.config import DataConfig
from tfvoice.models.deep_voice.segmentation import SegmentationConfig
from tfvoice.run import RunConfig
from tfvoice.training.config import TrainingConfig
from tfvoice.tts.pronunciation import PronunciationConfig


class SilenceConfig(Config):
    """How pairs with silence are learned.

    Attributes:
      guided_epochs: in so many first epochs, the pairs at the ends of an utterance are kept to where its level says
        that speech starts and ends; see `segmentation_scoring.edge_bias`.
    """

    guided_epochs: int = pydantic.Field(10, ge=0)


class SegmentationRunConfig(RunConfig):
    """Everything that decides the result of training a segmentation model, its data apart."""

    model: SegmentationConfig = SegmentationConfig()
    features: FeatureConfig = FeatureConfig()
    pronunciation: PronunciationConfig = PronunciationConfig()
    silence: SilenceConfig = SilenceConfig()
    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig = TrainingConfig()

    @pydantic.model_validator(mode="after")
    def _features_of_one_utterance(self):
        if self.features.normalization == "corpus":
            raise ValueError("features.normalization=corpus is not for segmentation; set it to utterance")
        return self
