"""Limits of the section `training`."""

import pydantic
import pytest

from tfvoice.training.config import TrainingConfig


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"warmup": 1.5}, {"average": 1.0}, {"seed": -1},
        {"precision": "float16"}, {"optimizer": "adam"}, {"unknown": 1},
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused(values):
    with pytest.raises(pydantic.ValidationError):
        TrainingConfig(**values)


def test_it_cannot_be_changed():
    with pytest.raises(pydantic.ValidationError):
        TrainingConfig().epochs = 3
