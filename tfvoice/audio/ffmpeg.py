"""Decoding what libsndfile cannot, with the programs ffmpeg and ffprobe.

Facts come from ffprobe's JSON and samples from a pipe at a rate and with channels that are prescribed, so that nothing
is inferred from a log. No network protocol is ever allowed. A program of its own, rather than a library in this
process, can be stopped, and cannot take the process down; it is started in some 50 ms.
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np

from tfvoice.audio.stream import BLOCK_FRAMES, AudioError, Stream, cut_off, whole

# What ffmpeg calls them. A playlist or a concatenation could name further files.
_UNTRUSTED_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,ogg,mp3,aac,flac,wav"
_UNTRUSTED_CODECS = (
    "aac,aac_fixed,alac,opus,libopus,vorbis,libvorbis,mp3,mp3float,flac,amrnb,amrwb,"
    "pcm_u8,pcm_s16le,pcm_s24le,pcm_s32le,pcm_f32le,pcm_f64le,pcm_mulaw,pcm_alaw"
)
# Formats whose header states the length of each track; for others ffprobe estimates it.
_FORMATS_WITH_LENGTH = ("mov", "matroska", "asf", "caf", "avi", "w64", "tta", "ape", "wv")
# Formats that can hold a video without sound; ffprobe takes texts and pictures for video, too.
_VIDEO_FORMATS = ("mov", "matroska", "avi", "asf", "flv", "mpeg", "mpegts", "ogg")
# What a shell returns for a program that it cannot execute, and the loader for one whose libraries are absent.
_NOT_EXECUTED = (126, 127)
# Up to this probe score ffprobe guesses, and takes raw samples or a text for a rare codec; an MP3 with junk in front
# has no better score.
_GUESS = 25
_MAX_CHANNELS = 64
# Of untrusted input: some 10,000 lines, more than a minute has frames. 4 MiB of damaged MP3 gave 32 MiB.
_MAX_LOG_BYTES = 2**20


class Limits(NamedTuple):
    """What decoding untrusted input may take; only the containers and codecs of browsers and phones are decoded.

    Attributes:
      seconds: of wall-clock time, for each of the two programs.
      memory_bytes: address space of each program. It, and the size of a log, are enforced where the system has prlimit,
        as Linux does.
    """

    seconds: float
    memory_bytes: int


def is_installed() -> bool:
    """Whether ffmpeg and ffprobe are on PATH."""
    return shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None


@contextlib.contextmanager
def open_file(name: str, path: str, limits: Limits | None = None) -> Iterator[Stream]:
    """Opens an audio track of a file: the default one, otherwise that with the most channels, otherwise the first.

    Args:
      name: of the source, in errors.
      path: of a regular file.
      limits: for untrusted input; None: no limits.

    Raises:
      AudioError: ffmpeg is not installed, knows no such format, or finds no audio; while the blocks are decoded: the
        file is damaged, cut off, or exceeds the limits.
    """
    if not is_installed():
        raise AudioError(f"{name}: libsndfile cannot decode this file, or not all of it; install ffmpeg and try again.")
    track = _probe(name, path, limits)
    rate_hz, channels = track.sample_rate_hz, track.channels
    form = ["-ar", str(rate_hz), "-ac", str(channels), "-c:a", "pcm_f32le", "-f", "f32le"]
    command = ["ffmpeg", "-nostdin", *_input(path, limits), "-map", f"0:{track.index}", *form, "pipe:1"]
    with _process(command, limits) as (process, log):
        blocks = _blocks(name, process, log, rate_hz, channels)
        yield whole(Stream(name, rate_hz, None, blocks), track.promised_seconds)


def _input(path: str, limits: Limits | None) -> list[str]:
    # "file:" because a name may look like a flag or a protocol.
    options = ["-v", "error", "-protocol_whitelist", "file,pipe"]
    if limits is not None:
        options += ["-threads", "1", "-format_whitelist", _UNTRUSTED_FORMATS, "-codec_whitelist", _UNTRUSTED_CODECS]
    return [*options, "-i", "file:" + os.path.abspath(path)]


class _Track(NamedTuple):
    """An audio track by ffprobe; `promised_seconds` is the length that its header states, or None."""

    index: int
    sample_rate_hz: int
    channels: int
    promised_seconds: float | None


def _probe(name: str, path: str, limits: Limits | None) -> _Track:
    """The audio track that is marked as default, otherwise the one with the most channels, otherwise the first."""
    entries = "stream=index,codec_type,sample_rate,channels,duration:stream_disposition=default"
    query = ["-of", "json", "-show_entries", f"{entries}:format=format_name,probe_score,start_time,duration"]
    with _process(["ffprobe", *_input(path, limits), *query], limits) as (process, log):
        output = process.stdout.read()
        if process.wait() < 0:
            raise _over_limits(name)
        reason = _reason(log)
        if process.returncode in _NOT_EXECUTED:
            raise AudioError(f"ffprobe: cannot be started{reason}; install ffmpeg again.")
    # Where ffprobe fails, it begins an object all the same.
    facts = json.loads(output) if process.returncode == 0 else {}
    streams = facts.get("streams", [])
    file = facts.get("format", {})
    container = file.get("format_name", "").split(",")[0]
    audio = [stream for stream in streams if stream.get("codec_type") == "audio"]
    if not audio and container in _VIDEO_FORMATS:
        raise AudioError(f"{name}: has no audio track, so there is no sound in it; name another.", "no_audio_track")
    if not audio or (file["probe_score"] <= _GUESS and container != "mp3"):
        raise AudioError(f"{name}: not audio in a format that can be decoded{reason}; convert it to wav.")
    track = max(audio, key=lambda track: (track["disposition"]["default"], track.get("channels", 0)))
    rate_hz, channels = int(track.get("sample_rate", 0)), track.get("channels", 0)
    if not rate_hz or not 0 < channels <= _MAX_CHANNELS:
        raise AudioError(f"{name}: its audio track cannot be decoded{reason}; convert it to wav.")
    return _Track(track["index"], rate_hz, channels, _promised_seconds(file, streams, track, container))


def _promised_seconds(file: dict, streams: list[dict], track: dict, container: str) -> float | None:
    if container not in _FORMATS_WITH_LENGTH:
        return None
    if "duration" in track:
        return float(track["duration"])
    if len(streams) > 1 or "duration" not in file:
        # The longest of the tracks, such as the pictures.
        return None
    return float(file["duration"]) - max(0.0, float(file.get("start_time", 0)))


@contextlib.contextmanager
def _process(command: list[str], limits: Limits | None) -> Iterator[tuple[subprocess.Popen, IO[bytes]]]:
    """A program whose output is read; it ends with this context at the latest."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile())
        pipe = subprocess.PIPE
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=log)
        except OSError as error:
            raise AudioError(f"{command[0]}: cannot be started ({error.strerror}); install ffmpeg again.") from error
        stack.enter_context(process)
        stack.callback(process.kill)
        if limits is not None:
            _limit_resources(process.pid, limits.memory_bytes)
            timer = threading.Timer(limits.seconds, process.kill)
            timer.daemon = True
            timer.start()
            stack.callback(timer.cancel)
        yield process, log


