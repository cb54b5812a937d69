"""A task is an object: a third kind, which the library does not know, is trained, resumed, evaluated and exported.

The toy predicts the level of a clip from its peak. It is added to the table of tasks and to nothing else.
"""

import functools
import json
from typing import Literal, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from written import assert_same_run

from tfvoice import tasks
from tfvoice.cli import eval as eval_
from tfvoice.cli import export, sample, texts, train, transcribe, tune_lm
from tfvoice.config import Config
from tfvoice.data import index, shards
from tfvoice.report import evaluation, html
from tfvoice.run import Run, RunConfig
from tfvoice.training.config import TrainingConfig
from tfvoice.training.task import Losses, ModelCard, Validation


class ToyModelConfig(Config):
    name: Literal["toy"] = "toy"
    units: int = 3


class ToyConfig(RunConfig):
    model: ToyModelConfig = ToyModelConfig()
    training: TrainingConfig = TrainingConfig(epochs=2, batch_size=4, average=0.0)


class ToyRun(Run):
    config_class = ToyConfig

    def __init__(self, run_dir, config, info=None, training=False):
        super().__init__(run_dir, config, info, training)

    @classmethod
    def new(cls, run_dir, config, data_dir, info, source=None):
        return cls(run_dir, config, info, training=True)

    def _build(self, precision):
        layers = [keras.layers.Dense(self.config.model.units, "tanh", name="hidden"), keras.layers.Dense(1, name="out")]
        model = keras.Sequential([keras.Input([1]), *layers], name="toy")
        return model


class ToyBatch(NamedTuple):
    peaks: tf.Tensor
    levels: tf.Tensor
    epoch: tf.Tensor
    position: tf.Tensor
    samples: tf.Tensor


class ToyData:
    def __init__(self, data_dir, split, batch_size, seed):
        self.index = index.scan_clips(shards.read_manifest(data_dir), data_dir, split, 1)
        self.batch_size, self.seed = batch_size, seed
        audio = [self.index.audio(row) for row in range(len(self.index))]
        self.peaks = np.array([[np.abs(samples).max()] for samples in audio], np.float32)
        self.levels = np.array([[np.sqrt(np.mean(samples**2))] for samples in audio], np.float32)

    def steps(self, epoch=0):
        return -(-len(self.index) // self.batch_size)

    def batches(self, epoch=0, position=0, epochs=None):
        for current in range(epoch, epoch + (epochs or 1)):
            order = np.random.default_rng((self.seed, current)).permutation(len(self.index))
            for number in range(position if current == epoch else 0, self.steps()):
                rows = order[number * self.batch_size :][: self.batch_size]
                samples = np.int64(self.index.samples[rows].sum())
                yield ToyBatch(self.peaks[rows], self.levels[rows], np.int64(current), np.int64(number), samples)


class ToyObjective:
    unit = "squared error"

    def __init__(self, model):
        self.model = model
        column, scalar = tf.TensorSpec([None, 1], tf.float32), tf.TensorSpec([], tf.int64)
        self.signature = ToyBatch(column, column, scalar, scalar, scalar)

    def split(self, batch):
        return (batch.peaks,), (batch.levels,)

    def units(self, batch):
        return tf.cast(tf.shape(batch.peaks)[0], tf.float32)

    def initial_state(self, batch_size):
        return []

    def forward(self, inputs, carried, seed):
        return self.model(inputs[0], training=True), []

    def losses(self, outputs, targets, units):
        loss = tf.reduce_sum(tf.square(outputs - targets[0])) / units
        return Losses(loss, loss)


class ToyTraining:
    def __init__(self, run, data_dir):
        settings = run.config.training
        self.objective = ToyObjective(run.model)
        self.train_data, self.valid_data = (
            ToyData(data_dir, split, settings.batch_size, settings.seed) for split in ("train", "valid")
        )

    def validate(self):
        error = error_of(self.objective.model, self.valid_data)
        return Validation(error, error, {"mae": error}, f"MAE {error:.3f}", lambda epoch: None)


def error_of(model, data):
    return float(np.mean(np.abs(model(data.peaks) - data.levels)))


class ToyTask:
    name = "levels"
    summary = "a model of levels"
    commands = ()
    run = ToyRun

    def training(self, run, data_dir):
        return ToyTraining(run, data_dir)

    def evaluate(self, run_dir, data_dir, split, checkpoint, compare, decoder):
        def row(run):
            return {"mae": run.report["mae"]}

        def write_page(report, compared):
            runs = html.comparison([html.this_run(run, report), *compared], row)
            return html.write(run, "report.html", report, {"tiles": [], "runs": runs[:1], "curves": ""}, "")

        def measure(data_dir, split):
            data = ToyData(data_dir, split, 4, 0)
            content = {"mae": error_of(run.model, data), "results": [{"id": name} for name in data.index.ids]}
            return evaluation.Measured(content, write_page)

        run = ToyRun.load(run_dir, checkpoint)
        return evaluation.evaluate(run, data_dir, split, compare, "mae", row, measure)

    def format_report(self, report, worst):
        return f"MAE {report['mae']:.3f}"

    def format_result(self, report):
        return f"MAE {report['mae']:.3f}"

    def card(self, run):
        return ModelCard("A toy.", {"units": str(run.config.model.units)})

    def describe(self, run):
        return {"units": run.config.model.units}

    def write_assets(self, run, folder):
        pass

    def signatures(self, run):
        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="peak")])
        def level(peak):
            return {"level": run.model(peak)}

        return {"serving_default": level}


