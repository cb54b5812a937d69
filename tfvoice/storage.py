"""Files and folders of runs, conversions and exports: written atomically, by one process at a time.

A file is written under a temporary name in its own folder, flushed to the disk, renamed, and the folder is flushed
too: a process that is killed at any moment, or a machine that loses power, leaves the older file in place. Temporary
names are short, whatever the name of the file, and unique, so that two writers never share one.

What takes an `ObjectPath` takes the URL of an object in a store, too (`tfvoice.remote`). An object is written to the
disk first and then uploaded: clients publish what they have when a writer raises.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TypeAlias, TypeVar

from tfvoice import remote
from tfvoice.errors import TfvoiceError
from tfvoice.remote import ObjectPath

try:
    import fcntl
except ImportError:
    # Windows.
    fcntl = None

Place: TypeAlias = Path | ObjectPath
Item = TypeVar("Item")
Result = TypeVar("Result")

_TEMPORARY = ".tfvoice-"
_LOCK = ".lock"
# The object that marks a folder whose upload has not ended.
_UPLOAD = f"{_TEMPORARY}upload"
# A longer suffix is no file format; names have at most 255 bytes.
_LONGEST_SUFFIX = 16
_POLL_SECONDS = 0.1


class LockedError(TfvoiceError):
    """Another process holds the lock of a folder."""


def place(path: str | Path | ObjectPath) -> Place:
    """A path, or the URL of an object, as an object with the methods of `Path`; raises `RemoteError` as that."""
    return ObjectPath(str(path)) if remote.is_url(path) else Path(path)


def absolute(path: str | Path | ObjectPath) -> str:
    """The whole path, links resolved; a URL as it is."""
    return str(place(path)) if remote.is_url(path) else str(Path(path).resolve())


def read_text(path: str | Path | ObjectPath) -> str:
    """Reads a UTF-8 file or object; raises `OSError` or `UnicodeDecodeError`."""
    return place(path).read_text(encoding="utf-8")


def read_json(path: str | Path | ObjectPath) -> Any:
    """Reads a JSON file or object; raises `OSError`, or `ValueError` where it is not JSON."""
    return json.loads(read_text(path))


def size(path: Place) -> int:
    """Bytes of a file or object; raises `OSError`."""
    return path.size() if isinstance(path, ObjectPath) else path.stat().st_size


def sizes(folder: Place) -> dict[str, int]:
    """Bytes of all files below a folder, by their names in it."""
    if isinstance(folder, ObjectPath):
        return {name: int(facts["size"]) for name, facts in folder.files().items()}
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def mapped(function: Callable[[Item], Result], items: Iterable[Item], folder: Place) -> Iterable[Result]:
    """`function` of each item, in order; in an object store a few at once."""
    return remote.mapped(function, items) if isinstance(folder, ObjectPath) else map(function, items)


def sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def delete(paths: Iterable[Place]) -> None:
    """Deletes files, or objects of one store; those that do not exist are no error."""
    paths = list(paths)
    for _ in mapped(lambda path: path.unlink(missing_ok=True), paths, paths[0]) if paths else ():
        pass


def write(path: str | Path | ObjectPath, content: bytes | memoryview | str, flush: bool = True) -> None:
    """Writes a file or object atomically; text is written as UTF-8. `flush` is that of `writing`."""
    content = content.encode() if isinstance(content, str) else content
    if remote.is_url(path):
        place(path).write_bytes(bytes(content))
        return
    with writing(path, flush) as file:
        file.write(content)


def write_json(path: str | Path | ObjectPath, content: Any, indent: int | None = 2) -> None:
    """Writes indented JSON, with a line feed at the end."""
    write(path, json_text(content, indent))


def json_text(content: Any, indent: int | None = 2) -> str:
    """What `write_json` writes."""
    return json.dumps(content, indent=indent, ensure_ascii=False) + "\n"


@contextlib.contextmanager
def writing(path: str | Path | ObjectPath, flush: bool = True) -> Iterator[IO[bytes]]:
    """Opens a binary file for writing; the file appears under its name at the end of the `with`.

    After an exception inside the `with` nothing is left behind, and an older file of that name is untouched.

    Args:
      path: the file or object.
      flush: whether it must survive that the machine loses power.
    """
    if remote.is_url(path):
        with scratch() as folder:
            with _full_disk_named(), open(folder / "object", "xb") as file:
                yield file
            place(path).upload(folder / "object")
        return
    with _renamed(Path(path), "", flush) as temporary, open(temporary, "xb") as file:
        _try_lock(file.fileno())
        yield file
        file.flush()
        if flush:
            os.fsync(file.fileno())


@contextlib.contextmanager
def staged(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path for another library to write to; it is renamed to `path` at the end of the `with`.

    The temporary name keeps the suffix of `path`, because encoders choose a format by it. It is not protected from
    `remove_leftovers`: use it only where this process holds the lock, or where nothing is locked.
    """
    suffix = Path(path).suffix
    with _renamed(Path(path), suffix if len(suffix.encode()) <= _LONGEST_SUFFIX else "") as temporary:
        yield temporary
        _flush(temporary)


