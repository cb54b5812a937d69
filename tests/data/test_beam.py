"""Laws of conversion on Beam: it writes what processes write, and only names travel through it."""

import functools
import sys

import numpy as np
import pytest
import soundfile

from tfvoice.data import beam, convert, output, recordings
from tfvoice.data.beam import BeamError
from tfvoice.data.corpora import manifest
from tfvoice.data.shards import ConversionConfig


@pytest.fixture
def planned(tmp_path):
    """Plans a conversion of twenty recordings, two of them bad, again for each call."""
    noise = np.random.default_rng(0)
    for number in range(20):
        path = tmp_path / "in" / f"{number:02d}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, noise.uniform(-0.1, 0.1, 8000), 16000)
    for number in (3, 7):
        (tmp_path / "in" / f"{number:02d}.wav").write_bytes(b"")
    rows = "".join(f"{number:02d}.wav\tword {number}\n" for number in range(20))
    (tmp_path / "in" / "list.tsv").write_text(f"audio\ttext\n{rows}")
    listing, settings = manifest.read(str(tmp_path / "in" / "list.tsv")), ConversionConfig(shard_mb=0.05)
    return lambda *engine: convert.prepare(listing, settings, 1, *engine)


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_without_beam_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(
        BeamError, match=r"--engine=beam needs Apache Beam; install it with pip install 'tfvoice\[beam\]"
    ):
        beam.engine([])


def test_the_output_is_that_of_processes(planned, tmp_path):
    pytest.importorskip("apache_beam")
    convert.convert(planned(), tmp_path / "local", max_skipped=1.0)
    engine = beam.engine(["--runner=BundleBasedDirectRunner"])
    result = convert.convert(planned(), tmp_path / "beam", max_skipped=1.0, engine=engine)
    assert contents(tmp_path / "beam") == contents(tmp_path / "local")
    assert result.skipped == {"empty_file": 2} and len(result.splits["train"].shards) > 3


def test_headers_of_a_large_corpus_are_read_by_its_tasks(planned, tmp_path, monkeypatch):
    pytest.importorskip("apache_beam")
    monkeypatch.setattr(recordings, "_TASK_CHUNK", 4)
    monkeypatch.setattr(recordings, "Workers", None)
    engine = beam.engine(["--runner=BundleBasedDirectRunner"])
    plan = planned(engine, str(tmp_path / "out"))
    monkeypatch.undo()
    assert plan == planned() and not list((tmp_path / "out" / ".progress").iterdir())


def test_a_failure_is_a_sentence_and_finished_shards_are_kept(planned, tmp_path, monkeypatch):
    pytest.importorskip("apache_beam")
    engine, plan = beam.engine(["--runner=BundleBasedDirectRunner"]), planned()
    target = output.ConversionOutput(tmp_path / "out", plan, overwrite=False)
    target.write_partitions(plan.shards)
    convert.convert_shard(str(target.directory), plan.shards[0].name, plan.fingerprint)
    target.close()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert, "write_shard", full)
    with pytest.raises(BeamError, match=r"out: the Beam job failed \(.*No space left.*\)\. What is finished is kept"):
        convert.convert(plan, tmp_path / "out", max_skipped=1.0, engine=engine)
    assert output.finished(tmp_path / "out", plan.shards[0].name)


def test_only_names_travel_through_the_engine():
    apache_beam = pytest.importorskip("apache_beam")
    names = [f"train-{number:05d}-of-12500.tfrecord" for number in range(12_500)]
    pipeline = apache_beam.Pipeline()
    beam.add_tasks(pipeline, "/records", functools.partial(convert.convert_shard, fingerprint="0" * 64), names)
    assert len(pipeline.to_runner_api().SerializeToString()) < 1_000_000
