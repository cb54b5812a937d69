import json
from dataclasses import replace
from pathlib import Path

import pytest

from tfvoice.data import sorting
from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import CorpusError, Listing, Skip, Utterance


def utterance(id="a", text="Some text.", speaker="p1", split=""):
    return Utterance(id, f"{id}.wav", text, speaker, split)


def test_parse_split():
    assert base.parse_split("90/5/5") == {"train": 0.9, "valid": 0.05, "test": 0.05}
    assert base.parse_split("90/10") == {"train": 0.9, "valid": 0.1}
    assert base.parse_split("0/0/100") == {"train": 0.0, "valid": 0.0, "test": 1.0}


@pytest.mark.parametrize("text", ["", "90", "90/5", "110/-5/-5", "a/b/c", "80/10/5/5", "90/5/6", "nan/50/50"])
def test_parse_split_refuses(text):
    with pytest.raises(CorpusError, match=f"--split={text}: .*for example --split=90/5/5"):
        base.parse_split(text)


def test_splits_follow_the_fractions_and_never_change():
    fractions = base.parse_split("80/15/5")
    splits = [base.assign_split(utterance(f"u{n}"), fractions, "utterance") for n in range(4000)]
    for split, fraction in fractions.items():
        assert splits.count(split) / 4000 == pytest.approx(fraction, abs=0.02)
    # Earlier conversions rely on these draws.
    assert [n for n in range(30) if splits[n] != "train"] == [4, 7, 18, 19, 21, 25]


def test_a_split_by_speaker_or_text_keeps_the_group_together():
    fractions = base.parse_split("50/25/25")
    speakers = [f"p{n}" for n in range(50)]
    drawn = {
        s: {base.assign_split(utterance(f"{s}_{n}", speaker=s), fractions, "speaker") for n in range(9)}
        for s in speakers
    }
    assert all(len(splits) == 1 for splits in drawn.values()) and len(set.union(*drawn.values())) == 3
    same = ("It's  RED!", "its red", "Its réd…")
    for n in range(50):
        texts = [f"{text} {chr(97 + n % 26) * (1 + n // 26)}" for text in same]
        assert len({base.assign_split(utterance(text, text), fractions, "text") for text in texts}) == 1


def test_a_split_of_the_corpus_is_kept():
    listing = Listing([utterance("a", split="test"), utterance("b")], [])
    assert [u.split for u in base.with_splits(listing.utterances, {"train": 1.0}, "utterance")] == ["test", "train"]


def test_a_split_of_zero_percent_is_empty():
    fractions = base.parse_split("0/0/100")
    assert {base.assign_split(utterance(str(n)), fractions, "utterance") for n in range(200)} == {"test"}


def test_sentence_key_falls_back_to_the_text():
    assert base.sentence_key("?!") == "?!"
    assert base.sentence_key("Route 1") != base.sentence_key("Route 2")


def test_checked_sorts_and_skips_unusable_utterances():
    half = "\udcff"
    listing = base.checked(
        [
            *(utterance("b"), utterance("a"), utterance("b"), utterance("c", text=""), utterance("d", text=half)),
            Skip("0", "missing_audio", expected=True),
        ]
    )
    assert [u.id for u in listing.utterances] == ["a", "b"]
    assert [(skip.id_or_path, skip.reason) for skip in listing.skipped] == [
        ("0", "missing_audio"),
        ("b", "duplicate_id"),
        ("c", "empty_transcript"),
        ("d", "not_unicode"),
    ]
    assert listing.expected == 5
    assert base.reasons(listing.skipped, expected=True) == {"missing_audio": 1}
    assert list(base.reasons(listing.skipped, expected=False)) == ["duplicate_id", "empty_transcript", "not_unicode"]


@pytest.mark.parametrize("with_text", [True, False])
def test_a_large_corpus_is_the_same_from_the_disk(with_text, monkeypatch):
    names = ["b", "a", "a\tb", "a b", 'a"', "a\\", "é", "z", "a\nc", "b", "b", "\U0001f600"]
    given = [
        Utterance(name, f"{number}/\udce9.wav", "x", "y", "train", 0.1, 1 / 3, 8000)
        for number, name in enumerate(names)
    ]
    given += [
        Utterance("g", "g.wav", "z", split="test"),
        Utterance("g", "g.wav", "a", split="train"),
        utterance("c", text=""),
        utterance("d", text="\udcff"),
        Utterance("f", "b.wav", "x"),
        Utterance("f", "a.wav", "x"),
    ]

    def check():
        return base.checked(iter([Skip("1", "r"), *given, Skip("0", "r")]), with_text=with_text)

    small = check()
    ids = [each.id for each in small.utterances]
    assert isinstance(small.utterances, list) and ids == sorted(
        ids, key=lambda id: json.dumps(id, ensure_ascii=False)[1:-1]
    )
    assert len(ids) == 12 + (not with_text)
    assert next(each for each in small.utterances if each.id == "a\tb") == given[2]
    assert next(each for each in small.utterances if each.id == "g") == given[12], "the first of equal ones"
    monkeypatch.setattr(sorting, "LINES_IN_MEMORY", 4)
    large = check()
    assert not isinstance(large.utterances, list) and len(large.utterances) == len(ids)
    assert list(large.utterances) == list(large.utterances) == small.utterances and large.skipped == small.skipped
    assert given[2] in large.utterances and given[-3] not in large.utterances


