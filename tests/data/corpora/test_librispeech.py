"""Laws of the LibriSpeech reader."""

import pytest

from tfvoice.data.corpora import librispeech
from tfvoice.data.corpora.base import CorpusError

SPEAKERS = """; a comment | with | bars
84   | F | dev-clean        | 8.02  | Christie Nowak
61   | M | test-clean       | 8.08  | A | B
"""


def chapter(root, subset, speaker, number, lines, clips):
    folder = root / subset / speaker / number
    folder.mkdir(parents=True)
    (folder / f"{speaker}-{number}.trans.txt").write_text(lines)
    for clip in clips:
        (folder / f"{speaker}-{number}-{clip}.flac").write_bytes(b"audio")


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "LibriSpeech"
    chapter(
        root,
        "train-clean-100",
        "103",
        "1240",
        "103-1240-0000 CHAPTER ONE\n103-1240-0001 MARY LYNDE'S\n",
        ["0000", "0001"],
    )
    chapter(root, "dev-clean", "84", "121123", "84-121123-0000 GO DO YOU HEAR\n", ["0000"])
    chapter(root, "test-clean", "61", "70968", "61-70968-0000 HE BEGAN\n", ["0000"])
    chapter(root, "test-other", "367", "130732", "367-130732-0000 LOBSTERS\n", ["0000"])
    (root / "SPEAKERS.TXT").write_text(SPEAKERS)
    return root


def test_subsets_give_the_splits_and_the_test_sets_stay_separate(tree):
    listing = librispeech.read(str(tree.parent))
    assert [(u.id, u.text, u.speaker, u.split) for u in listing.utterances] == [
        ("103-1240-0000", "CHAPTER ONE", "103", "train"),
        ("103-1240-0001", "MARY LYNDE'S", "103", "train"),
        ("367-130732-0000", "LOBSTERS", "367", "test_other"),
        ("61-70968-0000", "HE BEGAN", "61", "test_clean"),
        ("84-121123-0000", "GO DO YOU HEAR", "84", "valid"),
    ]
    assert not listing.skipped
    assert listing.utterances[0].audio == str(tree / "train-clean-100/103/1240/103-1240-0000.flac")
    assert listing.speakers == {
        "84": {"sex": "F", "subset": "dev-clean", "minutes": "8.02", "name": "Christie Nowak"},
        "61": {"sex": "M", "subset": "test-clean", "minutes": "8.08", "name": "A | B"},
    }


def test_one_subset_can_be_read_alone(tree):
    listing = librispeech.read(str(tree / "dev-clean"))
    assert [u.split for u in listing.utterances] == ["valid"] and set(listing.speakers) == {"84", "61"}


def test_a_folder_of_subsets_may_be_called_anything(tree):
    renamed = tree.rename(tree.parent / "test-data")
    assert len({u.split for u in librispeech.read(str(renamed)).utterances}) == 4


def test_audio_without_text_and_text_without_audio_are_skipped(tree):
    (tree / "dev-clean/84/121123/84-121123-0007.flac").write_bytes(b"audio")
    (tree / "test-clean/61/70968/61-70968-0000.flac").unlink()
    (tree / "test-other/367/130732/367-130732.trans.txt").write_text("367-130732-0000\n")
    reasons = {skip.id_or_path: skip.reason for skip in librispeech.read(str(tree)).skipped}
    assert reasons == {
        "84-121123-0007": "missing_transcript",
        "61-70968-0000": "missing_audio",
        "367-130732-0000": "empty_transcript",
    }


def test_no_such_tree(tmp_path):
    with pytest.raises(CorpusError, match=r"looked for train-clean-100/, dev-clean/ or their like"):
        librispeech.read(str(tmp_path))
    (tmp_path / "train-other-500").mkdir()
    with pytest.raises(CorpusError, match=r"no chapter with a \.trans\.txt is in train-other-500; unpack"):
        librispeech.read(str(tmp_path))
    (tmp_path / "train-other-500" / "1-2-0003.flac").write_bytes(b"x")
    with pytest.raises(CorpusError, match=r"no chapter with a \.trans\.txt is in train-other-500; unpack"):
        librispeech.read(str(tmp_path))


def test_not_utf8(tree):
    path = tree / "dev-clean/84/121123/84-121123.trans.txt"
    path.write_bytes(b"84-121123-0000 CAF\xc9\n")
    with pytest.raises(CorpusError, match=r"84-121123\.trans\.txt: not UTF-8 .*; unpack the archive again"):
        librispeech.read(str(tree))


def test_hidden_files_are_not_there(tree, from_a_mac):
    before = librispeech.read(str(tree))
    from_a_mac(tree)
    assert librispeech.read(str(tree)) == before and before.utterances


def test_libritts_has_a_text_beside_each_recording(tmp_path):
    for id, text in (("103_1241_000000_000001", "Matthew Cuthbert, ten."), ("103_1241_000000_000002", "")):
        folder = tmp_path / "LibriTTS" / "train-clean-100" / "103" / "1241"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{id}.wav").write_bytes(b"audio")
        (folder / f"{id}.original.txt").write_text("Matthew Cuthbert, 10.")
        if text:
            (folder / f"{id}.normalized.txt").write_text(text)
    listing = librispeech.read(str(tmp_path))
    (one,) = listing.utterances
    assert (one.id, one.text, one.speaker, one.split) == (
        "103_1241_000000_000001", "Matthew Cuthbert, ten.", "103", "train",
    )  # fmt: skip
    assert [(skip.id_or_path, skip.reason) for skip in listing.skipped] == [
        ("103_1241_000000_000002", "missing_transcript")
    ]
