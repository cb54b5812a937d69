import functools

import pytest
from segmentations import segmentation_run

from tfvoice.cli import align
from tfvoice.data import shards


@pytest.fixture(scope="module")
def run(converted, tmp_path_factory):
    return segmentation_run(tmp_path_factory.mktemp("runs") / "segmentation", converted)


@pytest.fixture
def command(in_process):
    """Runs the command; returns exit status, standard output and standard error."""
    return functools.partial(in_process, align.main, "tfvoice_align")


def test_records_textgrids_and_figures_are_written(command, run, converted, tmp_path):
    arguments = (f"--run={run.run_dir}", f"--data={converted}", f"--output={tmp_path}/out", "--workers=1")
    options = ("--min_score=-100", "--min_hz=150", f"--textgrid={tmp_path}/grids", f"--figures={tmp_path}/figures")
    status, out, err = command(*arguments, *options)
    assert status == 0, err
    manifest = shards.read_manifest(tmp_path / "out")
    count = sum(split.utterances for split in manifest.splits.values())
    assert f"{count} TextGrids in {tmp_path}/grids" in out
    assert len(list((tmp_path / "grids").rglob("*.TextGrid"))) == count
    assert list((tmp_path / "figures").glob("test-least_probable_1-*.png"))
    assert manifest.alignment.f0_method == "pyin" and manifest.alignment.frame_samples == 64
    status, out, _ = command(*arguments, "--min_score=-100", "--min_hz=150")
    assert status == 0 and out.startswith("nothing to do: this alignment is already complete.")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--min_score=low"], "--min_score=low: write a number"),
        (["--min_hz=300", "--max_hz=400"], "max_hz=400 must be at least twice min_hz=300"),
    ],
)
def test_invalid_flags_get_a_sentence(command, run, converted, tmp_path, flags, sentence):
    status, out, err = command(f"--run={run.run_dir}", f"--data={converted}", f"--output={tmp_path}/out", *flags)
    assert (status, out) == (1, "") and sentence in err and not (tmp_path / "out").exists()


def test_a_run_of_another_task_is_refused(command, recognizer_run, converted, tmp_path):
    status, _, err = command(f"--run={recognizer_run.run_dir}", f"--data={converted}", f"--output={tmp_path}/out")
    assert status == 1 and "is a run of wavenet_asr, a recogniser" in err and "tfvoice_align is not" in err
