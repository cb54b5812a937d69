"""Laws of storage: a file or folder is the old one or the new one, and a folder has one writer at a time."""

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tfvoice import storage

CJK = "漢" * 81


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def start(code, *arguments, **options):
    """Runs Python code in a process whose standard output is read here."""
    command = [sys.executable, "-c", f"from tfvoice import storage\n{code}", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1], **options)


def killed(code, *arguments):
    """Runs Python code and kills the process with SIGKILL at its first line of output."""
    with start(code, *arguments) as process:
        assert process.stdout.readline()
        process.kill()
    assert process.returncode == -signal.SIGKILL


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "a.json"
    content = {"text": "l’été", "list": [1, 2.5, None]}
    storage.write_json(path, content)
    assert storage.read_json(path) == content and storage.read_text(path).endswith("}\n")
    assert "l’été" in storage.read_text(path)
    storage.write(path, "é\n")
    assert path.read_bytes() == "é\n".encode()
    storage.write(path, memoryview(b"bytes"))
    assert path.read_bytes() == b"bytes" and names(tmp_path) == ["a.json"]


def test_files_have_the_permissions_of_the_process(tmp_path):
    (tmp_path / "plain").write_text("")
    storage.write(tmp_path / "atomic", "")
    with storage.staged_folder(tmp_path / "folder"):
        pass
    (tmp_path / "plain_folder").mkdir()
    for one, other in (("plain", "atomic"), ("plain_folder", "folder")):
        assert (tmp_path / one).stat().st_mode == (tmp_path / other).stat().st_mode


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failing_writer_leaves_the_old_file(tmp_path, existing, error):
    path = tmp_path / "a.txt"
    if existing:
        path.write_text("old")
    with pytest.raises(type(error)), storage.writing(path) as file:
        file.write(b"new")
        raise error
    assert names(tmp_path) == ["a.txt"] * existing
    assert not existing or path.read_text() == "old"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file(tmp_path, monkeypatch, call):
    storage.write(tmp_path / "a", "old")

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(storage.os, call, fail)
    with pytest.raises(OSError, match="Input/output error"):
        storage.write(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old" and names(tmp_path) == ["a"]


def test_a_file_system_that_cannot_flush_folders_can_be_written_to(tmp_path, monkeypatch):
    fsync = os.fsync

    def files_only(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(storage.os, "fsync", files_only)
    storage.write(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"


def test_content_is_flushed_before_it_is_renamed_and_the_folder_after(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor):
        calls.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def record_replace(source, target):
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(storage.os, "fsync", record_fsync)
    monkeypatch.setattr(storage.os, "replace", record_replace)
    storage.write(tmp_path / "a", "new")
    assert calls[0].startswith(".tfvoice-") and calls[1:] == ["rename", tmp_path.name]
    calls.clear()
    with storage.staged_folder(tmp_path / "folder") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text("")
    assert (
        calls[:2] == ["file", "inner"] and calls[2].startswith(".tfvoice-") and calls[3:] == ["rename", tmp_path.name]
    )


def test_what_need_not_survive_a_power_cut_is_not_flushed(tmp_path, monkeypatch):
    monkeypatch.setattr(storage.os, "fsync", lambda descriptor: pytest.fail("flushed"))
    storage.write(tmp_path / "a", "content", flush=False)
    assert storage.read_text(tmp_path / "a") == "content" and [each.name for each in tmp_path.iterdir()] == ["a"]


def test_writers_of_one_file_never_share_a_temporary_name(tmp_path):
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(storage.writing(tmp_path / "a.txt")) for _ in range(100)]
        for number, file in enumerate(files):
            file.write(f"{number} ".encode() * 1000)
        assert len({file.name for file in files}) == len(names(tmp_path)) == 100
    # The first one that was opened is the last one to be renamed.
    assert (tmp_path / "a.txt").read_text() == "0 " * 1000 and names(tmp_path) == ["a.txt"]


def test_threads_that_write_one_file_leave_the_content_of_one(tmp_path):
    contents = [str(number) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=storage.write, args=(tmp_path / "a", content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_text() in contents and names(tmp_path) == ["a"]


@pytest.mark.parametrize("name", [CJK, f"{CJK}.wav", f"a.{CJK}"])
def test_names_as_long_as_the_file_system_allows_can_be_written(tmp_path, name):
    storage.write(tmp_path / name, "content")
    with storage.staged(tmp_path / name) as temporary:
        assert len(temporary.name.encode()) < 64
        assert len(Path(name).suffix) > 16 or temporary.suffix == Path(name).suffix
        temporary.write_text("again")
    assert (tmp_path / name).read_text() == "again"
    with storage.staged_folder(tmp_path / f"{name[:80]}_"):
        pass
    assert len(names(tmp_path)) == 2


def test_a_killed_writer_leaves_the_old_file_and_the_next_holder_of_the_lock_removes_the_rest(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for path in (run / "description.json", run / "checkpoints" / "last.npz"):
        storage.write(path, "old")
        code = """
import sys, time
with storage.writing(sys.argv[1]) as file:
    file.write(b"half of it")
    file.flush()
    print("now", flush=True)
    time.sleep(60)
"""
        killed(code, path)
        assert path.read_text() == "old" and len(names(path.parent)) > 1
    with storage.staged(run / "a.wav") as temporary, storage.locked(tmp_path / "other", "tfvoice_train"):
        temporary.write_text("the holder of another lock deletes nothing here")
    with storage.locked(run, "tfvoice_train"):
        assert names(run) == [".lock", "a.wav", "checkpoints", "description.json"]
        assert names(run / "checkpoints") == ["last.npz"]
    assert names(run) == ["a.wav", "checkpoints", "description.json"]


def test_the_holder_of_a_lock_does_not_delete_what_others_are_writing(tmp_path):
    """Evaluation writes its report into a run of which training takes the lock meanwhile."""
    (tmp_path / "report").mkdir()
    code = """
import sys
with storage.writing(sys.argv[1]) as file, storage.staged_folder(sys.argv[2]) as folder:
    print("now", flush=True)
    sys.stdin.readline()
    file.write(b"report")
    (folder / "a").write_text("")
"""
    with start(code, tmp_path / "report" / "eval.json", tmp_path / "export", stdin=subprocess.PIPE) as process:
        assert process.stdout.readline()
        with storage.locked(tmp_path, "tfvoice_train"):
            process.communicate("continue\n")
    assert process.returncode == 0
    assert names(tmp_path) == ["export", "report"] and names(tmp_path / "report") == ["eval.json"]


def test_a_second_writer_gets_a_sentence(tmp_path):
    sentence = f"{tmp_path}: another tfvoice_train is writing here; wait until it ends."
    code = """
import sys
try:
    with storage.locked(sys.argv[1], "tfvoice_train"):
        print("locked")
except storage.LockedError as error:
    print(error)
"""
    with storage.locked(tmp_path, "tfvoice_train"):
        with start(code, tmp_path) as process:
            assert process.stdout.read().strip() == sentence
        with pytest.raises(storage.LockedError) as caught, storage.locked(tmp_path, "tfvoice_train"):
            pass
        assert str(caught.value) == sentence
    with start(code, tmp_path) as process:
        assert process.stdout.read().strip() == "locked"


def test_the_lock_is_released_after_an_exception_and_by_the_death_of_its_process(tmp_path):
    with pytest.raises(RuntimeError), storage.locked(tmp_path, "tfvoice_train"):
        raise RuntimeError
    code = """
import sys, time
with storage.locked(sys.argv[1], "tfvoice_train"):
    print("locked", flush=True)
    time.sleep(60)
"""
    killed(code, tmp_path)
    assert names(tmp_path) == [".lock"]
    with storage.locked(tmp_path, "tfvoice_train"):
        pass
    assert names(tmp_path) == []


def test_a_lock_on_a_deleted_file_does_not_count(tmp_path, monkeypatch):
    """Between opening and locking, the holder before can delete the file and another process create a new one."""
    import fcntl

    flock, calls = fcntl.flock, []

    def delete_first(descriptor, flags):
        if not calls:
            os.unlink(tmp_path / ".lock")
        calls.append(descriptor)
        flock(descriptor, flags)

    monkeypatch.setattr(fcntl, "flock", delete_first)
    with storage.locked(tmp_path, "tfvoice_train"):
        assert len(calls) == 2
        with pytest.raises(storage.LockedError), storage.locked(tmp_path, "tfvoice_train"):
            pass


def test_a_file_system_without_locks_can_still_be_written_to(tmp_path, monkeypatch):
    import fcntl

    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with storage.locked(tmp_path / "new" / "folder", "tfvoice_train"):
        assert (tmp_path / "new" / "folder").is_dir()


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_appears_whole_or_not_at_all(tmp_path, overwrite):
    path = tmp_path / "deep" / "1"
    with pytest.raises(RuntimeError), storage.staged_folder(path, overwrite) as folder:
        (folder / "a").write_text("half")
        raise RuntimeError
    assert names(tmp_path / "deep") == []
    with storage.staged_folder(path, overwrite) as folder:
        (folder / "a").write_text("first")
        assert not path.exists()
    assert (path / "a").read_text() == "first" and names(tmp_path / "deep") == ["1"]


def test_a_folder_is_replaced_only_where_that_is_asked_for(tmp_path):
    for overwrite, expected in ((False, "first"), (True, "second"), (False, "second")):
        (tmp_path / "1").mkdir(exist_ok=True)
        with contextlib.suppress(OSError), storage.staged_folder(tmp_path / "1", overwrite) as folder:
            (folder / "a").write_text("first" if not overwrite else "second")
        assert (tmp_path / "1" / "a").read_text() == expected and names(tmp_path) == ["1"]


def test_a_linked_folder_is_replaced_where_it_is(tmp_path):
    (tmp_path / "disk" / "1").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "1")
    with storage.staged_folder(tmp_path / "link", overwrite=True) as folder:
        (folder / "a").write_text("new")
    assert names(tmp_path) == ["disk", "link"] and names(tmp_path / "disk") == ["1"]
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "1" / "a").read_text() == "new"


def test_an_error_while_renaming_leaves_the_old_folder(tmp_path, monkeypatch):
    with storage.staged_folder(tmp_path / "1") as folder:
        (folder / "a").write_text("old")
    replace, calls = os.replace, []

    def fail_at_the_second(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(storage.os, "replace", fail_at_the_second)
    with pytest.raises(OSError), storage.staged_folder(tmp_path / "1", overwrite=True) as folder:
        (folder / "a").write_text("new")
    assert (tmp_path / "1" / "a").read_text() == "old" and names(tmp_path) == ["1"]


def test_internal_names_are_known(tmp_path):
    with storage.locked(tmp_path, "tfvoice_train"), storage.writing(tmp_path / "manifest.json"):
        assert all(map(storage.is_internal, names(tmp_path))) and len(names(tmp_path)) == 2
    assert not any(map(storage.is_internal, names(tmp_path))) and names(tmp_path) == ["manifest.json"]


def test_walk_visits_each_real_folder_once_and_nothing_hidden(tmp_path):
    for name in ("b/x", "b/._x", ".hidden/y", "a/deep/z", "a/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "deep" / "up").symlink_to("../..")
    (tmp_path / "0_linked").symlink_to(tmp_path / "b")
    found = {os.path.relpath(place, tmp_path): files for place, files in storage.walk(tmp_path)}
    assert found == {".": [], "a": ["y"], "a/deep": ["z"], "b": ["x"]}
    assert list(storage.walk(tmp_path / ".hidden")) == [(str(tmp_path / ".hidden"), ["y"])]


def test_walk_warns_of_a_folder_that_cannot_be_read(tmp_path, monkeypatch, caplog):
    (tmp_path / "a").mkdir()
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert [place for place, _ in storage.walk(tmp_path)] == [str(tmp_path), str(tmp_path / "a")]
    assert caplog.messages == [
        f"{tmp_path / 'closed'}: skipped, because this folder cannot be read (Permission denied)"
    ]


def test_places_are_paths_or_objects(tmp_path, store, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert storage.place("a") == Path("a") and storage.absolute("a") == str(tmp_path / "a")
    assert str(storage.place(store)) == storage.absolute(f"{store}/") == storage.absolute(storage.place(store)) == store
    for place in (tmp_path / "data", storage.place(store)):
        place.mkdir()
        storage.write_json(place / "a.json", {"a": "é"})
        assert storage.read_json(place / "a.json") == {"a": "é"} and storage.size(place / "a.json") == 16
        assert storage.sizes(place) == {"a.json": 16}
        with storage.local_file(place / "a.json") as local:
            assert local.read_text(encoding="utf-8") == storage.read_text(place / "a.json")
        assert list(storage.mapped(str, [1, 2], place)) == ["1", "2"]
        storage.delete([place / "a.json", place / "none"])
        assert storage.sizes(place) == {}


@pytest.mark.parametrize("size", [0, 1, 6_000_000])
def test_a_writer_that_raises_leaves_no_object(store, size):
    with pytest.raises(RuntimeError), storage.writing(f"{store}/a") as file:
        file.write(bytes(size))
        raise RuntimeError
    assert not storage.place(store).files()
    storage.write(f"{store}/a", "old")
    with pytest.raises(RuntimeError), storage.writing(f"{store}/a") as file:
        raise RuntimeError
    assert storage.read_text(f"{store}/a") == "old"
    with storage.writing(f"{store}/a") as file:
        file.write(b"new")
    assert storage.read_text(f"{store}/a") == "new"


def test_the_error_of_a_full_disk_names_the_folder_of_temporary_files(store):
    with pytest.raises(OSError, match="TMPDIR names another folder") as error, storage.writing(f"{store}/a"):
        raise OSError(28, "No space left on device")
    assert error.value.filename


def test_a_folder_in_a_store_is_complete_when_its_last_file_is_there(store, monkeypatch):
    target = storage.place(store)

    def publish(content, *names):
        with storage.staged_folder(store, True, "last.json") as folder:
            for name in ("last.json", *names):
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_text(content)

    publish("first", "a/b", "c")
    assert set(target.files()) == {"last.json", "a/b", "c"} and not storage.is_partial(target)
    uploads = []
    upload = type(target).upload

    def record(path, source):
        uploads.append(path.name)
        assert len(uploads) < 3 or not (target / "last.json").exists()
        if len(uploads) == 3:
            raise KeyboardInterrupt
        upload(path, source)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(target), "upload", record)
        publish("second", "a/b", "d")
    assert uploads[2] == "last.json" and not (target / "last.json").exists() and storage.is_partial(target)
    publish("third", "d")
    assert {name: storage.read_text(target / name) for name in target.files()} == {"last.json": "third", "d": "third"}
    with pytest.raises(RuntimeError), storage.staged_folder(store, True, "last.json"):
        raise RuntimeError
    assert set(target.files()) == {"last.json", "d"}


def test_a_store_has_no_locks_and_no_leftovers(store):
    with storage.locked(store, "tfvoice_train"), storage.locked(store, "tfvoice_train"):
        storage.remove_leftovers(store)
    assert not storage.place(store).exists()


def test_a_lock_of_a_file_is_waited_for(tmp_path):
    order = []

    def other():
        with storage.locked_file(tmp_path / "lock"):
            order.append("other")

    with storage.locked_file(tmp_path / "lock"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "other"] and not names(tmp_path)


def test_a_held_file_is_known_until_it_is_closed(tmp_path):
    file = storage.held_file(tmp_path / "a")
    assert storage.is_held(tmp_path / "a")
    file.close()
    assert not storage.is_held(tmp_path / "a")


def test_scratch_folders_of_killed_processes_are_leftovers(tmp_path):
    with storage.scratch(tmp_path / "runs") as folder:
        storage.remove_leftovers(tmp_path / "runs")
        assert folder.is_dir()
    assert names(tmp_path / "runs") == []
    killed(
        "import sys, time\nfrom pathlib import Path\n"
        "with storage.scratch(Path(sys.argv[1])):\n    print(1, flush=True)\n    time.sleep(60)",
        tmp_path / "runs",
    )
    assert len(names(tmp_path / "runs")) == 1
    storage.remove_leftovers(tmp_path / "runs")
    assert names(tmp_path / "runs") == []


@pytest.mark.parametrize("writing", [storage.writing, storage.staged])
def test_the_error_of_a_full_disk_names_the_file(tmp_path, writing):
    path = tmp_path / "last.safetensors"
    with pytest.raises(OSError, match="No space left") as error, writing(path):
        raise OSError(28, "No space left on device")
    assert error.value.filename == str(path) and not names(tmp_path)
    with pytest.raises(FileNotFoundError) as error, writing(tmp_path / "none" / "a"):
        pass
    assert error.value.filename == str(tmp_path / "none" / "a")
    with pytest.raises(FileNotFoundError) as error, writing(path):
        (tmp_path / "other").read_bytes()
    assert error.value.filename == str(tmp_path / "other")
