"""Laws of objects in stores: as the files of a folder, whole or not there, and errors of one kind."""

import errno
import os
import sys

import pytest

from tfvoice import remote, storage
from tfvoice.remote import ObjectPath, RemoteError


@pytest.fixture
def root(store):
    return ObjectPath(store)


def test_urls_are_distinguished_from_paths():
    assert all(map(remote.is_url, ("s3://bucket/a", "gs://b", "https://x/y", "S3://b/c")))
    assert not any(map(remote.is_url, ("a", "/a/b", "C:\\a", "", "s3:/bucket", None, "://a", "-")))


def test_names_are_those_of_a_path(root):
    path = root / "a" / "b.tfrecord"
    assert (str(path), path.name, path.stem, path.suffix) == (f"{root}/a/b.tfrecord", "b.tfrecord", "b", ".tfrecord")
    assert (
        ObjectPath("memory://bucket").parent == ObjectPath("memory://bucket") == ObjectPath("memory://bucket/a").parent
    )
    assert path.parent == root / "a" and path.with_suffix(".index.jsonl") == root / "a" / "b.index.jsonl"
    assert ObjectPath(f"{root}/") == root and sorted([root / "b", root / "a"]) == [root / "a", root / "b"]
    assert root / "memory://other/x" == ObjectPath("memory://other/x")
    with pytest.raises(TypeError):
        os.fspath(path)


def test_a_folder_exists_while_there_is_an_object_in_it(root):
    assert not root.exists() and not root.is_dir() and list(root.iterdir()) == [] and root.files() == {}
    (root / "sub").mkdir()
    assert not (root / "sub").exists()
    (root / "sub" / "a").write_bytes(b"12345")
    (root / "b").write_bytes(b"")
    (root / "sub" / "sub").write_bytes(b"1")
    assert root.is_dir() and not root.is_file() and (root / "b").is_file() and not (root / "b").is_dir()
    assert list(root.iterdir()) == [root / "b", root / "sub"]
    assert list((root / "sub").iterdir()) == [root / "sub" / "a", root / "sub" / "sub"]
    assert {name: facts["size"] for name, facts in root.files().items()} == {"b": 0, "sub/a": 5, "sub/sub": 1}
    (root / "sub" / "a").unlink()
    (root / "sub" / "sub").unlink()
    assert not (root / "sub" / "a").exists() and list(root.files()) == ["b"]


def test_the_content_is_read_whole_and_in_part(root, tmp_path):
    path = root / "a.txt"
    path.write_bytes("\ufeffl’été\nb\n".encode())
    assert path.read_text(encoding="utf-8-sig") == "l’été\nb\n" and path.read_bytes(3) == b"\xef\xbb\xbf"
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert list(file) == ["l’été\n", "b\n"]
    path.download(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == path.read_bytes() and path.size() == len(path.read_bytes())
    (tmp_path / "copy").write_bytes(b"new")
    path.upload(tmp_path / "copy")
    assert path.read_bytes() == b"new"


def test_an_object_is_created_once(root):
    (root / "a").create(b"first")
    with pytest.raises(FileExistsError):
        (root / "a").create(b"second")
    assert (root / "a").read_bytes() == b"first"


def test_a_missing_object_is_a_missing_file(root, tmp_path):
    for use in (ObjectPath.read_bytes, ObjectPath.size, lambda path: path.download(tmp_path / "x")):
        with pytest.raises(FileNotFoundError) as error:
            use(root / "none")
        assert error.value.filename == f"{root}/none" and error.value.strerror == "No such file or directory"
    (root / "none").unlink(missing_ok=True)


class ClientError(Exception):
    """What a client library raises."""


@pytest.mark.parametrize(
    "raised, number, text",
    [
        (ClientError("Unable to locate credentials.\nmore"), errno.EIO, "Unable to locate credentials"),
        (PermissionError("Access Denied"), errno.EACCES, "Access Denied"),
        (FileNotFoundError("bucket/key"), errno.ENOENT, "No such file or directory"),
        (OSError(errno.EBUSY, "Please reduce your request rate."), errno.EBUSY, "Please reduce your request rate"),
        (ClientError(), errno.EIO, "ClientError"),
    ],
)
def test_errors_of_clients_name_the_url_and_the_fact(raised, number, text):
    with pytest.raises(OSError) as error, remote.explained("s3://b/k"):
        raise raised
    assert (error.value.errno, error.value.strerror, error.value.filename) == (number, text, "s3://b/k")


def test_errors_about_local_files_stay():
    with pytest.raises(OSError) as error, remote.explained("s3://b/k"):
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/x")
    assert error.value.filename == "/cache/x"


def test_what_is_not_known_or_not_installed_is_a_sentence(monkeypatch):
    with pytest.raises(RemoteError, match=r"^http://x/a: tfvoice knows gs:// and s3://, and no http://; copy it to"):
        ObjectPath("http://x/a")
    remote._filesystem.cache_clear()
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(RemoteError, match=r"^gs://b/a: gs:// needs pip install 'tfvoice\[gs\]'.$"):
        ObjectPath("gs://b/a")


def test_many_requests_keep_their_order_and_their_error():
    assert list(remote.mapped(lambda number: number * 2, iter(range(100)))) == list(range(0, 200, 2))
    with pytest.raises(ZeroDivisionError):
        list(remote.mapped(lambda number: 1 / number, [1, 0, 1]))


def test_many_objects_are_deleted_at_once(root):
    for name in "abc":
        (root / name).write_bytes(b"")
    storage.delete(root / name for name in "abx")
    assert list(root.files()) == ["c"]
