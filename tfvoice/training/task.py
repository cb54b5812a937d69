"""What the trainer and the commands ask of a task: a kind of model, from its data to its report and its export.

A task is an object that is handed on. Nothing below `tfvoice.tasks` looks one up or asks which one it is.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from tfvoice.errors import TfvoiceError
from tfvoice.run import Run


class Losses(NamedTuple):
    """Scalars: the loss that is logged, and what is minimised."""

    logged: tf.Tensor
    minimised: tf.Tensor


class Objective(Protocol):
    """The forward pass and the loss of a training step.

    Attributes:
      model: a Keras model whose weights are built.
      signature: shapes and types of a batch.
      unit: of the loss, such as "bits per sample".
    """

    model: Any
    signature: Any
    unit: str

    def split(self, batch) -> tuple[tuple[tf.Tensor, ...], tuple[tf.Tensor, ...]]:
        """Inputs and targets of the network, tensors whose rows can be shared among devices."""

    def units(self, batch) -> tf.Tensor:
        """What the loss is a mean over: how many of them the whole batch has, a float scalar."""

    def initial_state(self, batch_size: int) -> list[tf.Tensor]:
        """What is carried into the first step, rows first; empty where nothing is carried."""

    def forward(self, inputs, carried: list[tf.Tensor], seed: tf.Tensor) -> tuple[Any, list[tf.Tensor]]:
        """The network in training; returns its outputs and what is carried into the next step."""

    def losses(self, outputs, targets, units: tf.Tensor) -> Losses:
        """Sums of losses over rows, divided by the units of the whole batch."""


class Validation(NamedTuple):
    """The result of a validation.

    Attributes:
      score: by which the best weights are chosen, the lower the better.
      loss: of the split `valid`.
      rates: further numbers, for `metrics.jsonl` and TensorBoard.
      text: these for the line that is printed; "" for none.
      summaries: writes what else belongs into TensorBoard; takes the epoch.
    """

    score: float
    loss: float
    rates: dict[str, float]
    text: str
    summaries: Callable[[int], None]


class TrainingJob(Protocol):
    """The training of one run.

    Attributes:
      objective: forward pass and loss.
      train_data, valid_data: batches; each has `index` (with `describe()` and `speed`), `steps(epoch)` and
        `batches(epoch, position, epochs)`; a batch has `epoch`, `position` and `samples`, which `speed` counts. The
        first has `share`, the rows that this process needs of each batch; the others may be left empty.
    """

    objective: Objective
    train_data: Any
    valid_data: Any

    def validate(self) -> Validation:
        """Measures the weights as they are on the split `valid`."""


class ModelCard(NamedTuple):
    """What a task adds to a model card.

    Attributes:
      intended_use: a paragraph.
      facts: rows of the table, by name.
    """

    intended_use: str
    facts: dict[str, str]


class Task(Protocol):
    """A kind of model.

    Attributes:
      name: `recognition`, `generation`.
      summary: noun phrase for messages: "a recogniser".
      commands: names of the commands that are for its runs, beside those that are for every run: `tfvoice_sample`.
      run: class of its runs; `run.config_class` is the schema of its configurations, and `run.new(run_dir, settings,
        data_dir, info, source)` makes a run that is to be trained, of which nothing is on disk yet; `source` is the run
        whose weights it starts from, or None. `info` comes from `run.data_info(data_dir)`, by which a resumed run knows
        its data again.
    """

    name: str
    summary: str
    commands: tuple[str, ...]
    run: type[Run]

    def training(self, run: Run, data_dir: str | Path) -> TrainingJob:
        """Data, objective and validation of a run that is made for training."""

    def evaluate(
        self,
        run_dir: str | Path,
        data_dir: str | Path | None,
        split: str,
        checkpoint: str,
        compare: tuple[str, ...],
        decoder: dict[str, Any],
    ) -> tuple[dict[str, Any], Path]:
        """Measures a run on a split and writes `report/eval-<split>.json` and `.html` into it.

        Args:
          run_dir: folder of the run.
          data_dir: folder of the shards; None: the one that the run was trained on.
          split: name of the split.
          checkpoint: `best` or `last`.
          compare: folders of runs to compare with in the page, by their reports of this split.
          decoder: settings of a decoder, by name, as far as the command line gives any.

        Returns:
          The report, and the path of the page.
        """

    def format_report(self, report: dict[str, Any], worst: int) -> str:
        """A report for the terminal, with the `worst` utterances of the most errors."""

    def format_result(self, report: dict[str, Any]) -> str:
        """The result in a report in one line, for a model card; "" where it is no report of this task."""

    def card(self, run: Run) -> ModelCard:
        """What the model card says about a run."""

    def describe(self, run: Run) -> dict[str, Any]:
        """What a server needs to know about an exported run, for `tfvoice.json`."""

    def signatures(self, run: Run) -> dict[str, Callable]:
        """The signatures of a run's SavedModel, `serving_default` among them."""

    def write_assets(self, run: Run, folder: Path) -> None:
        """Writes what an exported run holds beside its SavedModel; `folder` need not exist, and most have nothing."""

    def portable_function(self, run: Run, format: str) -> Callable | None:
        """What an export as `tflite` or `onnx` converts: samples to log probabilities. None where it has no such form.

        For TFLite it is a function of one clip, for ONNX of a padded batch; see `tfvoice.asr.signatures`.
        """


class UndecodedTask:
    """What tasks without a decoder share: an evaluation by a module of their own, and no conversions.

    Attributes:
      no_decoder: a sentence that refuses `--decoder`, after the folder of the run.
      evaluation: imports the module that evaluates runs. Training starts without it.
    """

    no_decoder: str
    evaluation: Callable[[], ModuleType]

    def evaluate(self, run_dir, data_dir, split, checkpoint, compare, decoder) -> tuple[dict[str, Any], Path]:
        """Calls `evaluate_run` of the module."""
        if decoder:
            raise TfvoiceError(f"{run_dir}: {self.no_decoder}")
        return self.evaluation().evaluate_run(run_dir, data_dir, split, checkpoint, compare)

    def format_report(self, report: dict[str, Any], worst: int) -> str:
        """Calls `as_text` of the module."""
        return self.evaluation().as_text(report, worst)

    def format_result(self, report: dict[str, Any]) -> str:
        """Calls `as_line` of the module."""
        return self.evaluation().as_line(report)

    def write_assets(self, run: Run, folder: Path) -> None:
        """There are none."""

    def portable_function(self, run: Run, format: str) -> None:
        """There is none."""