@contextlib.contextmanager
def staged_folder(path: str | Path | ObjectPath, overwrite: bool = False, last: str = "") -> Iterator[Path]:
    """Yields an empty temporary folder to fill; it is renamed to `path` at the end of the `with`.

    After an exception, inside the `with` or while renaming, the older folder is in place and nothing else is left.
    A folder cannot be replaced in one step: a process that is killed between the two renames leaves the older folder
    and the new one, both complete, under temporary names beside `path`.

    In an object store the files are uploaded at the end of the `with`, the last one when all others are there; what
    was there before is replaced. Of a process that is killed meanwhile, `is_partial` is true.

    Args:
      path: the folder.
      overwrite: whether to replace a folder that is not empty.
      last: in an object store, the name of the file by which the folder is known to be complete.

    Raises:
      OSError: `path` is not empty and `overwrite` is false, or the disk is full.
    """
    if remote.is_url(path):
        with scratch() as folder:
            with _full_disk_named():
                yield folder
            _publish(folder, place(path), last)
        return
    # The folder that a link leads to is replaced, not the link.
    path = Path(os.path.realpath(path))
    temporary, old = _temporary(path, ""), _temporary(path, "")
    temporary.mkdir(parents=True)
    try:
        with _held(temporary):
            yield temporary
            _flush_tree(temporary)
        if overwrite and path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except BaseException:
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise
    finally:
        for folder in (temporary, old):
            shutil.rmtree(folder, ignore_errors=True)


def is_partial(folder: Place) -> bool:
    """Whether an upload of `staged_folder` was interrupted here."""
    return isinstance(folder, ObjectPath) and (folder / _UPLOAD).is_file()


def _publish(folder: Path, target: ObjectPath, last: str) -> None:
    new = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    before = target.files()
    (target / _UPLOAD).write_bytes(b"")
    (target / last).unlink(missing_ok=True)
    for _ in remote.mapped(lambda name: (target / name).upload(new[name]), sorted(new.keys() - {last})):
        pass
    delete(target / name for name in before.keys() - new.keys() - {_UPLOAD})
    (target / last).upload(new[last])
    (target / _UPLOAD).unlink()


