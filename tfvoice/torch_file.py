"""The tensors and plain values in a file of PyTorch's `torch.save`, without PyTorch and without running anything.

Such a file is a zip of raw numbers and a pickle, and a pickle can name any function of Python to be called. Here a name
means one of three things: a container or a tensor, which is made; something of a library that checkpoints are full of
(configurations, enumerations), which becomes an `Inert` that holds what it was given and does nothing; anything else,
which is refused.
"""

import collections
import pickle
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfvoice.errors import TfvoiceError

_DTYPES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_PLAIN = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    **{("builtins", kind.__name__): kind for kind in (bool, bytearray, bytes, dict, float, frozenset, int, list)},
    **{("builtins", kind.__name__): kind for kind in (set, str, tuple)},
    ("torch", "Size"): tuple,
}
# Their names become inert. `getattr` is how Python pickles the members of an enumeration.
_INERT_LIBRARIES = ("torch", "omegaconf", "pytorch_lightning", "lightning", "typing", "pathlib", "enum", "numpy")
_INERT_NAMES = {
    ("builtins", "getattr"),
    ("builtins", "object"),
    ("collections", "defaultdict"),
    ("copyreg", "_reconstructor"),
}


class Inert:
    """Stands for an object that was not made: what it was to be called with, and the state it was to get.

    Attributes:
      name: where its class or function was to be found, such as `omegaconf.dictconfig.DictConfig`.
      arguments: of the call.
      state: of the object; empty where it got none.
      items: what was to be put into it, for a container.
    """

    name = ""

    def __new__(cls, *arguments, **_):
        """Takes whatever the call has."""
        made = super().__new__(cls)
        made.arguments, made.state, made.items = arguments, {}, {}
        return made

    def __init__(self, *_, **__):
        pass

    def __setstate__(self, state):
        self.state = state

    def __setitem__(self, key, value):
        self.items[key] = value

    def append(self, value) -> None:
        """Takes a value, as a list would."""
        self.items[len(self.items)] = value

    def extend(self, values) -> None:
        """Takes values, as a list would."""
        for value in values:
            self.append(value)


class _Storage(NamedTuple):
    kind: str


class _Refused(Exception):
    """The pickle names something that is not data."""


def read(path: str | Path, libraries: tuple[str, ...] = ()) -> Any:
    """Reads a file of `torch.save`, in the zip format that PyTorch has written since version 1.6.

    Args:
      path: the file.
      libraries: names of further packages whose objects become `Inert`.

    Returns:
      What was saved: containers, plain values, NumPy arrays for tensors, and `Inert` for objects.

    Raises:
      TfvoiceError: the file cannot be read, is no such file, is damaged, or asks for something to be run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(names) != 1:
                raise TfvoiceError(f"{path}: is a zip file, but none that PyTorch wrote: it holds no data.pkl.")
            with archive.open(names[0]) as content:
                return _Reader(content, archive, names[0].removesuffix("data.pkl"), libraries).load()
    except OSError as error:
        raise TfvoiceError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except zipfile.BadZipFile:
        raise TfvoiceError(
            f"{path}: is not in the zip format of PyTorch 1.6 and later; save it again with a PyTorch of that age."
        ) from None
    except _Refused as error:
        raise TfvoiceError(
            f"{path}: asks for {error} to be run, which no checkpoint of weights needs; refused."
        ) from None
    except TfvoiceError:
        raise
    # Bytes at random make an unpickler raise almost anything.
    except Exception as error:
        raise TfvoiceError(f"{path}: is damaged ({type(error).__name__}: {error}).") from None


class _Reader(pickle.Unpickler):
    """An unpickler for which every name is looked up in the tables above, and nowhere else."""

    def __init__(self, content, archive: zipfile.ZipFile, folder: str, libraries: tuple[str, ...]):
        super().__init__(content, encoding="utf-8")
        self._archive, self._folder = archive, folder
        self._libraries = (*_INERT_LIBRARIES, *libraries)

    def find_class(self, module: str, name: str) -> Any:
        """Returns what a name of the pickle stands for."""
        # PyTorch writes a protocol that calls modules what they were called in Python 2.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        if module == "torch" and name in _DTYPES:
            return _Storage(name)
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if (module, name) not in _INERT_NAMES and module.split(".")[0] not in self._libraries:
            raise _Refused(f"{module}.{name}")
        return type("Inert", (Inert,), {"name": f"{module}.{name}"})

    def persistent_load(self, pid) -> np.ndarray:
        """Returns the numbers of a tensor, which lie beside the pickle."""
        _, kind, key, _, count = pid
        if not isinstance(kind, _Storage):
            raise TypeError(f"numbers of the kind {getattr(kind, 'name', kind)}")
        content = self._archive.read(f"{self._folder}data/{key}")
        return np.frombuffer(content, _DTYPES[kind.kind], count)


def _tensor(storage: np.ndarray, offset: int, size: tuple, stride: tuple, *_) -> np.ndarray:
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if min((*size, *stride, offset), default=0) < 0 or (0 not in size and last >= len(storage)):
        raise ValueError("a tensor reaches beyond its numbers")
    if 0 in size:
        return np.zeros(size, storage.dtype)
    steps = [step * storage.itemsize for step in stride]
    return np.array(np.lib.stride_tricks.as_strided(storage[offset:], size, steps))
