"""Frozen configuration: defaults in the class, differences in TOML, single keys on the command line.

A configuration is a tree of `Config` classes. Every default is written once, in a field; a TOML file holds only
what differs, and `training.learning_rate=3e-4` changes one key. A key that does not exist is an error that names
the nearest one that does.
"""

import difflib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args

import pydantic

from tfvoice.errors import TfvoiceError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Config(pydantic.BaseModel):
    """Base of every configuration class: immutable, and closed to keys it does not know."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


ConfigT = TypeVar("ConfigT", bound=Config)


class ConfigError(TfvoiceError):
    """A configuration key or value that cannot be used."""


def build(schema: type[ConfigT], values: dict[str, Any], source: str = "configuration") -> ConfigT:
    """Makes a `schema` from nested dictionaries.

    Args:
      schema: the class to make.
      values: nested plain values; what is absent takes the default of its field.
      source: what an error calls the origin of the values, usually a file name.

    Returns:
      The frozen configuration.

    Raises:
      ConfigError: a key is unknown, or a value has the wrong type or breaks a rule of its class.
    """
    try:
        return schema.model_validate(values)
    except pydantic.ValidationError as error:
        raise ConfigError(_sentence(schema, error.errors()[0], source)) from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """Reads a TOML file into nested dictionaries; raises `ConfigError` where it is absent or is not TOML."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read this configuration file ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path}: not a TOML file: {error}. Strings need quotes, as in kind = "mfcc".') from None


def parse_override(text: str) -> dict[str, Any]:
    """Turns `a.b=c` into `{"a": {"b": c}}`, where c is read as a TOML value, or else as a bare string."""
    key, separator, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not separator or not all(parts):
        raise ConfigError(f"--set {text}: write it as section.key=value, for example training.batch_size=8.")
    try:
        document = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        document = {}
    # A value of several lines could be a whole document.
    parsed = document["value"] if document.keys() == {"value"} else value.strip()
    for part in reversed(parts):
        parsed = {part: parsed}
    return parsed


def merge(*layers: dict[str, Any]) -> dict[str, Any]:
    """Merges nested dictionaries; where two layers set the same key, the later one wins."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, dict) and isinstance(merged.get(key), dict):
                merged[key] = merge(merged[key], value)
            else:
                merged[key] = value
    return merged


def differences(one: Config, other: Config) -> list[str]:
    """Lists the keys in which two configurations differ, as `a.b: 1 -> 2`, sorted by key."""
    before, after = flatten(one.model_dump(mode="json")), flatten(other.model_dump(mode="json"))
    keys = sorted(before.keys() | after.keys())
    return [f"{key}: {before.get(key)} -> {after.get(key)}" for key in keys if before.get(key) != after.get(key)]


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turns nested dictionaries into one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def to_json(config: Config) -> str:
    """Writes a configuration as indented JSON, every key present; `from_json` reads it back."""
    return json.dumps(config.model_dump(mode="json"), indent=2)


def from_json(schema: type[ConfigT], text: str, source: str = "configuration") -> ConfigT:
    """Reads what `to_json` wrote; raises `ConfigError` where the text is not JSON or does not fit `schema`."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{source}: not JSON: {error}.") from None
    return build(schema, values, source)


def nearest(name: str, known: Iterable[str]) -> str:
    """Says which known name was probably meant, and lists them all."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    listed = ", ".join(known)
    return f"did you mean {close[0]}? Known: {listed}" if close else f"known: {listed}"


def _sentence(schema: type[Config], error: dict[str, Any], source: str) -> str:
    section, location = _place(schema, [str(part) for part in error["loc"]])
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        return f"{source}: there is no key {key}; {nearest(location[-1], section.model_fields)}."
    message = error["msg"].removeprefix("Value error, ")
    value = error.get("input")
    shown = "" if isinstance(value, dict) else f" (it is {value!r})"
    # A rule about several keys names them itself.
    place = key or ("" if error["type"] == "value_error" else schema.__name__)
    return ": ".join(filter(None, (source, place, message))) + f"{shown}."


def _place(schema: type[Config], location: list[str]) -> tuple[type[Config], list[str]]:
    """Follows the location of an error; returns the section that it leads to, and the keys as a user writes them.

    Where a section can be of several classes, pydantic puts the name that chose one of them between the keys.
    """
    keys, parts = [], iter(location)
    for part in parts:
        keys.append(part)
        field = schema.model_fields.get(part)
        if field is None:
            break
        candidates = [field.annotation, *get_args(field.annotation)]
        nested = [kind for kind in candidates if isinstance(kind, type) and issubclass(kind, Config)]
        if field.discriminator:
            chosen = next(parts, None)
            nested = [kind for kind in nested if kind.model_fields[field.discriminator].default == chosen]
        if not nested:
            break
        schema = nested[0]
    return schema, keys + list(parts)
