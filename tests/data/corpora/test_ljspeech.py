import pytest

from tfvoice.data.corpora import ljspeech
from tfvoice.data.corpora.base import CorpusError


def tree(root, metadata, ids):
    (root / "wavs").mkdir(parents=True)
    (root / "metadata.csv").write_bytes(metadata.encode())
    for id in ids:
        (root / "wavs" / f"{id}.wav").write_bytes(b"audio")
    return root


def test_reads_the_normalised_text(tmp_path):
    metadata = 'LJ001-0001|In 1465, "so"|In fourteen sixty-five, "so"\r\nLJ001-0002|Only raw|\nLJ001-0003|Two columns\n'
    root = tree(tmp_path / "LJSpeech-1.1", metadata, ["LJ001-0001", "LJ001-0002", "LJ001-0003"])
    listing = ljspeech.read(str(tmp_path))
    assert [u.text for u in listing.utterances] == ['In fourteen sixty-five, "so"', "Only raw", "Two columns"]
    assert {u.speaker for u in listing.utterances} == {"lj"} and not listing.skipped
    assert listing.utterances[0].audio == str(root / "wavs" / "LJ001-0001.wav")


def test_audio_without_text_and_text_without_audio_are_skipped(tmp_path):
    listing = ljspeech.read(str(tree(tmp_path, "a|A|a\nb|B|b\n\nc\nd||\n", ["a", "c", "d", "e"])))
    assert [u.id for u in listing.utterances] == ["a"]
    reasons = {skip.id_or_path: skip.reason for skip in listing.skipped}
    assert reasons == {
        "b": "missing_audio",
        "c": "malformed_row",
        "d": "empty_transcript",
        "e": "missing_transcript",
    }


def test_no_such_tree(tmp_path):
    with pytest.raises(CorpusError, match=r"looked for metadata.csv beside wavs/"):
        ljspeech.read(str(tmp_path))


def test_not_utf8(tmp_path):
    root = tree(tmp_path, "", [])
    (root / "metadata.csv").write_bytes(b"a|caf\xe9|caf\xe9")
    with pytest.raises(CorpusError, match=r"metadata.csv: not UTF-8 .*save it as UTF-8"):
        ljspeech.read(str(root))


def test_hidden_files_are_not_there(tmp_path, from_a_mac):
    tree(tmp_path, "a|A|a\n", ["a"])
    before = ljspeech.read(str(tmp_path))
    from_a_mac(tmp_path)
    assert ljspeech.read(str(tmp_path)) == before and before.utterances


def test_a_fourth_column_is_malformed(tmp_path):
    listing = ljspeech.read(str(tree(tmp_path, "a|A|a|speaker-1\nb|B|b\n", ["a", "b"])))
    assert [u.text for u in listing.utterances] == ["b"]
    assert [(skip.id_or_path, skip.reason) for skip in listing.skipped] == [("a", "malformed_row")]
    assert "line 1 has 4 columns" in listing.skipped[0].detail
