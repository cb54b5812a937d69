"""What the structure of sound files says, for files whose headers are right, wrong and absent."""

import io as streams
import struct

import numpy as np
import pytest
from headers import encoded, noise, without_xing_header

from tfvoice.audio import container


def examine(data):
    return container.examine(streams.BytesIO(data))


def wav_with_size(size):
    wav = encoded(noise(16000), "WAV")
    return wav[:40] + struct.pack("<I", size) + wav[44:]


WAV = encoded(noise(16000), "WAV")
MP3 = encoded(noise(32000), "MP3", bitrate_mode="VARIABLE")
OGG = encoded(noise(32000), "OGG")
OPUS = encoded(noise(32000), "OGG", subtype="OPUS")


@pytest.mark.parametrize("data", [WAV, encoded(noise(16000), "FLAC"), MP3, OGG, OPUS, b"", b"RIFF", b"hello" * 100])
def test_what_libsndfile_reads_rightly_is_left_to_it(data):
    facts = examine(data)
    assert facts.complete and not facts.cut and not facts.head


@pytest.mark.parametrize("size", [0, 1000, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFDB, 0x80000000])
def test_a_wav_gets_a_header_with_the_size_that_its_samples_have(size):
    facts = examine(wav_with_size(size))
    assert struct.unpack("<I", facts.head[-4:])[0] == 32000
    assert (facts.body, facts.body_end, facts.promised_seconds) == (44, 32044, None)


def test_chunks_tags_and_padding_after_the_samples_are_no_samples():
    for rest in (b"LIST" + struct.pack("<I", 6) + b"INFOab", b"TAG" + bytes(125), bytes(5000), b"\1\2"):
        assert not examine(WAV + rest).head


@pytest.mark.parametrize("form", ["WAV", "AU", "AIFF", "NIST", "CAF", "W64", "RF64", "WAVEX"])
def test_the_promised_length_of_a_cut_off_file_is_known(form):
    data = encoded(noise(16000), form)
    assert abs(examine(data[:20000]).promised_seconds - 1.0) < 0.01


def test_the_length_of_a_cut_off_adpcm_is_that_of_its_fact_chunk():
    data = encoded(noise(16000), "WAV", subtype="IMA_ADPCM")
    assert abs(examine(data[:5000]).promised_seconds - 1.0) < 0.05


def test_joined_wavs_follow_each_other():
    assert examine(WAV + WAV).following == len(WAV)


def test_joined_flacs_are_found():
    flac = encoded(noise(16000), "FLAC")
    assert container.following_flac(streams.BytesIO(flac + flac)) == len(flac)
    assert container.following_flac(streams.BytesIO(flac)) is None


@pytest.mark.parametrize("ogg", [OGG, OPUS])
def test_the_pages_of_an_ogg_give_its_length_its_links_and_its_cut(ogg):
    assert abs(examine(ogg).promised_seconds - 2.0) < 0.01
    joined = examine(ogg + ogg)
    assert not joined.complete and abs(joined.promised_seconds - 4.0) < 0.02
    assert examine(ogg[: len(ogg) * 2 // 3]).cut
    padded = examine(ogg + bytes(100))
    assert not padded.complete and not padded.cut


def test_an_ogg_with_damage_in_a_page_header_keeps_its_length():
    damaged = bytearray(OGG + OGG)
    at = bytes(damaged).index(b"OggS", 5000)
    damaged[at : at + 4] = b"xxxx"
    assert not examine(bytes(damaged)).complete


def test_an_mp3_is_complete_where_its_frames_are_as_many_as_its_header_states():
    mark = max(MP3.find(b"Xing"), MP3.find(b"Info"))
    fewer = MP3[: mark + 8] + struct.pack(">I", 10) + MP3[mark + 12 :]
    assert not examine(fewer).complete
    assert not examine(MP3 + MP3).complete
    assert abs(examine(MP3[: len(MP3) // 2]).promised_seconds - 2.0) < 0.2
    assert examine(MP3 + b"TAG" + bytes(125)).complete
    assert not examine(MP3 + b"TAG" + bytes(125) + MP3).complete


def test_an_mp3_without_a_header_is_complete_where_its_bit_rate_is_constant():
    loud_then_silent = np.concatenate([noise(80_000), np.zeros(160_000, np.float32)])
    vbr = encoded(loud_then_silent, "MP3", bitrate_mode="VARIABLE", compression_level=0.3)
    assert not examine(without_xing_header(vbr)).complete
    # 128 kbit/s at 44.1 kHz.
    constant = (b"\xff\xfb\x90\x00" + bytes(413)) * 50
    assert examine(constant).complete
    assert not examine(constant + b"junk").complete


@pytest.mark.parametrize("data", [WAV, MP3, OGG, OPUS, encoded(noise(999), "FLAC"), encoded(noise(999), "CAF")])
def test_damaged_bytes_never_raise(data):
    random = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data[: random.integers(1, len(data))])
        for at in random.integers(0, min(len(damaged), 200), 5):
            damaged[at] = random.integers(256)
        container.examine(streams.BytesIO(bytes(damaged)))


def test_an_mp4_that_ends_inside_a_box_is_cut():
    box = struct.pack(">I4s", 16, b"ftyp") + b"M4A \0\0\0\0" + struct.pack(">I4s", 1000, b"mdat")
    assert examine(box + bytes(500)).cut
    assert not examine(box + bytes(992)).cut


@pytest.mark.parametrize(("form", "size"), [("W64", "<Q"), ("CAF", ">q")])
@pytest.mark.parametrize("stated", [0, -12])
def test_a_chunk_whose_size_leads_nowhere_ends_the_search_or_is_skipped(form, size, stated):
    data = encoded(noise(16000), form)
    place = data.index(b"data")
    identifier = data[place : place + (16 if form == "W64" else 4)].replace(b"data", b"misc")
    chunk = identifier + struct.pack(size, stated % 2**64 if form == "W64" else stated)
    assert examine(data[:place] + chunk + data[place:]).promised_seconds in (1.0, None)
