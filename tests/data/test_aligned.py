import json
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfvoice import config
from tfvoice.data import aligned, records, shards
from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.data.shards import AlignmentSection, ShardError

PCM16 = (np.sin(np.arange(1000) / 7) * 20000).astype(np.int16)
RECORD = records.encode("p225_001", "p225", "Hi.", PCM16, 16000)
ALIGNMENT = PhonemeAlignment(
    ["sil", "HH", "AY1", "sil"], np.array([100, 200, 700, 1000]), np.linspace(0, 200, 16, dtype=np.float32), 64
)
SECTION = AlignmentSection(phonemes=["sil", "AY", "HH"], frame_samples=64, f0_method="pyin", aligner="0123")


@pytest.mark.parametrize("encoding", records.ENCODINGS)
@pytest.mark.parametrize("decode", [aligned.decode, tf.function(aligned.decode)], ids=["eager", "graph"])
def test_decode_inverts_encode(encoding, decode):
    plain = records.encode("p225_001", "p225", "l’été", PCM16, 16000, encoding)
    decoded = decode(tf.constant(aligned.encode(plain, len(PCM16), ALIGNMENT)))
    assert [phoneme.decode() for phoneme in decoded["phonemes"].numpy()] == ALIGNMENT.phonemes
    np.testing.assert_array_equal(decoded["phoneme_ends"], ALIGNMENT.ends)
    np.testing.assert_array_equal(decoded["f0_hz"], ALIGNMENT.f0_hz)
    assert decoded["frame_samples"] == 64
    for key, value in records.decode(tf.constant(plain)).items():
        np.testing.assert_array_equal(decoded[key], value)


def test_plain_decoding_ignores_the_alignment():
    decoded = records.decode(tf.constant(aligned.encode(RECORD, len(PCM16), ALIGNMENT)))
    for key, value in records.decode(tf.constant(RECORD)).items():
        np.testing.assert_array_equal(decoded[key], value)


def test_the_score_is_kept_where_it_is_known():
    assert aligned.decode_score(aligned.encode(RECORD, len(PCM16), ALIGNMENT, -0.25)) == -0.25
    for record in (RECORD, aligned.encode(RECORD, len(PCM16), ALIGNMENT)):
        assert np.isnan(aligned.decode_score(record))


def test_workers_that_encode_need_no_tensorflow():
    """A process with TensorFlow takes 800 MB."""
    code = "import sys, tfvoice.data.aligned; print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_an_aligned_record_holds_the_bytes_of_the_plain_one():
    def entries(record):
        return record[2 + (len(record) > 127 + 2) :]

    record = aligned.encode(RECORD, len(PCM16), ALIGNMENT)
    assert entries(record).startswith(entries(RECORD)) and record == aligned.encode(RECORD, len(PCM16), ALIGNMENT)


def test_protobuf_reads_the_same_record():
    example = tf.train.Example.FromString(aligned.encode(RECORD, len(PCM16), ALIGNMENT)).features.feature
    assert set(example) == {*tf.train.Example.FromString(RECORD).features.feature} | {
        *("phonemes", "phoneme_ends", "f0_hz", "frame_samples")
    }
    assert list(example["phonemes"].bytes_list.value) == [b"sil", b"HH", b"AY1", b"sil"]
    assert list(example["phoneme_ends"].int64_list.value) == [100, 200, 700, 1000]
    np.testing.assert_array_equal(example["f0_hz"].float_list.value, ALIGNMENT.f0_hz)


@settings(max_examples=30, deadline=None)
@given(
    durations=st.lists(st.integers(1, 3000), min_size=1, max_size=40),
    frame_samples=st.integers(1, 300),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
)
def test_round_trip_of_anything(durations, frame_samples, text):
    ends = np.cumsum(durations)
    f0_hz = np.arange(-(-ends[-1] // frame_samples), dtype=np.float32)
    plain = records.encode("i", "", text, np.zeros(ends[-1], np.int16), 16000)
    alignment = PhonemeAlignment([f"P{n}" for n in range(len(ends))], ends, f0_hz, frame_samples)
    decoded = aligned.decode(tf.constant(aligned.encode(plain, int(ends[-1]), alignment)))
    np.testing.assert_array_equal(decoded["phoneme_ends"], ends)
    np.testing.assert_array_equal(decoded["f0_hz"], f0_hz)
    assert decoded["text"].numpy().decode() == text and len(decoded["phonemes"]) == len(ends)


UNFIT = {
    "a phoneme without samples": {"ends": np.array([100, 100, 700, 1000])},
    "a phoneme without an end": {"phonemes": ["sil"]},
    "the audio is longer": {"ends": np.array([100, 200, 700, 900])},
    "no phoneme": {"phonemes": [], "ends": np.zeros(0, np.int64)},
    "fewer frames": {"f0_hz": np.zeros(15, np.float32)},
    "more frames": {"f0_hz": np.zeros(17, np.float32)},
}


@pytest.mark.parametrize("change", UNFIT.values(), ids=UNFIT)
def test_an_alignment_that_does_not_fit_is_neither_encoded_nor_decoded(change):
    alignment = ALIGNMENT._replace(**change)
    with pytest.raises(ValueError, match=r"phonemes that end at|values of F0"):
        aligned.encode(RECORD, len(PCM16), alignment)
    features = {
        "phonemes": alignment.phonemes,
        "phoneme_ends": alignment.ends,
        "f0_hz": alignment.f0_hz,
        "frame_samples": np.array([64]),
    }
    dataset = tf.data.Dataset.from_tensors(records.extended(RECORD, features)).map(aligned.decode)
    with pytest.raises(records.RecordError, match="OUT: a record is damaged"), records.explained("OUT"):
        list(dataset)


def test_a_plain_record_is_not_decoded_as_an_aligned_one():
    with pytest.raises(records.RecordError, match="OUT: "), records.explained("OUT"):
        aligned.decode(tf.constant(RECORD))


def manifest(alignment):
    return shards.Manifest(
        corpus="manifest",
        sample_rate_hz=16000,
        encoding="pcm16",
        splits={},
        skipped={},
        expected_skips={},
        speakers={},
        settings=shards.ConversionConfig(),
        fingerprint="f",
        alignment=alignment,
    )


def test_the_manifest_has_a_section_only_where_records_are_aligned(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text(config.to_json(manifest(SECTION)))
    assert aligned.read_manifest(tmp_path) == shards.read_manifest(tmp_path) == manifest(SECTION)
    advice = re.escape(f"{tmp_path}: these records are aligned already, and plain ones are needed; name the folder")
    with pytest.raises(ShardError, match=advice):
        aligned.read_plain_manifest(tmp_path)
    path.write_text(config.to_json(manifest(None)))
    assert "alignment" not in json.loads(path.read_text())
    assert aligned.read_plain_manifest(tmp_path) == manifest(None)
    advice = re.escape(f"make them with tfvoice_align --run=SEGMENTATION --data={tmp_path} ")
    with pytest.raises(ShardError, match=advice):
        aligned.read_manifest(tmp_path)
