import io
import re

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfvoice.audio import io as audio_io
from tfvoice.data import records

PCM16 = (np.sin(np.arange(1600) / 7) * 20000).astype(np.int16)


def record(encoding="pcm16", samples=PCM16, text="Please call Stella."):
    return records.encode("p225_001", "p225", text, samples, 16000, encoding)


def shard(path, frames):
    path.write_bytes(b"".join(frames))
    return str(path)


@pytest.mark.parametrize("encoding", records.ENCODINGS)
@pytest.mark.parametrize("decode", [records.decode, tf.function(records.decode)], ids=["eager", "graph"])
def test_decode_inverts_encode(encoding, decode):
    decoded = decode(tf.constant(record(encoding, text="l’été")))
    assert decoded["id"] == b"p225_001" and decoded["speaker"] == b"p225"
    assert decoded["text"].numpy().decode() == "l’été"
    assert decoded["samples"] == 1600 and decoded["sample_rate_hz"] == 16000
    assert decoded["audio"].dtype == tf.float32
    np.testing.assert_array_equal(decoded["audio"], audio_io.from_pcm16(PCM16))


@pytest.mark.parametrize("encoding", records.ENCODINGS)
def test_decode_in_a_dataset_of_written_shards(encoding, tmp_path):
    path = shard(tmp_path / "a.tfrecord", [records.frame(record(encoding))] * 3)
    decoded = list(tf.data.TFRecordDataset(path).map(records.decode))
    assert len(decoded) == 3 == len(list(records.frames(path)))
    np.testing.assert_array_equal(decoded[2]["audio"], audio_io.from_pcm16(PCM16))
    element = tf.data.TFRecordDataset(path).map(records.decode).element_spec
    assert element["audio"].shape == [None] and element["text"].shape == []


@settings(max_examples=30, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"])),
    values=st.lists(st.integers(-32768, 32767), min_size=1, max_size=300),
    rate=st.integers(1000, 192000),
)
def test_round_trip_of_anything(text, values, rate):
    samples = np.array(values, np.int16)
    decoded = records.decode(tf.constant(records.encode("i", "", text, samples, rate)))
    assert decoded["text"].numpy().decode() == text and decoded["sample_rate_hz"] == rate
    np.testing.assert_array_equal(decoded["audio"] * 32768, samples)


def test_protobuf_reads_the_same_record():
    example = tf.train.Example.FromString(record()).features.feature
    assert set(example) == {"schema", "id", "speaker", "text", "audio", "encoding", "sample_rate_hz", "samples"}
    assert example["schema"].int64_list.value[0] == records.SCHEMA
    assert example["encoding"].bytes_list.value[0] == b"pcm16"
    assert example["audio"].bytes_list.value[0] == PCM16.tobytes()


def test_frame_is_what_tensorflow_writes(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "a")) as writer:
        writer.write(record())
        writer.write(b"")
    assert (tmp_path / "a").read_bytes() == records.frame(record()) + records.frame(b"")


def test_float_samples_are_rounded_and_clipped():
    decoded = records.decode(tf.constant(record(samples=np.float32([0.5, -2.0, 1.4 / 32768]))))
    np.testing.assert_array_equal(decoded["audio"] * 32768, [16384, -32768, 1])


def test_flac_audio_is_a_flac_file():
    example = tf.train.Example.FromString(record("flac")).features.feature
    samples, rate = soundfile.read(io.BytesIO(example["audio"].bytes_list.value[0]), dtype="int16")
    assert rate == 16000
    np.testing.assert_array_equal(samples, PCM16)


def test_flac_is_decoded_in_the_graph_where_tensorflow_io_works():
    tfio = pytest.importorskip("tensorflow_io")
    try:
        tfio.audio.decode_flac(records._flac(PCM16, 16000), dtype=tf.int16)
    except NotImplementedError:
        pytest.skip("the native library of tensorflow-io does not load with this TensorFlow")
    graph = tf.function(records.decode).get_concrete_function(tf.TensorSpec([], tf.string)).graph
    kinds = {node.op for function in graph.as_graph_def().library.function for node in function.node_def}
    assert "IO>AudioDecodeFlac" in kinds and not any("PyFunc" in kind for kind in kinds)


