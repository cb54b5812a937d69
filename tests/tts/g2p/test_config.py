"""Laws of the configuration of G2P."""

import pytest

from tfvoice import tasks
from tfvoice.config import ConfigError


def test_the_default_fits_two_cores_and_the_faithful_one_is_that_of_the_paper():
    small, faithful = tasks.resolve("g2p"), tasks.resolve("g2p", "g2p_faithful")
    assert small.model.attention and not faithful.model.attention
    training = faithful.training
    assert (training.batch_size, training.learning_rate, training.epoch_factor, training.decay_steps) == (
        64, 1e-3, 0.85, 1000,
    )  # fmt: skip
    assert faithful.search.beam == small.search.beam == 5


@pytest.mark.parametrize("change", ["search.beam=0", "loss.smoothing=1", "model.layers=0", "model.dropout=1"])
def test_values_out_of_range_are_errors_that_name_the_key(change):
    with pytest.raises(ConfigError, match=change.split("=")[0]):
        tasks.resolve("g2p", overrides=[change])
