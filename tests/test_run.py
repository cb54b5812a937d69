"""Laws of the configuration of a run and of its folder."""

import json
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import written

from tfvoice import checkpoints, config, hardware, tasks
from tfvoice.asr.config import RecognizerConfig
from tfvoice.asr.recognizer import Recognizer
from tfvoice.config import ConfigError, differences
from tfvoice.errors import TfvoiceError
from tfvoice.run import clear, is_run
from tfvoice.training.trainer import StopConditions

SMALL = ("model.width=8", "model.kernel_size=3", "model.dilations=[1,2]", "model.stacks=1", "features.bins=20")


def small(*changes):
    return tasks.resolve("wavenet_asr", overrides=[*SMALL, *changes])


@pytest.fixture(scope="module")
def run(recognizer_run):
    """Read only."""
    return recognizer_run


def sentence(text):
    return f"^{re.escape(text)}$"


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('model.name = "wavenet_asr"\nmodel.width = 16\ntraining.epochs = 7\n')
    chosen = tasks.resolve("wavenet_asr", str(path), ["training.epochs=9", "alphabet.characters=wavenet"])
    assert differences(RecognizerConfig(), chosen) == [
        "alphabet.characters:  'abcdefghijklmnopqrstuvwxyz ->  abcdefghijklmnopqrstuvwxyz",
        "model.width: 128 -> 16",
        "training.epochs: 50 -> 9",
    ]
    assert tasks.resolve("wavenet_asr") == RecognizerConfig()


def test_shipped_configurations_are_found_by_name():
    assert config.find("wavenet_asr_demo") == config.find("wavenet_asr_demo.toml")
    assert tasks.resolve("wavenet_asr", "wavenet_asr_demo").training.epochs != 50


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (("wavenet", None, []), "--model=wavenet: there is no such model; did you mean wavenet_asr? Known: "),
        (
            ("wavenet_asr", "wavenet_asr_dem", []),
            "--config=wavenet_asr_dem: no such file, and no such name; did you mean",
        ),
        (("wavenet_asr", None, ["training.epoch=3"]), "--set: there is no key training.epoch; did you mean epochs?"),
        (("wavenet_asr", None, ["trainin.epochs=3"]), "--set: there is no key trainin; did you mean training?"),
        (("wavenet_asr", None, ["training.epochs=no"]), "--set: training.epochs: "),
        (("wavenet_asr", None, ["model.unit=3"]), "--set: there is no key model.unit; known: batch_norm_epsilon"),
        (("deepspeech2", None, ["model.unit=3"]), "--set: there is no key model.unit; did you mean units?"),
        (("deepspeech2", None, ["model.units=0"]), "--set: model.units: Input should be greater than or equal to 1"),
        (("wavenet_asr", None, ["training.epochs"]), "--set training.epochs: write it as section.key=value"),
        (("wavenet_asr", None, ["model.name=other"]), "--set: model.name=other contradicts --model=wavenet_asr."),
    ],
)
def test_a_configuration_that_cannot_be_resolved_is_an_error(arguments, fact):
    with pytest.raises(ConfigError, match=f"^{re.escape(fact)}"):
        tasks.resolve(*arguments)


def test_a_file_for_another_model_is_refused(tmp_path):
    path = tmp_path / "other.toml"
    path.write_text('model.name = "deepspeech2"\n')
    with pytest.raises(ConfigError, match=sentence(f"{path}: is for --model=deepspeech2, not wavenet_asr.")):
        tasks.resolve("wavenet_asr", str(path))


def test_a_run_loads_from_wherever_its_folder_is(run, tmp_path):
    moved = shutil.copytree(run.run_dir, tmp_path / "moved")
    for name in ("best", "last"):
        loaded = Recognizer.load(moved, name)
        assert loaded.config == run.config and loaded.alphabet.characters == run.alphabet.characters
        np.testing.assert_array_equal(loaded.statistics.mean, run.statistics.mean)
        np.testing.assert_array_equal(loaded.statistics.deviation, run.statistics.deviation)
        saved = written.arrays(moved, name)
        for weight in loaded.model.weights:
            np.testing.assert_array_equal(weight, saved[f"weights/{weight.path}"])
    assert not np.array_equal(Recognizer.load(moved, "best").model.weights[0], loaded.model.weights[0])


