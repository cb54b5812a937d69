"""Laws of the configuration of a vocoder."""

import pytest

from tfvoice import tasks
from tfvoice.config import ConfigError


@pytest.mark.parametrize(
    "change", ["data.seconds=0", "data.max_silence=0", "model.conditioner=3", "sampling.temperature=0"]
)
def test_values_out_of_range_are_errors_that_name_the_key(change):
    with pytest.raises(ConfigError, match=change.split("=")[0]):
        tasks.resolve("vocoder", overrides=[change])