def _limit_resources(pid: int, memory_bytes: int) -> None:
    try:
        import resource

        resource.prlimit(pid, resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        # The system kills a program that logs more.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (_MAX_LOG_BYTES, _MAX_LOG_BYTES))
    except (ImportError, AttributeError, ProcessLookupError):
        return


def _blocks(name: str, process: subprocess.Popen, log: IO[bytes], rate_hz: int, channels: int) -> Iterator[np.ndarray]:
    frames, frame_bytes = 0, 4 * channels
    while data := process.stdout.read(BLOCK_FRAMES * frame_bytes):
        block = np.frombuffer(data[: len(data) // frame_bytes * frame_bytes], "<f4").reshape(-1, channels)
        frames += len(block)
        yield block
    status = process.wait()
    if status == 0 and frames:
        return
    if status < 0:
        raise _over_limits(name)
    reason = _reason(log) or " (its decoder stopped)"
    if not frames:
        raise AudioError(f"{name}: its audio cannot be decoded{reason}; convert it to wav.")
    raise cut_off(name, frames / rate_hz, reason.strip(" ()"))


def _over_limits(name: str) -> AudioError:
    message = f"{name}: its decoder was killed, for time or memory; cut it into shorter files."
    return AudioError(message, "over_limits")


def _reason(log: IO[bytes]) -> str:
    """The last line that a program logged, in brackets, without the addresses and names in it."""
    log.seek(0)
    lines = log.read(1 << 20).decode("utf-8", "replace").strip().splitlines()
    text = lines[-1].rsplit("] ", 1)[-1].rsplit(": ", 1)[-1].strip() if lines else ""
    return f" ({text})" if text else ""