@pytest.fixture(scope="module", autouse=True)
def toy():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tasks.TASKS, "toy", ToyTask)
        yield


@pytest.fixture(scope="module")
def trained(toy, converted, tmp_path_factory):
    """The folder of a run that was trained without an interruption."""
    run_dir = tmp_path_factory.mktemp("runs") / "toy"
    assert tasks.train(run_dir, converted, tasks.resolve("toy")).finished == "all"
    return run_dir


@pytest.fixture
def command(in_process):
    """Runs a command; returns exit status, standard output and standard error."""
    return lambda module, name, *arguments: functools.partial(in_process, module.main, name)(*arguments)


def test_it_is_trained_and_resumed_bit_for_bit(command, trained, converted, tmp_path):
    arguments = ("--model=toy", f"--data={converted}", f"--run={tmp_path}/run")
    status, out, _ = command(train, "tfvoice_train", *arguments, "--max_steps=3")
    assert status == 0 and "Stopped at the limit, after step 3" in out and "MAE" not in out.splitlines()[-1]
    status, out, _ = command(train, "tfvoice_train", *arguments)
    assert status == 0 and "MAE" in out
    assert_same_run(tmp_path / "run", trained, ("step", "epoch", "valid_loss", "mae"), {"weights", "optimizer"})


def test_it_is_evaluated(command, trained):
    status, out, _ = command(eval_, "tfvoice_eval", f"--run={trained}", "--split=test")
    path = trained / "report" / "eval-test.html"
    error = json.loads(path.with_suffix(".json").read_text())["mae"]
    assert status == 0 and out.endswith(f"MAE {error:.3f}\n\nWritten to {path}\n")
    assert "toy: test" in path.read_text()


def test_it_is_exported_with_a_card(command, trained, tmp_path):
    assert command(export, "tfvoice_export", f"--run={trained}", f"--output={tmp_path}/1")[0] == 0
    model = tf.saved_model.load(str(tmp_path / "1"))
    level = model.signatures["serving_default"](peak=tf.constant([[0.5]]))["level"]
    np.testing.assert_allclose(level, ToyRun.load(trained).model(np.array([[0.5]], np.float32)), rtol=1e-6)
    card = (tmp_path / "1" / "model_card.md").read_text()
    assert "A toy." in card and "| units | 3 |" in card
    known = json.loads((tmp_path / "1" / "tfvoice.json").read_text())
    assert (known["task"], known["model"], known["units"]) == ("levels", "toy", 3)


@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [
        (transcribe, "tfvoice_transcribe", ["a.wav"]),
        (texts, "tfvoice_text", []),
        (tune_lm, "tfvoice_tune_lm", ["--lm=a.arpa"]),
        (sample, "tfvoice_sample", ["--output={tmp}/samples"]),
    ],
)
def test_commands_that_are_not_for_it_refuse_it(command, trained, tmp_path, module, name, arguments):
    status, out, err = command(module, name, f"--run={trained}", *(text.format(tmp=tmp_path) for text in arguments))
    sentence = f"{trained}: is a run of toy, a model of levels; tfvoice_eval is for it, {name} is not."
    assert (status, out, err) == (1, "", f"{name}: error: {sentence}\n")


def test_the_server_refuses_its_export(trained, tmp_path):
    app = pytest.importorskip("tfvoice.serving.predictor")
    from tfvoice.errors import TfvoiceError
    from tfvoice.export.export import export as export_run

    export_run(trained, tmp_path / "1")
    with pytest.raises(TfvoiceError, match="waveform"):
        app.Predictor(tmp_path)
