"""Laws of the configuration of duration and F0."""

import pytest

from tfvoice import tasks
from tfvoice.config import ConfigError


@pytest.mark.parametrize("change", ["loss.duration=-1", "loss.f0_change=-0.1", "model.dropout=1", "training.epochs=0"])
def test_values_out_of_range_are_errors_that_name_the_key(change):
    with pytest.raises(ConfigError, match=change.split("=")[0]):
        tasks.resolve("duration_f0", overrides=[change])
