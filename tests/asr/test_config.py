"""The defaults of a recogniser are those of its model, however the configuration is made."""

import pytest

from tfvoice import tasks
from tfvoice.asr.config import RecognizerConfig
from tfvoice.audio.features import FeatureConfig
from tfvoice.models.deepspeech2 import Deepspeech2Config
from tfvoice.models.wavenet_asr import WavenetAsrConfig


def test_defaults_do_not_depend_on_how_the_model_is_given():
    config = RecognizerConfig(model=Deepspeech2Config())
    assert config == RecognizerConfig(model={"name": "deepspeech2"}) == tasks.resolve("deepspeech2")
    assert config.features.kind == "log_spectrogram" and config.augmentation.frequency_width == 27
    assert RecognizerConfig() == RecognizerConfig(model=WavenetAsrConfig()) == tasks.resolve("wavenet_asr")


def test_what_is_given_wins_over_the_defaults_of_the_model():
    config = RecognizerConfig(model=Deepspeech2Config(), features={"hop_ms": 12.5})
    assert (config.features.hop_ms, config.features.window) == (12.5, "hamming")
    assert RecognizerConfig(model=Deepspeech2Config(), features=FeatureConfig()).features.kind == "log_mel"


@pytest.mark.parametrize("model", ["wavenet_asr", "deepspeech2"])
def test_a_configuration_comes_back_from_its_values(model):
    config = tasks.resolve(model)
    assert RecognizerConfig(**config.model_dump()) == config