def test_read_text_strips_byte_order_mark_and_blanks(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf Please call Stella.\r\n")
    assert base.read_text(tmp_path / "a.txt") == "Please call Stella."


def test_find_tree(tmp_path):
    def is_root(folder: Path) -> bool:
        return (folder / "x").is_dir()

    with pytest.raises(CorpusError, match=r"nowhere: there is no such folder; name the one that holds x/ with --input"):
        base.find_tree(tmp_path / "nowhere", is_root, "x/")
    with pytest.raises(CorpusError, match=r"looked for x/, in it and in its subfolders"):
        base.find_tree(tmp_path, is_root, "x/")
    (tmp_path / "one" / "x").mkdir(parents=True)
    assert base.find_tree(tmp_path, is_root, "x/") == tmp_path / "one" == base.find_tree(tmp_path / "one", is_root, "")
    (tmp_path / "two" / "x").mkdir(parents=True)
    with pytest.raises(CorpusError, match=r"one and two both hold x/; choose: --input=.*one"):
        base.find_tree(tmp_path, is_root, "x/")


def test_names_that_are_not_utf8_are_read_and_printable():
    latin = "caf\udce9"
    listing = base.checked(
        [Utterance(latin, f"/a/{latin}.wav", "x", latin), Utterance("caf", "a", "y"), Skip(latin, "r")]
    )
    assert [(each.id, each.speaker) for each in listing.utterances] == [("caf", ""), ("caf\\xe9", "caf\\xe9")]
    assert listing.utterances[1].audio == f"/a/{latin}.wav" and listing.skipped[0].id_or_path == "caf\\xe9"


@pytest.mark.parametrize("by", ["utterance", "text"])
@pytest.mark.parametrize("count", [3, 15, 40])
def test_no_split_of_a_small_corpus_stays_empty(by, count):
    fractions = base.parse_split("90/5/5")
    listing = Listing([Utterance(f"clip{n}", "a", f"text {n}") for n in range(count)], [])
    first, second = (list(base.with_splits(listing.utterances, fractions, by)) for _ in range(2))
    assert first == second and {each.split for each in first} == set(base.SPLITS)
    moved = [a.id for a in first if a.split != base.assign_split(replace(a, split=""), fractions, by)]
    assert len(moved) <= 2, "no others than are needed"
    two = base.with_splits(listing.utterances, base.parse_split("50/50"), by)
    assert {each.split for each in two} == {"train", "valid"}


def test_speakers_given_splits_and_single_recordings_are_not_moved():
    fractions = base.parse_split("90/5/5")
    listing = Listing([Utterance(f"{n}", "a", "x", f"s{n % 2}") for n in range(8)], [])
    alone = [base.assign_split(each, fractions, "speaker") for each in listing.utterances]
    assert [each.split for each in base.with_splits(listing.utterances, fractions, "speaker")] == alone
    given = Listing([replace(each, split="train") for each in listing.utterances], [])
    assert list(base.with_splits(given.utterances, fractions, "utterance")) == given.utterances
    one = base.with_splits(listing.utterances[:1], fractions, "utterance")
    assert [each.split for each in one] == [base.assign_split(listing.utterances[0], fractions, "utterance")]


@pytest.mark.parametrize(
    ("name", "how"),
    [("a.tar.gz", "tar -xf"), ("A.TGZ", "tar -xf"), ("a.tar", "tar -xf"), ("a.zip", "unzip"), ("a.tar.zst", "tar -xf")],
)
def test_an_archive_is_to_be_unpacked(tmp_path, name, how):
    archive = tmp_path / name
    archive.write_bytes(b"x")
    for source in (archive, tmp_path):
        with pytest.raises(CorpusError, match=f"{name}: is an archive; unpack it, for example with {how} {name}"):
            base.find_tree(source, lambda folder: False, "x/")
    other = tmp_path / "notes.txt"
    other.write_text("")
    with pytest.raises(CorpusError, match=r"notes.txt: this is a file; name the folder that holds x/ with --input"):
        base.find_tree(other, lambda folder: False, "x/")
