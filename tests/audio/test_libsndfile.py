"""Files whose headers are wrong, read with libsndfile."""

import io as streams
import struct

import numpy as np
import pytest
from headers import encoded, noise, without_length

from tfvoice.audio import container, io, libsndfile


def test_what_libsndfile_cannot_open_is_none():
    file = streams.BytesIO(b"hello")
    with libsndfile.open_file("a", file, file, container.Facts()) as stream:
        assert stream is None


@pytest.mark.parametrize("size", [0, 20_000, 0xFFFFFFFF, 0x7FFFF000])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT", "ULAW"])
def test_a_wav_is_read_to_its_end_whatever_size_its_header_states(size, subtype):
    samples = noise(70_000)
    wav = encoded(samples, "WAV", subtype=subtype)
    at = wav.index(b"data") + 4
    wrong = wav[:at] + struct.pack("<I", size) + wav[at + 4 :]
    expected = io.read(wav, 16000)
    np.testing.assert_array_equal(io.read(wrong, 16000), expected)
    np.testing.assert_array_equal(io.read(wrong, 16000, start_seconds=1.0, seconds=1.0), expected[16000:32000])
    assert io.seconds(wrong) == 70_000 / 16000


def test_a_wav_whose_chunk_has_no_pad_byte_is_read():
    wav = encoded(noise(20_000), "WAV")
    odd = wav[:36] + b"note" + struct.pack("<I", 3) + b"abc" + wav[36:]
    np.testing.assert_array_equal(io.read(odd, 16000), io.read(wav, 16000))


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
@pytest.mark.parametrize("frames", [(70_000, 70_000, 70_000), (70_000, 100), (70_000, 0, 5000), 300 * (200,)])
def test_joined_files_are_read_to_the_end_of_the_last(form, frames):
    parts = [noise(count, seed) for seed, count in enumerate(frames)]
    joined = b"".join(encoded(part, form) for part in parts)
    np.testing.assert_allclose(io.read(joined, 16000), np.concatenate(parts), atol=2**-15)
    assert io.seconds(joined) == sum(frames) / 16000


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
@pytest.mark.parametrize("start, seconds", [(4.3, 0.2), (4.0, None), (4.375, 1.0), (5.0, 2.0), (1.0, 1.0), (0.5, 7.0)])
def test_a_part_of_joined_files_equals_that_part_of_the_whole(form, start, seconds):
    joined = encoded(noise(70_000), form) + encoded(noise(70_000, 1), form)
    whole, at = io.read(joined, 16000), round(start * 16000)
    part = io.read(joined, 16000, start_seconds=start, seconds=seconds)
    np.testing.assert_array_equal(part, whole[at:] if seconds is None else whole[at : at + round(seconds * 16000)])


def test_joined_flacs_without_a_length_are_read_to_the_end_of_the_last():
    flacs = [encoded(noise(70_000, seed), "FLAC") for seed in range(3)]
    whole = np.concatenate([io.read(flac, 16000) for flac in flacs])
    np.testing.assert_array_equal(io.read(b"".join(map(without_length, flacs)), 16000), whole)


def test_a_joined_file_that_is_cut_off_is_one():
    joined = encoded(noise(70_000), "WAV") + encoded(noise(70_000), "WAV")[:60_000]
    with pytest.raises(io.AudioError, match=r"its header states 4\.4 s") as caught:
        io.read(joined, 16000)
    assert caught.value.reason == "cut_off"


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_an_id3_tag_before_a_file_changes_nothing(form):
    data = encoded(noise(70_000), form)
    tag = b"ID3\x03\0\0" + bytes([0, 0, 1, 0]) + bytes(128)
    for tagged in (tag + data, tag + data + b"TAG" + bytes(125), tag + data + bytes(50_000)):
        np.testing.assert_array_equal(io.read(tagged, 16000), io.read(data, 16000))
    assert len(io.read(tag + data + data, 16000)) == 140_000


def test_joined_files_of_different_rates_are_an_error():
    joined = encoded(noise(70_000), "FLAC") + encoded(noise(70_000), "FLAC", 8000)
    with pytest.raises(io.AudioError, match="different sample rates"):
        io.read(joined, 16000)


def test_a_flac_is_read_to_its_end_whatever_number_of_samples_its_header_states():
    flac = encoded(noise(150_000), "FLAC")
    wrong = flac[:22] + struct.pack(">I", 40_000) + flac[26:]
    np.testing.assert_array_equal(io.read(wrong, 16000), io.read(flac, 16000))
    np.testing.assert_array_equal(io.read(wrong, 16000, start_seconds=2.0), io.read(flac, 16000)[32_000:])


def test_bytes_behind_a_flac_are_no_samples():
    flac = encoded(noise(150_000), "FLAC")
    for rest in (b"TAG" + bytes(125), b"hello", bytes(50_000)):
        np.testing.assert_array_equal(io.read(flac + rest, 16000), io.read(flac, 16000))


@pytest.mark.parametrize(
    "form, options",
    [
        ("MP3", {"bitrate_mode": "VARIABLE"}),
        ("MP3", {"bitrate_mode": "CONSTANT"}),
        ("OGG", {}),
        ("OGG", {"subtype": "OPUS"}),
        ("FLAC", {}),
    ],
)
def test_a_part_equals_the_same_part_of_the_whole(form, options):
    time = np.arange(16000 * 8) / 16000
    speech_like = noise(len(time)) * np.sin(2 * np.pi * 2 * time) ** 2
    data = encoded(speech_like.astype(np.float32), form, **options)
    whole = io.read(data, 16000)
    for start in np.linspace(0.3, 7, 15):
        part = io.read(data, 16000, start_seconds=start, seconds=0.5)
        at = round(start * 16000)
        assert len(part) == 8000
        np.testing.assert_allclose(part, whole[at : at + 8000], atol=1e-3)
