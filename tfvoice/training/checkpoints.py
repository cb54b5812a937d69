"""Checkpoints: named groups of arrays and a little state, in one file that is whole or not there.

The file is a NumPy `.npz`. It is written under a temporary name, flushed to disk and then given its name, so that a
process that is killed at any moment leaves the older file in place. The zip inside carries a checksum of each array.
"""

import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tfvoice.errors import TfvoiceError


def save(path: Path, groups: dict[str, list], state: dict[str, Any]) -> None:
    """Writes a checkpoint.

    Args:
      path: where to; an older file of that name is replaced.
      groups: lists of variables or arrays, by name.
      state: anything JSON can hold.
    """
    arrays = {
        f"{group}/{number:05d}": np.asarray(value)
        for group, values in groups.items()
        for number, value in enumerate(values)
    }
    arrays["state"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    content = io.BytesIO()
    np.savez(content, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getbuffer())


def restore(path: Path, groups: dict[str, list]) -> dict[str, Any]:
    """Reads groups of a checkpoint into variables.

    Args:
      path: what `save` wrote.
      groups: the variables to assign, in the order in which they were saved. Groups not named are left alone.

    Returns:
      The state.

    Raises:
      TfvoiceError: the file cannot be read, is damaged, or does not fit the variables. Nothing is assigned then.
    """
    try:
        with open(path, "rb") as file:
            state, found = _read(file, groups)
    except OSError as error:
        raise TfvoiceError(f"{path}: cannot read this checkpoint ({error.strerror}).") from None
    except _Damaged as error:
        raise TfvoiceError(f"{path}: this checkpoint is damaged ({error}); use another one.") from None
    for group, variables in groups.items():
        if [array.shape for array in found[group]] != [tuple(variable.shape) for variable in variables]:
            raise TfvoiceError(f"{path}: this checkpoint does not fit the model; it belongs to another run.")
    for group, variables in groups.items():
        for variable, array in zip(variables, found[group], strict=True):
            variable.assign(array)
    return state


class _Damaged(Exception):
    """What is in the file is not what `save` wrote."""


def _read(file: BinaryIO, groups: Iterable[str]) -> tuple[dict[str, Any], dict[str, list[np.ndarray]]]:
    try:
        with np.load(file) as arrays:
            state = json.loads(arrays["state"].tobytes())
            names = sorted(arrays.files)
            return state, {group: [arrays[name] for name in names if name.startswith(f"{group}/")] for group in groups}
    # Bytes at random make zipfile and NumPy raise almost anything.
    except Exception as error:
        raise _Damaged(str(error) or type(error).__name__) from None


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Writes a file under a temporary name, flushes it to disk, and gives it its name."""
    temporary = path.with_name(f".{path.name}.writing")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
