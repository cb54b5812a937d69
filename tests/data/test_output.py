import json
import os

import pytest

from tfvoice import storage
from tfvoice.data import output, planning, records, shard_index, shards
from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import Listing, Skip, Utterance
from tfvoice.data.output import EncodedUtterance
from tfvoice.data.shards import ConversionConfig, ShardError

RESULTS = [
    [EncodedUtterance(records.frame(b"one"), "u0", "p225", "Yes", 24000, 0.5, False)],
    [Skip("u1", "silent"), EncodedUtterance(records.frame(b"three"), "u2", "", "Non…", 32000, 1.0, True)],
]


def plan(**settings):
    utterances = [Utterance(f"u{n}", "x.wav", "text", split="train", seconds=10.0) for n in range(10)]
    listing = Listing(utterances, [])
    return planning.plan(listing, utterances, ConversionConfig(**{"shard_mb": 1.0, **settings}))


def opened(directory, overwrite=False, **settings):
    return output.ConversionOutput(directory, plan(**settings), overwrite)


def unfinished(directory):
    target = opened(directory)
    written = target.write(plan().shards[0], RESULTS)
    target.close()
    return written


def finished(directory):
    target = opened(directory)
    done = [target.write(shard, RESULTS)[0] for shard in plan().shards]
    manifest = shards.Manifest(
        corpus="manifest",
        sample_rate_hz=16000,
        encoding="pcm16",
        splits={"train": shards.total(done)},
        skipped={},
        expected_skips={},
        speakers={},
        settings=plan().settings,
        fingerprint=plan().fingerprint,
    )
    target.write_skipped([Skip("u1", "silent")])
    target.write_manifest(manifest)
    target.close()
    return manifest


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_the_index_is_written_beside_the_shard(tmp_path):
    shard, _ = unfinished(tmp_path)
    content = (tmp_path / shard.name).read_bytes()
    entries = shard_index.read(tmp_path / shard.name, shard.sha256)
    assert [entry[:4] + entry[6:] for entry in entries] == [
        ("u0", "p225", "Yes", 24000, 0.5),
        ("u2", "", "Non…", 32000, 1.0),
    ]
    assert [content[entry.offset : entry.offset + entry.size] for entry in entries] == [b"one", b"three"]


def test_a_shard_is_finished_only_when_it_and_its_index_are_whole(tmp_path):
    shard, skipped = unfinished(tmp_path)
    assert (shard.utterances, shard.seconds, shard.characters, shard.clipped) == (2, 3.5, 7, 1) and skipped == [
        Skip("u1", "silent")
    ]
    assert names(tmp_path) == [".progress", shard.name.replace(".tfrecord", ".index.jsonl"), shard.name]
    target = opened(tmp_path)
    assert target.finished(plan().shards[0]) == (shard, skipped)
    assert target.finished(plan().shards[1]) is None
    index = shard_index.path_of(tmp_path / shard.name)
    content = index.read_bytes()
    for damaged in (content[:-1], b""):
        index.write_bytes(damaged)
        assert target.finished(plan().shards[0]) is None
    index.write_bytes(content)
    assert target.finished(plan().shards[0]) == (shard, skipped)
    os.truncate(tmp_path / shard.name, shard.bytes - 1)
    assert target.finished(plan().shards[0]) is None
    os.remove(tmp_path / shard.name)
    assert target.finished(plan().shards[0]) is None
    target.close()


def test_the_manifest_completes_the_folder(tmp_path):
    manifest = finished(tmp_path)
    written = [shard.name for shard in manifest.splits["train"].shards]
    written += [name.replace(".tfrecord", ".index.jsonl") for name in written]
    assert names(tmp_path) == ["manifest.json", "skipped.jsonl", *sorted(written)]
    target = opened(tmp_path)
    assert target.complete == manifest
    target.close()
    assert ".progress" not in names(tmp_path)


def test_a_folder_without_finished_shards_is_left_empty(tmp_path):
    opened(tmp_path / "new").close()
    assert names(tmp_path / "new") == []


