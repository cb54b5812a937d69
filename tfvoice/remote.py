"""Objects in stores, `gs://` and `s3://`, by fsspec: the only module that knows it, and only where a URL is named.

`ObjectPath` has the methods of `pathlib.Path` that the library needs of a folder, and no others: a store cannot rename,
lock or append. What is written appears whole or not at all. Listings are never cached, since other machines write too.

Every error of a client library becomes an `OSError` with the URL as its file name, so that callers handle an object as
they handle a file.
"""

import contextlib
import errno
import functools
import io
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar

from tfvoice.errors import TfvoiceError

# The extra of tfvoice that brings the client of each scheme.
EXTRAS = {"gs": "gs", "s3": "s3"}
# A request takes some 10 to 100 ms, nearly all of it waiting.
REQUESTS_AT_ONCE = 16
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

Item = TypeVar("Item")
Result = TypeVar("Result")


class RemoteError(TfvoiceError):
    """A URL of a scheme that is not known, or whose client is not installed."""


def is_url(path: object) -> bool:
    """Whether this names something by a URL, of any scheme."""
    return isinstance(path, ObjectPath) or (isinstance(path, str) and bool(_URL.match(path)))


def mapped(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yields `function(item)` for each item, in order; a few are computed at once, because each waits for a store."""
    pending: deque[Future] = deque()
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > REQUESTS_AT_ONCE:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


class ObjectPath:
    """The URL of an object, or of a folder: of all objects whose names begin with it and a slash.

    Args:
      url: such as `s3://bucket/folder`.

    Raises:
      RemoteError: the scheme is not known, or its client is not installed.
    """

    def __init__(self, url: str):
        self._url = url.rstrip("/")
        scheme = _URL.match(url).group(1).lower()
        if scheme not in EXTRAS:
            known = " and ".join(f"{name}://" for name in EXTRAS)
            fact = f"tfvoice knows {known}, and no {scheme}://"
            raise RemoteError(f"{url}: {fact}; copy it to this machine, and name that.")
        try:
            self._store = _filesystem(scheme, os.getpid())
        except ImportError:
            raise RemoteError(f"{url}: {scheme}:// needs pip install 'tfvoice[{EXTRAS[scheme]}]'.") from None

    def __str__(self) -> str:
        return self._url

    def __repr__(self) -> str:
        return f"ObjectPath({self._url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and str(other) == str(self)

    def __hash__(self) -> int:
        return hash(self._url)

    def __lt__(self, other: "ObjectPath") -> bool:
        return str(self) < str(other)

    def __truediv__(self, name: str) -> "ObjectPath":
        return ObjectPath(name if is_url(name) else f"{self._url}/{name}")

    @property
    def name(self) -> str:
        """The part after the last slash."""
        return self._url.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot on."""
        return Path(self.name).suffix

    @property
    def parent(self) -> "ObjectPath":
        """The folder; of a bucket, itself."""
        folder = self._url.rpartition("/")[0]
        return self if folder.endswith(":/") else ObjectPath(folder)

    def with_suffix(self, suffix: str) -> "ObjectPath":
        """The same with another suffix."""
        return self.parent / Path(self.name).with_suffix(suffix).name

    def exists(self) -> bool:
        """Whether there is such an object or folder."""
        with explained(self._url):
            return self._store.exists(self._url)

    def is_file(self) -> bool:
        """Whether there is such an object."""
        with explained(self._url):
            return self._store.isfile(self._url)

    def is_dir(self) -> bool:
        """Whether there is an object in this folder."""
        with explained(self._url):
            return self._store.isdir(self._url)

    def iterdir(self) -> Iterator["ObjectPath"]:
        """The objects and folders in this folder; none where it does not exist."""
        with contextlib.suppress(FileNotFoundError), explained(self._url):
            names = {entry.rstrip("/").rpartition("/")[2] for entry in self._store.ls(self._url, detail=False)}
            # Some tools mark a folder by an object of its own name.
            own = {name for name in names if name in ("", self.name) and not self._store.exists(f"{self._url}/{name}")}
            yield from (self / name for name in sorted(names - own))

    def files(self) -> dict[str, dict[str, Any]]:
        """All objects below this folder, by their name in it: what the store states about each, `size` in bytes."""
        with explained(self._url):
            root = self._store._strip_protocol(self._url).rstrip("/") + "/"
            found = self._store.find(self._url, detail=True)
            return {path.removeprefix(root): facts for path, facts in found.items() if path.startswith(root)}

    def size(self) -> int:
        """Bytes of the object."""
        with explained(self._url):
            return int(self._store.info(self._url)["size"])

    def read_bytes(self, end: int | None = None) -> bytes:
        """The content, or its first bytes up to `end`."""
        try:
            with explained(self._url):
                # With a start, s3fs does not ask for the size first.
                return self._store.cat_file(self._url, start=0, end=end)
        except OSError as error:
            # S3 has no part of an object that is empty.
            if error.errno != errno.EINVAL or self.size():
                raise
            return b""

    def read_text(self, encoding: str = "utf-8") -> str:
        """The content as text."""
        return self.read_bytes().decode(encoding)

    def open(self, encoding: str, newline: str | None = None) -> IO[str]:
        """The content as an open text file."""
        return io.TextIOWrapper(io.BytesIO(self.read_bytes()), encoding=encoding, newline=newline)

    def write_bytes(self, content: bytes) -> None:
        """Replaces the content."""
        with explained(self._url):
            self._store.pipe_file(self._url, content)

    def create(self, content: bytes) -> None:
        """Writes an object that must not exist; of several writers at once, one succeeds.

        S3 and GCS guarantee that; a store that ignores the condition of a request replaces the object.

        Raises:
          FileExistsError: it exists.
        """
        with explained(self._url):
            self._store.pipe_file(self._url, content, mode="create")

    def upload(self, source: str | Path) -> None:
        """Replaces the content by that of a local file."""
        with explained(self._url):
            self._store.put_file(str(source), self._url)

    def download(self, target: str | Path) -> None:
        """Writes the content to a local file."""
        with explained(self._url):
            self._store.get_file(self._url, str(target))

    def unlink(self, missing_ok: bool = False) -> None:
        """Deletes the object."""
        with contextlib.suppress(*[FileNotFoundError] * missing_ok), explained(self._url):
            self._store.rm_file(self._url)

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a folder exists where an object is in it."""


@contextlib.contextmanager
def explained(url: str) -> Iterator[None]:
    """Turns the errors of client libraries into an `OSError` that names the URL."""
    try:
        yield
    except OSError as error:
        if error.filename and error.strerror and not is_url(error.filename):
            # Of a local file.
            raise
        number = error.errno or _errno(error)
        raise OSError(number, _text(error, number), url) from error
    except RemoteError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, _text(error, errno.EIO), url) from error


def _errno(error: OSError) -> int:
    known = {FileNotFoundError: errno.ENOENT, FileExistsError: errno.EEXIST, PermissionError: errno.EACCES}
    return next((number for kind, number in known.items() if isinstance(error, kind)), errno.EIO)


def _text(error: Exception, number: int) -> str:
    if number in (errno.ENOENT, errno.EEXIST, errno.ENOSPC, errno.EDQUOT):
        return os.strerror(number)
    lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


@functools.lru_cache
def _filesystem(scheme: str, process: int) -> Any:
    """The file system of fsspec for a scheme; threads share it, and a forked process has its own."""
    import fsspec

    return fsspec.filesystem(scheme, use_listings_cache=False)