def test_unknown_encoding_names_the_known_ones():
    with pytest.raises(records.RecordError, match=r"--encoding=mp3: .*pcm16, flac"):
        record("mp3")


BAD_RECORDS = {
    "schema": (record().replace(b"\x1a\x03\x0a\x01\x01", b"\x1a\x03\x0a\x01\x02", 1), "another schema version"),
    "samples": (record().replace(b"\x1a\x04\x0a\x02\xc0\x0c", b"\x1a\x04\x0a\x02\xc1\x0c", 1), "a record is damaged"),
    "truncated": (record()[:-10], "not written by tfvoice"),
    "other keys": (tf.train.Example().SerializeToString(), "not written by tfvoice"),
    "no record": (b"junk", "not written by tfvoice"),
}


@pytest.mark.parametrize("bad, sentence", BAD_RECORDS.values(), ids=BAD_RECORDS)
@pytest.mark.parametrize("eager", [True, False])
def test_a_bad_record_gets_a_sentence(bad, sentence, eager):
    assert bad != record()
    advice = re.escape("tfvoice_convert --validate --output=OUT")
    with pytest.raises(records.RecordError, match=f"OUT: .*{sentence}.*{advice}"), records.explained("OUT"):
        if eager:
            records.decode(tf.constant(bad))
        else:
            list(tf.data.Dataset.from_tensors(bad).map(records.decode))


def test_a_truncated_or_missing_shard_gets_a_sentence(tmp_path):
    path = shard(tmp_path / "a.tfrecord", [records.frame(record())[:-5]])
    with pytest.raises(records.RecordError, match=r"OUT: a shard is truncated or damaged"), records.explained("OUT"):
        list(tf.data.TFRecordDataset(path))
    with pytest.raises(records.RecordError, match=r"OUT: a shard is missing"), records.explained("OUT"):
        list(tf.data.TFRecordDataset(str(tmp_path / "b.tfrecord")))


def test_other_errors_pass_unchanged():
    with pytest.raises(tf.errors.InvalidArgumentError), records.explained("OUT"):
        tf.ensure_shape(tf.zeros([2]), [3])


def test_frames_are_where_the_records_are(tmp_path):
    contents = [record(), b"", b"x", record("flac")]
    path = tmp_path / "a.tfrecord"
    shard(path, map(records.frame, contents))
    content = path.read_bytes()
    assert [content[offset : offset + size] for offset, size in records.frames(path)] == contents


def test_unframe_inverts_frame_and_finds_every_damaged_byte():
    for content in (b"", b"x", b"some record"):
        frame = records.frame(content)
        assert records.unframe(frame) == content
        for position in range(len(frame)):
            flipped = bytearray(frame)
            flipped[position] ^= 1
            assert records.unframe(bytes(flipped)) is None
            assert records.unframe(frame[:position]) is None


def test_frames_finds_damage(tmp_path):
    frame = records.frame(record())
    assert list(records.frames(shard(tmp_path / "empty", []))) == []
    flipped = bytearray(frame)
    flipped[100] ^= 1
    for number, bad in enumerate((frame[:-1], frame[:14], frame[:5], bytes(flipped), b"\x01" + frame[1:])):
        with pytest.raises(records.RecordError, match=r"a.tfrecord: damaged at record 3"):
            list(records.frames(shard(tmp_path / f"{number}a.tfrecord", [frame, frame, bad])))


def test_an_error_of_python_inside_the_graph_keeps_its_sentence():
    def fail(_):
        raise records.RecordError("OUT/a.tfrecord: the record of p225_001 is damaged. Look further.")

    dataset = tf.data.Dataset.range(1).map(lambda value: tf.numpy_function(fail, [value], tf.int64))
    with pytest.raises(records.RecordError) as caught, records.explained("OUT"):
        list(dataset)
    assert str(caught.value) == "OUT/a.tfrecord: the record of p225_001 is damaged. Look further."

    def mistake(_):
        raise ZeroDivisionError

    dataset = tf.data.Dataset.range(1).map(lambda value: tf.numpy_function(mistake, [value], tf.int64))
    with pytest.raises(tf.errors.UnknownError), records.explained("OUT"):
        list(dataset)
