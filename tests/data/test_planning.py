"""Laws of the plan: a partition of the corpus, into shards of the size that is asked for, that files do not change."""

from dataclasses import replace

import pytest

from tfvoice.data import planning, sorting
from tfvoice.data.corpora.base import Listing, Utterance
from tfvoice.data.shards import ConversionConfig

UTTERANCES = [
    Utterance(f"u{n}", f"{n}.wav", "text", split="train" if n % 5 else "test", seconds=1 + n % 3) for n in range(200)
]


def plan(utterances=UTTERANCES, **settings):
    listing = Listing(utterances, [])
    return planning.plan(listing, utterances, ConversionConfig(**{"shard_mb": 1.0, **settings}))


def partitions(planned):
    return {shard.name: planning.parse_partition(partition) for shard, partition in planned.partitions()}


def test_every_utterance_is_in_one_shard_of_its_split():
    planned, members = plan().shards, partitions(plan())
    assert sorted(u.id for each in members.values() for u in each) == sorted(u.id for u in UTTERANCES)
    splits = {u.id: u.split for u in UTTERANCES}
    assert all(splits[u.id] == shard.split for shard in planned for u in members[shard.name])
    assert [len(members[shard.name]) for shard in planned] == [shard.utterances for shard in planned]
    assert [sum(u.seconds for u in members[shard.name]) for shard in planned] == [shard.seconds for shard in planned]
    assert [shard.name for shard in planned][:3] == [f"test-0000{n}-of-00003.tfrecord" for n in range(3)]
    assert [shard.name for shard in planned][3] == "train-00000-of-00011.tfrecord"


def test_shards_have_about_the_size_that_is_asked_for():
    for settings in ({}, {"sample_rate_hz": 8000}, {"encoding": "flac"}, {"shard_mb": 3.0}):
        megabytes = [
            sum(planning._expected_bytes(u, plan(**settings).settings) for u in members) / 1e6
            for members in partitions(plan(**settings)).values()
        ]
        assert max(megabytes) < 1.15 * settings.get("shard_mb", 1.0)
    assert len(plan(shard_mb=1000).shards) == 2


def test_membership_does_not_depend_on_the_order_of_the_listing():
    assert plan(UTTERANCES[::-1]).fingerprint == plan().fingerprint
    assert partitions(plan(UTTERANCES[::-1])) == partitions(plan())


def test_a_wrong_length_cannot_make_thousands_of_shards():
    utterances = [replace(u, seconds=3_600_000.0) for u in UTTERANCES[:10]]
    assert len(plan(utterances, shard_mb=128).shards) == 2


def test_one_recording_larger_than_a_shard_leaves_no_empty_shard():
    planned = plan([replace(UTTERANCES[1], seconds=60), *UTTERANCES[2:4]], shard_mb=0.1).shards
    assert all(shard.utterances for shard in planned)
    assert planned[-1].name.startswith(f"train-{len(planned) - 1:05d}-of-{len(planned):05d}")


@pytest.mark.parametrize("settings", [{"sample_rate_hz": 8000}, {"encoding": "flac"}, {"max_seconds": 5.0}])
def test_fingerprint_depends_on_the_flags(settings):
    assert plan(**settings).fingerprint != plan().fingerprint == plan().fingerprint


@pytest.mark.parametrize("change", [{"text": "other"}, {"seconds": 9.0}, {"speaker": "p1"}, {"split": "valid"}])
def test_fingerprint_depends_on_the_corpus(change):
    assert plan([replace(UTTERANCES[0], **change), *UTTERANCES[1:]]).fingerprint != plan().fingerprint


def test_a_plan_is_the_same_when_it_does_not_fit_into_memory(monkeypatch):
    in_memory, planned = partitions(plan()), plan().shards
    monkeypatch.setattr(sorting, "LINES_IN_MEMORY", 7)
    assert plan().shards == planned and partitions(plan()) == in_memory


def test_a_partition_holds_all_that_decides_the_bytes_of_a_shard():
    strange = Utterance(
        "a\tb\n", "/x/\udce9\u2028.raw", 'l’été\x1c "x"', "p\t1", "train", 0.1, 1 / 3, 16000, to_end=True
    )
    plain = Utterance("c", "c.wav", "x", split="train", seconds=1.0)
    ((_, partition),) = plan([strange, plain]).partitions()
    by_id = {utterance.id: utterance for utterance in planning.parse_partition(partition)}
    assert by_id == {each.id: replace(each, split="") for each in (strange, plain)}


def test_the_first_utterances_of_the_listing_are_examples():
    assert plan().examples == tuple(UTTERANCES[:3])
    assert plan(UTTERANCES[:1]).examples == (UTTERANCES[0],)
