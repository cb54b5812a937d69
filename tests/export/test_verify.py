"""A converted model is written where it gives the probabilities of the network, and not otherwise."""

from types import SimpleNamespace

import numpy as np
import pytest

from tfvoice.errors import TfvoiceError
from tfvoice.export import verify

RUN = SimpleNamespace(run_dir="runs/english")


def network(recordings):
    return [np.log(np.full([len(samples) // 320, 4], 0.25)) for samples in recordings]


def louder(factor, row=None):
    """The network with other probabilities, in one row or in all."""

    def recognise(recordings):
        rows = network(recordings)
        return [values + np.log(factor) if row in (None, at) else values for at, values in enumerate(rows)]

    return recognise


def test_a_model_within_the_tolerance_is_written(tmp_path):
    verify.write(tmp_path / "model", b"content", RUN, network, louder(1.04), 0.02)
    assert (tmp_path / "model").read_bytes() == b"content"


@pytest.mark.parametrize(
    "converted, difference",
    [
        (louder(2), "0.25"),
        (louder(1.2, row=1), "0.05"),
        (louder(np.nan, row=0), "nan"),
        (louder(np.nan, row=1), "nan"),
        (lambda recordings: [values[:-1] for values in network(recordings)], "1.00"),
    ],
    ids=["probabilities", "the padded row", "NaN", "NaN in the second row", "frames"],
)
def test_another_model_is_not_written(tmp_path, converted, difference):
    with pytest.raises(TfvoiceError, match=rf"runs/english: model differs from the network by {difference} of a prob"):
        verify.write(tmp_path / "model", b"content", RUN, network, converted, 0.02)
    assert not list(tmp_path.iterdir())


def test_the_recordings_have_several_lengths():
    lengths = []
    verify.write(
        SimpleNamespace(write_bytes=lambda model: None),
        *(b"", RUN, network, lambda recordings: lengths.extend(map(len, recordings)) or network(recordings), 0.1),
    )
    assert len(set(lengths)) > 1
