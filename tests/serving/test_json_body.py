"""Bodies of requests: a sentence for each name, type and number that is wrong."""

import pytest

from tfvoice.serving import json_body
from tfvoice.serving.service import RequestError

KNOWN = ("text", "speed", "seed")

INVALID = {
    "nothing": (b"", "The body is not JSON."),
    "half": (b'{"text": "a', "The body is not JSON."),
    "NaN": (b'{"speed": NaN}', "The body is not JSON."),
    "Infinity": (b'{"speed": -Infinity}', "The body is not JSON."),
    "deeply nested": (b"[" * 100_000, "The body is not JSON."),
    "not UTF-8": (b'{"text": "\xff"}', "The body is not JSON."),
    "a list": (b"[1]", "The body must be a JSON object"),
    "a string": (b'"text"', "The body must be a JSON object"),
    "another name": (b'{"sped": 1}', r"There is no 'sped' in a request; did you mean speed\?"),
}


@pytest.mark.parametrize(("body", "sentence"), INVALID.values(), ids=INVALID)
def test_what_is_no_object_is_rejected(body, sentence):
    with pytest.raises(RequestError, match=sentence) as rejected:
        json_body.parse(body, KNOWN)
    assert rejected.value.status == 400


def test_what_is_null_counts_as_absent():
    assert json_body.parse(b'{"text": null, "seed": 3}', KNOWN) == {"seed": 3}


@pytest.mark.parametrize("value", ["1", True, [], {}, 0.1, 5, float("inf"), 10**400, -(10**400)])
def test_a_number_of_another_type_or_out_of_range_is_rejected(value):
    with pytest.raises(RequestError, match=r"speed must be a number from 0\.25 to 4\.") as rejected:
        json_body.number({"speed": value}, "speed", (0.25, 4.0), 1.0)
    assert rejected.value.field == "speed"


@pytest.mark.parametrize("value", ["1", True, 1.0, -1, 2**31])
def test_an_integer_of_another_type_or_out_of_range_is_rejected(value):
    with pytest.raises(RequestError, match="seed must be an integer from 0 to 9"):
        json_body.integer({"seed": value}, "seed", (0, 9), 0)


def test_values_and_defaults():
    assert json_body.number({"speed": 2}, "speed", (0.25, 4.0), 1.0) == 2.0
    assert json_body.number({}, "temperature", (0.1, 2.0), None) is None
    assert json_body.integer({"seed": 9}, "seed", (0, 9), 0) == 9 and json_body.integer({}, "seed", (0, 9), 4) == 4
    assert json_body.text({}, "text") is None and json_body.text({"text": ""}, "text") == ""
    with pytest.raises(RequestError, match="text must be a string"):
        json_body.text({"text": 3}, "text")
    with pytest.raises(RequestError, match="format must be one of wav, raw"):
        json_body.one_of({"format": "pdf"}, "format", ("wav", "raw"), "wav")
