"""Checkpoints: named tensors in groups, and a little state, in one file that appears whole or not at all.

The format is safetensors (Hugging Face): a JSON header with name, type, shape and place of each tensor, then the bytes.
A tensor is called `<group>/<path of its Keras variable>`; tensors are matched by name, never by position. The
metadata hold the state as JSON, and a checksum (CRC-32C) of each group.

Version 0.1.0 wrote NumPy `.npz` files whose tensors had numbers. These can still be restored, by position.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import safetensors
import safetensors.numpy

from tfvoice import storage
from tfvoice.errors import TfvoiceError

SUFFIX = ".safetensors"
LEGACY_SUFFIX = ".npz"
_METADATA = "tfvoice"
_LISTED = 3

# Variables or arrays: by name, or Keras variables, whose paths are their names.
Group = Mapping[str, Any] | Iterable[Any]


class CheckpointError(TfvoiceError):
    """A checkpoint that cannot be read, is damaged, or does not fit the variables."""


def named(group: Group) -> dict[str, Any]:
    """The variables of a group by name.

    Raises:
      ValueError: two variables have the same path.
    """
    if isinstance(group, Mapping):
        return dict(group)
    variables = list(group)
    by_name = {variable.path: variable for variable in variables}
    if len(by_name) < len(variables):
        raise ValueError("two variables of a group have the same path")
    return by_name


def save(path: Path, groups: Mapping[str, Group], state: dict[str, Any]) -> None:
    """Writes a checkpoint.

    Args:
      path: where to; an older file of that name is replaced.
      groups: variables or arrays, by the name of their group.
      state: anything JSON can hold.
    """
    tensors = {
        f"{group}/{name}": np.asarray(value, order="C")
        for group, values in groups.items()
        for name, value in named(values).items()
    }
    text = json.dumps(state)
    checksums = {group: _checksum(tensors, group) for group in groups}
    # One entry: safetensors writes several in any order.
    metadata = {_METADATA: json.dumps({"state": text, "state_crc32c": _crc(text.encode()), "crc32c": checksums})}
    path.parent.mkdir(parents=True, exist_ok=True)
    storage.write(path, safetensors.numpy.save(tensors, metadata))


def digest(groups: Mapping[str, Group]) -> np.ndarray:
    """A checksum (CRC-32C) of groups of variables, as two numbers of 16 bits: float32 `[2]`."""
    checksum = google_crc32c.Checksum()
    for values in groups.values():
        for name, value in sorted(named(values).items()):
            checksum.update(name.encode())
            checksum.update(np.ascontiguousarray(value).tobytes())
    return np.frombuffer(checksum.digest(), ">u2").astype(np.float32)


def restore(path: Path, groups: Mapping[str, Group]) -> dict[str, Any]:
    """Reads groups of a checkpoint into variables.

    Args:
      path: a file that `save` wrote, or a `.npz` of version 0.1.0.
      groups: the variables to assign, by the name of their group. Groups of the file that are not named are left alone.

    Returns:
      The state.

    Raises:
      CheckpointError: the file cannot be read, is damaged, or does not fit the variables. Nothing is assigned then.
    """
    groups = {group: named(values) for group, values in groups.items()}
    try:
        state, tensors = (_read_legacy if path.suffix == LEGACY_SUFFIX else _read)(path, groups)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read this checkpoint ({error.strerror or error}).") from None
    except _Damaged as error:
        raise CheckpointError(f"{path}: this checkpoint is damaged ({error}); use another one.") from None
    for group, variables in groups.items():
        if mismatch := _mismatch(variables, tensors[group]):
            raise CheckpointError(
                f"{path}: this checkpoint does not fit the model ({mismatch}); it belongs to another run."
            )
    for group, variables in groups.items():
        for name, variable in variables.items():
            variable.assign(tensors[group][name])
    return state


class _Damaged(Exception):
    """The content of the file is not what `save` wrote."""


def _read(path: Path, groups: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    # Its own errors for a missing file have no reason.
    path.open("rb").close()
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata = json.loads(file.metadata()[_METADATA])
            if _crc(metadata["state"].encode()) != metadata["state_crc32c"]:
                raise _Damaged("the checksum of the state differs")
            found = {
                group: {
                    name.removeprefix(f"{group}/"): file.get_tensor(name)
                    for name in file.keys()  # noqa: SIM118 - it is no mapping
                    if name.startswith(f"{group}/")
                }
                for group in groups
            }
            for group, tensors in found.items():
                prefixed = {f"{group}/{name}": tensor for name, tensor in tensors.items()}
                if tensors and metadata["crc32c"][group] != _checksum(prefixed, group):
                    raise _Damaged(f"the checksum of {group} differs")
        state = json.loads(metadata["state"])
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Damaged(str(error) or type(error).__name__) from None
    return state, found


def _read_legacy(path: Path, groups: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """A `.npz` of version 0.1.0: tensors are called `<group>/<number>`, in the order of the variables."""
    with open(path, "rb") as file:
        try:
            with np.load(file) as arrays:
                state = json.loads(arrays["state"].tobytes())
                found = {}
                for group, variables in groups.items():
                    names = sorted(name for name in arrays.files if name.startswith(f"{group}/"))
                    # As many names as tensors, so that a surplus of either is seen.
                    keys = [*variables, *(f"number {number}" for number in range(len(variables), len(names)))]
                    found[group] = {key: arrays[name] for key, name in zip(keys, names, strict=False)}
        # Damaged bytes make zipfile and NumPy raise almost anything.
        except Exception as error:
            raise _Damaged(str(error) or type(error).__name__) from None
    return state, found


def _mismatch(variables: dict[str, Any], tensors: dict[str, np.ndarray]) -> str:
    """Why tensors do not fit variables; empty where they do."""
    missing, surplus = variables.keys() - tensors.keys(), tensors.keys() - variables.keys()
    if missing or surplus:
        fact, names = ("it lacks", sorted(missing)) if missing else ("the model has no", sorted(surplus))
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        return f"{fact} {', '.join(names[:_LISTED])}{more}"
    for name, variable in variables.items():
        if tensors[name].shape != tuple(variable.shape):
            return f"{name} is {tensors[name].shape} and should be {tuple(variable.shape)}"
    return ""


def _checksum(tensors: Mapping[str, np.ndarray], group: str) -> int:
    """CRC-32C over the names and the bytes of the tensors of a group, in the order of their names."""
    checksum = google_crc32c.Checksum()
    for name in sorted(name for name in tensors if name.startswith(f"{group}/")):
        checksum.update(name.encode())
        checksum.update(tensors[name].tobytes())
    return int.from_bytes(checksum.digest(), "big")


def _crc(data: bytes) -> int:
    return google_crc32c.value(data)
