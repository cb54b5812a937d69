"""What a training has written."""

import json

import numpy as np
import safetensors


def arrays(run, name="last"):
    """The tensors of a checkpoint, by name."""
    with safetensors.safe_open(run / "checkpoints" / f"{name}.safetensors", "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping


def state_of(run):
    """The state in the last checkpoint."""
    with safetensors.safe_open(run / "checkpoints" / "last.safetensors", "numpy") as file:
        return json.loads(json.loads(file.metadata()["tfvoice"])["state"])


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
