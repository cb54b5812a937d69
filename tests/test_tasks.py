"""Each model has its task, and a run that of its model."""

import pytest

from tfvoice import experiment, models, tasks
from tfvoice.asr.recognizer import Recognizer
from tfvoice.config import ConfigError
from tfvoice.errors import TfvoiceError


def test_every_model_has_one():
    for name, entry in models.MODELS.items():
        assert tasks.of_model(name).run.task == entry.task
    with pytest.raises(ConfigError, match="--model=wavnet"):
        tasks.of_model("wavnet")


def test_a_run_has_that_of_its_model(tmp_path):
    small = ("model.width=8", "model.dilations=[1]", "model.stacks=1")
    Recognizer.create(tmp_path / "run", experiment.resolve("wavenet_asr", overrides=small))
    assert tasks.of_run(tmp_path / "run") is tasks.TASKS["recognition"]
    with pytest.raises(TfvoiceError, match="is not the folder of a run"):
        tasks.of_run(tmp_path / "none")
