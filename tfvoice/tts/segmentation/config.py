"""The whole configuration of a segmentation model."""

from typing import Literal

import pydantic

from tfvoice.audio.augment import AugmentationConfig
from tfvoice.audio.features import FeatureConfig
from tfvoice.config import Config
from tfvoice.data.config import DataConfig
from tfvoice.models.deep_voice.segmentation import SegmentationConfig
from tfvoice.run import RunConfig
from tfvoice.text.lexicon import CMUDICT
from tfvoice.training.config import TrainingConfig

# The value of `PronunciationConfig.g2p` for the model that comes with the package.
PACKAGED = "package"


class PronunciationConfig(Config):
    """Where the phonemes of a text come from.

    Attributes:
      lexicon: `cmudict`, or a file in its format, such as one of another language.
      own_lexicon: a file whose words go before those of `lexicon`; empty: none.
      g2p: for words that the lexicon lacks: `package`, the G2P model that comes with tfvoice, for CMUdict alone, or
        the folder of a run of `tfvoice_train --model=g2p`; empty: utterances with such words are skipped.
      normalizer: of the language of the texts, as in `tfvoice.text.normalize`.
      variants: whether a word may be spoken as any of its pronunciations in the lexicon, or only as the first.
    """

    lexicon: str = CMUDICT
    own_lexicon: str = ""
    g2p: str = PACKAGED
    normalizer: Literal["en", "plain"] = "en"
    variants: bool = False


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
