"""A vocoder is trained, resumed bit for bit, and learns; its loss is that of the samples that count."""

import json

import pytest
import soundfile
from written import assert_same_run, lines

from tfvoice import tasks
from tfvoice.errors import TfvoiceError
from tfvoice.training.trainer import StopConditions
from tfvoice.tts.vocoder.task import VOCODER

SMALL = (
    "model.layers=3", "model.residual=4", "model.skip=8", "model.conditioner=4", "quantization.levels=16",
    "data.seconds=0.2", "sampling.count=1", "sampling.seconds=0.2", "training.batch_size=4",
)  # fmt: skip


def settings(*overrides):
    return tasks.resolve("vocoder", None, (*SMALL, "training.epochs=2", *overrides))


@pytest.fixture(scope="module")
def trained(aligned_records, tmp_path_factory):
    """The folder of a run that was trained without an interruption."""
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    assert tasks.train(run_dir, aligned_records, settings("training.learning_rate=0.01")).finished == "all"
    return run_dir


def test_it_learns_from_chance_on(trained):
    first, last = lines(trained)[0], lines(trained)[-1]
    assert 3.5 < first["train_loss"] < 4.5 and last["valid_loss"] < first["valid_loss"] < 4.2


def test_a_run_that_was_stopped_ends_as_one_that_was_not(trained, aligned_records, tmp_path):
    for steps in (2, None):
        chosen = settings("training.learning_rate=0.01")
        tasks.train(tmp_path / "run", aligned_records, chosen, StopConditions(max_steps=steps))
    assert_same_run(tmp_path / "run", trained, ("step", "epoch", "valid_loss"), {"weights", "raw", "optimizer"})


def test_a_validation_leaves_a_copy_beside_the_recording(trained):
    folder = trained / "samples"
    (picture,) = sorted(folder.glob("step-*.png"))[-1:]
    copy, rate_hz = soundfile.read(folder / f"{picture.stem}-0.wav")
    recording, _ = soundfile.read(folder / "recording-0.wav")
    assert rate_hz == 16000 and len(copy) == len(recording) == round(0.2 * 250) * 64


def test_what_does_not_fit_is_refused(vocoder_run, aligned_records, converted, generator_run, tmp_path):
    with pytest.raises(TfvoiceError, match="these records are plain, and aligned ones are needed"):
        tasks.train(tmp_path / "run", converted, settings())
    assert not (tmp_path / "run").exists()
    with pytest.raises(TfvoiceError, match="holds a run of sample_rnn, not vocoder"):
        tasks.train(generator_run.run_dir, aligned_records, settings())
    with pytest.raises(TfvoiceError, match="predicts no text that could be decoded"):
        VOCODER.evaluate(vocoder_run.run_dir, None, "test", "best", (), {"decoder": "lm"})
    assert VOCODER.portable_function(vocoder_run, "onnx") is None


def test_the_card_and_the_description_name_rate_and_phonemes(vocoder_run):
    assert VOCODER.card(vocoder_run).facts["sample rate"] == "16000 Hz"
    known = VOCODER.describe(vocoder_run)
    assert json.dumps(known) and known["frame_samples"] == 64 and known["phonemes"][0] == "sil"
