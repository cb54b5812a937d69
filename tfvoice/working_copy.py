"""The folder of a run in an object store: a working copy on this machine, uploaded at each save.

A store has no appending, no renaming and no locks, and TensorFlow cannot write to one. So a run is downloaded, used in
a temporary folder of the cache, and what changed is uploaded whenever a checkpoint is saved (`saved`) and at the end.

The order of an upload makes a process that is killed at any moment resumable. Of a new run the description comes last:
without it there is no run, and what lies there is replaced. Of a run that is there it comes first, as on a disk.
`last`, from which training resumes, comes after `best`, which it counts on.

Of two trainings of one URL, the one that saved first stops at its next save: it finds the mark of the other.
"""

import contextlib
import logging
import os
import secrets
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from tfvoice import cache, remote, storage
from tfvoice.errors import TfvoiceError
from tfvoice.remote import ObjectPath

DESCRIPTION = "experiment.json"
# Whose process uploads.
_OWNER = ".owner"
_LAST = "checkpoints/last."
# What only people read: of an older process, it stays in the store.
_LEFT_THERE = ("logs/", "samples/")
# The working copies of this process.
_copies: dict[Path, "WorkingCopy"] = {}


class WorkingCopy:
    """A run of an object store on this machine.

    Args:
      source: its folder in the store.
      folder: an empty folder.
      fresh: whether to start without what is there.
      written: patterns of the files that a run writes beside its description, by `fnmatch`.
    """

    def __init__(self, source: ObjectPath, folder: Path, fresh: bool, written: tuple[str, ...]):
        self._source, self._folder, self._written = source, folder, written
        self._exists = not fresh and (source / DESCRIPTION).is_file()
        self._token = secrets.token_hex(8)
        self._owned = False
        # Whether a checkpoint was saved, so that there is something to upload.
        self.is_saved = False
        if self._exists:
            cache.download(source, [name for name in source.files() if _is_needed(name)], folder)
        self._known = self._state()

    def upload(self) -> None:
        """Uploads what changed since the last time.

        Raises:
          TfvoiceError: another process has uploaded meanwhile.
          OSError: the store cannot be reached.
        """
        state = self._state()
        if DESCRIPTION not in state or (state == self._known and self._owned):
            return
        self._claim()
        if not self._exists:
            self._clear()
        changed = [name for name in state if not self._exists or state[name] != self._known.get(name)]
        for name in sorted(changed, key=self._order):
            (self._source / name).upload(self._folder / name)
        storage.delete(self._source / name for name in self._known.keys() - state.keys())
        self._exists, self._known = True, state

    def save(self) -> None:
        """`upload` after a save: a store that cannot be reached is tried again at the next one."""
        self.is_saved = True
        try:
            self.upload()
        except OSError as error:
            logging.warning("%s: not uploaded (%s); the next save uploads it", self._source, error.strerror)

    def _order(self, name: str) -> tuple[int, str]:
        if name == DESCRIPTION:
            return (0 if self._exists else 3), name
        return (2 if name.startswith(_LAST) else 1), name

    def _claim(self) -> None:
        """Marks the run as that of this process; raises where another one has marked it since."""
        mark = self._source / _OWNER
        if not self._owned:
            storage.write(mark, self._token)
            self._owned = True
        elif storage.read_text(mark) != self._token:
            raise TfvoiceError(
                f"{self._source}: another tfvoice_train has started to write here, so this one stops; the same command "
                "resumes the run of that one."
            )

    def _clear(self) -> None:
        """Deletes an older run, or the pieces of an upload that was interrupted."""
        (self._source / DESCRIPTION).unlink(missing_ok=True)
        names = [name for name in self._source.files() if any(fnmatch(name, pattern) for pattern in self._written)]
        storage.delete(self._source / name for name in names)

    def _state(self) -> dict[str, tuple[int, int]]:
        """Size and time of each file, by its name."""
        state = {}
        for place, _, names in os.walk(self._folder):
            for name in names:
                if not storage.is_internal(name):
                    path = Path(place, name)
                    status = path.stat()
                    state[path.relative_to(self._folder).as_posix()] = (status.st_size, status.st_mtime_ns)
        return state


def saved(folder: Path) -> None:
    """Uploads what changed in the folder of a run, if it is a working copy."""
    if folder in _copies:
        _copies[folder].save()


@contextlib.contextmanager
def of_run(run_dir: str | Path, fresh: bool, written: tuple[str, ...]) -> Iterator[str | Path]:
    """Yields the folder of a run; of one in an object store, a working copy, which is deleted at the end of the `with`.

    Where its last upload fails, the copy is kept, and the error names it. Errors name the URL instead of the copy.

    Args:
      run_dir: the folder, or its URL.
      fresh: whether an older run there is to be replaced.
      written: as for `WorkingCopy`.

    Raises:
      OSError: the store cannot be reached.
    """
    if not remote.is_url(run_dir):
        yield run_dir
        return
    source, parent = storage.place(run_dir), cache.folder() / "runs"
    storage.remove_leftovers(parent)
    with storage.scratch(parent) as place:
        # Reports call a run by its folder.
        folder = place / source.name
        folder.mkdir()
        copy = _copies[folder] = WorkingCopy(source, folder, fresh, written)
        try:
            try:
                yield folder
            finally:
                if copy.is_saved:
                    _upload_last(copy, source, folder, parent)
        except TfvoiceError as error:
            error.args = tuple(str(text).replace(str(folder), str(source)) for text in error.args)
            raise
        finally:
            del _copies[folder]


def _upload_last(copy: WorkingCopy, source: ObjectPath, folder: Path, parent: Path) -> None:
    try:
        copy.upload()
    except OSError as error:
        kept = parent / f"{source.name}-{secrets.token_hex(4)}"
        os.replace(folder, kept)
        raise TfvoiceError(
            f"{source}: the end of the run was not uploaded ({error.strerror}); it is in {kept}, and --run={kept} "
            "resumes it."
        ) from error


def _is_needed(name: str) -> bool:
    return not name.startswith(_LEFT_THERE) and not storage.is_internal(Path(name).name) and name != _OWNER
