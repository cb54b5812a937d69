"""JSON objects in the bodies of requests: strict about names, types and numbers, with a sentence for what is wrong."""

import json
from typing import Any

from tfvoice import config
from tfvoice.serving.service import RequestError


def parse(body: bytes, known: tuple[str, ...]) -> dict[str, Any]:
    """Parses an object; raises `RequestError` where the body is none, or has a name that is not `known`."""
    try:
        # NaN and Infinity are not JSON, though Python's parser takes them.
        values = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise RequestError(400, "The body is not JSON.") from None
    if not isinstance(values, dict):
        raise RequestError(400, 'The body must be a JSON object, such as {"text": "Hello."}.')
    for name in values:
        if name not in known:
            raise RequestError(
                400, f"There is no {name[:40]!r} in a request; {config.nearest(name[:40], known)}.", name
            )
    # What is null counts as absent.
    return {name: value for name, value in values.items() if value is not None}


def text(values: dict[str, Any], name: str, default: str | None = None) -> str | None:
    """A string; raises `RequestError` for another type."""
    value = values.get(name, default)
    if not isinstance(value, str | None):
        raise RequestError(400, f"{name} must be a string.", name)
    return value


def one_of(values: dict[str, Any], name: str, choices, default: str) -> str:
    """A string that is one of some."""
    value = text(values, name, default)
    if value not in choices:
        raise RequestError(400, f"{name} must be one of {', '.join(choices)}.", name)
    return value


def number(values: dict[str, Any], name: str, limits: tuple[float, float], default: float | None) -> float | None:
    """A number within limits; raises `RequestError` for another one, or another type."""
    value = values.get(name, default)
    if value is default:
        return default
    # A boolean is an integer in Python.
    if type(value) not in (int, float) or not limits[0] <= value <= limits[1]:
        raise RequestError(400, f"{name} must be a number from {limits[0]:g} to {limits[1]:g}.", name)
    return float(value)


def integer(values: dict[str, Any], name: str, limits: tuple[int, int], default: int) -> int:
    """An integer within limits; raises `RequestError` for another one, or another type."""
    value = values.get(name, default)
    if type(value) is not int or not limits[0] <= value <= limits[1]:
        raise RequestError(400, f"{name} must be an integer from {limits[0]} to {limits[1]}.", name)
    return value


def _refuse(constant: str):
    raise ValueError(constant)
