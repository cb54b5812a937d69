"""Decoding from files, bytes and streams, the errors of defective audio, and finding audio files."""

import errno
import io as streams
import os
import shutil
import subprocess
import threading

import numpy as np
import pytest
import soundfile
from headers import encoded, noise, without_length, without_xing_header

from tfvoice.audio import decoding, ffmpeg, io

needs_ffmpeg = pytest.mark.skipif(not ffmpeg.is_installed(), reason="ffmpeg is not installed")


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


@pytest.mark.parametrize("container", ["FLAC", "WAV", "AU", "AIFF", "NIST", "MP3", "OGG"])
def test_a_file_that_is_cut_off_is_an_error_and_what_is_there_can_be_read(container):
    data = encoded(noise(200_000), container)
    half = data[: len(data) // 2 + 101]
    error = read_error(half)
    assert error.reason == "cut_off" and "cut off after" in str(error)
    if container != "OGG":
        assert "12.5 s" in str(error) or "lost sync" in str(error)
    errors = []
    samples = io.read(half, 16000, on_cut_off=errors.append)
    assert 50_000 < len(samples) < 150_000 and str(errors[0]) == str(error)
    blocks = io.read_blocks(half, 16000, 1.0, on_cut_off=errors.append)
    np.testing.assert_array_equal(np.concatenate(list(blocks)), samples)
    assert io.seconds(half) > 3


@pytest.mark.parametrize("container", ["WAV", "FLAC"])
def test_a_part_before_the_cut_is_read(container):
    data = encoded(noise(200_000), container)
    part = io.read(data[: len(data) // 2], 16000, start_seconds=1.0, seconds=2.0)
    np.testing.assert_array_equal(part, io.read(data, 16000)[16000:48000])


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


@needs_ffmpeg
def test_without_ffmpeg_the_advice_is_to_install_it(monkeypatch):
    assert "convert it to wav" in str(read_error(b"nothing that is known"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "install ffmpeg" in str(read_error(b"nothing that is known"))


def test_a_disk_that_cannot_be_read_is_an_error_with_the_name():
    class Broken(streams.BytesIO):
        name = "a.flac"

        def read(self, *_):
            raise OSError(errno.EIO, "Input/output error")

    assert str(read_error(Broken(b"fLaC"))) == "a.flac: cannot read this file: Input/output error."


def test_whatever_a_decoder_raises_is_an_error_with_the_name(tmp_path, monkeypatch):
    path = tmp_path / "a.flac"
    path.write_bytes(encoded(noise(200_000), "FLAC"))

    def damaged(*_, **__):
        raise AssertionError

    monkeypatch.setattr(soundfile.SoundFile, "read", damaged)
    assert str(read_error(path)).startswith(f"{path}: damaged (decoder failed)")


@needs_ffmpeg
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
