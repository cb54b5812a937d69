"""A run as a SavedModel, in one graph that needs TensorFlow and nothing else.

The signatures come from the task of the run; `saved_model_cli show` prints the names of their inputs and outputs.
"""

import re
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from tfvoice.errors import TfvoiceError
from tfvoice.layers import xla
from tfvoice.run import Run
from tfvoice.storage import Place
from tfvoice.training.task import Task

# TensorFlow's name of the folder for files that no graph reads.
EXTRA_ASSETS = "assets.extra"


def check_path(folder: Place) -> None:
    """Raises `TfvoiceError` if TensorFlow cannot load a SavedModel from a folder of this name.

    It takes the path for a pattern, which does not match itself where it has a pair of brackets or a backslash.
    """
    if found := re.search(r"\[.*\]|\\", str(folder)):
        raise TfvoiceError(f"{folder}: TensorFlow cannot load a model from a path with {found[0]}; use another name.")


def write(task: Task, run: Run, folder: Path) -> None:
    """Writes a run as a SavedModel.

    Args:
      task: of the run.
      run: with its weights.
      folder: of the model.
    """
    signatures = task.signatures(run)
    # XLA is not in every server.
    with xla.disabled():
        tf.saved_model.save(module_of(run, signatures), str(folder), signatures)
    task.write_assets(run, folder / EXTRA_ASSETS)


def module_of(run: Run, functions: dict[str, Callable]) -> tf.Module:
    """A module that holds functions and the plain TensorFlow variables that they read."""
    module = tf.Module()
    module.weights = [variable.value for model in run.models for variable in model.variables]
    for name, function in functions.items():
        setattr(module, name, function)
    return module
