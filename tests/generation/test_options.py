"""Options of the sampling: their ranges, and temperatures over the length."""

import re

import pytest

from tfvoice.errors import TfvoiceError
from tfvoice.generation.options import SamplingOptions


def test_temperatures_are_interpolated():
    assert SamplingOptions((0.7,)).temperatures(0, 3, 3).tolist() == pytest.approx([0.7, 0.7, 0.7])
    line = SamplingOptions((1.0, 0.5, 1.5))
    assert line.temperatures(0, 5, 5).tolist() == pytest.approx([1.0, 0.75, 0.5, 1.0, 1.5])
    assert line.temperatures(3, 4, 5).tolist() == pytest.approx([1.0, 1.5, 1.5, 1.5])
    assert line.temperatures(0, 2, 1).tolist() == pytest.approx([1.0, 1.5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (SamplingOptions(()), "--temperature must be a number of at least 0.0001"),
        (SamplingOptions((0.0,)), "--temperature must be a number of at least 0.0001"),
        (SamplingOptions(top_p=1.5), "--top_p=1.5 must be above 0 and at most 1."),
        (SamplingOptions(seed=-1), "--seed=-1 must be from 0 to 2147483647."),
    ],
)
def test_options_out_of_range_are_errors(options, message):
    with pytest.raises(TfvoiceError, match=re.escape(message)):
        options.check()


def test_the_default_options_are_valid():
    SamplingOptions().check()
