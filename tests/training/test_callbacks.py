"""Laws of the logs of a training."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfvoice import tasks
from tfvoice.asr.recognizer import Recognizer
from tfvoice.data.datasets import Speed
from tfvoice.training import callbacks
from tfvoice.training.callbacks import MetricsLogger
from tfvoice.training.task import Validation
from tfvoice.training.trainer import TrainingState

SMALL = ("model.width=8", "model.kernel_size=3", "model.dilations=[1]", "model.stacks=1", "features.bins=20")
FOUND = Validation(0.25, 3.0, {"wer": 0.5, "cer": 0.25}, "WER  50.0%  CER  25.0%", lambda epoch: note(epoch))


def note(epoch):
    tf.summary.text("valid/note", f"of epoch {epoch}")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Recognizer.create(tmp_path_factory.mktemp("runs") / "run", tasks.resolve("wavenet_asr", overrides=SMALL))


@pytest.fixture
def monitor(made):
    """Opens a logger at a step and an epoch, in a folder that is kept."""
    for path in (made.run_dir / "logs").glob("*"):
        path.unlink()
    (made.run_dir / "metrics.jsonl").unlink(missing_ok=True)
    speed = Speed("audio_seconds_per_second", "s/s", 16000)
    return lambda step=0, validations=0: MetricsLogger(made, TrainingState(step=step, validations=validations), speed)


@pytest.fixture
def metrics(made):
    return lambda: (made.run_dir / "metrics.jsonl").read_text()


def logged(made):
    found = EventAccumulator(str(made.run_dir / "logs"), {"tensors": 0})
    found.Reload()
    return {tag: found.Tensors(tag) for tag in found.Tags()["tensors"]}


def validated(monitor, epoch, loss=3.0, train_loss=2.0):
    state = TrainingState(
        10 * epoch, epoch, minutes=1.5, loss_sum=4 * train_loss, losses=4, skipped=1, validations=epoch
    )
    monitor.validation(state, FOUND._replace(loss=loss), 40.0)


def test_a_validation_is_a_line_of_json_and_a_printed_line(monitor, metrics, capsys):
    with monitor() as opened:
        validated(opened, 1)
        validated(opened, 2)
    one, two = map(json.loads, metrics().splitlines())
    assert (one["step"], two["step"]) == (10, 20)
    memory = one.pop("memory_mib")
    assert 100 < memory < 100_000
    assert one == {
        "step": 10, "epoch": 1, "validation": 1, "minutes": 1.5,
        "train_loss": 2.0, "valid_loss": 3.0, "wer": 0.5, "cer": 0.25,
        "audio_seconds_per_second": 40.0, "skipped_steps": 1,
    }  # fmt: skip
    expected = r"epoch   1     1\.5 min  train loss    2\.00  valid loss    3\.00  WER  50\.0%  CER  25\.0%  40 s/s\n"
    assert re.search(expected, capsys.readouterr().out)


def test_steps_and_validations_are_logged_to_tensorboard(made, monitor):
    with monitor() as opened:
        for step in range(1, 61):
            opened.step(step, 5.0, 1.0, 1e-3, 30.0)
        validated(opened, 1)
        validated(opened, 2)
    tags = logged(made)
    train = {f"train/{name}" for name in ("loss", "gradient_norm", "learning_rate", "audio_seconds_per_second")}
    valid = {f"valid/{name}" for name in ("loss", "wer", "cer", "memory_mib", "note")}
    assert set(tags) == train | valid
    assert [event.step for event in tags["train/loss"]] == [20, 40, 60]
    assert all([event.step for event in tags[name]] == [10, 20] for name in valid)
    assert b"of epoch 2" in tags["valid/note"][1].tensor_proto.string_val[0]


def test_audio_is_logged_to_tensorboard(made, monitor):
    with monitor() as opened:
        found = FOUND._replace(summaries=lambda _: callbacks.write_audio("valid/audio", np.zeros(80), 8000))
        opened.validation(TrainingState(step=5, validations=1), found, 1.0)
    found = EventAccumulator(str(made.run_dir / "logs"))
    found.Reload()
    assert found.SummaryMetadata("valid/audio").plugin_data.plugin_name == "audio", "it stands on its tab"
    wave, _ = logged(made)["valid/audio"][0].tensor_proto.string_val
    samples, rate = tf.audio.decode_wav(wave)
    assert int(rate) == 8000 and len(samples) == 80


def test_a_loss_that_is_not_finite_is_null(monitor, metrics):
    with monitor() as opened:
        validated(opened, 1, loss=float("nan"), train_loss=float("inf"))
        opened.validation(TrainingState(step=3, validations=1), FOUND._replace(loss=float("inf")), 1.0)

    def refuse(constant):
        raise AssertionError(constant)

    for line in metrics().splitlines():
        values = json.loads(line, parse_constant=refuse)
        assert values["train_loss"] is None and values["valid_loss"] is None


def test_lines_after_the_restored_checkpoint_are_removed(monitor, metrics):
    with monitor() as opened:
        for epoch in (1, 2, 3):
            validated(opened, epoch)
    lines = metrics().splitlines(keepends=True)
    path = monitor(20, 2)._path
    assert metrics() == "".join(lines[:2])
    # Killed between the line of the second validation and its checkpoint: the last step is saved, the epoch is not.
    path.write_text("".join(lines) + lines[0][:40])
    monitor(20, 1)
    assert metrics() == lines[0]
    path.write_bytes(b"\xff\xfe}\n[1]\n" + lines[0].encode())
    monitor(20, 2)
    assert metrics() == lines[0]
