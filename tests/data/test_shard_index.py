"""Laws of a shard's index: it is read as it was written, has deterministic bytes, and belongs to one shard."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfvoice import storage
from tfvoice.data import shard_index
from tfvoice.data.shard_index import IndexEntry, ShardIndexError

ENTRIES = [
    IndexEntry("p225_001", "p225", "Please call Stella.", 32000, 12, 64100, 0.5),
    IndexEntry("漢/\u2028\n", "", 'l’été "a"\r\n\t\\,', 0, 64128, 1, 1 / 32768),
]


@pytest.mark.parametrize("entries", [ENTRIES, ENTRIES[:1], []])
def test_round_trip(tmp_path, entries):
    path = tmp_path / "train-00000-of-00003.tfrecord"
    shard_index.write(path, "0123", entries)
    assert shard_index.read(path, "0123") == entries
    assert [child.name for child in tmp_path.iterdir()] == ["train-00000-of-00003.index.jsonl"]


text = st.text(st.characters(exclude_categories=["Cs"]))
number = st.integers(0, 2**62)
peak = st.integers(0, 32768).map(lambda level: level / 32768)


@given(entries=st.lists(st.builds(IndexEntry, text, text, text, number, number, number, peak)))
def test_round_trip_of_anything(tmp_path_factory, entries):
    path = tmp_path_factory.getbasetemp() / "anything-00000-of-00001.tfrecord"
    shard_index.write(path, "", entries)
    assert shard_index.read(path, "") == entries


def test_it_is_json_lines_with_the_same_bytes_each_time(tmp_path):
    contents = []
    for name in ("a.tfrecord", "b.tfrecord"):
        shard_index.write(tmp_path / name, "0123", ENTRIES)
        contents.append(shard_index.path_of(tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    header, *lines = map(json.loads, contents[0].decode().rstrip("\n").split("\n"))
    assert header["schema"] == shard_index.SCHEMA and header["shard_sha256"] == "0123"
    assert lines[0] == {
        "id": "p225_001",
        "speaker": "p225",
        "text": "Please call Stella.",
        "samples": 32000,
        "offset": 12,
        "size": 64100,
        "peak": 0.5,
    }


def test_an_index_belongs_to_one_shard(tmp_path):
    shard_index.write(tmp_path / "a.tfrecord", "0123", ENTRIES)
    with pytest.raises(ShardIndexError, match=r"a\.index\.jsonl: this index describes another shard"):
        shard_index.read(tmp_path / "a.tfrecord", "4567")
    with pytest.raises(ShardIndexError, match=r"b\.index\.jsonl: this index is missing"):
        shard_index.read(tmp_path / "b.tfrecord", "0123")


def test_a_damaged_index_is_refused(tmp_path):
    shard = tmp_path / "a.tfrecord"
    path = shard_index.path_of(shard)
    shard_index.write(shard, "0123", ENTRIES)
    content = path.read_bytes()
    damaged = [content[:end] for end in (0, 5, 100, len(content) - 1)]
    damaged += [
        content.replace(b"Stella", b"Sterra"),
        content.replace(b'"schema": 1', b'"schema": 2'),
        b"[]\n",
        b"\xff\n",
    ]
    for each in damaged:
        path.write_bytes(each)
        with pytest.raises(ShardIndexError, match=r"a\.index\.jsonl: this index is damaged"):
            shard_index.read(shard, "0123")


def test_an_index_of_other_columns_is_refused(tmp_path):
    header = {
        "schema": 1,
        "shard_sha256": "0",
        "lines_sha256": shard_index.hashlib.sha256(b'{"id": "a"}\n').hexdigest(),
    }
    storage.write(tmp_path / "a.index.jsonl", json.dumps(header) + '\n{"id": "a"}\n')
    with pytest.raises(ShardIndexError, match=r"this index is damaged \(TypeError"):
        shard_index.read(tmp_path / "a.tfrecord", "0")
