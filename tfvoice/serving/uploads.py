"""Requests whose body is a form with files."""

from starlette.requests import Request

_MEDIA_TYPE = "multipart/form-data"


def form_request(request: Request) -> Request | None:
    """The request, for `Request.form`, where its body is a form with files; else None.

    Media types are the same in small and capital letters, but Starlette before 1.10 knows only small ones.
    """
    media_type, semicolon, boundary = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != _MEDIA_TYPE:
        return None
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
    headers.append((b"content-type", f"{_MEDIA_TYPE}{semicolon}{boundary}".encode("latin-1")))
    return Request({**request.scope, "headers": headers}, request.receive)
