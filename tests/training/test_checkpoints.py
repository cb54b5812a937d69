"""Laws of checkpoints: what was saved comes back bit for bit, or the file is refused and nothing is touched."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvoice.errors import TfvoiceError
from tfvoice.training import checkpoints

STATE = {"step": 7, "best": float("inf"), "name": "ä", "list": [1, 2.5, None]}


def arrays(seed=0):
    random = np.random.default_rng(seed)
    # More than ten, so that the order of their names matters.
    return [random.standard_normal([1 + number, 2]).astype(np.float32) for number in range(12)]


def variables(seed=1):
    return [tf.Variable(array) for array in arrays(seed)]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "checkpoints" / "last.npz"
    checkpoints.save(path, {"weights": arrays(), "weights_of_other": [np.zeros(3)]}, STATE)
    return path


def unchanged(kept):
    return all(np.array_equal(one, other) for one, other in zip(kept, variables(), strict=True))


def test_groups_and_state_come_back_exactly(path):
    restored = variables()
    assert checkpoints.restore(path, {"weights": restored}) == STATE
    for variable, array in zip(restored, arrays(), strict=True):
        np.testing.assert_array_equal(variable, array)


def test_keras_variables_of_every_type_come_back(tmp_path):
    def made(value):
        shapes = {"float32": (2, 3), "int64": (), "bool": (4,)}
        return [keras.Variable(np.full(shape, value), dtype=kind) for kind, shape in shapes.items()]

    saved, restored = made(1), made(0)
    checkpoints.save(tmp_path / "c.npz", {"all": saved}, {})
    checkpoints.restore(tmp_path / "c.npz", {"all": restored})
    for one, other in zip(saved, restored, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_the_same_content_gives_the_same_bytes(path, tmp_path):
    checkpoints.save(tmp_path / "again.npz", {"weights": arrays(), "weights_of_other": [np.zeros(3)]}, STATE)
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_a_truncated_file_is_refused_wherever_it_ends(path):
    content = path.read_bytes()
    kept = variables()
    for size in [*range(0, len(content), 23), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(TfvoiceError, match=r"last\.npz: this checkpoint is damaged .*; use another one\.$"):
            checkpoints.restore(path, {"weights": kept})
    assert unchanged(kept)


def test_a_changed_bit_is_refused_or_has_no_effect(tmp_path):
    path, saved, others = tmp_path / "last.npz", arrays()[:1], variables()[:1]
    checkpoints.save(path, {"weights": saved}, STATE)
    content = path.read_bytes()
    restored = tf.Variable(others[0])
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        restored.assign(others[0])
        try:
            assert checkpoints.restore(path, {"weights": [restored]}) == STATE, place
        except TfvoiceError:
            np.testing.assert_array_equal(restored, others[0], str(place))
        else:
            np.testing.assert_array_equal(restored, saved[0], str(place))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04"])
def test_another_file_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(TfvoiceError, match="damaged"):
        checkpoints.restore(path, {"weights": variables()})


def test_an_array_file_of_numpy_is_refused(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(TfvoiceError, match="damaged"):
        checkpoints.restore(path, {"weights": variables()})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TfvoiceError, match=r"no\.npz: cannot read this checkpoint \(No such file or directory\)\.$"):
        checkpoints.restore(tmp_path / "no.npz", {})


@pytest.mark.parametrize(
    "groups",
    [
        {"weights": variables()[:-1]},
        {"weights": [*variables(), tf.Variable(0.0)]},
        {"weights": variables()[::-1]},
        {"weights": variables(), "optimizer": [tf.Variable(0.0)]},
    ],
)
def test_a_checkpoint_of_another_model_changes_nothing(path, groups):
    before = [variable.numpy() for variable in groups["weights"]]
    with pytest.raises(
        TfvoiceError, match=r"last\.npz: this checkpoint does not fit the model; it belongs to another run"
    ):
        checkpoints.restore(path, groups)
    for variable, array in zip(groups["weights"], before, strict=True):
        np.testing.assert_array_equal(variable, array)


def test_a_failed_write_leaves_the_older_file(path, monkeypatch):
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(path, {"weights": arrays(5)}, {})
    assert path.read_bytes() == before
    monkeypatch.undo()
    checkpoints.save(path, {"weights": arrays(5)}, {})
    assert [child.name for child in path.parent.iterdir()] == ["last.npz"]


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "c.bin"
    code = """
import pathlib, sys
from tfvoice import checkpoints
number = 0
while True:
    checkpoints.write_atomically(pathlib.Path(sys.argv[1]), bytes([number % 256]) * 3_000_000)
    print(number, flush=True)
    number += 1
"""
    for wanted in (1, 3):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as process:
            while int(process.stdout.readline()) < wanted:
                pass
            process.kill()
        content = path.read_bytes()
        assert len(content) == 3_000_000 and len(set(content)) == 1
