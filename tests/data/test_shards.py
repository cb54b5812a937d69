import hashlib
import json

import pytest

from tfvoice import config, storage
from tfvoice.data import records, shard_index, shards
from tfvoice.data.shard_index import IndexEntry
from tfvoice.data.shards import ConversionConfig, ShardError


def written(tmp_path, content=b"abc"):
    """A folder with one finished shard of two records."""
    frames = records.frame(content) * 2
    (tmp_path / "train-00000-of-00001.tfrecord").write_bytes(frames)
    shard = shards.Shard(
        name="train-00000-of-00001.tfrecord",
        sha256=hashlib.sha256(frames).hexdigest(),
        bytes=len(frames),
        utterances=2,
        seconds=3.0,
        characters=8,
    )
    manifest = shards.Manifest(
        corpus="vctk",
        sample_rate_hz=16000,
        encoding="pcm16",
        splits={"train": shards.total([shard])},
        skipped={"silent": 1},
        expected_skips={},
        speakers={"p225": {"age": "23"}},
        settings=ConversionConfig(),
        fingerprint="f",
    )
    (tmp_path / "manifest.json").write_text(config.to_json(manifest))
    return manifest


def test_manifest_round_trip(tmp_path):
    manifest = written(tmp_path)
    assert shards.read_manifest(tmp_path) == manifest == shards.validate(str(tmp_path))
    assert manifest.splits["train"].shards[0].name == "train-00000-of-00001.tfrecord"
    assert manifest.splits["train"].seconds == 3.0


def test_no_manifest(tmp_path):
    with pytest.raises(ShardError, match=r"no converted corpus is here; make one with tfvoice_convert --output="):
        shards.read_manifest(tmp_path)
    (tmp_path / ".progress").mkdir()
    with pytest.raises(ShardError, match=r"this conversion is unfinished; run the same tfvoice_convert command again"):
        shards.read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "\udcff"])
def test_a_manifest_of_another_program_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ShardError, match=r"manifest.json: not a manifest of tfvoice .*name another folder"):
        shards.read_manifest(tmp_path)


def test_a_manifest_of_another_version_is_refused(tmp_path):
    values = json.loads(config.to_json(written(tmp_path))) | {"schema_version": 99}
    (tmp_path / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(ShardError, match=r"schema version 99, and this tfvoice reads 1; convert the corpus again"):
        shards.read_manifest(tmp_path)


def damaged(tmp_path, content, sentence):
    written(tmp_path)
    path = tmp_path / "train-00000-of-00001.tfrecord"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(ShardError, match=f"train-00000-of-00001.tfrecord: {sentence}.*--overwrite --output="):
        shards.validate(tmp_path)


def test_validate_names_the_damaged_shard(tmp_path):
    whole = records.frame(b"abc") * 2
    damaged(tmp_path, None, "this shard is missing")
    damaged(tmp_path, whole[:-1], "this shard has 37 bytes instead of 38")
    damaged(tmp_path, whole[:-1] + b"x", "damaged at record 2")
    damaged(tmp_path, records.frame(b"abd") * 2, "this shard is not the one that was written")


def indexed(tmp_path, second_offset=31, sha256=None):
    """A folder with one finished shard of two records of 3 bytes, and its index."""
    shard = written(tmp_path).splits["train"].shards[0]
    entries = [IndexEntry(f"u{offset}", "", "text", 24000, offset, 3, 0.5) for offset in (12, second_offset)]
    shard_index.write(tmp_path / shard.name, sha256 or shard.sha256, entries)
    return tmp_path / "train-00000-of-00001.index.jsonl"


def test_validate_checks_the_index_against_the_shard(tmp_path):
    indexed(tmp_path)
    assert shards.validate(tmp_path) == shards.read_manifest(tmp_path)
    for damage, sentence in (
        (lambda: indexed(tmp_path, second_offset=32), "this index does not fit its shard"),
        (lambda: indexed(tmp_path, sha256="0123"), "this index describes another shard"),
        (lambda: indexed(tmp_path).write_bytes(b""), "this index is damaged"),
    ):
        damage()
        advice = "Delete it: the next command that needs it writes it again"
        with pytest.raises(ShardError, match=rf"train-00000-of-00001\.index\.jsonl: {sentence}.*{advice}"):
            shards.validate(tmp_path)


def test_the_size_of_a_shard_is_compared_without_reading_it(tmp_path):
    shard = written(tmp_path).splits["train"].shards[0]
    path = tmp_path / shard.name
    assert shards.size_defect(path, shard) is None
    path.write_bytes(b"x")
    assert shards.size_defect(path, shard) == f"{path}: this shard has 1 bytes instead of 38"
    path.unlink()
    assert shards.size_defect(path, shard) == f"{path}: this shard is missing"


def test_a_conversion_in_a_store_is_read_and_validated(tmp_path, store):
    indexed(tmp_path)
    manifest = shards.read_manifest(tmp_path)
    for path in tmp_path.iterdir():
        if path.is_file():
            storage.place(f"{store}/{path.name}").upload(path)
    assert shards.read_manifest(store) == shards.validate(store) == manifest
    name = manifest.splits["train"].shards[0].name
    storage.write(f"{store}/{name}", bytes(manifest.splits["train"].shards[0].bytes))
    with pytest.raises(
        ShardError, match=rf"^{store}/{name}: .*Convert the corpus again with --overwrite --output={store}"
    ):
        shards.validate(store)
    with pytest.raises(ShardError, match=rf"^{store}/x: no converted corpus is here"):
        shards.read_manifest(f"{store}/x")


def test_a_store_that_cannot_be_read_is_a_sentence(store, monkeypatch):
    def refuse(path, end=None):
        raise PermissionError(13, "Access Denied", str(path))

    monkeypatch.setattr(type(storage.place(store)), "read_bytes", refuse)
    with pytest.raises(ShardError, match=r"manifest.json: cannot read this manifest \(Access Denied\)"):
        shards.read_manifest(store)
