"""What a model is for decides how it is made, trained and judged: a table."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tfvoice import experiment, models
from tfvoice.asr import evaluate
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.task import Recognition
from tfvoice.experiment import Experiment
from tfvoice.generation import evaluate as generation_evaluate
from tfvoice.generation.generator import Generator
from tfvoice.generation.task import Generation


class Task(NamedTuple):
    """A kind of model.

    Attributes:
      run: class of its runs.
      training: class of what `training.Trainer` needs.
      evaluate: measures a run: `(run_dir, data_dir, split, checkpoint, decoder, compare)` to a report and the
        path of its page.
      as_text: the report for people: `(report, how many of the worst)`.
    """

    run: type[Experiment]
    training: type[Recognition] | type[Generation]
    evaluate: Callable
    as_text: Callable


TASKS = {
    "recognition": Task(Recognizer, Recognition, evaluate.evaluate_run, evaluate.as_text),
    "generation": Task(Generator, Generation, generation_evaluate.evaluate_run, generation_evaluate.as_text),
}


def of_model(name: str) -> Task:
    """The task of a model; raises `ConfigError` where there is none of that name."""
    return TASKS[models.entry(name).task]


def of_run(run_dir: str | Path) -> Task:
    """The task of a run; raises `TfvoiceError` where the folder is none."""
    name = experiment.model_name(experiment.read_description(run_dir))
    # Where the description is damaged, opening the run says how.
    return of_model(name) if name in models.MODELS else TASKS["recognition"]
