"""Frozen configurations: defaults in the classes, differences in TOML files, single keys on the command line.

A configuration is a tree of `Config` classes. Each default is written once, in a field; a TOML file holds only the
keys that differ from it, and `training.learning_rate=3e-4` changes one key. An unknown key is an error that names the
nearest known one.
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
    """Base of all configuration classes: immutable, and without unknown keys."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


ConfigT = TypeVar("ConfigT", bound=Config)


class ConfigError(TfvoiceError):
    """An unknown configuration key, or an invalid value."""


def build(schema: type[ConfigT], values: dict[str, Any], source: str = "configuration") -> ConfigT:
    """Builds a configuration from nested dictionaries.

    Args:
      schema: class of the configuration.
      values: values by key, nested by section; a missing key takes the default of its field.
      source: where the values come from, for error messages; usually a file name.

    Returns:
      The frozen configuration.

    Raises:
      ConfigError: a key is unknown, or a value has the wrong type or violates a rule of its class.
    """
    try:
        return schema.model_validate(values)
    except pydantic.ValidationError as error:
        raise ConfigError(_error_message(schema, error.errors()[0], source)) from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """Parses a TOML file to nested dictionaries; raises `ConfigError` if it cannot be read or is not TOML."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read this configuration file ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path}: not a TOML file: {error}. Strings need quotes, as in kind = "mfcc".') from None


def parse_override(text: str) -> dict[str, Any]:
    """Parses `a.b=c` to `{"a": {"b": c}}`; c is a TOML value, or else a bare string."""
    key, separator, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not separator or not all(parts):
        raise ConfigError(f"--set {text}: write it as section.key=value, for example training.batch_size=8.")
    try:
        document = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        document = {}
    # A value of several lines could contain further keys.
    parsed = document["value"] if document.keys() == {"value"} else value.strip()
    for part in reversed(parts):
        parsed = {part: parsed}
    return parsed


def merge(*layers: dict[str, Any]) -> dict[str, Any]:
    """Merges nested dictionaries; of two values of a key the later one wins."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, dict) and isinstance(merged.get(key), dict):
                merged[key] = merge(merged[key], value)
            else:
                merged[key] = value
    return merged


def differences(one: Config, other: Config) -> list[str]:
    """The keys in which two configurations differ, as `a.b: 1 -> 2`, sorted by key."""
    before, after = flatten(one.model_dump(mode="json")), flatten(other.model_dump(mode="json"))
    keys = sorted(before.keys() | after.keys())
    return [f"{key}: {before.get(key)} -> {after.get(key)}" for key in keys if before.get(key) != after.get(key)]


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested dictionaries to one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def to_json(config: Config) -> str:
    """A configuration as indented JSON with all keys; `from_json` parses it."""
    return json.dumps(config.model_dump(mode="json"), indent=2)


def from_json(schema: type[ConfigT], text: str, source: str = "configuration") -> ConfigT:
    """Parses the output of `to_json`; raises `ConfigError` if it is not JSON or not valid for `schema`."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{source}: not JSON: {error}.") from None
    return build(schema, values, source)


def nearest(name: str, known: Iterable[str]) -> str:
    """For an error message: suggests the most similar known name, and lists all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    listed = ", ".join(known)
    return f"did you mean {close[0]}? Known: {listed}" if close else f"known: {listed}"


def _error_message(schema: type[Config], error: dict[str, Any], source: str) -> str:
    section, location = _locate(schema, [str(part) for part in error["loc"]])
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        return f"{source}: there is no key {key}; {nearest(location[-1], section.model_fields)}."
    message = error["msg"].removeprefix("Value error, ")
    value = error.get("input")
    shown = "" if isinstance(value, dict) else f" (it is {value!r})"
    # The message of a rule about several keys names them.
    place = key or ("" if error["type"] == "value_error" else schema.__name__)
    return ": ".join(filter(None, (source, place, message))) + f"{shown}."


def _locate(schema: type[Config], location: list[str]) -> tuple[type[Config], list[str]]:
    """The section of an error and the keys of its location as the user writes them.

    Where a section can be of several classes, pydantic inserts the value of the discriminator between the keys.
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
            value = next(parts, None)
            nested = [kind for kind in nested if kind.model_fields[field.discriminator].default == value]
        if not nested:
            break
        schema = nested[0]
    return schema, keys + list(parts)


def find(config: str) -> Path:
    """Path of a configuration file, given as a path or as the name of one that comes with tfvoice.

    Raises:
      ConfigError: there is neither such a file nor such a name.
    """
    if Path(config).is_file():
        return Path(config)
    name = config.removesuffix(".toml")
    known = {path.stem: path for path in _packaged_configs().glob("*.toml")}
    if name not in known:
        raise ConfigError(f"--config={config}: no such file, and no such name; {nearest(name, known)}.")
    return known[name]


def _packaged_configs() -> Path:
    """The folder `configs/` of the repository, which an installed package holds as `tfvoice/configs/`."""
    package = Path(__file__).parent
    installed = package / "configs"
    # In this order: beside an installed package, a folder `configs` would be that of another project.
    return installed if installed.is_dir() else package.parent / "configs"
