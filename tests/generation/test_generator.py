"""A run of a generator: made for its data, opened again, and refused where it does not fit."""

import re

import pytest

from tfvoice import tasks
from tfvoice.asr.recognizer import Recognizer
from tfvoice.config import ConfigError
from tfvoice.errors import TfvoiceError
from tfvoice.generation.generator import Generator

SMALL = ("model.units=6", "model.frame_sizes=[2,8]", "model.embedding=4", "quantization.levels=16")


@pytest.fixture(scope="module")
def run(tmp_path_factory, converted):
    made = Generator.new(
        tmp_path_factory.mktemp("runs") / "run", tasks.resolve("sample_rnn", overrides=SMALL), converted, {}
    )
    made.write()
    return made


def test_a_run_has_the_sample_rate_of_its_data_and_opens_again(run):
    back = Generator.open(run.run_dir)
    assert back.sample_rate_hz == run.sample_rate_hz == 16000
    assert back.config == run.config and back.model.config.frame_sizes == (2, 8)


def test_records_of_another_sample_rate_are_refused(run, converted):
    other = Generator(run.run_dir, run.config, {"sample_rate_hz": 8000})
    with pytest.raises(TfvoiceError, match=r"16000 Hz and .* was trained at 8000; convert it with --sample"):
        other.scan(converted, "train")


def test_a_run_of_another_task_is_refused(run, tmp_path):
    with pytest.raises(
        TfvoiceError, match=re.escape(f"{run.run_dir}: is a run of sample_rnn, not of wavenet_asr or deepspeech2.")
    ):
        Recognizer.open(run.run_dir)
    small = ("model.width=8", "model.dilations=[1]", "model.stacks=1")
    Recognizer.create(tmp_path / "asr", tasks.resolve("wavenet_asr", overrides=small))
    with pytest.raises(TfvoiceError, match="asr: is a run of wavenet_asr, not of sample_rnn"):
        Generator.open(tmp_path / "asr")


@pytest.mark.parametrize(
    "change, fact",
    [
        ("data.sequence_samples=1000", "data.sequence_samples=1000 cannot be cut into frames of 64 samples"),
        ("data.sequence_samples=20", "set data.sequence_samples=64"),
        ("data.sequence_samples=1000", "set data.sequence_samples=960 or 1024"),
        ("quantization.levels=1", "quantization.levels: Input should be greater than or equal to 2"),
        ("quantization.levels=100000", "quantization.levels: Input should be less than or equal to 65536"),
        ("quantization.kind=alaw", "quantization.kind: Input should be 'mu_law' or 'linear'"),
        ("features.bins=3", "there is no key features"),
    ],
)
def test_an_impossible_configuration_is_an_error(change, fact):
    with pytest.raises(ConfigError, match=re.escape(fact)):
        tasks.resolve("sample_rnn", overrides=["model.frame_sizes=[16,64]", change])
