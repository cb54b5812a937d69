"""Laws of reading PyTorch's files: what is in them comes out, and nothing in them is run."""

import collections
import enum
import io
import os
import pickle
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest

from tfvoice import torch_file
from tfvoice.errors import TfvoiceError
from tfvoice.torch_file import Inert


def test_tensors_and_plain_values_come_back(torch_save, tmp_path):
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    content = {
        "state_dict": collections.OrderedDict(
            a=matrix, b=matrix.T, c=np.array(7, np.int64), d=np.zeros([0, 3], np.float32)
        ),
        "epoch": 3,
        "names": ["x", ("y", None, True, 2.5)],
    }
    found = torch_file.read(torch_save(tmp_path / "a.ckpt", content))
    assert list(found) == list(content) and (found["epoch"], found["names"]) == (3, content["names"])
    for name, value in content["state_dict"].items():
        np.testing.assert_array_equal(found["state_dict"][name], value)
        assert found["state_dict"][name].dtype == value.dtype


def test_pytorch_itself_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    content = {"w": torch.randn(3, 5).T, "p": torch.nn.Parameter(torch.ones(2)), "h": torch.ones(2).half(), "n": [1]}
    torch.save(content, tmp_path / "a.pt")
    found = torch_file.read(tmp_path / "a.pt")
    for name in "wph":
        np.testing.assert_array_equal(found[name], content[name].detach().numpy())
    assert found["n"] == [1]


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
    found = torch_file.read(path)
    assert isinstance(found["held"], Inert) and found["held"].state == {"_content": {"x": 1}}
    assert found["held"].name == "copyreg._reconstructor" or found["held"].name == "omegaconf.Holder"
    assert isinstance(found["kind"], Inert) and str(found["kind"].arguments[-1]).lower() == "fast"


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "posix.system"), (eval, "builtins.eval"), (subprocess.Popen, "subprocess.Popen"), (open, "io.open")],
)
def test_nothing_is_run(torch_save, tmp_path, function, name):
    mark = tmp_path / "was_here"
    path = torch_save(tmp_path / "bad.ckpt", {"state_dict": Runs(function, f"touch {mark}")})
    with pytest.raises(TfvoiceError, match=rf"bad.ckpt: asks for {name} to be run, which no checkpoint .* refused\.$"):
        torch_file.read(path)
    assert not mark.exists()


def test_what_is_inert_runs_nothing_either(torch_save, tmp_path, monkeypatch):
    """A name of a library that is known is not looked up, whatever it would do."""
    module = types.ModuleType("torch.hub")
    called = []

    def load(*arguments):
        called.append(arguments)

    load.__module__, load.__qualname__, module.load = "torch.hub", "load", load
    monkeypatch.setitem(sys.modules, "torch.hub", module)
    path = torch_save(tmp_path / "a.ckpt", [Runs(load, "repository")])
    found = torch_file.read(path)
    assert not called and found[0].name == "torch.hub.load" and found[0].arguments == ("repository",)


def archive(path, **members):
    with zipfile.ZipFile(path, "w") as made:
        for name, content in members.items():
            made.writestr(name.replace("__", "/").replace("_pkl", ".pkl"), content)
    return path


def test_files_that_are_none_are_told(torch_save, tmp_path):
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
            "a.zip: is a zip file, but none that PyTorch wrote: it holds no data",
        ),
        (archive(tmp_path / "b.zip", a__data_pkl=b"\x80\x02garbage"), "b.zip: is damaged"),
    ):
        with pytest.raises(TfvoiceError, match=words):
            torch_file.read(path)


def test_a_tensor_cannot_reach_beyond_its_numbers():
    storage = np.arange(6, dtype=np.float32)
    np.testing.assert_array_equal(torch_file._tensor(storage, 1, (2,), (3,)), [1, 4])
    for size, stride, offset in (((7,), (1,), 0), ((2, 3), (4, 1), 0), ((2,), (-1,), 3), ((2,), (1,), 5)):
        with pytest.raises(ValueError, match="beyond its numbers"):
            torch_file._tensor(storage, offset, size, stride)
