"""Lengths by processes and by the tasks of an engine; what audio is read from is tested by test_convert.py."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from tfvoice import storage
from tfvoice.data import output, recordings
from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import Utterance
from tfvoice.data.shards import ShardError
from tfvoice.storage import LockedError


@pytest.fixture
def listing(tmp_path):
    """Twelve recordings: files with and without a stated length or start, bare samples, and one that does not exist."""
    folder = tmp_path / "in"
    folder.mkdir()
    utterances = []
    for number in range(12):
        path = folder / f"{number:02d} \udce9.wav"
        with open(path, "wb") as file:
            soundfile.write(file, np.full(1600 * (number + 1), 0.1), 16000, format="WAV")
        start, seconds = (0.05 if number % 3 == 0 else None), (0.07 if number % 4 == 0 else None)
        utterances.append(Utterance(f"u{number:02d}", str(path), "x", "", "", start, seconds))
    (folder / "bare.raw").write_bytes(bytes(3200))
    utterances += [Utterance("v", str(folder / "bare.raw"), "x", bare_hz=8000), Utterance("w", "none.wav", "x")]
    return base.checked(utterances)


class Engine:
    """Runs tasks here, as Beam does on a cluster; the given names of tasks end without any."""

    def __init__(self, fails_at=None):
        self.names, self._fails_at = [], fails_at

    def __call__(self, folder, task, names):
        for name in names:
            if len(self.names) == self._fails_at:
                raise RuntimeError("killed")
            self.names.append(name)
            task(folder, name)
            task(folder, name)


def planned(listing, *engine_and_directory):
    with recordings.with_seconds(listing, iter(listing.utterances), 1, *engine_and_directory) as utterances:
        return list(utterances)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(recordings, "_TASK_CHUNK", 4)


def test_lengths_by_processes(listing):
    seconds = [utterance.seconds for utterance in planned(listing)]
    assert seconds[:4] == [0.07, 0.2, pytest.approx(0.3), pytest.approx(0.35)] and seconds[-2:] == [0.2, 0.0]


@pytest.mark.parametrize("in_store", [False, True])
def test_an_engine_finds_the_same_lengths_and_leaves_nothing(listing, few, in_store, store, tmp_path):
    engine, directory = Engine(), f"{store}/out" if in_store else str(tmp_path / "out")
    assert planned(listing, engine, directory) == planned(listing)
    assert len(engine.names) == 3
    left = storage.place(directory).files() if in_store else [path.name for path in (tmp_path / "out").rglob("*")]
    assert not set(left) - {".progress"}


def test_a_small_corpus_is_not_worth_a_job(listing, tmp_path):
    engine = Engine()
    assert planned(listing, engine, str(tmp_path / "out")) == planned(listing)
    assert not engine.names and not (tmp_path / "out").exists()


def test_lengths_that_were_found_before_a_kill_are_kept(listing, few, tmp_path, monkeypatch):
    out = str(tmp_path / "out")
    with pytest.raises(RuntimeError):
        planned(listing, Engine(fails_at=2), out)
    results = sorted((tmp_path / "out" / ".progress").glob("seconds-*"))
    assert len(results) == 2
    storage.write(results[0], json.dumps([9.0] * 4))
    assert [utterance.seconds for utterance in planned(listing, Engine(), out)][1:3] == [9.0, 9.0]
    changed = replace(listing, utterances=listing.utterances[1:])
    assert planned(changed, Engine(), out) == planned(changed), "other recordings have other files"


def test_the_folder_is_locked_and_of_a_conversion(listing, few, tmp_path):
    with output.progress_folder(tmp_path / "out"), pytest.raises(LockedError, match="another tfvoice_convert"):
        planned(listing, Engine(), str(tmp_path / "out"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(ShardError, match="files that no conversion wrote"):
        planned(listing, Engine(), str(tmp_path / "other"))
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.tex"]