@pytest.mark.parametrize("make, state", [(finished, "a finished"), (unfinished, "an unfinished")])
def test_another_conversion_is_refused_with_the_differing_flags(tmp_path, make, state):
    make(tmp_path)
    before = names(tmp_path)
    sentence = rf"{state} conversion with other flags is here \(sample_rate_hz 16000 -> 8000\); replace .* --overwrite"
    with pytest.raises(ShardError, match=sentence):
        opened(tmp_path, sample_rate_hz=8000)
    assert names(tmp_path) == before
    opened(tmp_path, overwrite=True, sample_rate_hz=8000).close()
    assert names(tmp_path) == []


def test_another_corpus_is_refused(tmp_path):
    finished(tmp_path)
    fewer = plan().listing.utterances[1:]
    other = planning.plan(Listing(fewer, []), fewer, plan().settings)
    with pytest.raises(ShardError, match=r"a finished conversion of other audio or texts is here; replace it with"):
        output.ConversionOutput(tmp_path, other, False)


def test_overwrite_resumes_the_same_unfinished_conversion_and_replaces_a_finished_one(tmp_path):
    unfinished(tmp_path)
    target = opened(tmp_path, overwrite=True)
    assert target.finished(plan().shards[0])
    target.close()
    finished(tmp_path)
    target = opened(tmp_path, overwrite=True)
    assert target.complete is None and not target.finished(plan().shards[0])
    target.close()


def test_shards_of_unknown_origin_are_refused(tmp_path):
    (tmp_path / "train-00000-of-00001.tfrecord").write_bytes(b"precious")
    with pytest.raises(ShardError, match=r"shards of an unknown conversion are here; replace it with --overwrite"):
        opened(tmp_path)
    assert names(tmp_path) == ["train-00000-of-00001.tfrecord"]
    opened(tmp_path, overwrite=True).close()
    assert names(tmp_path) == []


def test_a_folder_with_other_files_is_refused_and_not_touched(tmp_path):
    for name in ("a.txt", "b.txt", "c.txt", "d.txt", "manifest.json", "train-00000-of-00001.tfrecord"):
        (tmp_path / name).write_text("[]")
    before = names(tmp_path)
    sentence = (
        r"holds files that no conversion wrote \(a.txt, b.txt, c.txt and 2 more\); name an empty one with --output"
    )
    for overwrite in (False, True):
        with pytest.raises(ShardError, match=sentence):
            opened(tmp_path, overwrite)
    assert names(tmp_path) == before


def test_a_file_or_a_forbidden_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ShardError, match=r"file: this is a file; name a folder with --output"):
        opened(tmp_path / "file")
    with pytest.raises(ShardError, match=r"out: cannot write here \(Not a directory\); choose another --output"):
        opened(tmp_path / "file" / "out")


def test_two_conversions_cannot_share_a_folder(tmp_path):
    target = opened(tmp_path)
    with pytest.raises(
        storage.LockedError, match=rf"^{tmp_path}: another tfvoice_convert is writing here; wait until it ends"
    ):
        opened(tmp_path)
    target.close()
    opened(tmp_path).close()


def test_skipped_are_listed_one_object_a_line(tmp_path):
    target = opened(tmp_path)
    path = target.write_skipped([Skip("a", "silent", detail="l’été"), Skip("b", "x", True)])
    assert path == tmp_path / "skipped.jsonl" and len(path.read_text().splitlines()) == 2
    assert base.reasons([Skip(**json.loads(line)) for line in path.open()], True) == {"x": 1}
    target.close()


def test_temporary_files_of_a_killed_conversion_are_not_foreign_and_are_deleted(tmp_path):
    unfinished(tmp_path)
    before = names(tmp_path)
    for path in (tmp_path / ".tfvoice-0123", tmp_path / ".progress" / ".tfvoice-4567", tmp_path / ".lock"):
        path.write_bytes(b"half of it")
    target = opened(tmp_path)
    assert target.finished(plan().shards[0])
    target.close()
    assert names(tmp_path) == before and ".tfvoice-4567" not in names(tmp_path / ".progress")


