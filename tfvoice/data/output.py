"""The output folder of a conversion: which conversion it belongs to, what is finished, and what remains to be done.

`.progress/` holds the settings and, for each shard, the partition of the plan from which any process can write it. A
shard and its index are written atomically; a small JSON file in `.progress/` then records that they are finished.
`manifest.json` comes last and `.progress/` is deleted, so that at every moment a folder is either complete, or visibly
unfinished and ready to be resumed.

The folder can be one of an object store. There, `.progress/plan.json` takes the place of the lock: it is created only
where there is none, so that of two different conversions that start at once one is refused. Two equal ones do the same
work and write the same bytes.
"""

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tfvoice import config, storage
from tfvoice.data import planning, records, shard_index, shards
from tfvoice.data.corpora.base import Skip, Utterance
from tfvoice.data.planning import ConversionPlan, PlannedShard
from tfvoice.data.shard_index import IndexEntry
from tfvoice.data.shards import ConversionConfig, Manifest, Shard, ShardError
from tfvoice.remote import ObjectPath
from tfvoice.storage import LockedError, Place

PROGRESS = ".progress"

_PLAN = "plan.json"
# How the names of files begin that the tasks of an engine read before there is a plan.
HEADERS = "headers-"

_OUTPUT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*-\d{5}-of-\d{5}(\.tfrecord|\.index\.jsonl)")


@dataclass(frozen=True)
class EncodedUtterance:
    """An utterance ready to be written: its framed record, and what the index and the manifest state about it."""

    frame: bytes
    id: str
    speaker: str
    text: str
    samples: int
    peak: float
    clipped: bool


