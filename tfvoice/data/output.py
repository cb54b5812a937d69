"""The output folder of a conversion: whose it is, what of it is finished, and how it becomes complete.

A shard is written under `.progress/`, flushed to the disk and renamed; a small JSON file in `.progress/` then says
that it is finished. `manifest.json` comes last and `.progress/` goes, so that at every moment a folder is either
complete, or visibly unfinished and ready to be gone on with.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from tfvoice import config
from tfvoice.data import shards
from tfvoice.data.corpora.base import Skip
from tfvoice.data.shards import Manifest, Plan, PlannedShard, Shard, ShardError

PROGRESS = ".progress"

_SHARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*-\d{5}-of-\d{5}\.tfrecord")


class Journal:
    """An output folder, held by this process until `close`.

    Attributes:
      directory: the folder.
      complete: its manifest, where the same conversion was finished before.
    """

    def __init__(self, directory: str | Path, plan: Plan, overwrite: bool):
        """Takes the folder and finds out how far the same conversion got before.

        Args:
          directory: made where it does not exist.
          plan: of the conversion.
          overwrite: delete a finished conversion, or an unfinished one that differs.

        Raises:
          ShardError: the folder holds other files or another conversion, or another process writes to it.
        """
        self.directory = Path(directory)
        self._progress = self.directory / PROGRESS
        self._plan = plan
        self.complete: Manifest | None = None
        _refuse_foreign_files(self.directory)
        _make_folder(self._progress)
        self._lock = _locked(self._progress / "lock", self.directory)
        try:
            self._take_over(overwrite)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Lets go of the folder; what is finished stays."""
        os.close(self._lock)
        unfinished = self._shards() and (self._progress / "plan.json").exists()
        if (self.directory / shards.MANIFEST).exists() or not unfinished:
            shutil.rmtree(self._progress, ignore_errors=True)

    def finished(self, shard: PlannedShard) -> tuple[Shard, list[Skip]] | None:
        """Returns a shard that is on the disk already, and what was left out of it."""
        try:
            entry = json.loads((self._progress / f"{shard.name}.json").read_text(encoding="utf-8"))
            if (self.directory / shard.name).stat().st_size != entry["shard"]["bytes"]:
                return None
        except (OSError, ValueError):
            return None
        return config.build(Shard, entry["shard"]), [Skip(**skip) for skip in entry["skipped"]]

    def write(self, shard: PlannedShard, results: Iterable[list]) -> tuple[Shard, list[Skip]]:
        """Writes one shard.

        Args:
          shard: the planned one.
          results: lists of what became of each utterance in turn: a Skip, or a Converted.

        Returns:
          The finished shard, and what was left out of it.
        """
        partial = self._progress / f"{shard.name}.partial"
        digest, size, utterances, seconds, characters = hashlib.sha256(), 0, 0, 0.0, 0
        skipped: list[Skip] = []
        with open(partial, "wb") as file:
            for result in _flat(results):
                if isinstance(result, Skip):
                    skipped.append(result)
                    continue
                file.write(result.frame)
                digest.update(result.frame)
                size += len(result.frame)
                utterances += 1
                seconds += result.seconds
                characters += result.characters
            _flush(file)
        os.replace(partial, self.directory / shard.name)
        _flush_folder(self.directory)
        done = Shard(
            name=shard.name,
            sha256=digest.hexdigest(),
            bytes=size,
            utterances=utterances,
            seconds=round(seconds, 3),
            characters=characters,
        )
        entry = {"shard": done.model_dump(), "skipped": [asdict(skip) for skip in skipped]}
        write_text(self._progress / f"{shard.name}.json", json.dumps(entry, indent=1))
        return done, skipped

    def write_skipped(self, skipped: list[Skip]) -> Path:
        """Writes `skipped.jsonl`: one JSON object for everything that was left out."""
        path = self.directory / shards.SKIPPED
        write_text(path, "".join(json.dumps(asdict(skip)) + "\n" for skip in skipped))
        return path

    def complete_with(self, manifest: Manifest) -> None:
        """Writes `manifest.json`, which makes the folder complete."""
        write_text(self.directory / shards.MANIFEST, config.to_json(manifest) + "\n")

    def _take_over(self, overwrite: bool) -> None:
        fingerprint = self._plan.fingerprint
        before = self._before()
        if before is not None:
            settings, same, done = before[0], before[1] == fingerprint, before[2]
            if overwrite and (done or not same):
                self._delete()
            elif not same:
                raise ShardError(self._refusal(settings))
            elif (self.directory / shards.MANIFEST).exists():
                self.complete = shards.read_manifest(self.directory)
                return
        state = {"fingerprint": fingerprint, "settings": self._plan.settings.model_dump(mode="json")}
        write_text(self._progress / "plan.json", json.dumps(state, indent=1))

    def _before(self) -> tuple[dict, str, bool] | None:
        """The settings and fingerprint of an earlier conversion, and whether nothing of it is missing."""
        if (self.directory / shards.MANIFEST).exists():
            values = json.loads((self.directory / shards.MANIFEST).read_text(encoding="utf-8"))
            return values.get("settings", {}), values["fingerprint"], True
        if not self._shards():
            self._delete()
            return None
        try:
            values = json.loads((self._progress / "plan.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}, "", False
        done = all(self.finished(shard) for shard in self._plan.shards)
        return values["settings"], values["fingerprint"], done

    def _shards(self) -> list[Path]:
        return [path for path in self.directory.iterdir() if _SHARD_NAME.fullmatch(path.name)]

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
        """Deletes what a conversion writes, and nothing else."""
        for path in (self.directory / shards.MANIFEST, self.directory / shards.SKIPPED, *self._shards()):
            path.unlink(missing_ok=True)
        for path in self._progress.iterdir():
            if path.name != "lock":
                path.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes a file so that it is there whole or not at all, whatever happens meanwhile."""
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        _flush(file)
    os.replace(partial, path)
    _flush_folder(path.parent)


def _refuse_foreign_files(directory: Path) -> None:
    if not directory.exists():
        return
    if not directory.is_dir():
        raise ShardError(f"{directory}: this is a file; name a folder with --output.")
    own = {shards.MANIFEST, shards.SKIPPED, PROGRESS, f".{shards.MANIFEST}.partial", f".{shards.SKIPPED}.partial"}
    foreign = [path.name for path in sorted(directory.iterdir()) if not _SHARD_NAME.fullmatch(path.name)]
    foreign = [name for name in foreign if name not in own or (name == shards.MANIFEST and not _is_ours(directory))]
    if foreign:
        shown = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise ShardError(
            f"{directory}: this folder holds files that no conversion wrote ({shown}); name an empty one with --output."
        )


def _is_ours(directory: Path) -> bool:
    try:
        values = json.loads((directory / shards.MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and {"schema_version", "fingerprint"} <= values.keys()


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ShardError(f"{path.parent}: cannot write here ({error.strerror}); choose another --output.") from None


def _locked(path: Path, directory: Path) -> int:
    lock = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ShardError(f"{directory}: another tfvoice_convert is writing here; wait until it ends.") from None
    except (ImportError, OSError):
        # Windows and some network file systems have no such locks.
        return lock
    return lock


def _flush(file) -> None:
    file.flush()
    os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flat(results: Iterable[list]) -> Iterator:
    for result in results:
        yield from result