def test_a_task_finds_what_decides_a_shard_in_the_folder_and_refuses_one_that_another_conversion_took_over(tmp_path):
    target = opened(tmp_path)
    target.write_partitions(plan().shards[1:])
    for shard, partition in plan().partitions():
        if shard == plan().shards[0]:
            continue
        expected = (plan().settings, planning.parse_partition(partition))
        assert output.read_partition(tmp_path, shard.name, plan().fingerprint) == expected
    with pytest.raises(
        ShardError, match=r"this folder was given to another conversion; name another one with --output"
    ):
        output.read_partition(tmp_path, plan().shards[1].name, "0123")
    target.close()


def test_files_of_killed_workers_are_deleted_at_the_end(tmp_path):
    target = opened(tmp_path)
    target.write(plan().shards[0], RESULTS)
    (tmp_path / ".tfvoice-0123").write_bytes(b"half of it")
    target.close()
    assert ".tfvoice-0123" not in names(tmp_path)


def test_a_conversion_into_a_store_is_that_into_a_folder(store, tmp_path):
    manifest = finished(tmp_path / "local")
    assert finished(store) == manifest
    found = storage.place(store).files()
    assert {name: (storage.place(store) / name).read_bytes() for name in found} == {
        path.name: path.read_bytes() for path in (tmp_path / "local").iterdir()
    }
    assert opened(store).complete == manifest


def test_a_writer_that_raises_leaves_no_object(store):
    target = opened(store)
    target.write_partitions(plan().shards)

    def results():
        yield RESULTS[0]
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        target.write(plan().shards[0], results())
    assert not [name for name in storage.place(store).files() if name.endswith((".tfrecord", ".index.jsonl"))]
    assert target.all_finished() == [None] * len(plan().shards)


def test_an_interrupted_conversion_into_a_store_is_resumed(store):
    first = opened(store)
    written = first.write(plan().shards[0], RESULTS)
    first.close()
    assert opened(store).all_finished() == [written, *[None] * (len(plan().shards) - 1)]


def test_in_a_store_the_plan_refuses_another_conversion_from_its_start_on(store):
    target = opened(store)
    target.write_partitions(plan().shards)
    before = storage.place(store).files().keys()
    with pytest.raises(
        ShardError, match=r"an unfinished conversion with other flags is here \(sample_rate_hz 16000 -> "
    ):
        opened(store, sample_rate_hz=8000)
    assert storage.place(store).files().keys() == before
    assert output.read_partition(store, plan().shards[0].name, plan().fingerprint)[0] == plan().settings
    opened(store, overwrite=True, sample_rate_hz=8000).close()
    with pytest.raises(ShardError, match="this folder was given to another conversion"):
        output.read_partition(store, plan().shards[0].name, plan().fingerprint)


def test_of_two_conversions_that_start_at_once_in_a_store_one_is_refused(store, monkeypatch):
    opened(store)
    monkeypatch.setattr(output.ConversionOutput, "_earlier", lambda target: None)
    with pytest.raises(
        storage.LockedError, match=r"folder: another tfvoice_convert has just started here; name another"
    ):
        opened(store, sample_rate_hz=8000)
    opened(store).close()


def test_other_objects_in_a_store_are_refused(store):
    storage.write(f"{store}/a.txt", "mine")
    with pytest.raises(ShardError, match=r"holds files that no conversion wrote \(a.txt\); name an empty one"):
        opened(store, overwrite=True)


def test_a_store_that_cannot_be_written_to_is_a_sentence(store, monkeypatch):
    def refuse(path, content):
        raise PermissionError(13, "Access Denied", str(path))

    monkeypatch.setattr(type(storage.place(store)), "create", refuse)
    with pytest.raises(OSError, match="Access Denied"):
        opened(store)