class ConversionOutput:
    """An output folder, locked by this process until `close`.

    Attributes:
      directory: the folder.
      complete: its manifest, where the same conversion was finished before.
    """

    def __init__(self, directory: str | Path, plan: ConversionPlan, overwrite: bool, command: str = "tfvoice_convert"):
        """Locks the folder and finds out how far the same conversion got before.

        Args:
          directory: created where it does not exist; or the URL of one.
          plan: of the conversion.
          overwrite: delete a finished conversion, or an unfinished one that differs.
          command: that writes, for the message of a process that waits.

        Raises:
          ShardError: the folder holds other files or another conversion, or cannot be written to.
          LockedError: another process is converting into the folder.
        """
        self.directory = storage.place(directory)
        self._command = command
        self._progress = self.directory / PROGRESS
        self._plan = plan
        self.complete: Manifest | None = None
        self._lock = contextlib.ExitStack()
        self._lock.enter_context(progress_folder(self.directory, command))
        try:
            self._take_over(overwrite)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Unlocks the folder; what is finished stays."""
        if isinstance(self.directory, ObjectPath):
            # Without a lock, a plan that has no shards yet may be that of another process.
            with contextlib.suppress(OSError):
                if (self.directory / shards.MANIFEST).exists():
                    storage.delete(self._progress.iterdir())
            return
        unfinished = self._outputs() and (self._progress / _PLAN).exists()
        if (self.directory / shards.MANIFEST).exists() or not unfinished:
            shutil.rmtree(self._progress, ignore_errors=True)
        # Of worker processes that were killed.
        storage.remove_leftovers(self.directory)
        self._lock.close()

    def finished(self, shard: PlannedShard) -> tuple[Shard, list[Skip]] | None:
        """`finished` of a shard of this folder."""
        return finished(self.directory, shard.name)

    def all_finished(self) -> list[tuple[Shard, list[Skip]] | None]:
        """`finished` of each shard of the plan."""
        there = {path.name for path in self._progress.iterdir()}

        def entry(shard: PlannedShard) -> tuple[Shard, list[Skip]] | None:
            return self.finished(shard) if _progress(self.directory, shard.name).name in there else None

        return list(storage.mapped(entry, self._plan.shards, self.directory))

    def write_partitions(self, todo: Iterable[PlannedShard]) -> None:
        """Writes the partitions of the plan for shards that are to be written."""
        names = {shard.name for shard in todo}
        wanted = ((shard.name, partition) for shard, partition in self._plan.partitions() if shard.name in names)

        def write(pair: tuple[str, str]) -> None:
            # The command that resumes writes it again.
            storage.write(_partition(self.directory, pair[0]), pair[1], flush=False)

        for _ in storage.mapped(write, wanted, self.directory):
            pass

    def write(self, shard: PlannedShard, results: Iterable[list]) -> tuple[Shard, list[Skip]]:
        """`write_shard` of this folder."""
        return write_shard(self.directory, shard.name, self._plan.settings.sample_rate_hz, results)

    def write_skipped(self, skipped: list[Skip]) -> Place:
        """Writes `skipped.jsonl`, one JSON object for each Skip; returns its path."""
        path = self.directory / shards.SKIPPED
        storage.write(path, "".join(json.dumps(asdict(skip)) + "\n" for skip in skipped))
        return path

    def read_skipped(self) -> list[Skip]:
        """What a finished conversion has written to `skipped.jsonl`."""
        lines = (self.directory / shards.SKIPPED).read_text(encoding="utf-8").splitlines()
        return [Skip(**json.loads(line)) for line in lines]

    def write_manifest(self, manifest: Manifest) -> None:
        """Writes `manifest.json`, which makes the folder complete."""
        storage.write(self.directory / shards.MANIFEST, config.to_json(manifest) + "\n")

    def _take_over(self, overwrite: bool) -> None:
        fingerprint = self._plan.fingerprint
        earlier = self._earlier()
        if earlier is not None:
            settings, same, done = earlier[0], earlier[1] == fingerprint, earlier[2]
            if overwrite and (done or not same):
                self._delete()
            elif not same:
                raise ShardError(self._refusal(settings))
            elif (self.directory / shards.MANIFEST).exists():
                self.complete = shards.read_manifest(self.directory)
                return
        state = {"fingerprint": fingerprint, "settings": self._plan.settings.model_dump(mode="json")}
        path = self._progress / _PLAN
        if not isinstance(path, ObjectPath):
            storage.write_json(path, state)
            return
        try:
            path.create(storage.json_text(state).encode())
        except FileExistsError:
            if storage.read_json(path)["fingerprint"] != fingerprint:
                fact = f"another {self._command} has just started here"
                raise LockedError(f"{self.directory}: {fact}; name another folder with --output.") from None

    def _earlier(self) -> tuple[dict, str, bool] | None:
        """Settings and fingerprint of an earlier conversion, and whether all its shards are finished."""
        if (self.directory / shards.MANIFEST).exists():
            values = storage.read_json(self.directory / shards.MANIFEST)
            return values.get("settings", {}), values["fingerprint"], True
        is_planned = isinstance(self.directory, ObjectPath) and (self._progress / _PLAN).exists()
        if not self._outputs() and not is_planned:
            self._delete()
            return None
        try:
            values = storage.read_json(self._progress / _PLAN)
        except (OSError, ValueError):
            return {}, "", False
        done = all(self.all_finished())
        return values["settings"], values["fingerprint"], done

    def _outputs(self) -> list[Place]:
        """Shards and their indices."""
        return [path for path in self.directory.iterdir() if _OUTPUT_NAME.fullmatch(path.name)]

    def _refusal(self, settings: dict) -> str:
        before, now = config.flatten(settings), config.flatten(self._plan.settings.model_dump(mode="json"))
        keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        changes = ", ".join(f"{key} {before.get(key)} -> {now.get(key)}" for key in keys)
        state = "a finished" if (self.directory / shards.MANIFEST).exists() else "an unfinished"
        if not settings:
            fact = "shards of an unknown conversion are here"
        elif changes:
            fact = f"{state} conversion with other flags is here ({changes})"
        else:
            fact = f"{state} conversion of other audio or texts is here"
        return f"{self.directory}: {fact}; replace it with --overwrite, or name another folder with --output."

    def _delete(self) -> None:
        """Deletes the files that a conversion writes, and no others."""
        # First of all: without it, nothing takes the rest for a complete conversion.
        (self.directory / shards.MANIFEST).unlink(missing_ok=True)
        # In an object store, headers may be those of another process.
        progress = [path for path in self._progress.iterdir() if path.is_file() and not path.name.startswith(HEADERS)]
        storage.delete([self.directory / shards.SKIPPED, *self._outputs(), *progress])


@contextlib.contextmanager
def progress_folder(directory: str | Path | ObjectPath, command: str = "tfvoice_convert") -> Iterator[Place]:
    """Inside the `with`, an output folder is locked and has its `.progress/`, which is returned.

    Raises:
      ShardError, LockedError: as for `ConversionOutput`.
    """
    directory = storage.place(directory)
    with contextlib.ExitStack() as lock:
        try:
            _refuse_foreign_files(directory)
            lock.enter_context(storage.locked(directory, command))
            (directory / PROGRESS).mkdir(exist_ok=True)
        except OSError as error:
            raise ShardError(f"{directory}: cannot write here ({error.strerror}); choose another --output.") from None
        yield directory / PROGRESS


def finished(directory: str | Path, name: str) -> tuple[Shard, list[Skip]] | None:
    """Returns a shard that was finished before with its index, and what was skipped in it; else None."""
    path = storage.place(directory) / name
    try:
        entry = storage.read_json(_progress(directory, name))
        if storage.size(path) != entry["shard"]["bytes"]:
            return None
        shard_index.read(path, entry["shard"]["sha256"])
    except (OSError, ValueError, shard_index.ShardIndexError):
        return None
    return config.build(Shard, entry["shard"]), [Skip(**skip) for skip in entry["skipped"]]


def read_partition(directory: str | Path, name: str, fingerprint: str) -> tuple[ConversionConfig, list[Utterance]]:
    """Reads what determines a shard: the settings and its utterances, in order.

    Args:
      directory: the output folder.
      name: of the shard.
      fingerprint: of the plan that it is to be written for.

    Raises:
      ShardError: the folder now belongs to another conversion.
    """
    settings = read_settings(directory, fingerprint)
    return settings, planning.parse_partition(storage.read_text(_partition(directory, name)))


def read_settings(directory: str | Path, fingerprint: str) -> ConversionConfig:
    """Reads the settings of the conversion with this fingerprint; errors as for `read_partition`."""
    state = storage.read_json(storage.place(directory) / PROGRESS / _PLAN)
    if state["fingerprint"] != fingerprint:
        raise ShardError(f"{directory}: this folder was given to another conversion; name another one with --output.")
    return config.build(ConversionConfig, state["settings"])


def write_shard(
    directory: str | Path, name: str, sample_rate_hz: int, results: Iterable[list]
) -> tuple[Shard, list[Skip]]:
    """Writes one shard and its index, and then that it is finished.

    Args:
      directory: the output folder.
      name: of the shard.
      sample_rate_hz: of its records.
      results: lists with an EncodedUtterance or a Skip for each utterance of the shard, in order.

    Returns:
      The finished shard, and what was skipped in it.
    """
    path = storage.place(directory) / name
    digest, offset = hashlib.sha256(), 0
    entries: list[IndexEntry] = []
    skipped: list[Skip] = []
    clipped = 0
    with storage.writing(path) as file:
        for result in _flat(results):
            if isinstance(result, Skip):
                skipped.append(result)
                continue
            file.write(result.frame)
            digest.update(result.frame)
            entries.append(_entry(result, offset))
            offset += len(result.frame)
            clipped += result.clipped
    done = Shard(
        name=name,
        sha256=digest.hexdigest(),
        bytes=offset,
        utterances=len(entries),
        seconds=round(sum(entry.samples / sample_rate_hz for entry in entries), 3),
        characters=sum(len(entry.text) for entry in entries),
        clipped=clipped,
    )
    shard_index.write(path, done.sha256, entries)
    progress = {"shard": done.model_dump(), "skipped": [asdict(skip) for skip in skipped]}
    storage.write_json(_progress(directory, name), progress)
    return done, skipped


def _progress(directory: str | Path | ObjectPath, name: str) -> Place:
    return storage.place(directory) / PROGRESS / f"{name}.json"


def _partition(directory: str | Path | ObjectPath, name: str) -> Place:
    return storage.place(directory) / PROGRESS / f"{name}.plan.jsonl"


def _entry(utterance: EncodedUtterance, frame_offset: int) -> IndexEntry:
    return IndexEntry(
        utterance.id,
        utterance.speaker,
        utterance.text,
        utterance.samples,
        frame_offset + records.HEADER_BYTES,
        len(utterance.frame) - records.HEADER_BYTES - records.FOOTER_BYTES,
        utterance.peak,
    )


def _refuse_foreign_files(directory: Place) -> None:
    if not directory.exists():
        return
    if not directory.is_dir():
        raise ShardError(f"{directory}: this is a file; name a folder with --output.")
    foreign = [path.name for path in sorted(directory.iterdir()) if not _is_ours(path)]
    if foreign:
        shown = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise ShardError(
            f"{directory}: this folder holds files that no conversion wrote ({shown}); name an empty one with --output."
        )


def _is_ours(path: Place) -> bool:
    """Whether a conversion wrote this file."""
    if path.name == shards.MANIFEST:
        try:
            values = storage.read_json(path)
        except (OSError, ValueError):
            return False
        return isinstance(values, dict) and {"schema_version", "fingerprint"} <= values.keys()
    # Versions up to 0.1.0 wrote to the last two first.
    known = {shards.SKIPPED, PROGRESS, f".{shards.MANIFEST}.partial", f".{shards.SKIPPED}.partial"}
    return path.name in known or storage.is_internal(path.name) or bool(_OUTPUT_NAME.fullmatch(path.name))


def _flat(results: Iterable[list]) -> Iterator:
    for result in results:
        yield from result
