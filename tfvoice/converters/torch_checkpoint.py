"""Loads a file of `torch.save` without PyTorch and without executing anything in it.

Such a file is a zip archive of raw storages and a pickle, and a pickle can call any Python function by its name. Here a
name is never looked up in Python: containers and tensors are built, and every other class or function, known or not,
becomes an `Inert`, which keeps its arguments and does nothing. So a checkpoint may hold optimizers, configurations and
whatever else its software puts there. The memory for the result is proportional to the size of the file.
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
# The pickle of a large checkpoint with optimizer states has half a megabyte; an object takes up to 64 bytes of memory
# for each byte in the file.
_MAX_PICKLE_BYTES = 16 << 20
# Classes and functions: a class takes a kilobyte, and a checkpoint names some dozens.
_MAX_NAMES = 10_000


class Inert:
    """Placeholder for an object that is not built.

    Attributes:
      name: qualified name of its class or function, such as `omegaconf.dictconfig.DictConfig`.
      arguments: positional arguments of the call.
      state: argument of `__setstate__`; empty without one.
      items: items that were set or appended, for a container.
    """

    name = ""

    def __new__(cls, *arguments, **_):
        """Accepts any arguments."""
        placeholder = super().__new__(cls)
        placeholder.arguments, placeholder.state, placeholder.items = arguments, {}, {}
        return placeholder

    def __init__(self, *_, **__):
        pass

    def __setstate__(self, state):
        self.state = state

    def __setitem__(self, key, value):
        self.items[key] = value

    def append(self, value) -> None:
        """Appends a value, as to a list."""
        self.items[len(self.items)] = value

    add = append

    def extend(self, values) -> None:
        """Appends values, as to a list."""
        for value in values:
            self.append(value)


class Tensor(NamedTuple):
    """A tensor whose values are still in the file.

    Attributes:
      shape: its shape.
      storage: the storage of its values, which tensors can share.
      offset: index of its first element in the storage.
      stride: distance of neighbours along each axis, in elements.
    """

    shape: tuple[int, ...]
    storage: "_Storage"
    offset: int
    stride: tuple[int, ...]

    def read(self) -> np.ndarray:
        """Reads its values; raises `TfvoiceError` where they are damaged."""
        path, member, dtype, _ = self.storage
        try:
            with zipfile.ZipFile(path) as archive:
                values = np.frombuffer(archive.read(member), dtype)
        except (OSError, zipfile.BadZipFile) as error:
            raise TfvoiceError(f"{path}: is damaged ({error}).") from None
        if 0 in self.shape:
            return np.zeros(self.shape, dtype)
        strides = [step * values.itemsize for step in self.stride]
        return np.array(np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides))


class _Storage(NamedTuple):
    """A member of the archive with the values of tensors. Only `_Unpickler.persistent_load` builds and checks one."""

    path: str | Path
    member: str
    dtype: type
    count: int


class _StorageType(NamedTuple):
    name: str


class _Callable:
    """A function that a pickle may call but cannot modify."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        self._function = function

    def __call__(self, *arguments):
        return self._function(*arguments)

    def __setstate__(self, _):
        raise TypeError("a function has no state")


