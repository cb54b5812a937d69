"""WAV files in the graph."""

import contextlib
import io
import struct

import numpy as np
import pytest
import soundfile
import soxr
import tensorflow as tf

from tfvoice.audio import wav


@pytest.fixture(scope="module")
def decode():
    """`wav.decode` to 16 kHz in a graph, traced once."""
    return tf.function(lambda data: wav.decode(data, 16000), input_signature=[tf.TensorSpec([], tf.string)])


def encoded(samples, rate_hz, subtype="PCM_16", container="WAV"):
    data = io.BytesIO()
    soundfile.write(data, samples, rate_hz, subtype, format=container)
    return data.getvalue()


def chunk(name, content, size=None):
    """A chunk of a RIFF file; `size` is what its header says, if not the truth."""
    return name + struct.pack("<I", len(content) if size is None else size) + content + bytes(len(content) % 2)


def riff(*chunks, magic=b"RIFF"):
    content = b"WAVE" + b"".join(chunks)
    return magic + struct.pack("<I", len(content) % 2**32) + content


def header(rate_hz=16000, code=1, channels=1, width=2, extra=b""):
    frame = channels * width
    return chunk(b"fmt ", struct.pack("<HHIIHH", code, channels, rate_hz, rate_hz * frame, frame, 8 * width) + extra)


def tones(rate_hz, seconds=0.5):
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return 0.3 * np.sin(2 * np.pi * 440 * times) + 0.2 * np.sin(2 * np.pi * 1300 * times)


def test_samples_at_the_rate_of_the_model_are_those_of_the_file():
    samples = tones(16000)
    found = wav.decode(encoded(samples, 16000), 16000)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, samples, atol=2 / 2**15)


def test_channels_are_averaged():
    samples = tones(16000)
    found = wav.decode(encoded(np.stack([samples + 0.1, samples - 0.1], axis=1), 16000), 16000)
    np.testing.assert_allclose(found, samples, atol=2 / 2**15)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 44100, 48000])
def test_other_rates_are_resampled(decode, rate_hz):
    samples = tones(rate_hz)
    found = decode(encoded(samples, rate_hz)).numpy()
    expected = soxr.resample(samples, rate_hz, 16000)
    assert len(found) == round(len(samples) * 16000 / rate_hz)
    np.testing.assert_allclose(found[500:-500], expected[500 : len(found) - 500], atol=2e-3)


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_sample_format_and_header_gives_the_samples_of_libsndfile(decode, subtype, container):
    """Both channels differ, and an odd number of them is not at an even position."""
    samples = np.stack([tones(16000), -0.5 * tones(16000) + 0.1], axis=1)[:7999]
    data = encoded(samples, 16000, subtype, container)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    np.testing.assert_allclose(decode(data), expected.mean(axis=1), atol=1e-7)


PCM = (1000 * np.sin(np.arange(800))).astype("<i2")
SOUND = PCM.tobytes()
# The GUID of PCM, and that of a mask of channels.
EXTENSION = struct.pack("<HHI", 22, 16, 4) + bytes.fromhex("0100000000001000800000aa00389b71")
FILES = {
    "a chunk before the format": riff(chunk(b"JUNK", bytes(28)), header(), chunk(b"data", SOUND)),
    "the filler of iOS, up to 4096 bytes": riff(header(), chunk(b"FLLR", bytes(4044)), chunk(b"data", SOUND)),
    "chunks of odd length": riff(chunk(b"JUNK", b"abc"), header(), chunk(b"LIST", b"INFOx"), chunk(b"data", SOUND)),
    "an empty chunk": riff(header(), chunk(b"PAD ", b""), chunk(b"data", SOUND)),
    "chunks after the samples": riff(
        header(), chunk(b"data", SOUND), chunk(b"LIST", b"INFOISFT"), chunk(b"id3 ", b"x")
    ),
    "an EXTENSIBLE header": riff(header(code=0xFFFE, extra=EXTENSION), chunk(b"data", SOUND)),
    "a longer header": riff(header(extra=b"\0\0"), chunk(b"data", SOUND)),
    "length 2^32 - 1, of a pipe": riff(header(), chunk(b"data", SOUND, 2**32 - 1)),
    "length 2^31 - 1, of another pipe": riff(header(), chunk(b"data", SOUND, 2**31 - 1)),
    "length 0, of a recorder that crashed": riff(header(), chunk(b"data", SOUND, 0)),
    "a length beyond the end": riff(header(), chunk(b"data", SOUND, len(SOUND) + 1000)),
    "half a sample at the end": riff(header(), chunk(b"data", SOUND + b"x")),
    "a wrong length of the whole": b"RIFF\0\0\0\0" + riff(header(), chunk(b"data", SOUND))[8:],
    "bytes after the end": riff(header(), chunk(b"data", SOUND)) + bytes(33),
    "12 bits in 16": riff(header()[:-2] + b"\x0c\0", chunk(b"data", SOUND)),
}


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_chunks_are_parsed_and_missing_lengths_are_those_of_the_file(decode, data):
    np.testing.assert_array_equal(decode(data), PCM.astype(np.float32) / 2**15)


