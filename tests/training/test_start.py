"""Laws of how a training starts: from another run, and as another stage of a finished one; both resume exactly."""

import json
import re
import shutil

import numpy as np
import pytest
from written import arrays, assert_same_run, lines, state_of

from tfvoice import checkpoints, tasks
from tfvoice.data import index
from tfvoice.errors import TfvoiceError
from tfvoice.text import proposal
from tfvoice.training import start, step, trainer
from tfvoice.training.trainer import StopConditions

TINY = (
    "model.width=8", "model.kernel_size=3", "model.dilations=[1,2]", "model.stacks=1", "model.dropout=0.1",
    "features.bins=20", "data.buckets=2", "training.batch_size=4", "training.epochs=2", "training.average=0.9",
    "training.xla=off",
)  # fmt: skip
EXACT = ("step", "epoch", "train_loss", "valid_loss", "wer", "cer")
GROUPS = {"weights", "optimizer", "raw"}
STEPS = 4


def settings(*changes):
    return tasks.resolve("wavenet_asr", overrides=[*TINY, *changes])


def written(run):
    return json.loads((run / "experiment.json").read_text())


@pytest.fixture(scope="module")
def finished(converted, tmp_path_factory):
    """A run of 2 epochs. Read only."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    state = tasks.train(run, converted, settings())
    assert (state.finished, state.step) == ("all", 2 * STEPS)
    return run


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def test_a_new_run_starts_from_the_best_weights_and_the_configuration_of_another(finished, converted, tmp_path, capsys):
    run = tmp_path / "new"
    derived = tasks.resolve(overrides=["training.epochs=1"], run_dir=finished)
    assert derived == settings("training.epochs=1")
    tasks.train(run, converted, derived, StopConditions(max_steps=0), init_from=finished)
    found, expected = arrays(run), arrays(finished, "best")
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
        np.testing.assert_array_equal(found[name.replace("weights/", "raw/")], expected[name])
    count = len(expected)
    assert f"{finished}: {count} of {count} tensors taken; wavenet_asr/output/kernel, " in capsys.readouterr().out
    origin = written(run)["info"]["init_from"]
    assert (origin["run"], origin["corpus"]) == (str(finished.resolve()), "vctk")
    assert origin["transfer"]["new"] == [] and len(origin["transfer"]["taken"]) == count - 2


def test_a_run_that_starts_from_another_can_take_the_letters_of_its_own_data(finished, converted, tmp_path):
    run, auto = tmp_path / "run", ["alphabet.characters=auto"]
    derived = tasks.resolve(None, None, auto, finished)
    tasks.train(run, converted, derived, StopConditions(max_steps=1), init_from=finished)
    letters = proposal.characters_of(index.read_texts(converted, "train"), "converted")
    before = tasks.resolve(run_dir=finished).alphabet.characters
    assert written(run)["config"]["alphabet"]["characters"] == letters and set(letters) < set(before)
    transfer = written(run)["info"]["init_from"]["transfer"]
    assert transfer["by_class"] == ["wavenet_asr/output/kernel", "wavenet_asr/output/bias"]
    assert transfer["new"] == transfer["new_classes"] == []
    # As the command does when it is called again.
    again = tasks.resolve(None, None, auto, run)
    assert tasks.train(run, converted, again, StopConditions(max_steps=2), init_from=finished).step == 2


def test_a_run_that_starts_from_another_resumes_bit_for_bit_without_it(finished, converted, tmp_path):
    source = shutil.copytree(finished, tmp_path / "source")
    changed = settings('alphabet.characters=" esta"')
    for name in ("whole", "stopped"):
        limit = StopConditions(max_steps=0 if name == "stopped" else None)
        tasks.train(tmp_path / name, converted, changed, limit, init_from=source)
    shutil.rmtree(source)
    for limit in (3, None):
        tasks.train(tmp_path / "stopped", converted, changed, StopConditions(max_steps=limit), init_from=source)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole", EXACT, GROUPS)


def test_another_start_is_refused(finished, converted, copied):
    fact = f"holds a run of another configuration: init_from: None -> {finished}. Use another --run"
    with pytest.raises(TfvoiceError, match=re.escape(fact)):
        tasks.train(copied, converted, settings(), init_from=finished)


def test_statistics_of_features_come_with_the_weights(converted, tmp_path):
    corpus = settings("features.normalization=corpus", "training.epochs=1")
    tasks.train(tmp_path / "a", converted, corpus, StopConditions(max_steps=1))
    changed = written(tmp_path / "a")
    changed["statistics"]["mean"] = [value + 1 for value in changed["statistics"]["mean"]]
    (tmp_path / "a" / "experiment.json").write_text(json.dumps(changed))
    shutil.copy(tmp_path / "a/checkpoints/last.safetensors", tmp_path / "a/checkpoints/best.safetensors")
    for name, config in (("b", corpus), ("c", settings("features.normalization=corpus", "features.low_hz=30"))):
        tasks.train(tmp_path / name, converted, config, StopConditions(max_steps=0), init_from=tmp_path / "a")
    assert written(tmp_path / "b")["statistics"] == changed["statistics"]
    assert written(tmp_path / "c")["statistics"] != changed["statistics"], "other features"


def test_a_finished_run_is_extended_by_a_schedule_of_its_own(copied, converted, monkeypatch):
    rates, update = [], step.Learner.update
    monkeypatch.setattr(step.Learner, "update", lambda self, *args: (rates.append(args[2]), update(self, *args)))
    assert start.extended_epochs(copied, 3) == 5
    longer = tasks.resolve(overrides=["training.epochs=5", "training.learning_rate=5e-4"], run_dir=copied)
    state = tasks.train(copied, converted, longer)
    schedule = settings("training.epochs=3", "training.learning_rate=5e-4").training
    assert rates == [trainer.learning_rate(number, 3 * STEPS, schedule) for number in range(3 * STEPS)]
    assert (state.finished, state.epoch, state.step, state.stage) == ("all", 5, 5 * STEPS, 1)
    assert [line["epoch"] for line in lines(copied)] == [1, 2, 3, 4, 5]
    earlier = {"data": str(converted), "corpus": "vctk"}
    assert written(copied)["info"]["stages"] == [{"from_epoch": 2, "new_data": False, "earlier": earlier}]
    assert start.extended_epochs(copied, 3) == 8


def test_an_extension_resumes_bit_for_bit(finished, converted, tmp_path):
    for name, limits in (("whole", [None]), ("stopped", [2 * STEPS, 2 * STEPS + 3, None])):
        run = shutil.copytree(finished, tmp_path / name)
        for limit in limits:
            tasks.train(run, converted, settings("training.epochs=4"), StopConditions(max_steps=limit))
    assert_same_run(tmp_path / "stopped", tmp_path / "whole", EXACT, GROUPS)


def test_other_data_are_a_new_stage_whose_best_result_counts_alone(copied, converted, tmp_path):
    other = shutil.copytree(converted, tmp_path / "other")
    with open(other / "manifest.json", "a") as file:
        file.write("\n")
    state_before = state_of(copied)
    state = tasks.train(copied, other, settings("training.epochs=3"))
    info = written(copied)["info"]
    assert (info["data"], info["stages"][0]["new_data"]) == (str(other), True)
    assert info["stages"][0]["earlier"]["data"] == str(converted)
    assert state.best_validation > state_before["validations"]


@pytest.mark.parametrize(
    "change", ["training.optimizer=sgd", "model.width=9", "training.batch_size=2", "data.buckets=3"]
)
def test_an_extension_changes_nothing_that_shapes_the_network_or_the_data(copied, converted, change):
    with pytest.raises(TfvoiceError, match=f"another configuration: .*{change.split('=')[0]}"):
        tasks.train(copied, converted, settings("training.epochs=3", change))


def test_a_run_that_has_not_finished_is_not_extended(converted, tmp_path):
    run = tmp_path / "run"
    tasks.train(run, converted, settings(), StopConditions(max_steps=1))
    sentence = (
        f"{run}: has not finished, after 0 of 2 epochs; the command that started it, without --epochs=+N, resumes it."
    )
    with pytest.raises(TfvoiceError, match=f"^{re.escape(sentence)}$"):
        start.extended_epochs(run, 2)
    with pytest.raises(TfvoiceError, match=r"another configuration: training\.epochs: 2 -> 4"):
        tasks.train(run, converted, settings("training.epochs=4"))


def test_an_extension_that_has_not_finished_is_resumed_by_the_same_number(copied, converted):
    tasks.train(copied, converted, settings("training.epochs=4"), StopConditions(max_steps=2 * STEPS + 1))
    assert start.extended_epochs(copied, 2) == 4
    fact = f"{copied}: has not finished, after 2 of 4 epochs; --epochs=+2 resumes it."
    with pytest.raises(TfvoiceError, match=f"^{re.escape(fact)}$"):
        start.extended_epochs(copied, 3)


def test_an_imported_run_is_not_extended_but_started_from(recognizer_run, tmp_path):
    run = shutil.copytree(recognizer_run.run_dir, tmp_path / "run")
    (run / "checkpoints" / "last.safetensors").unlink()
    with pytest.raises(TfvoiceError, match=re.escape(f"start a run from it with --init_from={run} and another --run.")):
        start.extended_epochs(run, 2)
    checkpoints.restore(run / "checkpoints" / "best.safetensors", {})
