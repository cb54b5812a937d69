"""Decoding with ffmpeg: which track, how much of it, and limits for untrusted input."""

import subprocess
import time

import numpy as np
import pytest
import soundfile

from tfvoice.audio import ffmpeg, io

needs_ffmpeg = pytest.mark.skipif(not ffmpeg.is_installed(), reason="ffmpeg is not installed")
LIMITS = ffmpeg.Limits(seconds=30, memory_bytes=1 << 30)


def tone(seconds, sample_rate_hz=16000, frequency_hz=440.0, channels=1):
    time_s = np.arange(round(sample_rate_hz * seconds)) / sample_rate_hz
    return np.repeat(0.5 * np.sin(2 * np.pi * frequency_hz * time_s)[:, np.newaxis], channels, axis=1)


TWO_SECONDS = (tone(2.0),)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Makes a file with ffmpeg from tones in WAV files."""
    folder = tmp_path_factory.mktemp("ffmpeg")

    def made(name, *arguments, samples=TWO_SECONDS):
        inputs = []
        for number, one in enumerate(samples):
            soundfile.write(folder / f"{number}.wav", one, 16000)
            inputs += ["-i", folder / f"{number}.wav"]
        path = folder / name
        if subprocess.run(["ffmpeg", "-v", "error", "-y", *inputs, *arguments, path], check=False).returncode:
            pytest.skip(f"this ffmpeg cannot write {name}")
        return path

    return made


def frequency_hz(samples):
    middle = samples[4000:20000] * np.hanning(16000)
    return int(np.argmax(np.abs(np.fft.rfft(middle))))


@needs_ffmpeg
@pytest.mark.parametrize(
    "name", ["a.m4a", "a.mp4", "a.webm", "a.mka", "a.aac", "a.wma", "a.mov", "a.wv", "a.ac3", "a.ts", "a.avi"]
)
def test_formats_that_libsndfile_does_not_know_are_decoded(make, name):
    path = make(name)
    samples = io.read(path, 16000)
    assert abs(len(samples) / 16000 - 2.0) < 0.15 and frequency_hz(samples) == 440
    part = io.read(path, 16000, start_seconds=1.0, seconds=0.5)
    np.testing.assert_allclose(part[200:-200], samples[16200:23800], atol=1e-3)


@needs_ffmpeg
def test_channels_and_tags_do_not_change_the_length(make):
    path = make("quad.m4a", "-metadata", "comment=Stream #0:0: audio: 8000 Hz, mono", samples=[tone(2.0, channels=4)])
    assert abs(len(io.read(path, 16000)) / 16000 - 2.0) < 0.15


@needs_ffmpeg
def test_of_several_tracks_the_default_one_is_decoded_otherwise_the_one_with_most_channels(make):
    tracks = [tone(2.0), tone(3.0, frequency_hz=880.0, channels=2)]
    maps = ["-map", "0:a", "-map", "1:a"]
    second = make("two.mka", *maps, "-disposition:a", "0", samples=tracks)
    assert frequency_hz(io.read(second, 16000)) == 880
    first = make("one.mka", *maps, "-disposition:a:0", "default", "-disposition:a:1", "0", samples=tracks)
    assert frequency_hz(io.read(first, 16000)) == 440


@needs_ffmpeg
def test_a_video_without_sound_is_an_error_that_says_so(make):
    path = make("mute.mp4", "-f", "lavfi", "-i", "color=size=16x16:duration=1", "-map", "1:v")
    with pytest.raises(io.AudioError, match=r"mute\.mp4: has no audio track") as caught:
        io.read(path, 16000)
    assert caught.value.reason == "no_audio_track"


@needs_ffmpeg
@pytest.mark.parametrize("name", ["cut.webm", "cut.mka", "cut.wv"])
def test_a_cut_off_file_is_an_error_and_what_is_there_can_be_read(make, name):
    path = make(name, samples=[tone(8.0)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(io.AudioError, match=r"its header states 8\.0 s") as caught:
        io.read(path, 16000)
    assert caught.value.reason == "cut_off"
    assert 16000 < len(io.read(path, 16000, on_cut_off=lambda error: None)) < 7 * 16000


@needs_ffmpeg
@pytest.mark.parametrize("name", ["late.webm", "late.mp4"])
def test_a_track_that_starts_late_is_not_cut_off(make, name):
    path = make("start.wav")
    late = path.with_name(name)
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-itsoffset", "1.5", "-i", path, late], check=True)
    assert abs(len(io.read(late, 16000)) / 16000 - 2.0) < 0.15


@needs_ffmpeg
@pytest.mark.parametrize("name", ["noise.pcm", "text.txt", "a.mp3", "a.m4a"])
def test_what_ffprobe_only_guesses_is_not_audio(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"hello world\n" * 9999 if name == "text.txt" else np.random.default_rng(0).bytes(99999))
    with pytest.raises(io.AudioError, match=r"not audio|cannot be decoded"):
        io.read(path, 16000)


@needs_ffmpeg
def test_an_mp4_that_lost_its_index_is_an_error_that_says_so(make):
    path = make("cut.m4a")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(io.AudioError, match="index at the end is lost"):
        io.read(path, 16000)


@needs_ffmpeg
@pytest.mark.parametrize("encoder, name", [("libmp3lame", "a.mp3"), ("libopus", "a.opus"), ("libvorbis", "a.ogg")])
def test_joined_files_are_read_to_the_end_of_the_last(make, encoder, name):
    data = make(name, "-c:a", encoder).read_bytes()
    assert abs(len(io.read(data + data, 16000)) / 16000 - 4.0) < 0.2
    assert abs(len(io.read(data, 16000)) / 16000 - 2.0) < 0.1


@needs_ffmpeg
@pytest.mark.parametrize("front", [bytes(3000), b"ID3\x04\0\0\0\0\x10\0" + bytes(2048 + 700), b"junk" * 300])
def test_an_mp3_that_begins_late_is_read(make, front):
    path = make("late.mp3", "-c:a", "libmp3lame")
    path.write_bytes(front + path.read_bytes())
    assert abs(len(io.read(path, 16000)) / 16000 - 2.0) < 0.15


@needs_ffmpeg
@pytest.mark.parametrize("name", ["-v.m4a", "http:a.m4a", "a b'\"%03d.m4a", "caf\udce9.m4a"])
def test_any_file_name_is_a_file_name(make, tmp_path, name):
    path = tmp_path / name
    try:
        path.write_bytes(make("named.m4a").read_bytes())
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    assert len(io.read(path, 16000)) > 30000


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.webm", "a.m4a", "a.ogg", "a.mp3", "a.flac", "a.wav"])
def test_untrusted_input_is_decoded_within_limits(make, name):
    data = make(name).read_bytes()
    samples = io.decode_untrusted(data, 16000, 10.0, LIMITS)
    assert abs(len(samples) / 16000 - 2.0) < 0.15 and frequency_hz(samples) == 440


@needs_ffmpeg
def test_a_cut_off_recording_of_a_browser_is_decoded(make):
    data = make("a.webm", samples=[tone(8.0)]).read_bytes()
    assert len(io.decode_untrusted(data[: len(data) // 2], 16000, 10.0, LIMITS)) > 16000


@needs_ffmpeg
@pytest.mark.parametrize(
    "data",
    [b"hello" * 100, b"#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1:1/a.ts\n", b"ffconcat version 1.0\nfile a.wav\n", b"x"],
)
def test_untrusted_input_of_other_formats_is_an_error(data):
    with pytest.raises(io.AudioError, match="not audio"):
        io.decode_untrusted(data, 16000, 10.0, LIMITS)


@needs_ffmpeg
def test_untrusted_input_beyond_a_limit_is_an_error(make):
    data = make("long.webm", samples=[tone(600.0)]).read_bytes()
    with pytest.raises(io.AudioError) as caught:
        io.decode_untrusted(data, 16000, 10.0, LIMITS)
    assert caught.value.reason == "too_long"
    with pytest.raises(io.AudioError):
        io.decode_untrusted(data, 16000, 1000.0, LIMITS._replace(memory_bytes=1 << 26))
    start = time.monotonic()
    with pytest.raises(io.AudioError, match="killed") as caught:
        io.decode_untrusted(data, 16000, 1000.0, LIMITS._replace(seconds=0.01))
    assert caught.value.reason == "over_limits" and time.monotonic() - start < 10


def test_without_ffmpeg_the_error_says_to_install_it(monkeypatch):
    monkeypatch.setattr(ffmpeg.shutil, "which", lambda name: None)
    with pytest.raises(io.AudioError, match="install ffmpeg"):
        io.decode_untrusted(b"anything", 16000, 10.0, LIMITS)


def test_programs_that_cannot_be_executed_are_an_error_that_does_not_blame_the_file(tmp_path, monkeypatch):
    for name in ("ffmpeg", "ffprobe"):
        (tmp_path / name).write_text(
            "#!/bin/sh\necho 'libavdevice.so.59: cannot open shared object file' >&2\nexit 127\n"
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(io.AudioError, match=r"ffprobe: cannot be started \(cannot open shared object file\); install"),
        ffmpeg.open_file("a.m4a", "a.m4a"),
    ):
        pass


@needs_ffmpeg
def test_an_untrusted_file_cannot_fill_the_disk_with_a_log(tmp_path, monkeypatch):
    path = tmp_path / "damaged.mp3"
    path.write_bytes((b"\xff\xf3\x14\xc4" + b"\xff" * 20) * 5000)
    with pytest.raises(io.AudioError) as caught, ffmpeg.open_file("a", str(path)) as stream:
        list(stream.blocks)
    assert caught.value.reason == "unreadable"
    monkeypatch.setattr(ffmpeg, "_MAX_LOG_BYTES", 10_000)
    with pytest.raises(io.AudioError) as caught, ffmpeg.open_file("a", str(path), LIMITS) as stream:
        list(stream.blocks)
    assert caught.value.reason == "over_limits"
