"""A folder of audio becomes clips of one length, whatever the format, and says so where there is none."""

import re

import numpy as np
import pytest

from tfvoice.audio import io as audio_io
from tfvoice.data import audio_folder, convert, corpus
from tfvoice.data.shards import ConversionConfig


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "deep").mkdir()
    for name, seconds, rate in (("a.wav", 2.5, 8000), ("deep/b.ogg", 5.2, 22050), ("deep/c.mp3", 0.7, 16000)):
        audio_io.write(tmp_path / name, random.uniform(-0.3, 0.3, round(seconds * rate)), rate)
    (tmp_path / "notes.txt").write_text("not audio")
    return tmp_path


def test_recordings_are_cut_into_clips(folder):
    listing = audio_folder.read(str(folder), "2")
    found = [(u.id, u.start_seconds, round(u.seconds, 3), u.speaker) for u in listing.utterances]
    # The rest of 0.5 s of the first recording is too short for a clip.
    assert found[:4] == [
        ("a@00000.000", 0.0, 2.0, "a"),
        ("deep/b@00000.000", 0.0, 2.0, "deep/b"),
        ("deep/b@00002.000", 2.0, 2.0, "deep/b"),
        ("deep/b@00004.000", 4.0, 1.2, "deep/b"),
    ]
    assert found[4][:2] == ("deep/c@00000.000", 0.0)
    assert not listing.skipped


def test_clips_joined_are_the_recording(folder, tmp_path):
    settings = ConversionConfig(corpus="audio", sample_rate_hz=8000, min_seconds=0.1)
    listing = audio_folder.read(str(folder / "a.wav"), "1")
    whole = audio_io.read(folder / "a.wav", 8000)
    converted = [convert.convert_one(utterance, settings) for utterance in listing.utterances]
    assert [one.seconds for one in converted] == [1.0, 1.0]
    assert sum(len(one.frame) for one in converted) > 2 * len(whole[:16000])


def test_what_is_no_audio_is_skipped_and_told(folder):
    (folder / "bad.wav").write_text("hello")
    (folder / "empty.flac").touch()
    skipped = audio_folder.read(str(folder)).skipped
    assert {skip.id_or_path for skip in skipped} == {"bad", "empty"}


@pytest.mark.parametrize(
    "make, clip_seconds, fact",
    [
        (lambda root: root / "none", "8", "there is no such folder"),
        (lambda root: root, "8", "no audio is in this folder or below it; looked for .wav, "),
        (lambda root: root, "x", "--clip_seconds=x: write a length of at least 0.1"),
        (lambda root: root, "0", "--clip_seconds=0: write a length"),
        (lambda root: root, "inf", "--clip_seconds=inf: write a length"),
        (lambda root: root, "nan", "--clip_seconds=nan: write a length"),
    ],
)
def test_what_cannot_be_cut_is_told(tmp_path, make, clip_seconds, fact):
    with pytest.raises(corpus.CorpusError, match=re.escape(fact)):
        audio_folder.read(str(make(tmp_path)), clip_seconds)
