"""Files whose headers are wrong, read with libsndfile."""

import io as streams
import struct

import numpy as np
import pytest
from headers import encoded, noise

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
def test_joined_files_are_read_to_the_end_of_the_last(form):
    parts = [noise(70_000, seed) for seed in range(3)]
    samples = io.read(b"".join(encoded(part, form) for part in parts), 16000)
    np.testing.assert_allclose(samples, np.concatenate(parts), atol=2**-15)


def test_joined_files_of_different_rates_are_an_error():
    joined = encoded(noise(70_000), "FLAC") + encoded(noise(70_000), "FLAC", 8000)
    with pytest.raises(io.AudioError, match="different sample rates"):
        io.read(joined, 16000)


def test_a_flac_is_read_to_its_end_whatever_number_of_samples_its_header_states():
    flac = encoded(noise(150_000), "FLAC")
    wrong = flac[:22] + struct.pack(">I", 40_000) + flac[26:]
    np.testing.assert_array_equal(io.read(wrong, 16000), io.read(flac, 16000))


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
