"""The training of a generator: it learns, it writes samples, and it can be killed and resumed."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from written import arrays, assert_same_run, lines, state_of

from tfvoice import tasks
from tfvoice.audio import io as audio_io
from tfvoice.training.trainer import StopConditions

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    *("model.units=16", "model.frame_sizes=[2,8]", "model.embedding=8", "quantization.levels=32"),
    *("data.sequence_samples=2000", "training.batch_size=4", "training.epochs=2", "training.validate_steps=7"),
    *("training.warmup=0", "training.learning_rate=0.01", "training.average=0.9", "sampling.seconds=0.05"),
    "training.xla=off",
)
EXACT = ("step", "epoch", "validation", "train_loss", "valid_loss", "skipped_steps")
GROUPS = {"weights", "optimizer", "raw", "carried"}


@pytest.fixture(scope="module")
def settings():
    return tasks.resolve("sample_rnn", None, SMALL)


@pytest.fixture(scope="module")
def finished(converted, settings, tmp_path_factory):
    """A run that was not interrupted. Read only."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    assert tasks.train(run, converted, settings).finished == "all"
    return run


TWO_DEVICES = """
    import sys
    import tensorflow as tf
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
    from tfvoice import tasks
    from tfvoice.training.trainer import StopConditions
    tasks.train(sys.argv[2], sys.argv[1], tasks.resolve("sample_rnn", None, sys.argv[3:]),
                StopConditions(max_steps=7))
"""


def test_two_devices_carry_their_own_states_and_equal_one(converted, settings, tmp_path):
    changes = [*SMALL, "sampling.count=0", "training.validate_steps=0"]
    one = tmp_path / "one"
    tasks.train(one, converted, tasks.resolve("sample_rnn", None, changes), StopConditions(max_steps=7))
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    code = [sys.executable, "-c", textwrap.dedent(TWO_DEVICES), str(converted), str(tmp_path / "two"), *changes]
    done = subprocess.run(code, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    alone, shared = arrays(one), arrays(tmp_path / "two")
    assert alone.keys() == shared.keys()
    for name in alone:
        np.testing.assert_allclose(shared[name], alone[name], atol=2e-3, rtol=1e-3, err_msg=name)


def test_training_lowers_the_loss_and_validates_at_the_set_steps(finished):
    found = lines(finished)
    steps = state_of(finished)["step"] // 2
    assert [line["step"] for line in found] == sorted({*range(7, 2 * steps + 1, 7), steps, 2 * steps})
    assert [line["validation"] for line in found] == list(range(1, len(found) + 1))
    # Nothing known costs 5 bits.
    assert found[0]["valid_loss"] < 4.9 and found[-1]["valid_loss"] < found[0]["valid_loss"] - 0.3
    assert {key.split("/")[0] for key in arrays(finished)} == {"weights", "optimizer", "raw", "carried"}


def test_samples_of_each_validation_are_written(finished):
    steps = [line["step"] for line in lines(finished)]
    files = sorted(path.name for path in (finished / "samples").iterdir())
    assert files == sorted(
        name for step in steps for name in (f"step-{step:07d}-0.wav", f"step-{step:07d}-1.wav", f"step-{step:07d}.png")
    )
    assert len(audio_io.read(finished / "samples" / files[0], 16000)) == 800
    found = EventAccumulator(str(finished / "logs"), {"tensors": 0})
    found.Reload()
    assert {"samples/0", "samples/1", "samples/picture", "valid/loss"} <= set(found.Tags()["tensors"])
    assert [event.step for event in found.Tensors("samples/1")] == steps


def test_a_run_stopped_within_a_clip_resumes_bit_for_bit(finished, converted, settings, tmp_path, capsys):
    run = tmp_path / "run"
    for step in (7, 12):
        assert tasks.train(run, converted, settings, StopConditions(max_steps=step)).step == step
        # After a validation there is no further loss to show.
        shown = re.findall(r"step (\d+): train loss \d\.\d{4} bits per sample\n", capsys.readouterr().out)
        assert shown == ([] if step == 7 else [str(step)])
    tasks.train(run, converted, settings)
    assert_same_run(run, finished, EXACT, GROUPS)


def test_a_killed_run_resumes_bit_for_bit(finished, converted, settings, tmp_path):
    run = tmp_path / "run"
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "bin" / "tfvoice_train"), "--model=sample_rnn", f"--data={converted}"]
    command += [f"--run={run}", "--checkpoint_minutes=0", *(f"--set={change}" for change in SMALL)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        if (run / "checkpoints" / "last.safetensors").is_file() and state_of(run)["step"] >= 4:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    tasks.train(run, converted, settings)
    assert_same_run(run, finished, EXACT, GROUPS)
