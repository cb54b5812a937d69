import pytest

from tfvoice import tasks
from tfvoice.config import ConfigError


def test_the_features_are_those_of_the_paper_and_nothing_moves_boundaries():
    config = tasks.resolve("segmentation")
    assert (config.features.kind, config.features.mfcc_coefficients, config.features.hop_ms) == ("mfcc", 20, 10)
    augmentation = config.augmentation
    assert not (augmentation.tempo or augmentation.time_masks or augmentation.frequency_masks)


def test_statistics_of_a_corpus_are_refused():
    with pytest.raises(
        ConfigError, match=r"features.normalization=corpus is not for segmentation; set it to utterance"
    ):
        tasks.resolve("segmentation", overrides=["features.normalization=corpus"])
