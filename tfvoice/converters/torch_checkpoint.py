"""The tensors and plain values in a file of PyTorch's `torch.save`, without PyTorch and without running anything.

Such a file is a zip of raw numbers and a pickle, and a pickle can name any function of Python to be called. Here a name
means one of three things: a container or a tensor, which is made; something of a library that checkpoints are full of
(configurations, enumerations), which becomes an `Inert` that holds what it was given and does nothing; anything else,
which is refused. What is made takes no more memory than the file has bytes, but for a factor.
"""

import io
import math
import pickle
import pickletools
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
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
# Their names become inert. `getattr` is how Python pickles the members of an enumeration, `encode` how it does bytes.
_INERT_LIBRARIES = ("torch", "omegaconf", "pytorch_lightning", "lightning", "typing", "pathlib", "enum", "numpy")
_INERT_NAMES = {
    *(("builtins", name) for name in ("bool", "bytearray", "bytes", "dict", "float", "frozenset", "getattr", "int")),
    *(("builtins", name) for name in ("list", "object", "set", "str", "tuple")),
    ("_codecs", "encode"),
    ("collections", "defaultdict"),
    ("copyreg", "_reconstructor"),
}
# The pickle of a large checkpoint with the state of its optimizer has half a megabyte; an object takes up to 64 bytes
# of memory for one in the file.
_MOST_BYTES = 16 << 20


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


class Tensor(NamedTuple):
    """A tensor that is still in the file.

    Attributes:
      shape: its shape.
      numbers: where its numbers and perhaps those of others lie.
      offset: position of its first number.
      stride: distance of neighbours along each axis, in numbers.
    """

    shape: tuple[int, ...]
    numbers: "_Numbers"
    offset: int
    stride: tuple[int, ...]

    def read(self) -> np.ndarray:
        """Reads its numbers; raises `TfvoiceError` where they are damaged."""
        path, member, dtype, _ = self.numbers
        try:
            with zipfile.ZipFile(path) as archive:
                values = np.frombuffer(archive.read(member), dtype)
        except (OSError, zipfile.BadZipFile) as error:
            raise TfvoiceError(f"{path}: is damaged ({error}).") from None
        if 0 in self.shape:
            return np.zeros(self.shape, dtype)
        steps = [step * values.itemsize for step in self.stride]
        return np.array(np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, steps))


class _Numbers(NamedTuple):
    """A member of the archive that is an array. Only `_Reader.persistent_load` makes one, of what it has checked."""

    path: str | Path
    member: str
    dtype: type
    count: int


class _Storage(NamedTuple):
    kind: str


class _Made:
    """A function that a pickle may call, and of which it cannot change anything."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        self._function = function

    def __call__(self, *arguments):
        return self._function(*arguments)

    def __setstate__(self, _):
        raise TypeError("a function has no state")


class _Refused(Exception):
    """The pickle names something that is not data."""


def read(path: str | Path, libraries: tuple[str, ...] = ()) -> Any:
    """Reads a file of `torch.save`, in the zip format that PyTorch has written since version 1.6.

    Args:
      path: the file.
      libraries: names of further packages whose objects become `Inert`.

    Returns:
      What was saved: containers, plain values, `Tensor`, and `Inert` for objects.

    Raises:
      TfvoiceError: the file cannot be read, is no such file, is damaged, or asks for something to be run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(names) != 1:
                raise TfvoiceError(f"{path}: is a zip file, but none that PyTorch wrote: it holds no data.pkl.")
            return _Reader(path, archive, names[0], libraries).load()
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

    def __init__(self, path: str | Path, archive: zipfile.ZipFile, name: str, libraries: tuple[str, ...]):
        if archive.getinfo(name).file_size > _MOST_BYTES:
            raise ValueError(f"data.pkl is larger than {_MOST_BYTES >> 20} MiB")
        super().__init__(_checked(archive.read(name)), encoding="utf-8")
        self._path, self._archive, self._folder = path, archive, name.removesuffix("data.pkl")
        self._libraries = (*_INERT_LIBRARIES, *libraries)

    def find_class(self, module: str, name: str) -> Any:
        """Returns what a name of the pickle stands for."""
        # PyTorch writes a protocol that calls modules what they were called in Python 2.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if (module, name) in _FUNCTIONS:
            return _Made(_FUNCTIONS[module, name])
        if module == "torch" and name in _DTYPES:
            return _Storage(name)
        if (module, name) not in _INERT_NAMES and module.split(".")[0] not in self._libraries:
            raise _Refused(f"{module}.{name}")
        return type("Inert", (Inert,), {"name": f"{module}.{name}"})

    def persistent_load(self, pid) -> _Numbers:
        """Returns where the numbers of a tensor are, which lie beside the pickle."""
        _, kind, key, _, count = pid
        if not isinstance(kind, _Storage):
            raise TypeError(f"numbers of the kind {getattr(kind, 'name', kind)}")
        dtype = _DTYPES[kind.kind]
        member = self._archive.getinfo(f"{self._folder}data/{key}")
        # PyTorch packs nothing; what is packed could be a thousand times as large.
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != count * np.dtype(dtype).itemsize:
            raise ValueError(f"{member.filename} is not {count} numbers of {np.dtype(dtype)}")
        return _Numbers(self._path, member.filename, dtype, count)


def _checked(content: bytes) -> io.BytesIO:
    """Returns a pickle as a file, unless it would make the unpickler reserve memory for nothing."""
    for operation, argument, position in pickletools.genops(content):
        # The number of an object, for which C's unpickler keeps a table.
        if operation.name.endswith("PUT") and argument > position:
            raise ValueError(f"it has no object {argument}")
    return io.BytesIO(content)


def _tensor(numbers: _Numbers, offset: int, size: tuple, stride: tuple, *_) -> Tensor:
    if not isinstance(numbers, _Numbers):
        raise TypeError(f"a tensor of {type(numbers).__name__}")
    if not all(type(number) is int and number >= 0 for number in (offset, *size, *stride)):
        raise ValueError(f"a tensor of shape {size}, stride {stride}, offset {offset}")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if 0 not in size and (last >= numbers.count or math.prod(size) > numbers.count):
        raise ValueError("a tensor reaches beyond its numbers")
    return Tensor(tuple(size), numbers, offset, tuple(stride))


def _parameter(tensor: Tensor, *_) -> Tensor:
    return tensor


class _Dictionary(dict):
    """An ordered dictionary without the attributes that `state_dict` adds."""

    __slots__ = ()

    def __setstate__(self, _):
        pass


def _size(values: tuple) -> tuple:
    if not isinstance(values, tuple | list):
        raise TypeError(f"a size of {type(values).__name__}")
    return tuple(values)


_FUNCTIONS = {
    ("collections", "OrderedDict"): _Dictionary,
    ("torch", "Size"): _size,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}
