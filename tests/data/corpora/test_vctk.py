import pytest

from tfvoice.data.corpora import vctk
from tfvoice.data.corpora.base import CorpusError


def touch(path, text="audio"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def release_080(root, suffix=".wav"):
    for id in ("p225_001", "p225_002", "p226_001", "p315_001"):
        touch(root / "wav48" / id[:4] / f"{id}{suffix}")
        if id[:4] != "p315":
            touch(root / "txt" / id[:4] / f"{id}.txt", f" Text of {id}.\n")
    return root


def release_092(root):
    for id in ("p225_001", "p225_002", "p280_001", "p280_002", "p315_001"):
        for mic in ("mic1", "mic2"):
            if id[:4] not in ("p280", "p315") or mic == "mic1":
                touch(root / "wav48_silence_trimmed" / id[:4] / f"{id}_{mic}.flac")
        if id[:4] != "p315":
            touch(root / "txt" / id[:4] / f"{id}.txt", f"Text of {id}.")
    touch(root / "wav48_silence_trimmed" / "log.txt")
    return root


def summary(listing):
    return [utterance.id for utterance in listing.utterances], [(s.id_or_path, s.reason) for s in listing.skipped]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".WAV"])
def test_release_080(tmp_path, suffix):
    listing = vctk.read(str(release_080(tmp_path, suffix)))
    assert summary(listing) == (["p225_001", "p225_002", "p226_001"], [("p315_001", "speaker_without_transcripts")])
    assert listing.skipped[0].expected and listing.expected == 3
    assert listing.utterances[2].speaker == "p226" and listing.utterances[2].text == "Text of p226_001."
    assert listing.utterances[2].audio == str(tmp_path / "wav48" / "p226" / f"p226_001{suffix}")


def test_the_parent_folder_and_the_audio_folder_are_accepted_too(tmp_path):
    root = release_080(tmp_path / "VCTK-Corpus")
    whole = vctk.read(str(root))
    assert vctk.read(str(tmp_path)) == whole == vctk.read(str(root / "wav48"))


def test_release_092_has_two_microphones(tmp_path):
    root = release_092(tmp_path)
    ids, skipped = summary(vctk.read(str(root)))
    assert ids == ["p225_001", "p225_002", "p280_001", "p280_002"]
    assert skipped == [("p315_001", "speaker_without_transcripts")]
    listing = vctk.read(str(root), mic="mic2")
    assert summary(listing)[0] == ["p225_001", "p225_002"]
    assert summary(listing)[1] == [("p280_001", "speaker_without_mic2"), ("p280_002", "speaker_without_mic2")]
    assert all(skip.expected for skip in listing.skipped)
    assert all(utterance.audio.endswith("_mic2.flac") for utterance in listing.utterances)


def test_audio_without_text_and_text_without_audio_are_skipped(tmp_path):
    root = release_080(tmp_path)
    touch(root / "wav48" / "p225" / "p225_003.wav")
    touch(root / "txt" / "p225" / "p225_004.txt")
    touch(root / "txt" / "p400" / "p400_001.txt")
    touch(root / "txt" / "p225" / "p225_001.txt", "")
    (root / "txt" / "p225" / "p225_002.txt").write_bytes(b"caf\xe9")
    touch(root / "wav48" / "p225" / "p225_005.raw")
    listing = vctk.read(str(root))
    assert summary(listing) == (
        ["p226_001"],
        [
            ("p225_001", "empty_transcript"),
            ("p225_002", "unreadable_transcript"),
            ("p225_003", "missing_transcript"),
            ("p225_004", "missing_audio"),
            ("p315_001", "speaker_without_transcripts"),
            ("p400_001", "missing_audio"),
        ],
    )
    assert [skip.id_or_path for skip in listing.skipped if skip.expected] == ["p315_001"]


def test_one_utterance_in_two_formats_is_a_duplicate(tmp_path):
    root = release_080(tmp_path)
    touch(root / "wav48" / "p225" / "p225_001.flac")
    listing = vctk.read(str(root))
    assert listing.utterances[0].audio.endswith("p225_001.flac")
    assert [skip.reason for skip in listing.skipped if not skip.expected] == ["duplicate_id"]


@pytest.mark.parametrize("prefix", ["", "p"])
def test_speaker_info(tmp_path, prefix):
    root = release_080(tmp_path)
    assert vctk.read(str(root)).speakers == {}
    rows = [
        "ID  AGE  GENDER  ACCENTS  REGION ",
        f"{prefix}225  23  F    English    Southern  England",
        f"{prefix}376 22 M",
    ]
    touch(root / "speaker-info.txt", "\n".join(rows) + "\n")
    facts = {"age": "23", "gender": "F", "accents": "English", "region": "Southern  England"}
    assert vctk.read(str(root)).speakers == {"p225": facts, "p376": {"age": "22", "gender": "M"}}


def test_no_such_tree(tmp_path):
    with pytest.raises(CorpusError, match=r"looked for wav48_silence_trimmed/, wav48/ or wav/ beside txt/"):
        vctk.read(str(tmp_path))
    (tmp_path / "wav48").mkdir()
    with pytest.raises(CorpusError, match=r"beside txt/.*--input"):
        vctk.read(str(tmp_path / "wav48"))
    with pytest.raises(CorpusError, match=r"there is no such folder"):
        vctk.read(str(tmp_path / "wav"))


def test_no_such_microphone(tmp_path):
    with pytest.raises(CorpusError, match=r"--mic=mic3: no such microphone; use mic1 or mic2"):
        vctk.read(str(tmp_path), mic="mic3")


def test_hidden_files_are_not_there(tmp_path, from_a_mac):
    release_080(tmp_path)
    before = vctk.read(str(tmp_path))
    from_a_mac(tmp_path)
    assert vctk.read(str(tmp_path)) == before and before.utterances
