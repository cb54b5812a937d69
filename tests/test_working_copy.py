"""Laws of a run in a store: it can be killed at any moment, and of two trainings one stops."""

import itertools

import pytest

from tfvoice import cache, storage, working_copy
from tfvoice.errors import TfvoiceError
from tfvoice.remote import ObjectPath
from tfvoice.working_copy import DESCRIPTION, WorkingCopy

WRITTEN = ("checkpoints/*.safetensors", "metrics.jsonl", "logs/*")
LAST, BEST = "checkpoints/last.safetensors", "checkpoints/best.safetensors"


class Killed(BaseException):
    """The process dies."""


def write(folder, state, names=(DESCRIPTION, BEST, LAST, "metrics.jsonl")):
    for name in names:
        storage.write(folder / name, state) if (folder / name).parent.is_dir() else _deep(folder / name, state)


def _deep(path, state):
    path.parent.mkdir(parents=True)
    storage.write(path, state)


def found(url):
    """What is in the store, without the mark of the owner."""
    root = storage.place(url)
    return {name: storage.read_text(root / name) for name in root.files() if name != ".owner"}


def trained(url, state, fresh=False):
    """A training that saves once."""
    with working_copy.of_run(url, fresh, WRITTEN) as folder:
        before = {name: (folder / name).read_text() for name in storage.sizes(folder)}
        write(folder, state)
        working_copy.saved(folder)
    return before


def test_a_local_run_is_used_where_it_is(tmp_path):
    with working_copy.of_run(tmp_path / "run", False, WRITTEN) as folder:
        assert folder == tmp_path / "run" and not folder.exists()
        working_copy.saved(folder)


def test_a_run_is_downloaded_and_what_changed_is_uploaded(store, monkeypatch):
    assert trained(store, "1") == {}
    assert found(store) == dict.fromkeys((DESCRIPTION, BEST, LAST, "metrics.jsonl"), "1")
    storage.write(f"{store}/logs/events", "of an older process")
    uploaded = []
    upload = ObjectPath.upload
    monkeypatch.setattr(ObjectPath, "upload", lambda path, source: (uploaded.append(path.name), upload(path, source)))
    with working_copy.of_run(store, False, WRITTEN) as folder:
        assert sorted(storage.sizes(folder)) == sorted((DESCRIPTION, BEST, LAST, "metrics.jsonl"))
        assert folder.name == "folder"
        write(folder, "2", (LAST,))
        working_copy.saved(folder)
        working_copy.saved(folder)
        assert uploaded == ["last.safetensors"]
        (folder / BEST).unlink()
    assert found(store) == {
        DESCRIPTION: "1", LAST: "2", "metrics.jsonl": "1", "logs/events": "of an older process",
    }  # fmt: skip
    assert list((cache.folder() / "runs").iterdir()) == []


def test_without_a_save_nothing_is_uploaded(store):
    with working_copy.of_run(store, False, WRITTEN) as folder:
        write(folder, "1")
    assert found(store) == {}


def test_what_is_no_whole_run_yet_is_not_uploaded(store):
    """Weights of another run are saved before the description, as a run without a checkpoint would start at random."""
    with working_copy.of_run(store, False, WRITTEN) as folder:
        write(folder, "1", (LAST,))
        working_copy.saved(folder)
        assert found(store) == {}
        write(folder, "1", (DESCRIPTION,))
    assert found(store) == {DESCRIPTION: "1", LAST: "1"}


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("before", [(), ("old",)])
def test_killed_at_any_moment_the_old_run_the_new_one_or_none_is_there(store, monkeypatch, before, fresh):
    """`last` is never newer than what it counts on, and a new run never has files of an older one."""
    for moment in itertools.count():
        storage.delete(storage.place(store) / name for name in storage.place(store).files())
        for state in before:
            trained(store, state)
            storage.write(f"{store}/checkpoints/stale.safetensors", state)
        steps = itertools.count()
        with monkeypatch.context() as patch:
            for name in ("upload", "unlink"):
                patch.setattr(ObjectPath, name, _dying(getattr(ObjectPath, name), steps, moment))
            try:
                trained(store, "new", fresh)
                survived = True
            except Killed:
                survived = False
        content = found(store)
        if DESCRIPTION in content and content.get(LAST) == "new":
            assert content[BEST] == content[DESCRIPTION] == "new"
        if DESCRIPTION in content and (fresh or not before):
            assert len(set(content.values())) == 1
        if survived:
            break
    assert moment > 3 and content[LAST] == "new"
    assert ("checkpoints/stale.safetensors" in content) == (bool(before) and not fresh)


def _dying(method, steps, moment):
    def call(*arguments, **options):
        if next(steps) >= moment:
            raise Killed
        return method(*arguments, **options)

    return call


def test_pieces_of_an_interrupted_upload_are_no_run(store):
    storage.write(f"{store}/{BEST}", "piece")
    assert trained(store, "1") == {}
    assert found(store)[BEST] == "1"


def test_of_two_trainings_the_one_that_saved_first_stops(store):
    trained(store, "0")
    sentence = "folder: another tfvoice_train has started to write here, so this one stops"
    with pytest.raises(TfvoiceError, match=sentence), working_copy.of_run(store, False, WRITTEN) as folder:
        write(folder, "1")
        working_copy.saved(folder)
        trained(store, "2")
        write(folder, "3")
        working_copy.saved(folder)
    assert found(store)[LAST] == "2"


def test_errors_name_the_url(store):
    with pytest.raises(TfvoiceError, match=f"^{store}: no good"), working_copy.of_run(store, False, WRITTEN) as folder:
        raise TfvoiceError(f"{folder}: no good")


def test_a_store_that_fails_is_tried_again_and_at_the_end_the_copy_is_kept(store, monkeypatch, caplog):
    def fail(path, source):
        raise OSError(5, "Unable to connect", str(path))

    with working_copy.of_run(store, False, WRITTEN) as folder:
        write(folder, "1")
        with monkeypatch.context() as patch:
            patch.setattr(ObjectPath, "upload", fail)
            working_copy.saved(folder)
        assert "not uploaded (Unable to connect)" in caplog.text
    assert found(store)[LAST] == "1"
    monkeypatch.setattr(ObjectPath, "upload", fail)
    with pytest.raises(TfvoiceError, match=r"the end of the run was not uploaded \(Unable to connect\); it is in "):
        trained(store, "2")
    (kept,) = (cache.folder() / "runs").iterdir()
    assert kept.name.startswith("folder-") and (kept / LAST).read_text() == "2"


def test_copies_of_killed_processes_are_deleted(store):
    left = cache.folder() / "runs" / ".tfvoice-0"
    left.mkdir(parents=True)
    trained(store, "1")
    assert not left.exists()


def test_a_working_copy_is_empty_for_a_run_that_is_replaced(store, tmp_path):
    trained(store, "1")
    WorkingCopy(storage.place(store), tmp_path, True, WRITTEN)
    assert storage.sizes(tmp_path) == {"cache": 0} or not (tmp_path / DESCRIPTION).exists()