def test_the_seed_decides_the_initial_weights_and_changes_no_random_state_of_the_process():
    states = random.getstate(), np.random.get_state()
    one, same, other = (Recognizer("unused", small(f"training.seed={seed}")).model.weights for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])
    assert random.getstate() == states[0]
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), states[1], strict=True))


@pytest.mark.parametrize(("fast", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_auto_precision_depends_on_the_hardware_and_is_recorded(tmp_path, monkeypatch, fast, precision):
    monkeypatch.setattr(hardware, "has_fast_bfloat16", lambda: fast)
    made = Recognizer.create(tmp_path, small("training.precision=auto"))
    assert made.config.training.precision == precision
    made.write()
    monkeypatch.setattr(hardware, "has_fast_bfloat16", lambda: not fast)
    assert json.loads((tmp_path / "experiment.json").read_text())["config"]["training"]["precision"] == precision


def test_a_run_is_used_in_float32_however_it_was_trained(tmp_path):
    chosen = small("training.precision=bfloat16")
    made = Recognizer.create(tmp_path, chosen)
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    kinds = [used.model.front.convolution.compute_dtype for used in (made, Recognizer.load(tmp_path))]
    assert kinds == ["bfloat16", "float32"]


def test_a_missing_checkpoint_is_an_error_that_names_the_other_one(run, tmp_path):
    made = Recognizer.create(tmp_path / "run", small())
    train = f"tfvoice_train --model=wavenet_asr --run={made.run_dir} --data=DIR"
    with pytest.raises(
        TfvoiceError, match=sentence(f"{made.run_dir}: has no checkpoint best yet; train it with {train}.")
    ):
        Recognizer.load(made.run_dir)
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    expected = f"{made.run_dir}: has no checkpoint last yet; use --checkpoint=best, or resume training with {train}."
    with pytest.raises(TfvoiceError, match=sentence(expected)):
        Recognizer.load(made.run_dir, "last")


def test_last_is_used_with_a_warning_before_there_is_a_best(tmp_path, caplog):
    made = Recognizer.create(tmp_path / "run", small())
    for weight in made.model.weights:
        weight.assign(np.random.default_rng(1).uniform(0.1, 0.3, weight.shape))
    checkpoints.save(made.checkpoint("last"), {"weights": made.model.weights}, {})
    loaded = Recognizer.load(made.run_dir)
    assert (loaded.loaded, made.loaded) == ("last", "")
    assert all(np.array_equal(a, b) for a, b in zip(loaded.model.weights, made.model.weights, strict=True))
    assert [record.getMessage() for record in caplog.records] == [
        f"{made.run_dir}: has no checkpoint best before its first validation; last is used"
    ]
    caplog.clear()
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    assert [Recognizer.load(made.run_dir, name).loaded for name in ("best", "last")] == ["best", "last"]
    assert not caplog.records


def test_a_damaged_checkpoint_is_an_error_that_names_the_other_one(run, tmp_path):
    moved = shutil.copytree(run.run_dir, tmp_path / "moved")
    path = moved / "checkpoints" / "best.safetensors"
    path.write_bytes(path.read_bytes()[:-500])
    fact = rf"^{re.escape(str(path))}: this checkpoint is damaged .* There is --checkpoint=last\.$"
    with pytest.raises(TfvoiceError, match=fact):
        Recognizer.load(moved)
    (moved / "checkpoints" / "last.safetensors").unlink()
    with pytest.raises(TfvoiceError, match=r"use another one\.$"):
        Recognizer.load(moved)


def test_a_checkpoint_of_another_network_does_not_fit(run, tmp_path):
    made = Recognizer.create(tmp_path, small("model.width=4"))
    made.checkpoint("best").parent.mkdir()
    shutil.copy(run.checkpoint("best"), made.checkpoint("best"))
    with pytest.raises(TfvoiceError, match=r"does not fit the model .*; it belongs to another run"):
        Recognizer.load(tmp_path)


def test_a_folder_without_a_run_is_an_error(run, tmp_path):
    make = f"make one with tfvoice_train --run={tmp_path}."
    with pytest.raises(
        TfvoiceError, match=sentence(f"{tmp_path}: is not the folder of a run (it has no experiment.json); {make}")
    ):
        Recognizer.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda text: text[:-30], "is damaged ("),
        (lambda text: text.encode().replace(b"wavenet_asr", b"\xff\xfe"), "is damaged ("),
        (lambda text: "[]", "was not written by tfvoice; train the run again."),
        (lambda text: text.replace('"schema": 2', '"schema": 0'), "has schema 0, and this version of tfvoice"),
        (lambda text: text.replace('"width"', '"widht"'), "there is no key model.widht; did you mean width?"),
        (lambda text: text.replace('"stride": 2', '"stride": "two"'), "model.stride: "),
    ],
)  # fmt: skip
def test_a_damaged_description_is_an_error(run, tmp_path, change, fact):
    text = change((run.run_dir / "experiment.json").read_text())
    path = tmp_path / "experiment.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TfvoiceError, match=f"^{re.escape(f'{path}: {fact}')}"):
        Recognizer.open(tmp_path)