def read(path: str | Path) -> Any:
    """Loads a file of `torch.save`, in the zip format of PyTorch 1.6 and later.

    Args:
      path: the file.

    Returns:
      The saved object: containers, plain values, `Tensor`, and `Inert` for all other objects.

    Raises:
      TfvoiceError: the file cannot be read, has another format, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(names) != 1:
                raise TfvoiceError(f"{path}: is a zip file, but not one of PyTorch: it holds no data.pkl.")
            return _Unpickler(path, archive, names[0]).load()
    except OSError as error:
        raise TfvoiceError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except zipfile.BadZipFile:
        raise TfvoiceError(
            f"{path}: is not in the zip format of PyTorch 1.6 and later; save it again with a newer PyTorch."
        ) from None
    except TfvoiceError:
        raise
    # On random bytes an unpickler can raise almost any exception.
    except Exception as error:
        raise TfvoiceError(f"{path}: is damaged ({type(error).__name__}: {error}).") from None


class _Unpickler(pickle.Unpickler):
    """An unpickler that resolves names in the tables of this module, and imports nothing."""

    def __init__(self, path: str | Path, archive: zipfile.ZipFile, name: str):
        if archive.getinfo(name).file_size > _MAX_PICKLE_BYTES:
            raise ValueError(f"data.pkl is larger than {_MAX_PICKLE_BYTES >> 20} MiB")
        super().__init__(_check_memo(archive.read(name)), encoding="utf-8")
        self._path, self._archive, self._folder = path, archive, name.removesuffix("data.pkl")
        self._inert: dict[str, type[Inert]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Resolves a name to a function, a storage type or an inert class."""
        # PyTorch uses a pickle protocol with Python 2's names of modules.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if (module, name) in _FUNCTIONS:
            return _Callable(_FUNCTIONS[module, name])
        if module == "torch" and name in _DTYPES:
            return _StorageType(name)
        qualified = f"{module}.{name}"
        if qualified not in self._inert:
            if len(self._inert) >= _MAX_NAMES:
                raise ValueError(f"it names more than {_MAX_NAMES} classes")
            self._inert[qualified] = type("Inert", (Inert,), {"name": qualified})
        return self._inert[qualified]

    def persistent_load(self, pid) -> "_Storage | Inert":
        """Returns the storage of a persistent id; its values lie beside the pickle. One of another type is inert."""
        _, storage_type, key, _, count = pid
        if isinstance(storage_type, type) and issubclass(storage_type, Inert):
            return storage_type(key, count)
        if not isinstance(storage_type, _StorageType):
            raise TypeError(f"a storage of the type {storage_type}")
        dtype = _DTYPES[storage_type.name]
        member = self._archive.getinfo(f"{self._folder}data/{key}")
        # PyTorch does not compress; a compressed member could expand a thousandfold.
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != count * np.dtype(dtype).itemsize:
            raise ValueError(f"{member.filename} is not {count} values of {np.dtype(dtype)}")
        return _Storage(self._path, member.filename, dtype, count)


def _check_memo(content: bytes) -> io.BytesIO:
    """Returns a pickle as a file; raises where it would make the unpickler allocate a huge memo."""
    for operation, argument, position in pickletools.genops(content):
        # The index of an object in the memo, which is an array in C's unpickler.
        if operation.name.endswith("PUT") and argument > position:
            raise ValueError(f"it has no object {argument}")
    return io.BytesIO(content)


def _tensor(storage: _Storage | Inert, offset: int, size: tuple, stride: tuple, *_) -> Tensor | Inert:
    if isinstance(storage, Inert):
        return storage
    if not isinstance(storage, _Storage):
        raise TypeError(f"a tensor of {type(storage).__name__}")
    if not all(type(number) is int and number >= 0 for number in (offset, *size, *stride)):
        raise ValueError(f"a tensor of shape {size}, stride {stride}, offset {offset}")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if 0 not in size and (last >= storage.count or math.prod(size) > storage.count):
        raise ValueError("a tensor reaches beyond its storage")
    return Tensor(tuple(size), storage, offset, tuple(stride))


def _parameter(tensor: Tensor | Inert, *_) -> Tensor | Inert:
    return tensor


class _OrderedDict(dict):
    """An ordered dictionary without the attributes that a `state_dict` has."""

    __slots__ = ()

    def __setstate__(self, _):
        pass


def _size(values: tuple) -> tuple:
    if not isinstance(values, tuple | list):
        raise TypeError(f"a size of {type(values).__name__}")
    return tuple(values)


_FUNCTIONS = {
    ("collections", "OrderedDict"): _OrderedDict,
    ("torch", "Size"): _size,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}
