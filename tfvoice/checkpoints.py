"""Checkpoints: named groups of arrays and a little state, in one file that is whole or not there.

The file is a NumPy `.npz`. It is written under a temporary name, flushed to disk and then given its name, so that a
process that is killed at any moment leaves the older file in place. The zip inside carries a checksum of each array.
"""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

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
      TfvoiceError: the file is damaged, or does not fit the variables. Nothing is assigned then.
    """
    try:
        with np.load(path) as file:
            state = json.loads(file["state"].tobytes())
            found = {
                group: [file[name] for name in sorted(file.files) if name.startswith(f"{group}/")] for group in groups
            }
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise TfvoiceError(f"{path}: this checkpoint is damaged ({error}); use another one.") from None
    for group, variables in groups.items():
        if [array.shape for array in found[group]] != [tuple(variable.shape) for variable in variables]:
            raise TfvoiceError(f"{path}: this checkpoint does not fit the model; it belongs to another run.")
    for group, variables in groups.items():
        for variable, array in zip(variables, found[group], strict=True):
            variable.assign(array)
    return state


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Writes a file under a temporary name, flushes it to disk, and gives it its name."""
    temporary = path.with_name(f".{path.name}.writing")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
