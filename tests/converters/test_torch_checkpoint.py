"""Loading files of PyTorch: the saved values, and no code is executed."""

import collections
import enum
import io
import os
import pickle
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tfvoice.converters import torch_checkpoint
from tfvoice.converters.torch_checkpoint import Inert
from tfvoice.errors import TfvoiceError


def test_tensors_and_plain_values_round_trip(torch_save, tmp_path):
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    content = {
        "state_dict": collections.OrderedDict(
            a=matrix, b=matrix.T, c=np.array(7, np.int64), d=np.zeros([0, 3], np.float32)
        ),
        "epoch": 3,
        "names": ["x", ("y", None, True, 2.5)],
    }
    loaded = torch_checkpoint.read(torch_save(tmp_path / "a.ckpt", content))
    assert list(loaded) == list(content) and (loaded["epoch"], loaded["names"]) == (3, content["names"])
    for name, value in content["state_dict"].items():
        array = loaded["state_dict"][name].read()
        np.testing.assert_array_equal(array, value)
        assert (array.dtype, loaded["state_dict"][name].shape) == (value.dtype, value.shape)


def test_a_file_that_pytorch_wrote_is_read():
    """Written by `tests/data/make_golden.py`."""
    golden = Path(__file__).parents[1] / "data" / "golden"
    content = torch_checkpoint.read(golden / "containers.pt")
    with np.load(golden / "containers.npz") as arrays:
        assert {"w", "p", "h", "state_dict/weight_ih_l0"} < set(arrays.files)
        for name in arrays.files:
            holder = content["state_dict"] if "/" in name else content
            np.testing.assert_array_equal(holder[name.rpartition("/")[2]].read(), arrays[name])
            assert holder[name.rpartition("/")[2]].read().dtype == arrays[name].dtype
    assert (content["n"], content["s"]) == ([1], (2, 3))


class Kind(enum.Enum):
    FAST = "fast"


class Holder:
    def __init__(self, **values):
        self.__dict__.update(values)


def test_objects_of_known_libraries_become_inert(torch_save, tmp_path, monkeypatch):
    module = types.ModuleType("omegaconf")
    for kind in (Kind, Holder):
        monkeypatch.setattr(kind, "__module__", module.__name__)
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    path = torch_save(tmp_path / "a.ckpt", {"kind": Kind.FAST, "held": Holder(_content={"x": 1})})
    loaded = torch_checkpoint.read(path)
    assert isinstance(loaded["held"], Inert) and loaded["held"].state == {"_content": {"x": 1}}
    assert loaded["held"].name == "copyreg._reconstructor" or loaded["held"].name == "omegaconf.Holder"
    assert isinstance(loaded["kind"], Inert) and str(loaded["kind"].arguments[-1]).lower() == "fast"


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, "posix.system"),
        (eval, "builtins.eval"),
        (subprocess.Popen, "subprocess.Popen"),
        (open, f"{open.__module__}.open"),
    ],
)
def test_no_code_is_executed(torch_save, tmp_path, function, name):
    marker = tmp_path / "marker"
    path = torch_save(tmp_path / "bad.ckpt", {"state_dict": Runs(function, f"touch {marker}")})
    with pytest.raises(TfvoiceError, match=rf"bad.ckpt: calls {name}, which no checkpoint .* refused\.$"):
        torch_checkpoint.read(path)
    assert not marker.exists()


def test_inert_names_are_not_executed_either(torch_save, tmp_path, monkeypatch):
    """A name of a known library is not imported."""
    module = types.ModuleType("torch.hub")
    called = []

    def load(*arguments):
        called.append(arguments)

    load.__module__, load.__qualname__, module.load = "torch.hub", "load", load
    monkeypatch.setitem(sys.modules, "torch.hub", module)
    path = torch_save(tmp_path / "a.ckpt", [Runs(load, "repository")])
    loaded = torch_checkpoint.read(path)
    assert not called and loaded[0].name == "torch.hub.load" and loaded[0].arguments == ("repository",)


