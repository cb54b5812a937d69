"""The cache of this machine: shards and exported models of object stores, each downloaded once.

It is the folder `TFVOICE_CACHE`, by default `tfvoice` in the cache of the user. Its shards have at most
`TFVOICE_CACHE_GB` (100 by default). A shard is called by its sha256, which is verified before it appears: one that was
changed is another file, and what is there needs no look at the store. Where room is needed, those go first that were
not used for longest; what a living process uses stays. Each process lists that in a file which it keeps locked.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from tqdm import tqdm

from tfvoice import remote, storage
from tfvoice.errors import TfvoiceError
from tfvoice.remote import ObjectPath

FOLDER = "TFVOICE_CACHE"
LIMIT = "TFVOICE_CACHE_GB"
_DEFAULT_GB = 100.0
_IN_USE = "in-use-"
_PARTIAL = "partial-"
# What this process uses, by the file that lists it, which is open and so locked until the process ends.
_used: dict[IO[bytes], set["Digest"]] = {}


class CacheError(TfvoiceError):
    """An object that is not what its description states, or a cache without room."""


class Digest(NamedTuple):
    """What identifies the content of a file."""

    sha256: str
    bytes: int


def folder() -> Path:
    """Where the cache is."""
    parent = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(FOLDER) or Path(parent, "tfvoice"))


def limit_bytes() -> int:
    """The largest size of all shards; raises `CacheError` where the setting is no number."""
    text = os.environ.get(LIMIT) or str(_DEFAULT_GB)
    with contextlib.suppress(ValueError):
        if float(text) > 0:
            return int(float(text) * 1e9)
    raise CacheError(f"{LIMIT}={text}: write a number of gigabytes, for example {LIMIT}=100.")


def path(sha256: str) -> Path:
    """Where a shard is, once `shards` has copied it."""
    return folder() / "shards" / sha256


def shards(directory: ObjectPath, wanted: Mapping[str, Digest]) -> None:
    """Copies whole shards to this machine, as far as they are not here; they stay until the process ends.

    Args:
      directory: their folder in a store.
      wanted: what identifies each of them, by name.

    Raises:
      CacheError: there is no room, or a shard is missing or is another one than the manifest states.
      OSError: the store cannot be reached.
    """
    place = folder() / "shards"
    with _explained(place):
        place.mkdir(parents=True, exist_ok=True)
        with storage.locked(place, "tfvoice", wait=True):
            _hold(place, wanted.values())
            missing = {name: digest for name, digest in wanted.items() if not _is_here(digest)}
            total = sum(digest.bytes for digest in missing.values())
            _make_room(place, total)
        described = {"desc": f"to {place}", "unit": "B", "unit_scale": True}
        with tqdm(total=total, disable=None if missing else True, **described) as bar:
            for size in remote.mapped(lambda name: _fetch(directory / name, place, wanted[name]), missing):
                bar.update(size)
    for digest in wanted.values():
        os.utime(path(digest.sha256))


def tree(source: ObjectPath) -> Path:
    """Copies a folder to this machine, unless it is here as it is in the store; returns the copy.

    The last two parts of its path are those of the URL, since a server names a model by them. Copies of older states of
    the same folder are deleted.

    Raises:
      CacheError: there is no room.
      OSError: the store cannot be reached.
    """
    files = {name: facts for name, facts in source.files().items() if not storage.is_internal(Path(name).name)}
    state = hashlib.sha256(json.dumps(files, sort_keys=True, default=str).encode()).hexdigest()[:16]
    place = folder() / "models" / hashlib.sha256(str(source).encode()).hexdigest()[:16]
    target = place / state / source.parent.name / source.name
    with _explained(place), storage.locked(place, "tfvoice", wait=True):
        if not target.is_dir():
            with storage.staged_folder(place / state) as temporary:
                download(source, files, temporary / source.parent.name / source.name)
        for old in place.iterdir():
            if old.name != state and old.is_dir():
                shutil.rmtree(old, ignore_errors=True)
    return target


def download(source: ObjectPath, names: Iterable[str], target: Path) -> None:
    """Copies objects of a folder, by their names in it, to a local folder; raises `OSError`."""

    def fetch(name: str) -> None:
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        (source / name).download(copy)

    target.mkdir(parents=True, exist_ok=True)
    for _ in remote.mapped(fetch, names):
        pass


def _is_here(digest: Digest) -> bool:
    shard = path(digest.sha256)
    return shard.is_file() and shard.stat().st_size == digest.bytes


def _fetch(source: ObjectPath, place: Path, digest: Digest) -> int:
    """Downloads a shard, unless another process does it meanwhile; returns its size."""
    with storage.locked_file(place / f".{digest.sha256}.lock"):
        if _is_here(digest):
            return digest.bytes
        partial = place / f"{_PARTIAL}{digest.sha256}"
        try:
            source.download(partial)
            if storage.sha256(partial) != digest.sha256:
                raise CacheError(
                    f"{source}: this shard is not the one that the manifest describes (sha256 differs); convert the "
                    f"corpus again with tfvoice_convert --overwrite --output={source.parent}"
                )
            os.replace(partial, path(digest.sha256))
        except FileNotFoundError:
            raise CacheError(f"{source}: this shard is missing; convert the corpus again.") from None
        finally:
            partial.unlink(missing_ok=True)
    return digest.bytes


def _hold(place: Path, wanted: Iterable[Digest]) -> None:
    """Lists shards as used by this process."""
    new = set(wanted).difference(*_used.values())
    if new:
        file = storage.held_file(place / f"{_IN_USE}{os.getpid()}-{len(_used)}")
        file.write("".join(f"{digest.sha256} {digest.bytes}\n" for digest in new).encode())
        file.flush()
        _used[file] = new


def _in_use(place: Path) -> dict[str, int]:
    """Names and bytes of the shards that living processes use; deletes the lists of the others."""
    used: dict[str, int] = {}
    for file in place.glob(f"{_IN_USE}*"):
        if storage.is_held(file):
            used.update((name, int(size)) for name, size in map(str.split, file.read_text().splitlines()))
        else:
            file.unlink(missing_ok=True)
    return used


def _make_room(place: Path, missing: int) -> None:
    """Deletes shards that no process uses, until those that are used are within the limit.

    Args:
      place: the folder of the shards.
      missing: bytes to be downloaded.
    """
    limit, used = limit_bytes(), _in_use(place)
    needed = sum(used.values())
    if needed > limit:
        raise CacheError(
            f"{place}: the shards that are in use have {needed / 1e9:.2f} GB, more than {LIMIT}={limit / 1e9:g}; set "
            f"{LIMIT}={-(-needed // 10**9)} or more."
        )
    others = []
    for file in place.iterdir():
        # Another process may rename its download meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if not file.name.startswith((".", _IN_USE)) and file.name.removeprefix(_PARTIAL) not in used:
                others.append((file.stat().st_mtime, file.stat().st_size, file))
    total = needed + sum(size for _, size, _ in others)
    for _, size, file in sorted(others):
        if total > limit or missing > shutil.disk_usage(place).free:
            file.unlink()
            total -= size
    free = shutil.disk_usage(place).free
    if missing > free:
        raise _full(place, f"{missing / 1e9:.2f} GB of shards are needed and {free / 1e9:.2f} GB are free")


def _full(place: Path, fact: str) -> CacheError:
    return CacheError(f"{place}: {fact}; free some space, or name a folder on another disk with {FOLDER}=DIR.")


@contextlib.contextmanager
def _explained(place: Path) -> Iterator[None]:
    """The error of a full disk names the cache."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _full(place, os.strerror(error.errno)) from error
