"""Decoding from files, bytes and streams, the errors of defective audio, and finding audio files."""

import contextlib
import io as streams
import os
import shutil
import subprocess
import threading

import audioread
import numpy as np
import pytest
import soundfile
from headers import without_length, without_xing_header

from tfvoice.audio import decoding, io


def noise(frames, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(frames)).astype(np.float32)


def encoded(samples, container, sample_rate_hz=16000, **options):
    file = streams.BytesIO()
    soundfile.write(file, samples, sample_rate_hz, format=container, **options)
    return file.getvalue()


def read_error(source):
    with pytest.raises(decoding.AudioError) as caught:
        io.read(source, 16000)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    return caught.value


class Pipe(streams.RawIOBase):
    """A stream that cannot seek."""

    def __init__(self, data):
        super().__init__()
        self._data = streams.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._data.readinto(buffer)


def test_a_path_bytes_a_file_and_a_pipe_give_the_same_samples(tmp_path):
    data = encoded(noise(5000), "FLAC")
    path = tmp_path / "a.flac"
    path.write_bytes(data)
    expected = io.read(path, 16000)
    assert len(expected) == 5000
    for source in (str(path), data, bytearray(data), streams.BytesIO(data), Pipe(data)):
        np.testing.assert_array_equal(io.read(source, 16000), expected)
    with open(path, "rb") as file:
        assert io.seconds(file) == 5000 / 16000
        np.testing.assert_array_equal(io.read(file, 16000), expected)


def test_a_stream_is_read_from_its_current_position():
    data = encoded(noise(5000), "WAV")
    file = streams.BytesIO(b"preface" + data)
    file.seek(7)
    assert len(io.read(file, 16000)) == 5000


def test_a_named_pipe_is_read_whole(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(encoded(noise(5000), "WAV"),))
    writer.start()
    assert len(io.read(path, 16000)) == 5000
    writer.join()


@pytest.mark.parametrize(
    "name, content, reason, words",
    [
        ("absent.wav", None, "missing_file", "no such file"),
        ("nul\0.wav", None, "missing_file", "no such file"),
        ("empty.wav", b"", "empty_file", "0 bytes"),
        ("text.txt", b"hello world\n" * 100, "unreadable", "not audio"),
        ("headerless.raw", bytes(1000), "unreadable", "not audio"),
        ("short.wav", b"RIFF", "unreadable", "not audio"),
    ],
)
def test_a_file_that_is_not_audio_is_an_error(tmp_path, name, content, reason, words):
    path = f"{tmp_path}/{name}"
    if content is not None:
        (tmp_path / name).write_bytes(content)
    error = read_error(path)
    assert error.reason == reason and words in str(error) and str(error).startswith(path)


def test_a_folder_and_a_path_below_a_file_are_errors(tmp_path):
    assert "folder" in str(read_error(tmp_path))
    (tmp_path / "a.wav").write_bytes(b"x")
    assert read_error(tmp_path / "a.wav" / "b.wav").reason == "missing_file"


def test_a_file_without_read_permission_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(noise(100), "WAV"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "permission" in str(read_error(path))


@pytest.mark.parametrize("source", [b"", streams.BytesIO(), Pipe(b"")])
def test_empty_bytes_and_streams_are_errors(source):
    assert read_error(source).reason == "empty_file"


def test_a_truncated_flac_is_an_error_with_its_time_and_a_truncated_wav_is_read():
    samples = noise(200_000)
    flac, wav = encoded(samples, "FLAC"), encoded(samples, "WAV")
    error = read_error(flac[: len(flac) // 2])
    assert error.reason == "unreadable" and "cut off after" in str(error)
    assert len(io.read(wav[: 44 + 2 * 1000], 16000)) == 1000


def test_an_absurd_sample_rate_is_an_error():
    assert "3 Hz" in str(read_error(encoded(noise(100), "WAV", 3)))


def test_a_wav_and_a_flac_of_unknown_length_are_decoded_whole():
    samples = noise(150_000)
    wav = bytearray(encoded(samples, "WAV"))
    wav[4:8] = wav[40:44] = b"\xff" * 4
    flac = without_length(encoded(samples, "FLAC"))
    for source in (wav, flac):
        assert len(io.read(source, 16000)) == 150_000
        assert io.seconds(source) == 150_000 / 16000


@pytest.mark.parametrize("tag", [b"", b"ID3\x04\0\0\0\0\x10\0" + bytes(2048)])
def test_an_mp3_is_decoded_to_its_end_with_and_without_a_length_header(tag):
    loud_then_silent = np.concatenate([noise(80_000), np.zeros(160_000, np.float32)])
    mp3 = encoded(loud_then_silent, "MP3", bitrate_mode="VARIABLE", compression_level=0.3)
    assert len(io.read(tag + mp3, 16000)) == io.seconds(tag + mp3) * 16000 == 240_000
    bare = tag + without_xing_header(mp3)
    assert len(io.read(bare, 16000)) >= 240_000
    assert io.seconds(bare) == len(io.read(bare, 16000)) / 16000


@contextlib.contextmanager
def decoder(blocks, channels=2):
    yield type("Decoder", (), {"samplerate": 16000, "channels": channels, "__iter__": lambda self: iter(blocks)})()


def test_formats_unknown_to_libsndfile_go_to_audioread(monkeypatch):
    pcm = np.arange(-300, 300, dtype="<i2").tobytes()
    blocks = [pcm[:5], pcm[5:600], pcm[600:]]
    monkeypatch.setattr(audioread, "audio_open", lambda path: decoder(blocks))
    expected = np.arange(-300, 300).reshape(-1, 2).mean(axis=1) / 32768
    np.testing.assert_allclose(io.read(b"not known", 16000), expected, atol=1e-7)
    assert io.seconds(b"not known") == 300 / 16000


@pytest.mark.parametrize("ffmpeg, advice", [(None, "install ffmpeg"), ("/usr/bin/ffmpeg", "convert it to wav")])
def test_the_advice_depends_on_whether_ffmpeg_is_installed(monkeypatch, ffmpeg, advice):
    monkeypatch.setattr(shutil, "which", lambda name: ffmpeg)
    assert advice in str(read_error(b"nothing that is known"))


def test_a_decoder_that_fails_is_an_error(monkeypatch):
    def blocks():
        yield bytes(400)
        raise audioread.DecodeError("gave up")

    monkeypatch.setattr(audioread, "audio_open", lambda path: decoder(blocks()))
    assert "gave up" in str(read_error(b"not known"))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("suffix", ["m4a", "webm"])
def test_ffmpeg_decodes_from_a_file_and_from_bytes(tmp_path, suffix):
    soundfile.write(tmp_path / "a.wav", noise((48000, 2)), 48000)
    path = tmp_path / f"a.{suffix}"
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", path]
    if subprocess.run(command, check=False).returncode:
        pytest.skip(f"this ffmpeg cannot write {suffix}")
    samples = io.read(path, 16000)
    assert abs(len(samples) - 16000) < 800
    np.testing.assert_array_equal(io.read(path.read_bytes(), 16000), samples)
    assert len(next(io.read_blocks(path, 16000, 0.1))) == 1600


def test_find_audio_goes_by_suffix_and_skips_hidden_files(tmp_path):
    for name in ("a.wav", "b.MP3", "x/y/c.flac", "x/.hidden.wav", "notes.txt", "wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    paths = sorted(path.removeprefix(f"{tmp_path}/") for path in decoding.find_audio(str(tmp_path)))
    assert paths == ["a.wav", "b.MP3", "x/y/c.flac"]