def test_a_file_without_samples_has_none(decode):
    assert decode(riff(header(), chunk(b"data", b""))).shape == [0]


REFUSED = {
    "mu-law": (riff(header(code=7, width=1), chunk(b"data", SOUND)), "not supported"),
    "integers of 64 bits": (riff(header(width=8), chunk(b"data", SOUND)), "not supported"),
    "frames of no bytes": (riff(header(width=0), chunk(b"data", SOUND)), "not supported"),
    "no channels": (riff(header(channels=0), chunk(b"data", SOUND)), "Channels must be 1 to 16"),
    "many channels": (riff(header(channels=17), chunk(b"data", SOUND)), "Channels must be 1 to 16"),
    "not a number": (riff(header(code=3, width=4), chunk(b"data", b"\xff" * 400)), "not finite"),
    "integers as floats": (riff(header(code=3, width=4), chunk(b"data", PCM.astype("<f4").tobytes())), "samples reach"),
    "no format": (riff(chunk(b"data", SOUND)), "no WAV file"),
    "no samples": (riff(header()), "no WAV file"),
    "thousands of chunks": (riff(chunk(b"PAD ", b"") * 3000, header(), chunk(b"data", SOUND)), "no WAV file"),
    "big-endian": (riff(header(), chunk(b"data", SOUND), magic=b"RIFX"), "no WAV file"),
    "a format cut off": (riff() + b"fmt \x10\0\0\0\1\0", "no WAV file"),
}


@pytest.mark.parametrize(("data", "fact"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_decoded_is_an_error_of_the_client(decode, data, fact):
    with pytest.raises(tf.errors.InvalidArgumentError, match=fact):
        decode(data)


def test_damaged_headers_give_samples_or_an_error_of_the_client(decode):
    random, whole = np.random.default_rng(0), riff(chunk(b"JUNK", b"abc"), header(), chunk(b"data", SOUND))
    # Not in the sample rate, which could ask for the largest filter.
    rate = whole.index(b"fmt ") + 12
    positions = np.setdiff1d(np.arange(60), np.arange(rate, rate + 4))
    for _ in range(300):
        damaged = bytearray(whole)
        for position in random.choice(positions, 2):
            damaged[position] = random.integers(256)
        with contextlib.suppress(tf.errors.InvalidArgumentError):
            decode(bytes(damaged[: random.integers(len(whole))]))


@pytest.mark.parametrize("rate_hz", [1000, 3999, 192001, 32_000_000])
def test_an_unusual_rate_is_an_error_of_the_client(decode, rate_hz):
    content = bytearray(encoded(np.zeros(1000), 16000))
    # The rate, and the bytes of a second.
    content[24:32] = rate_hz.to_bytes(4, "little") + (2 * rate_hz).to_bytes(4, "little")
    with pytest.raises(tf.errors.InvalidArgumentError, match="sample rate must be 4000 to 192000 Hz, not"):
        decode(bytes(content))


@pytest.mark.parametrize("data", [b"", b"RIFF", bytes(range(256)) * 9])
def test_bytes_that_are_no_wav_are_an_error_of_the_client(decode, data):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(data)
