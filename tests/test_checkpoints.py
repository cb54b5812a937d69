"""Laws of checkpoints: what was saved comes back bit for bit, or the file is refused and nothing is assigned."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvoice import checkpoints
from tfvoice.checkpoints import CheckpointError

STATE = {"step": 7, "best": float("inf"), "name": "ä", "list": [1, 2.5, None]}


def arrays(seed=0):
    random = np.random.default_rng(seed)
    return {f"layer_{n}/kernel": random.standard_normal([1 + n, 2]).astype(np.float32) for n in range(12)}


def variables(seed=1):
    return {name: tf.Variable(array) for name, array in arrays(seed).items()}


def unchanged(kept, seed=1):
    return all(np.array_equal(kept[name], array) for name, array in arrays(seed).items())


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "checkpoints" / "last.safetensors"
    checkpoints.save(path, {"weights": arrays(), "weights_of_other": {"a": np.zeros(3)}}, STATE)
    return path


def test_groups_and_state_come_back_exactly(path):
    restored = variables()
    assert checkpoints.restore(path, {"weights": restored}) == STATE
    assert unchanged(restored, seed=0)


def test_tensors_are_matched_by_name_whatever_their_order(path):
    restored = dict(reversed(variables().items()))
    checkpoints.restore(path, {"weights": restored})
    assert unchanged(restored, seed=0)


def test_keras_variables_of_every_type_are_matched_by_their_paths(tmp_path):
    def variables_of(value):
        shapes = {"float32": (2, 3), "int64": (), "bool": (4,)}
        return [keras.Variable(np.full(shape, value), dtype=kind, name=kind) for kind, shape in shapes.items()]

    saved, restored = variables_of(1), variables_of(0)
    checkpoints.save(tmp_path / "c.safetensors", {"all": saved}, {})
    checkpoints.restore(tmp_path / "c.safetensors", {"all": restored[::-1]})
    for one, other in zip(saved, restored, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_variables_of_one_path_are_refused():
    with pytest.raises(ValueError, match="same path"):
        checkpoints.named([keras.Variable(0.0, name="same"), keras.Variable(1.0, name="same")])


def test_any_reader_of_safetensors_opens_the_file(path):
    from safetensors.numpy import load_file

    tensors = load_file(path)
    np.testing.assert_array_equal(tensors["weights/layer_3/kernel"], arrays()["layer_3/kernel"])
    assert len(tensors) == 13


def test_the_same_content_gives_the_same_bytes(path, tmp_path):
    groups = {"weights_of_other": {"a": np.zeros(3)}, "weights": dict(reversed(arrays().items()))}
    checkpoints.save(tmp_path / "again.safetensors", {name: groups[name] for name in sorted(groups)}, STATE)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_a_truncated_file_is_refused_wherever_it_ends(path):
    content = path.read_bytes()
    kept = variables()
    for size in [*range(0, len(content), 23), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(
            CheckpointError, match=r"last\.safetensors: this checkpoint is damaged .*; use another one\.$"
        ):
            checkpoints.restore(path, {"weights": kept})
    assert unchanged(kept)


def test_a_changed_bit_is_refused_or_has_no_effect(tmp_path):
    path, saved = tmp_path / "last.safetensors", {"a": np.arange(3.0)}
    checkpoints.save(path, {"weights": saved}, STATE)
    content = path.read_bytes()
    restored = tf.Variable(np.zeros(3))
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        restored.assign(np.zeros(3))
        try:
            assert checkpoints.restore(path, {"weights": {"a": restored}}) == STATE, place
        except CheckpointError:
            np.testing.assert_array_equal(restored, np.zeros(3), str(place))
        else:
            np.testing.assert_array_equal(restored, saved["a"], str(place))


@pytest.mark.parametrize("content", [b"", b"no header", b"PK\x03\x04", bytes(64)])
@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_another_file_is_refused(tmp_path, content, suffix):
    path = tmp_path / f"last{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoints.restore(path, {"weights": variables()})


def test_a_missing_file_is_named(tmp_path):
    sentence = r"no\.safetensors: cannot read this checkpoint \(No such file or directory\)\.$"
    with pytest.raises(CheckpointError, match=sentence):
        checkpoints.restore(tmp_path / "no.safetensors", {})


def without(name):
    return {key: variable for key, variable in variables().items() if key != name}


@pytest.mark.parametrize(
    ("groups", "fact"),
    [
        ({"weights": without("layer_3/kernel")}, "the model has no layer_3/kernel"),
        ({"weights": variables() | {"new": tf.Variable(0.0)}}, "it lacks new"),
        (
            {"weights": variables() | {"layer_1/kernel": tf.Variable(np.zeros(2))}},
            r"layer_1/kernel is \(2, 2\) and should be \(2,\)",
        ),
        ({"weights": variables(), "optimizer": {"step": tf.Variable(0.0)}}, "it lacks step"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_by_name_and_changes_nothing(path, groups, fact):
    before = {name: variable.numpy() for name, variable in groups["weights"].items()}
    sentence = rf"last\.safetensors: this checkpoint does not fit the model \({fact}\); it belongs to another run\."
    with pytest.raises(CheckpointError, match=sentence):
        checkpoints.restore(path, groups)
    for name, variable in groups["weights"].items():
        np.testing.assert_array_equal(variable, before[name])


def test_a_file_of_version_0_1_0_is_matched_by_position(tmp_path):
    path = tmp_path / "last.npz"
    state = np.frombuffer(b'{"step": 3}', np.uint8)
    tensors = {f"weights/{n:05d}": array for n, array in enumerate(arrays().values())}
    np.savez(path, state=state, **tensors)
    restored = variables()
    assert checkpoints.restore(path, {"weights": restored}) == {"step": 3}
    assert unchanged(restored, seed=0)
    with pytest.raises(CheckpointError, match="it lacks new"):
        checkpoints.restore(path, {"weights": restored | {"new": tf.Variable(0.0)}})
    with pytest.raises(CheckpointError, match="the model has no number 11"):
        checkpoints.restore(path, {"weights": dict(list(restored.items())[:-1])})


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
    assert [child.name for child in path.parent.iterdir()] == ["last.safetensors"]


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "c.safetensors"
    code = """
import pathlib, sys
import numpy as np
from tfvoice import checkpoints
number = 0
while True:
    checkpoints.save(pathlib.Path(sys.argv[1]), {"all": {"a": np.full(700_000, number)}}, {"number": number})
    print(number, flush=True)
    number += 1
"""
    for count in (1, 3):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as process:
            while int(process.stdout.readline()) < count:
                pass
            process.kill()
        restored = tf.Variable(np.zeros(700_000, np.int64))
        number = checkpoints.restore(path, {"all": {"a": restored}})["number"]
        assert number >= count and (restored.numpy() == number).all()