@contextlib.contextmanager
def _full_disk_named() -> Iterator[None]:
    """Says that a full disk is that of temporary files: the file that is being written is an object."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename is None:
            folder = tempfile.gettempdir()
            error.strerror = f"{error.strerror} in {folder}, where it is written first; TMPDIR names another folder"
            error.filename = folder
        raise


@contextlib.contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """Yields an empty temporary folder, which is deleted at the end of the `with`.

    Args:
      parent: made where it does not exist; `remove_leftovers(parent)` deletes what killed processes left in it. None:
        the folder of the system, `TMPDIR`.
    """
    if parent is None:
        with tempfile.TemporaryDirectory(prefix="tfvoice-") as folder:
            yield Path(folder)
        return
    folder = _temporary(parent / "any", "")
    folder.mkdir(parents=True)
    try:
        with _held(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def local_file(path: Place) -> Iterator[Path]:
    """Yields the path of a file; of an object, that of a copy, which is deleted at the end of the `with`."""
    if isinstance(path, Path):
        yield path
        return
    with scratch() as folder:
        path.download(folder / path.name)
        yield folder / path.name


@contextlib.contextmanager
def locked(folder: str | Path | ObjectPath, writer: str, wait: bool = False) -> Iterator[None]:
    """Holds the lock of a folder, which is created where it does not exist, during the `with`.

    The system releases the lock of a process that dies. Temporary files that killed processes left in the folder and
    in the folders directly below are deleted first. An object store has no locks: there, this does nothing.

    Args:
      folder: the folder.
      writer: name of the command that writes there, for the error message.
      wait: whether to wait until another process releases it, instead of raising.

    Raises:
      LockedError: another process holds the lock.
      OSError: the folder cannot be created or written to.
    """
    if remote.is_url(folder):
        yield
        return
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(folder / _LOCK, wait)
    if descriptor is None:
        raise LockedError(f"{folder}: another {writer} is writing here; wait until it ends.")
    try:
        remove_leftovers(folder)
        yield
    finally:
        # Deleted while still held: see `_acquire`. Windows deletes no open file.
        with contextlib.suppress(OSError):
            os.unlink(folder / _LOCK)
        os.close(descriptor)


@contextlib.contextmanager
def locked_file(path: Path) -> Iterator[None]:
    """Holds a lock of this name during the `with`; waits until another process or thread releases it."""
    descriptor = _acquire(path, wait=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.close(descriptor)


def held_file(path: Path) -> IO[bytes]:
    """Makes a file for which `is_held` is true until it is closed, or its process dies."""
    file = open(path, "wb")  # noqa: SIM115 - the caller's to close
    _try_lock(file.fileno())
    return file


def is_held(path: Path) -> bool:
    """Whether a process has a file of `held_file` open."""
    with _held(path) as free:
        return not free


def remove_leftovers(folder: str | Path | ObjectPath) -> None:
    """Deletes temporary files that killed writers left in a folder and in the folders directly below it.

    Those of `writing` and `staged_folder` are locked while they are written: evaluation, for example, can write its
    report while training starts.
    """
    if remote.is_url(folder):
        return
    for pattern in (f"{_TEMPORARY}*", f"*/{_TEMPORARY}*"):
        for path in Path(folder).glob(pattern):
            with contextlib.suppress(OSError), _held(path) as free:
                if free:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def walk(folder: str | Path, links: bool = True) -> Iterator[tuple[str, list[str]]]:
    """Yields a folder and each one below it, with the sorted names of its files.

    Names that begin with a dot are not there: macOS leaves a `._x` beside each x on foreign disks. A folder that cannot
    be read is skipped, with a warning in the log.

    Args:
      folder: where to start; its own name may begin with a dot.
      links: whether to follow links to folders. Each real folder is visited once, whatever links lead to it.
    """
    visited = set()
    for place, folders, names in os.walk(folder, onerror=_warn, followlinks=links):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        # A linked folder is called by its own name where both are here.
        folders.sort(key=lambda name: (os.path.islink(os.path.join(place, name)), name))
        folders[:] = filter(is_visible, folders)
        yield place, sorted(filter(is_visible, names))


def _warn(error: OSError) -> None:
    logging.warning("%s: skipped, because this folder cannot be read (%s)", error.filename, error.strerror)


def is_visible(name: str) -> bool:
    """Whether a file or folder is no hidden one."""
    return not name.startswith(".")


def is_internal(name: str) -> bool:
    """Whether a file name is that of a lock or of a temporary file of this module."""
    return name == _LOCK or name.startswith(_TEMPORARY)


def _acquire(path: Path, wait: bool = False) -> int | None:
    """Opens and locks a lock file; None where another process holds it, and it is not to be waited for."""
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
        if not _try_lock(descriptor):
            os.close(descriptor)
            if not wait:
                return None
            time.sleep(_POLL_SECONDS)
            continue
        # The last holder may have deleted the file after it was opened here; a lock on it would exclude nothing.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)


@contextlib.contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Holds a lock on a file or folder itself; yields whether no other process holds it."""
    if fcntl is None:
        yield True
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    """Locks an open file until it is closed; False where another process holds the lock."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # Some network file systems have no locks.
        return True
    return True


def _temporary(path: Path, suffix: str) -> Path:
    return path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}{suffix}")


@contextlib.contextmanager
def _renamed(path: Path, suffix: str, flush: bool = True) -> Iterator[Path]:
    temporary = _temporary(path, suffix)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        # That of a full disk names no file, and others name the temporary one.
        if error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    if flush:
        _flush_folder(path.parent)


def _flush(path: Path) -> None:
    # Windows flushes only files that are open for writing; elsewhere read-only files are flushed too.
    with open(path, "rb" if os.name == "posix" else "r+b") as file:
        os.fsync(file.fileno())


def _flush_tree(folder: Path) -> None:
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            _flush(Path(place) / name)
        _flush_folder(Path(place))


def _flush_folder(path: Path) -> None:
    # Windows cannot open a folder.
    with contextlib.suppress(PermissionError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network file systems flush files only.
            if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)