def archive(path, **members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/").replace("_pkl", ".pkl"), content)
    return path


def test_other_files_are_errors(torch_save, tmp_path):
    old = tmp_path / "old.pth"
    old.write_bytes(pickle.dumps(119547037146038801333356) + b"rest")
    good = torch_save(tmp_path / "good.ckpt", {"w": np.ones([50, 50], np.float32)}).read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(good[:5000])
    beyond = io.BytesIO()
    pickle.dump({}, beyond)
    for path, words in (
        (tmp_path / "none.ckpt", "none.ckpt: cannot be read"),
        (old, "old.pth: is not in the zip format of PyTorch 1.6 and later"),
        (tmp_path / "cut.ckpt", "cut.ckpt: is not in the zip format"),
        (
            archive(tmp_path / "a.zip", readme="x"),
            "a.zip: is a zip file, but not one of PyTorch: it holds no data",
        ),
        (archive(tmp_path / "b.zip", a__data_pkl=b"\x80\x02garbage"), "b.zip: is damaged"),
    ):
        with pytest.raises(TfvoiceError, match=words):
            torch_checkpoint.read(path)


def storage(count):
    return torch_checkpoint._Storage("a.ckpt", "archive/data/0", np.float32, count)


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((7,), (1,), 0),
        ((2, 3), (4, 1), 0),
        ((2,), (-1,), 3),
        ((2,), (1,), 5),
        ((2,), (1,), -1),
        ((2,), (1.0,), 0),
        ((10**9,), (0,), 0),
    ],
)
def test_a_tensor_cannot_reach_beyond_its_storage(size, stride, offset):
    assert torch_checkpoint._tensor(storage(6), 1, (2,), (3,)).shape == (2,)
    with pytest.raises(ValueError, match="a tensor"):
        torch_checkpoint._tensor(storage(6), offset, size, stride)


def opcodes(*instructions):
    """A pickle, from its instructions."""
    return b"\x80\x02" + b"".join(instructions) + b"."


def named(name):
    return b"c" + name.replace(" ", "\n").encode() + b"\n"


STORED = b"(U\x07storage" + named("torch FloatStorage") + b"U\x010U\x03cpuK\x06tQ"
REBUILD = named("torch._utils _rebuild_tensor_v2")


def whole(size, stride):
    return b"K\x00(K%ct(K%ct\x89}t" % (size, stride)


@pytest.mark.parametrize(
    ("instructions", "words"),
    [
        ([REBUILD, b"(", REBUILD, b"(", STORED, whole(2, 1), b"R", whole(200, 1), b"R"], "a tensor of Tensor"),
        ([REBUILD, b"(", STORED, whole(7, 1), b"R"], "reaches beyond its storage"),
        ([REBUILD, b"}U\x0c__defaults__Nsb"], "a function has no state"),
        ([named("torch FloatStorage"), b"N}U\x04nameU\x0bByteStorages\x86b"], "can't set attribute"),
        ([STORED, b"N}U\x05countJ\xff\xff\xff\x7fs\x86b"], "can't set attribute"),
        ([named("torch Size"), b"U\x02ab\x85R"], "a size of str"),
        ([b"]r\xff\xff\xff\x7f"], "it has no object 2147483647"),
        ([STORED.replace(b"K\x06", b"K\x07")], "archive/data/0 is not 7 values of float32"),
        ([STORED.replace(b"U\x010", b"U\x011")], "no item named 'archive/data/1'"),
    ],
)
def test_memory_outside_the_file_is_neither_read_nor_allocated(tmp_path, instructions, words):
    path = archive(tmp_path / "a.ckpt", archive__data_pkl=opcodes(*instructions), archive__data__0=bytes(24))
    with pytest.raises(TfvoiceError, match=f"a.ckpt: is damaged .*{words}"):
        torch_checkpoint.read(path)


def test_a_huge_bytearray_is_not_allocated(tmp_path):
    huge = opcodes(named("__builtin__ bytearray"), b"J\xff\xff\xff\x7f\x85R")
    loaded = torch_checkpoint.read(archive(tmp_path / "a.ckpt", archive__data_pkl=huge))
    assert isinstance(loaded, Inert) and loaded.arguments == (2**31 - 1,)


def test_compressed_storages_are_an_error(tmp_path):
    content = opcodes(REBUILD, b"(", STORED, whole(6, 1), b"R")
    good = archive(tmp_path / "a.ckpt", archive__data_pkl=content, archive__data__0=bytes(24))
    np.testing.assert_array_equal(torch_checkpoint.read(good).read(), np.zeros(6))
    with zipfile.ZipFile(tmp_path / "b.ckpt", "w", zipfile.ZIP_DEFLATED) as compressed:
        compressed.writestr("archive/data.pkl", content)
        compressed.writestr("archive/data/0", bytes(24))
    with pytest.raises(TfvoiceError, match=r"b.ckpt: is damaged .* is not 6 values"):
        torch_checkpoint.read(tmp_path / "b.ckpt")


def test_damaged_values_are_an_error_when_they_are_read(torch_save, tmp_path):
    path = torch_save(tmp_path / "a.ckpt", {"w": np.ones([50, 50], np.float32)})
    content = path.read_bytes()
    start = content.index(np.ones(1, np.float32).tobytes() * 2)
    path.write_bytes(content[:start] + b"\xff" + content[start + 1 :])
    loaded = torch_checkpoint.read(path)
    with pytest.raises(TfvoiceError, match=r"a.ckpt: is damaged .*CRC"):
        loaded["w"].read()
