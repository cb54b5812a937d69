"""Laws of the cache: whole shards by their sha256, within the limit, and never one that is in use."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfvoice import cache, storage
from tfvoice.cache import CacheError, Digest

ROOT = Path(cache.__file__).parents[1]
SHARD_BYTES = 1000


@pytest.fixture
def directory(store, monkeypatch):
    """A folder with shards a, b and c."""
    monkeypatch.setattr(cache, "_used", {})
    directory = storage.place(store)
    for name in "abc":
        (directory / name).write_bytes(content(name))
    return directory


def content(name):
    return name.encode() * SHARD_BYTES


def digests(names):
    return {name: Digest(hashlib.sha256(content(name)).hexdigest(), SHARD_BYTES) for name in names}


def path(name):
    return cache.path(digests(name)[name].sha256)


def end_of_process():
    """What this process uses, it uses no more."""
    for file in cache._used:
        file.close()
    cache._used.clear()


def limited(monkeypatch, shards):
    monkeypatch.setenv(cache.LIMIT, str(shards * SHARD_BYTES / 1e9))


def test_a_shard_is_downloaded_once_and_then_the_store_is_not_asked(directory):
    cache.shards(directory, digests("ab"))
    assert [path(name).read_bytes() for name in "ab"] == [content("a"), content("b")] and not path("c").exists()
    storage.delete(directory.iterdir())
    cache.shards(directory, digests("ab"))
    assert sorted(each.name for each in path("a").parent.iterdir() if len(each.name) == 64) == sorted(
        digest.sha256 for digest in digests("ab").values()
    )


def test_a_shard_that_was_changed_or_is_missing_is_a_sentence_and_leaves_nothing(directory):
    (directory / "a").write_bytes(content("x"))
    with pytest.raises(CacheError, match=r"folder/a: this shard is not the one .* \(sha256 differs\); convert the"):
        cache.shards(directory, digests("a"))
    (directory / "a").unlink()
    with pytest.raises(CacheError, match=r"folder/a: this shard is missing; convert the corpus again"):
        cache.shards(directory, digests("a"))
    assert not [each for each in path("a").parent.iterdir() if not each.name.startswith("in-use-")]


def test_a_truncated_copy_is_replaced(directory):
    cache.shards(directory, digests("a"))
    path("a").write_bytes(b"half")
    cache.shards(directory, digests("a"))
    assert path("a").read_bytes() == content("a")


def test_the_least_recently_used_is_deleted_where_room_is_needed(directory, monkeypatch):
    limited(monkeypatch, 2)
    for number, name in enumerate("abac"):
        cache.shards(directory, digests(name))
        os.utime(path(name), (number, number))
        end_of_process()
    assert [path(name).exists() for name in "abc"] == [True, False, True]


def test_what_is_in_use_stays_and_the_error_names_the_setting(directory, monkeypatch):
    limited(monkeypatch, 2)
    cache.shards(directory, digests("ab"))
    with pytest.raises(
        CacheError, match=r"in use have 0.00 GB, more than TFVOICE_CACHE_GB=2e-06; set TFVOICE_CACHE_GB=1"
    ):
        cache.shards(directory, digests("c"))
    assert path("a").exists() and path("b").exists()


def test_a_process_that_died_uses_nothing(directory, monkeypatch):
    limited(monkeypatch, 1)
    cache.shards(directory, digests("a"))
    end_of_process()
    code = """
import sys, time
from pathlib import Path
from tfvoice import cache
cache._hold(Path(sys.argv[1]), [cache.Digest(sys.argv[2], 1000)])
print("held", flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", code, path("a").parent, path("a").name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(CacheError, match="in use"):
            cache.shards(directory, digests("b"))
        process.kill()
    end_of_process()
    cache.shards(directory, digests("b"))
    assert path("b").exists() and not path("a").exists()


def test_a_full_disk_is_a_sentence(directory, monkeypatch):
    usage = cache.shutil.disk_usage(directory and "/")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(
        CacheError, match=r"are free; free some space, or name a folder on another disk with TFVOICE_CACHE="
    ):
        cache.shards(directory, digests("a"))
    monkeypatch.undo()


def test_a_disk_that_fills_up_meanwhile_is_a_sentence(directory, monkeypatch):
    def download(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(directory), "download", download)
    with pytest.raises(CacheError, match=r"cache/shards: No space left on device; free some space"):
        cache.shards(directory, digests("a"))


@pytest.mark.parametrize("text", ["much", "0", "-1", "nan"])
def test_a_limit_that_is_no_size_is_a_sentence(monkeypatch, text):
    monkeypatch.setenv(cache.LIMIT, text)
    with pytest.raises(CacheError, match=rf"^TFVOICE_CACHE_GB={text}: write a number of gigabytes"):
        cache.limit_bytes()


def test_the_folder_is_that_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv(cache.FOLDER, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "tfvoice"
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "other"))
    assert cache.folder() == tmp_path / "other"


def test_a_folder_is_copied_once_for_each_state(directory):
    source = directory / "english" / "1"
    (source / "variables" / "a").write_bytes(b"1")
    (source / "tfvoice.json").write_bytes(b"{}")
    copy = cache.tree(source)
    assert copy.parts[-2:] == ("english", "1") and storage.sizes(copy) == {"variables/a": 1, "tfvoice.json": 2}
    time = (copy / "tfvoice.json").stat().st_mtime_ns
    assert cache.tree(source) == copy and (copy / "tfvoice.json").stat().st_mtime_ns == time
    (source / "variables" / "a").write_bytes(b"22")
    other = cache.tree(source)
    assert other != copy and storage.sizes(other)["variables/a"] == 2 and not copy.exists()
