"""Laws of reading a folder of noise."""

import logging

import numpy as np
import pytest

from tfvoice.audio import io, noise
from tfvoice.errors import TfvoiceError


def write(path, seconds, level=0.1, rate_hz=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write(
        path, (level * np.random.default_rng(0).standard_normal(round(seconds * rate_hz))).astype(np.float32), rate_hz
    )


def test_recordings_of_any_rate_and_length_are_read_in_order(tmp_path):
    write(tmp_path / "b.wav", 0.5)
    write(tmp_path / "a" / "short.flac", 0.01, rate_hz=16000)
    found = noise.load(str(tmp_path), 8000)
    assert found.row_lengths().numpy().tolist() == [80, 4000]
    np.testing.assert_allclose(found[1], io.read(tmp_path / "b.wav", 8000))


def test_what_cannot_be_used_is_left_out_and_told(tmp_path, caplog):
    write(tmp_path / "a.wav", 0.1)
    write(tmp_path / "b.wav", 0.1, level=0.0)
    (tmp_path / "c.wav").write_bytes(b"nothing")
    (tmp_path / "notes.txt").write_text("no audio")
    with caplog.at_level(logging.WARNING):
        assert noise.load(str(tmp_path), 8000).nrows() == 1
    assert "b.wav: is silent." in caplog.text and "c.wav: " in caplog.text and "notes" not in caplog.text


def test_no_more_than_an_hour_is_held(tmp_path, monkeypatch, caplog):
    for name in "abc":
        write(tmp_path / f"{name}.wav", 1)
    monkeypatch.setattr(noise, "_MOST_SECONDS", 1.5)
    assert noise.load(str(tmp_path), 8000).row_lengths().numpy().tolist() == [8000, 4000]
    assert "only the first hour" in caplog.text


def test_of_a_long_recording_no_more_is_read_than_is_held(tmp_path, monkeypatch):
    write(tmp_path / "a.wav", 30)
    read, blocks = [], io.read_blocks
    monkeypatch.setattr(io, "read_blocks", lambda *rest: (read.append(len(b)) or b for b in blocks(*rest)))
    monkeypatch.setattr(noise, "_MOST_SECONDS", 1.5)
    monkeypatch.setattr(noise, "_BLOCK_SECONDS", 1.0)
    assert noise.load(str(tmp_path), 8000).row_lengths().numpy().tolist() == [12000]
    assert read == [8000, 8000]


def test_a_folder_without_noise_is_told(tmp_path):
    with pytest.raises(TfvoiceError, match=r"^augmentation.noise_folder=nowhere: there is no such folder\.$"):
        noise.load("nowhere", 8000)
    with pytest.raises(TfvoiceError, match=r": holds no audio file\.$"):
        noise.load(str(tmp_path), 8000)
    (tmp_path / "c.wav").write_bytes(b"nothing")
    with pytest.raises(TfvoiceError, match=r"none of its 1 audio files can be used: .*c.wav: "):
        noise.load(str(tmp_path), 8000)
