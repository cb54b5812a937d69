"""Laws of the AN4 reader, with its two kinds of audio."""

import numpy as np
import pytest
import soundfile

from tfvoice.data import convert
from tfvoice.data.corpora import an4
from tfvoice.data.corpora.base import CorpusError
from tfvoice.data.shards import ConversionConfig


def tree(root, train, test, clips):
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "an4_train.transcription").write_text(train)
    (root / "etc" / "an4_test.transcription").write_text(test)
    for clip in clips:
        path = root / "wav" / clip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"audio")
    return root


def test_a_tenth_of_train_becomes_valid_and_test_is_kept(tmp_path):
    ids = [f"an{number}-fash-b" for number in range(200)]
    train = "".join(f"<s> RUBOUT G M E F {number} </s> ({id})\n" for number, id in enumerate(ids))
    clips = [f"an4_clstk/fash/{id}.sph" for id in ids] + ["an4test_clstk/mjwl/an391-mjwl-b.sph"]
    tree(tmp_path / "an4", train, "ENTER SIX TWO FOUR (an391-mjwl-b)\n", clips)
    listing = an4.read(str(tmp_path))
    by_id = {u.id: u for u in listing.utterances}
    assert not listing.skipped and len(by_id) == 201
    one = by_id["an391-mjwl-b"]
    assert (one.text, one.speaker, one.split, one.bare_hz) == ("ENTER SIX TWO FOUR", "mjwl", "test", None)
    assert by_id["an7-fash-b"].text == "RUBOUT G M E F 7"
    splits = [by_id[id].split for id in ids]
    assert set(splits) == {"train", "valid"} and 10 <= splits.count("valid") <= 30


def test_sphere_is_preferred_to_bare_samples(tmp_path):
    clips = ["an4_clstk/fash/an1-fash-b.raw", "an4_clstk/fash/an1-fash-b.sph", "an4_clstk/fash/an2-fash-b.raw"]
    train = "<s> ONE </s> (an1-fash-b)\n<s> TWO </s> (an2-fash-b)\n"
    one, two = an4.read(str(tree(tmp_path, train, "", clips))).utterances
    assert (one.audio.rsplit(".")[-1], one.bare_hz) == ("sph", None)
    assert (two.audio.rsplit(".")[-1], two.bare_hz) == ("raw", 16000)


def test_audio_without_text_and_text_without_audio_are_skipped(tmp_path):
    train = "<s> ONE </s> (an1-fash-b)\n<s> no id\n<s> </s> (an3-fash-b)\n"
    listing = an4.read(str(tree(tmp_path, train, "", ["a/an2-fash-b.sph", "a/an3-fash-b.sph"])))
    assert not listing.utterances
    reasons = {skip.id_or_path: skip.reason for skip in listing.skipped}
    assert reasons == {
        "an1-fash-b": "missing_audio",
        "an4_train.transcription line 2": "malformed_row",
        "an2-fash-b": "missing_transcript",
        "an3-fash-b": "empty_transcript",
    }


@pytest.mark.parametrize("order", ["<i2", ">i2"])
def test_bare_samples_of_either_byte_order_become_the_audio_of_the_sphere(tmp_path, order):
    noise = np.random.default_rng(0).standard_normal(8000)
    speech = (3000 * np.convolve(noise, np.hanning(16), "same")).astype(np.int16)
    root = tree(tmp_path, "<s> A </s> (an1-fash-b)\n<s> B </s> (an2-fash-b)\n", "", [])
    (root / "wav").mkdir()
    (root / "wav" / "an1-fash-b.raw").write_bytes(speech.astype(order).tobytes())
    soundfile.write(root / "wav" / "an2-fash-b.sph", speech, 16000, format="NIST", subtype="PCM_16", endian="BIG")
    settings = ConversionConfig(corpus="an4")
    one, two = (convert.convert_one(utterance, settings) for utterance in an4.read(str(root)).utterances)
    assert one.samples == two.samples == 8000
    assert speech.astype("<i2").tobytes() in one.frame and speech.astype("<i2").tobytes() in two.frame
    plan = convert.prepare(an4.read(str(root)), settings)
    assert sum(shard.seconds for shard in plan.shards) == pytest.approx(1.0, abs=0.1)


def test_an_empty_raw_file_is_bad(tmp_path):
    root = tree(tmp_path, "<s> A </s> (an1-fash-b)\n", "", ["an1-fash-b.raw"])
    (root / "wav" / "an1-fash-b.raw").write_bytes(b"")
    (utterance,) = an4.read(str(root)).utterances
    assert convert.convert_one(utterance, ConversionConfig(corpus="an4")).reason == "no_samples"


def test_no_such_tree_and_not_utf8(tmp_path):
    with pytest.raises(CorpusError, match=r"looked for etc/an4_train\.transcription beside wav/"):
        an4.read(str(tmp_path))
    root = tree(tmp_path / "an4", "", "", ["a.sph"])
    (root / "etc" / "an4_train.transcription").write_bytes(b"<s> \xe9 </s> (an1-fash-b)")
    with pytest.raises(CorpusError, match=r"an4_train\.transcription: not UTF-8"):
        an4.read(str(tmp_path))


def test_hidden_files_are_not_there(tmp_path, from_a_mac):
    tree(tmp_path, "<s> ONE </s> (an1-fash-b)\n", "", ["an4_clstk/fash/an1-fash-b.sph"])
    before = an4.read(str(tmp_path))
    from_a_mac(tmp_path)
    assert an4.read(str(tmp_path)) == before and before.utterances
