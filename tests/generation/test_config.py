"""The defaults of a generator are those of its model, and windows consist of frames."""

import pytest

from tfvoice import tasks
from tfvoice.config import ConfigError
from tfvoice.generation.config import GeneratorConfig
from tfvoice.models.sample_rnn import SampleRnnConfig


def test_defaults_do_not_depend_on_how_the_model_is_given():
    config = GeneratorConfig(model=SampleRnnConfig())
    assert config == GeneratorConfig() == tasks.resolve("sample_rnn")
    assert (config.training.clip_value, config.training.average) == (1.0, 0.0)
    assert GeneratorConfig(**config.model_dump()) == config


@pytest.mark.parametrize(("samples", "fit"), [(1000, "992 or 1008"), (7, "16")])
def test_windows_consist_of_frames_of_the_slowest_tier(samples, fit):
    with pytest.raises(ConfigError, match=f"into frames of 16 samples .* set data.sequence_samples={fit}"):
        tasks.resolve("sample_rnn", None, [f"data.sequence_samples={samples}"])
