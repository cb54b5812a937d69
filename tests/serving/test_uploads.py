import asyncio

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")

from starlette.requests import Request

from tfvoice.serving.uploads import form_request

BODY = b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nabc\r\n--X--\r\n'


def request(content_type):
    async def receive():
        return {"type": "http.request", "body": BODY}

    headers = [(b"content-type", content_type.encode()), (b"x", b"y")] if content_type else []
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=X", "Multipart/Form-Data ;boundary=X"])
def test_a_form_is_read_whatever_its_letters(content_type):
    async def read():
        found = form_request(request(content_type))
        assert found.headers["x"] == "y"
        async with found.form() as form:
            return await form["file"].read()

    assert asyncio.run(read()) == b"abc"


@pytest.mark.parametrize("content_type", ["", "audio/wav", "multipart/form-database", "x; multipart/form-data"])
def test_other_bodies_are_no_forms(content_type):
    assert form_request(request(content_type)) is None