def test_a_description_is_json_with_every_default(run):
    content = json.loads((run.run_dir / "experiment.json").read_text())
    assert set(content) == {"schema", "config", "info", "statistics"}
    assert content["config"]["training"]["clip_norm"] == run.config.training.clip_norm


def test_clearing_deletes_the_files_of_a_run_and_nothing_else(run, tmp_path):
    moved = shutil.copytree(run.run_dir, tmp_path / "moved")
    (moved / "checkpoints" / "mine.txt").write_text("mine")
    assert is_run(moved) and not is_run(tmp_path)
    clear(moved)
    left = sorted(str(path.relative_to(moved)) for path in moved.rglob("*") if path.is_file())
    assert left == ["checkpoints/mine.txt", "experiment.json"]


VERSION_0_1_0 = Path(__file__).parent / "data" / "tfvoice_0_1_0"


@pytest.mark.parametrize("name", ["wavenet_asr", "deepspeech2", "sample_rnn"])
def test_runs_of_version_0_1_0_give_the_same_logits(name):
    expected = np.load(VERSION_0_1_0 / name / "expected.npz")
    for checkpoint in ("best", "last"):
        loaded = tasks.load(VERSION_0_1_0 / name, checkpoint)
        if name == "sample_rnn":
            levels = np.random.default_rng(0).integers(0, 16, [2, 24]).astype(np.int32)
            logits = tf.function(lambda levels, model=loaded.model: model(levels)[0])(levels)
        else:
            samples = np.random.default_rng(0).normal(0, 0.1, [2, 4000]).astype(np.float32)
            logits = loaded.logits(samples, np.array([4000, 3000], np.int32)).values
        np.testing.assert_allclose(logits, expected[checkpoint], atol=2e-5)


@pytest.mark.parametrize("name", ["wavenet_asr", "deepspeech2", "sample_rnn"])
def test_runs_of_version_0_1_0_are_resumed_and_saved_in_the_new_format(name, tmp_path):
    run_dir = shutil.copytree(VERSION_0_1_0 / name, tmp_path / "run")
    before = json.loads(np.load(run_dir / "checkpoints" / "last.npz")["state"].tobytes())
    description = json.loads((run_dir / "experiment.json").read_text())
    settings = tasks.of_run(run_dir).run.open(run_dir).config
    stop = StopConditions(max_steps=before["step"] + 1)
    # Indexed at the first use.
    data_dir = shutil.copytree(VERSION_0_1_0 / "records", tmp_path / "records")
    state = tasks.train(run_dir, data_dir, settings, stop)
    assert state.step == before["step"] + 1 and state.validations >= before["validations"]
    assert sorted(path.name for path in (run_dir / "checkpoints").iterdir() if path.stem == "last") == [
        "last.safetensors"
    ]
    assert written.state_of(run_dir)["step"] == state.step
    after = json.loads((run_dir / "experiment.json").read_text())
    newer = {key: after["config"]["training"].pop(key) for key in ("freeze", "decay_steps")}
    assert newer == {"freeze": [], "decay_steps": 0}, "keys that version 0.1.0 did not have"
    assert (description["schema"], after["schema"]) == (1, 2) and after["config"] == description["config"]


def test_a_run_that_was_trained_in_float16_names_the_version_that_can_use_it(run, tmp_path):
    moved = shutil.copytree(run.run_dir, tmp_path / "run")
    text = (moved / "experiment.json").read_text().replace('"schema": 2', '"schema": 1')
    (moved / "experiment.json").write_text(text.replace('"precision": "float32"', '"precision": "float16"'))
    with pytest.raises(TfvoiceError, match=rf"^{re.escape(str(moved))}: was trained in float16, .* version 0.1.0.$"):
        Recognizer.open(moved)
