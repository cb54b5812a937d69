"""Laws of what a run tells while it trains."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfvoice import experiment
from tfvoice.evaluation import Reading, Score
from tfvoice.experiment import Experiment
from tfvoice.monitoring import Monitor
from tfvoice.training import State

SMALL = ("model.width=8", "model.kernel_size=3", "model.dilations=[1]", "model.stacks=1", "features.bins=20")
READINGS = [Reading(f"u{number}", "p1", 1.0, f"said {number}", f"read {number}", 3.0) for number in range(10)]


@pytest.fixture(scope="module")
def made(tmp_path_factory, converted):
    run = Experiment.create(tmp_path_factory.mktemp("runs") / "run", experiment.resolve("wavenet_asr", overrides=SMALL))
    return run, run.scan(converted, "train")


@pytest.fixture
def monitor(made):
    """Opens a monitor at a step and an epoch, in a folder that keeps what was written."""
    run, index = made
    for path in (run.run_dir / "logs").glob("*"):
        path.unlink()
    (run.run_dir / "metrics.jsonl").unlink(missing_ok=True)
    return lambda step=0, epoch=0: Monitor(run, State(step=step, epoch=epoch), index)


@pytest.fixture
def metrics(made):
    return lambda: (made[0].run_dir / "metrics.jsonl").read_text()


def logged(made):
    found = EventAccumulator(str(made[0].run_dir / "logs"), {"tensors": 0})
    found.Reload()
    return {tag: found.Tensors(tag) for tag in found.Tags()["tensors"]}


def validated(monitor, epoch, loss=3.0, train_loss=2.0):
    state = State(step=10 * epoch, epoch=epoch, minutes=1.5, loss_sum=4 * train_loss, losses=4, skipped=1)
    monitor.epoch(state, Score(0.5, 0.25, loss), READINGS, 40.0)


def test_a_validation_is_a_line_for_programs_and_a_line_for_people(monitor, metrics, capsys):
    with monitor() as opened:
        validated(opened, 1)
        validated(opened, 2)
    one, two = map(json.loads, metrics().splitlines())
    assert (one["step"], two["step"]) == (10, 20)
    memory = one.pop("memory_mib")
    assert 100 < memory < 100_000
    assert one == {
        "step": 10, "epoch": 1, "minutes": 1.5, "train_loss": 2.0, "valid_loss": 3.0, "wer": 0.5, "cer": 0.25,
        "audio_seconds_per_second": 40.0, "skipped_steps": 1,
    }  # fmt: skip
    wanted = r"epoch   1     1\.5 min  train loss    2\.00  valid loss    3\.00  WER  50\.0%  CER  25\.0%  40 s/s\n"
    assert re.search(wanted, capsys.readouterr().out)


def test_tensorboard_holds_rates_transcripts_the_alignment_and_the_audio_of_each_validation(made, monitor):
    with monitor() as opened:
        for step in range(1, 61):
            opened.step(step, 5.0, 1.0, 1e-3, 30.0)
        validated(opened, 1)
        validated(opened, 2)
    found = EventAccumulator(str(made[0].run_dir / "logs"))
    found.Reload()
    plugins = {name: found.SummaryMetadata(f"valid/{name}").plugin_data.plugin_name for name in ("alignment", "audio")}
    assert plugins == {"alignment": "images", "audio": "audio"}, "TensorBoard shows them on their tabs"
    tags = logged(made)
    train = {f"train/{name}" for name in ("loss", "gradient_norm", "learning_rate", "audio_seconds_per_second")}
    valid = {f"valid/{name}" for name in ("loss", "wer", "cer", "memory_mib", "transcripts", "alignment", "audio")}
    assert set(tags) == train | valid
    assert [event.step for event in tags["train/loss"]] == [20, 40, 60]
    assert all([event.step for event in tags[name]] == [10, 20] for name in valid)
    (text,) = tags["valid/transcripts"][0].tensor_proto.string_val
    assert b"- said 9\n- **read 9**" in text and text.count(b"said") == 8
    _, _, png = tags["valid/alignment"][1].tensor_proto.string_val
    picture = tf.io.decode_png(png).numpy()
    assert picture.shape[0] == 480 and len(np.unique(picture)) > 50
    wave, _ = tags["valid/audio"][1].tensor_proto.string_val
    samples, rate = tf.audio.decode_wav(wave)
    durations = made[1].samples[made[1].samples <= 5 * 16000]
    assert int(rate) == 16000 and len(samples) == durations.max(), "the longest that can be drawn"


def test_a_loss_that_is_no_number_is_null(monitor, metrics):
    with monitor() as opened:
        validated(opened, 1, loss=float("nan"), train_loss=float("inf"))
        opened.epoch(State(step=3, epoch=1), Score(1.0, 1.0, float("inf")), READINGS, 1.0)

    def refuse(constant):
        raise AssertionError(constant)

    for line in metrics().splitlines():
        values = json.loads(line, parse_constant=refuse)
        assert values["train_loss"] is None and values["valid_loss"] is None


def test_lines_of_a_future_that_was_lost_are_removed(monitor, metrics):
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


def test_recordings_that_are_too_long_to_draw_give_way_to_the_shortest(made):
    run, index = made
    longer = type(index)(**{**vars(index), "samples": index.samples + 80_000})
    sample = Monitor(run, State(), longer)._sample
    assert len(sample.audio) == index.samples.min()
    assert sample.picture(0).shape == (480, 900, 3)
