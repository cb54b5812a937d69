"""Lengths by processes and by the tasks of an engine; what audio is read from is tested by test_convert.py."""

import numpy as np
import pytest
import soundfile

from tfvoice import storage
from tfvoice.data import output, planning, recordings
from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import Utterance
from tfvoice.data.recordings import RecordingsError
from tfvoice.data.shards import ConversionConfig, ShardError
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
    """Runs each task twice, here, as Beam may on a cluster."""

    def __init__(self, before=lambda number: None):
        self.names, self._before = [], before

    def __call__(self, directory, task, names):
        for number, name in enumerate(names):
            self._before(number)
            self.names.append(name)
            task(directory, name)
            task(directory, name)


def planned(listing, workers=1, engine=None, directory=None):
    with recordings.with_seconds(listing, iter(listing.utterances), workers, engine, directory) as utterances:
        return list(utterances)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(recordings, "_TASK_CHUNK", 4)


def left(directory):
    progress = storage.place(directory) / output.PROGRESS
    return [path.name for path in progress.iterdir()]


def test_lengths_are_stated_or_of_headers_or_sizes(listing):
    seconds = [utterance.seconds for utterance in planned(listing)]
    assert seconds[:4] == [0.07, 0.2, pytest.approx(0.3), pytest.approx(0.35)] and seconds[-2:] == [0.2, 0.0]


def test_processes_find_the_same_lengths(listing, monkeypatch):
    monkeypatch.setattr(recordings, "_CHUNK", 1)
    assert planned(listing, 2) == planned(listing)


@pytest.mark.parametrize("in_store", [False, True])
def test_an_engine_finds_the_same_lengths_and_leaves_nothing(listing, few, in_store, store, tmp_path):
    engine, directory = Engine(), f"{store}/out" if in_store else str(tmp_path / "out")
    assert planned(listing, 1, engine, directory) == planned(listing)
    assert len(engine.names) == 3 and not left(directory)


def test_a_small_corpus_is_not_worth_a_job(listing, tmp_path):
    engine = Engine()
    assert planned(listing, 1, engine, str(tmp_path / "out")) == planned(listing)
    assert not engine.names and not (tmp_path / "out").exists()


def test_an_equal_conversion_in_a_store_disturbs_none(listing, few, store):
    directory, expected = f"{store}/out", planned(listing)

    def another(number):
        if number == 1:
            assert planned(listing, 1, Engine(), directory) == expected
            plan = planning.plan(listing, iter(expected), ConversionConfig())
            output.ConversionOutput(directory, plan, overwrite=True).close()

    assert planned(listing, 1, Engine(another), directory) == expected


def test_a_task_without_a_result_is_an_error(listing, few, tmp_path):
    def engine(directory, task, names):
        task(directory, names[0])

    with pytest.raises(RecordingsError, match=r"out: cannot read lengths \(No such file.*run the same command again"):
        planned(listing, 1, engine, str(tmp_path / "out"))
    assert planned(listing, 1, Engine(), str(tmp_path / "out")) == planned(listing)


def test_the_folder_is_locked_and_of_a_conversion(listing, few, tmp_path):
    with output.progress_folder(tmp_path / "out"), pytest.raises(LockedError, match="another tfvoice_convert"):
        planned(listing, 1, Engine(), str(tmp_path / "out"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(ShardError, match="files that no conversion wrote"):
        planned(listing, 1, Engine(), str(tmp_path / "other"))
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.tex"]
