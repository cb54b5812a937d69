"""What a run has written, as the tests of training read it."""

import json

import numpy as np


def arrays(run, name="last"):
    """The arrays of a checkpoint, by name."""
    with np.load(run / "checkpoints" / f"{name}.npz") as file:
        return {key: file[key] for key in file.files if key != "state"}


def state_of(run):
    """The state in the last checkpoint."""
    with np.load(run / "checkpoints" / "last.npz") as file:
        return json.loads(file["state"].tobytes())


def lines(run):
    """The lines of `metrics.jsonl`."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_same_run(run, other, exact, groups):
    """The groups of the last checkpoint, all arrays bit for bit, and the `exact` keys of every validation."""
    for name in ("last", "best"):
        one, two = arrays(run, name), arrays(other, name)
        assert one.keys() == two.keys()
        assert [key for key in one if not np.array_equal(one[key], two[key])] == []
    assert {key.split("/")[0] for key in arrays(run)} == groups
    assert [[line[key] for key in exact] for line in lines(run)] == [
        [line[key] for key in exact] for line in lines(other)
    ]
