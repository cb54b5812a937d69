"""The whole configuration of G2P."""

import pydantic

from tfvoice.config import Config
from tfvoice.models.deep_voice.g2p import G2pConfig
from tfvoice.run import RunConfig
from tfvoice.training.config import TrainingConfig


class SearchConfig(Config):
    """How phonemes are searched for.

    Attributes:
      beam: hypotheses that are kept for each word.
    """

    beam: int = pydantic.Field(3, ge=1)


class LossConfig(Config):
    """What is minimised.

    Attributes:
      smoothing: share of the target that is spread over all classes (Szegedy et al., arXiv 1512.00567, section 7).
    """

    smoothing: float = pydantic.Field(0.0, ge=0, lt=1)


class G2pRunConfig(RunConfig):
    """Everything that decides the result of training a G2P model, its lexicon apart."""

    model: G2pConfig = G2pConfig()
    loss: LossConfig = LossConfig()
    search: SearchConfig = SearchConfig()
    training: TrainingConfig = TrainingConfig()
