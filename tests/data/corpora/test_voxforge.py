"""Laws of the VoxForge reader."""

import pytest

from tfvoice.data.corpora import voxforge
from tfvoice.data.corpora.base import CorpusError


def submission(root, name, prompts, clips, kind="wav", file="PROMPTS"):
    folder = root / name
    (folder / "etc").mkdir(parents=True)
    (folder / "etc" / file).write_bytes(prompts if isinstance(prompts, bytes) else prompts.encode())
    (folder / kind).mkdir(exist_ok=True)
    for clip in clips:
        (folder / kind / f"{clip}.{kind}").write_bytes(b"audio")
    return folder


def test_submissions_of_both_kinds(tmp_path):
    one = submission(
        tmp_path / "Trunk", "Aaron-20080318-kdl", "Aaron-20080318-kdl/mfc/b0019 HE WAS A HEAD\n", ["b0019"]
    )
    submission(
        tmp_path / "Trunk",
        "anonymous-20071127-gzh",
        "a0001 Author of the trail.\n",
        ["a0001"],
        "flac",
        "prompts-original",
    )
    listing = voxforge.read(str(tmp_path))
    assert [(u.id, u.text, u.speaker, u.split) for u in listing.utterances] == [
        ("Aaron-20080318-kdl/b0019", "HE WAS A HEAD", "Aaron", ""),
        ("anonymous-20071127-gzh/a0001", "Author of the trail.", "anonymous-20071127-gzh", ""),
    ]
    assert not listing.skipped and listing.utterances[0].audio == str(one / "wav" / "b0019.wav")


def test_prompts_with_punctuation_are_preferred(tmp_path):
    folder = submission(tmp_path, "Bo-1", "Bo-1/mfc/a1 IT IS\n", ["a1"])
    (folder / "etc" / "prompts-original").write_bytes("a1 It is caf\xe9.\r\n".encode("latin-1"))
    assert [u.text for u in voxforge.read(str(tmp_path)).utterances] == ["It is café."]


def test_audio_without_text_and_text_without_audio_are_skipped(tmp_path):
    submission(tmp_path, "Bo-1", "a1 one\na2 two\na3\n", ["a1", "a3", "a4"])
    listing = voxforge.read(str(tmp_path))
    assert [u.id for u in listing.utterances] == ["Bo-1/a1"]
    reasons = {skip.id_or_path: skip.reason for skip in listing.skipped}
    assert reasons == {"Bo-1/a2": "missing_audio", "Bo-1/a3": "empty_transcript", "Bo-1/a4": "missing_transcript"}


def test_no_submission(tmp_path):
    with pytest.raises(CorpusError, match=r"no folder in it holds etc/prompts-original or etc/PROMPTS; unpack"):
        voxforge.read(str(tmp_path))
    with pytest.raises(CorpusError, match=r"there is no such folder"):
        voxforge.read(str(tmp_path / "gone"))


def test_hidden_files_are_not_there(tmp_path, from_a_mac):
    submission(tmp_path, "Bo-1", "a1 It is\n", ["a1"])
    before = voxforge.read(str(tmp_path))
    from_a_mac(tmp_path)
    assert voxforge.read(str(tmp_path)) == before and before.utterances
