"""A folder of audio becomes clips of one length, whatever the format, and says so where there is none."""

import re

import numpy as np
import pytest
from headers import without_length, without_xing_header

from tfvoice.audio import io as audio_io
from tfvoice.data import convert, records
from tfvoice.data.corpora import audio_folder, base
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
    clips = [(u.id, u.start_seconds, round(u.seconds, 3), u.speaker) for u in listing.utterances]
    # The rest of 0.5 s of the first recording is too short for a clip.
    assert clips[:4] == [
        ("a@00000.000", 0.0, 2.0, "a"),
        ("deep/b@00000.000", 0.0, 2.0, "deep/b"),
        ("deep/b@00002.000", 2.0, 2.0, "deep/b"),
        ("deep/b@00004.000", 4.0, 1.2, "deep/b"),
    ]
    assert clips[4][:2] == ("deep/c@00000.000", 0.0)
    assert not listing.skipped


def test_clips_joined_are_the_recording(folder, tmp_path):
    settings = ConversionConfig(corpus="audio", sample_rate_hz=8000, min_seconds=0.1)
    listing = audio_folder.read(str(folder / "a.wav"), "1")
    whole = audio_io.read(folder / "a.wav", 8000)
    converted = [convert.convert_one(utterance, settings) for utterance in listing.utterances]
    assert [one.samples for one in converted] == [8000, 8000]
    clips = [records.decode(records.unframe(one.frame))["audio"].numpy() for one in converted]
    np.testing.assert_allclose(np.concatenate(clips), whole[:16000], atol=1 / 32768)


@pytest.mark.parametrize("suffix, strip_length", [("mp3", without_xing_header), ("flac", without_length)])
def test_a_recording_without_a_length_in_its_header_is_read_whole(tmp_path, suffix, strip_length):
    path = tmp_path / f"a.{suffix}"
    audio_io.write(path, np.random.default_rng(1).uniform(-0.3, 0.3, 4 * 16000), 16000)
    path.write_bytes(strip_length(path.read_bytes()))
    settings = ConversionConfig(corpus="audio", sample_rate_hz=16000, min_seconds=0.1)
    listing = audio_folder.read(str(tmp_path), "1.5")
    converted = [convert.convert_one(utterance, settings) for utterance in listing.utterances]
    clips = np.concatenate([records.decode(records.unframe(one.frame))["audio"].numpy() for one in converted])
    whole = audio_io.read(path, 16000)
    assert len(whole) >= 4 * 16000 - 2000
    np.testing.assert_allclose(clips, whole[: len(clips)], atol=1 / 32768)
    assert len(whole) - len(clips) < 1


def test_silence_in_a_recording_is_skipped_as_expected(tmp_path):
    audio_io.write(tmp_path / "a.wav", np.concatenate([prime(), np.zeros(16000), prime()]), 8000)
    settings = ConversionConfig(corpus="audio", sample_rate_hz=8000)
    plan = convert.prepare(audio_folder.read(str(tmp_path), "1"), settings)
    manifest = convert.convert(plan, tmp_path / "records", max_skipped=0)
    assert manifest.expected_skips == {"silent": 2} and not manifest.skipped


def test_files_with_one_stem_are_two_recordings_and_hidden_files_none(folder):
    audio_io.write(folder / "a.flac", prime(), 8000)
    (folder / "._a.wav").write_bytes(b"what macOS leaves")
    (folder / "linked").symlink_to(folder / "deep")
    listing = audio_folder.read(str(folder), "8")
    assert not listing.skipped
    assert {utterance.speaker for utterance in listing.utterances} == {
        "a.flac", "a.wav", "deep/b", "deep/c"
    }  # fmt: skip


def test_clips_longer_than_max_seconds_are_refused_before_conversion(folder):
    settings = ConversionConfig(corpus="audio", max_seconds=3)
    with pytest.raises(convert.ConversionError, match=r"_seconds=4 is more than --max_seconds=3, .* add --max_s"):
        convert.prepare(audio_folder.read(str(folder), "4"), settings)


def prime():
    return np.random.default_rng(3).uniform(-0.3, 0.3, 8000)


def test_files_that_are_not_audio_are_skipped_with_a_reason(folder):
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
def test_unusable_input_gets_a_sentence(tmp_path, make, clip_seconds, fact):
    with pytest.raises(base.CorpusError, match=re.escape(fact)):
        audio_folder.read(str(make(tmp_path)), clip_seconds)
