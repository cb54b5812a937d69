"""Reading and writing samples."""

import io as streams
import pickle
import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tfvoice.audio import io


def tone(sample_rate_hz, seconds=1.0, frequency_hz=440.0):
    time = np.arange(round(sample_rate_hz * seconds)) / sample_rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def wav(samples, sample_rate_hz=16000, subtype="FLOAT", container="WAV"):
    file = streams.BytesIO()
    soundfile.write(file, samples, sample_rate_hz, subtype=subtype, format=container)
    return file.getvalue()


def noise(shape, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def read_error(source, **options):
    with pytest.raises(io.AudioError) as caught:
        io.read(source, 16000, **options)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("subtype, step", [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("FLOAT", 0)])
def test_samples_of_every_bit_depth_are_exact_to_one_step(subtype, step):
    samples = tone(16000)
    assert np.abs(io.read(wav(samples, subtype=subtype), 16000) - samples).max() <= step


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_resampling_keeps_a_tone(rate):
    samples = io.read(wav(tone(rate), rate), 16000)
    assert samples.dtype == np.float32 and samples.shape == (16000,)
    assert np.abs(samples - tone(16000))[200:-200].max() < 2e-3


def test_downsampling_does_not_alias():
    above_nyquist = tone(48000, frequency_hz=11000.0)
    assert np.abs(io.read(wav(above_nyquist, 48000), 16000)[200:-200]).max() < 1e-3


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_are_averaged(channels):
    samples = noise((1000, channels))
    np.testing.assert_allclose(io.read(wav(samples), 16000), samples.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("block_seconds", [0.01, 1.0, 100.0])
def test_concatenated_blocks_equal_the_whole_file(rate, block_seconds):
    source = wav(noise((rate * 3 + 17, 2)), rate)
    blocks = list(io.read_blocks(source, 16000, block_seconds))
    assert all(len(block) == round(block_seconds * 16000) for block in blocks[:-1])
    assert 0 < len(blocks[-1]) <= round(block_seconds * 16000)
    np.testing.assert_array_equal(np.concatenate(blocks), io.read(source, 16000))


def test_memory_of_read_blocks_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for minutes in (0.5, 2):
        path = tmp_path / f"{minutes}.wav"
        soundfile.write(path, np.zeros((round(44100 * 60 * minutes), 2), np.int16), 44100)
        tracemalloc.start()
        for _ in io.read_blocks(path, 16000, 1.0):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_sample_is_an_error_with_its_time(bad):
    samples = tone(16000)
    samples[4000] = bad
    error = read_error(wav(samples))
    assert error.reason == "non_finite" and "0.250 s" in str(error)


def test_a_header_without_samples_is_an_error():
    assert read_error(wav(np.zeros(0, np.float32))).reason == "no_samples"
    with pytest.raises(io.AudioError, match="no samples"):
        io.seconds(wav(np.zeros(0, np.float32)))


def test_too_few_samples_to_resample_is_an_error():
    assert read_error(wav(np.zeros(1, np.float32), 96000)).reason == "no_samples"


def test_max_seconds_refuses_longer_audio_only():
    source = wav(tone(16000, 2.0))
    assert len(io.read(source, 16000, max_seconds=2.0)) == 32000
    error = read_error(source, max_seconds=1.5)
    assert error.reason == "too_long" and "2.0 s, more than 1.5 s" in str(error)


def test_max_seconds_is_checked_before_decoding(monkeypatch):
    source = wav(tone(16000, 2.0))
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("decoded"))
    assert read_error(source, max_seconds=1.0).reason == "too_long"


def test_seconds_is_the_number_of_samples_over_the_rate():
    assert io.seconds(wav(tone(11025, 1.5), 11025)) == round(11025 * 1.5) / 11025


@pytest.mark.parametrize("peak, good", [(1.05, True), (7.9, True), (8.5, False), (100.0, False), (32767.0, False)])
def test_floats_far_beyond_full_scale_are_an_error_with_the_peak(peak, good):
    source = wav(tone(16000) * 2 * peak)
    if good:
        assert np.abs(io.read(source, 16000)).max() == pytest.approx(peak, rel=1e-3)
        return
    error = read_error(source)
    assert error.reason == "beyond_full_scale" and f"{peak:g}"[:3] in str(error) and "full scale" in str(error)


@pytest.mark.parametrize("container", ["MP3", "OGG"])
def test_peaks_of_lossy_codecs_may_exceed_full_scale(container):
    loud = np.clip(20 * noise(48000), -1, 1).astype(np.float32)
    file = streams.BytesIO()
    soundfile.write(file, loud, 16000, format=container)
    assert 1.0 < np.abs(io.read(file.getvalue(), 16000)).max() < 4.0


@pytest.mark.parametrize("channels", [[1, -1], [1, -0.99], [1, -1, 1, -1]])
def test_channels_that_cancel_are_an_error_that_says_so(channels):
    error = read_error(wav(np.outer(tone(16000), channels).astype(np.float32)))
    assert error.reason == "channels_cancel" and "opposite signs" in str(error)


@pytest.mark.parametrize("channels", [[1, 0], [1, -0.5], [0, 0], [1, 0, 0, 0, 0, 0, 0, 0]])
def test_channels_that_differ_are_averaged(channels):
    samples = np.outer(tone(16000), channels).astype(np.float32)
    np.testing.assert_allclose(io.read(wav(samples), 16000), samples.mean(axis=1), atol=1e-6)


def test_a_part_beyond_the_end_is_an_error_with_both_lengths():
    error = read_error(wav(tone(16000)), start_seconds=0.5, seconds=8.0)
    assert error.reason == "beyond_the_end" and "to 8.5 s" in str(error) and "1.0 s" in str(error)


def test_audio_errors_can_be_pickled():
    error = pickle.loads(pickle.dumps(read_error("nowhere.wav")))
    assert error.reason == "missing_file" and "nowhere.wav" in str(error)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_lossless_files_round_trip(tmp_path, suffix):
    samples = io.from_pcm16(np.arange(-32768, 32768, 7, dtype=np.int16))
    io.write(tmp_path / f"a{suffix}", samples, 22050)
    np.testing.assert_array_equal(io.read(tmp_path / f"a{suffix}", 22050), samples)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize("suffix", [".ogg", ".opus", ".mp3"])
def test_lossy_files_keep_a_tone(tmp_path, suffix):
    io.write(tmp_path / f"a{suffix}", tone(16000, 2.0), 16000)
    samples = io.read(tmp_path / f"a{suffix}", 16000)
    spectrum = np.abs(np.fft.rfft(samples[8000:24000] * np.hanning(16000)))
    assert np.argmax(spectrum) == 440 and abs(np.abs(samples[8000:24000]).max() - 0.5) < 0.05


def test_long_ogg_files_are_written(tmp_path):
    io.write(tmp_path / "a.ogg", np.zeros(16000 * 300), 16000)
    assert io.seconds(tmp_path / "a.ogg") == 300.0


@pytest.mark.parametrize(
    "name, samples, reason, words",
    [
        ("a.xyz", [0.0], "unwritable", ".flac"),
        ("a", [0.0], "unwritable", ".wav"),
        ("a.wav", [np.nan], "non_finite", "NaN"),
        ("none/a.wav", [0.0], "unwritable", "mkdir"),
        ("a.opus", [0.0], "unwritable", "11025 Hz"),
    ],
)
def test_a_failed_write_leaves_no_file(tmp_path, name, samples, reason, words):
    with pytest.raises(io.AudioError, match=words) as caught:
        io.write(tmp_path / name, np.array(samples), 11025)
    assert caught.value.reason == reason and not list(tmp_path.iterdir())


def test_an_exception_while_writing_keeps_the_existing_file(tmp_path):
    path = tmp_path / "a.wav"
    io.write(path, tone(16000), 16000)
    before = path.read_bytes()
    with pytest.raises(io.AudioError, match="NaN"), io.Writer(path, 16000) as writer:
        writer.write(np.zeros(100))
        writer.write(np.array([np.nan]))
    with pytest.raises(KeyboardInterrupt), io.Writer(path, 16000) as writer:
        writer.write(np.zeros(100))
        raise KeyboardInterrupt
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_path_do_not_share_a_temporary_file(tmp_path):
    path = tmp_path / "a.wav"
    with io.Writer(path, 16000) as first, io.Writer(path, 16000) as second:
        first.write(tone(16000))
        second.write(np.zeros(100))
        first.write(tone(16000))
        assert (first.written, second.written) == (32000, 100)
    assert len(io.read(path, 16000)) == 32000
    assert list(tmp_path.iterdir()) == [path]


def test_the_longest_file_names_are_written(tmp_path):
    path = tmp_path / f"{'a' * 251}.wav"
    io.write(path, tone(16000), 16000)
    assert list(tmp_path.iterdir()) == [path]


@given(st.lists(st.integers(-32768, 32767), min_size=1))
def test_pcm16_round_trips(values):
    pcm = np.array(values, np.int16)
    np.testing.assert_array_equal(io.to_pcm16(io.from_pcm16(pcm)), pcm)


def test_pcm16_rounds_and_clips():
    samples = np.array([0.0, 0.6 / 32768, -0.6 / 32768, 1.0, -1.0, 2.0, -2.0], np.float32)
    np.testing.assert_array_equal(io.to_pcm16(samples), [0, 1, -1, 32767, -32768, 32767, -32768])
    with pytest.raises(ValueError, match="int16"):
        io.to_pcm16(np.zeros(1, np.int16))


@pytest.mark.parametrize("order", ["<i2", ">i2"])
def test_the_byte_order_of_raw_samples_is_detected(order):
    samples = (9000 * np.sin(np.arange(800) / 5)).astype(np.int16)
    wav = io.with_header(samples.astype(order).tobytes() + b"\0", 8000)
    np.testing.assert_array_equal(io.to_pcm16(io.read(wav, 8000)), samples)
    with pytest.raises(io.AudioError, match="a header but no samples"):
        io.read(io.with_header(b"", 8000), 8000)


class Pipe:
    """A stream that returns so many bytes at a time."""

    def __init__(self, content, size):
        self._parts = [content[start : start + size] for start in range(0, len(content), size)]

    def read1(self, _):
        return self._parts.pop(0) if self._parts else b""


@pytest.mark.parametrize("size", [1, 3, 320, 10**6])
@pytest.mark.parametrize("stream_hz", [8000, 44100])
def test_a_raw_stream_equals_a_file_of_the_same_samples(size, stream_hz):
    samples = np.random.default_rng(0).integers(-9999, 9999, 3000).astype("<i2")
    streamed = np.concatenate(list(io.read_pcm16(Pipe(samples.tobytes(), size), stream_hz, 8000)))
    file = streams.BytesIO()
    soundfile.write(file, samples, stream_hz, format="WAV")
    np.testing.assert_allclose(streamed, io.read(file.getvalue(), 8000), atol=1e-6)


def test_half_a_sample_at_the_end_is_dropped_and_an_empty_stream_is_an_error():
    assert len(np.concatenate(list(io.read_pcm16(Pipe(b"abcde", 2), 8000, 8000)))) == 2
    with pytest.raises(
        io.AudioError, match=r"the stream: ended before the first sample; pipe 16-bit samples into it\.$"
    ):
        list(io.read_pcm16(Pipe(b"", 2), 8000, 8000))


def test_a_streamed_wav_is_read_to_its_end():
    pcm = np.arange(-500, 500, dtype="<i2")
    data = io.streamed_wav_header(22050) + pcm.tobytes()
    np.testing.assert_array_equal(io.read(data, 22050), pcm / np.float32(32768))
    assert len(io.streamed_wav_header(8000)) == 44


def test_a_streamed_wav_of_known_length_is_a_wav():
    pcm = np.arange(-500, 500, dtype="<i2")
    written = streams.BytesIO()
    soundfile.write(written, pcm, 22050, format="WAV", subtype="PCM_16")
    assert io.streamed_wav_header(22050, len(pcm)) + pcm.tobytes() == written.getvalue()
