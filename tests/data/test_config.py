"""Limits of the section data that nothing can meet are refused, and the refusal names them."""

import pytest

from tfvoice import tasks
from tfvoice.config import ConfigError


@pytest.mark.parametrize(
    ("model", "setting", "sentence"),
    [
        ("wavenet_asr", "data.min_seconds=30", "min_seconds=30 is above max_seconds=20"),
        ("wavenet_asr", "data.max_seconds=0", "data.max_seconds"),
        ("deepspeech2", "data.buckets=0", "data.buckets"),
        ("deepspeech2", "data.workers=0", "data.workers"),
        ("sample_rnn", "data.sequence_samples=0", "data.sequence_samples"),
        ("sample_rnn", "data.max_seconds=3", "max_seconds"),
    ],
)
def test_a_limit_that_nothing_meets_is_refused(model, setting, sentence):
    with pytest.raises(ConfigError, match=sentence):
        tasks.resolve(model, None, [setting])


def test_equal_limits_are_limits():
    config = tasks.resolve("wavenet_asr", None, ["data.min_seconds=2", "data.max_seconds=2"])
    assert config.data.min_seconds == config.data.max_seconds == 2.0
