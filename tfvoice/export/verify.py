"""What conversions share: the function that they convert, and the check that the model gives its probabilities."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfvoice.errors import TfvoiceError
from tfvoice.run import Run
from tfvoice.training.task import Task

# Recordings, float32 `[samples]` each, to their log probabilities, `[frames, classes]` each.
Recognise = Callable[[list[np.ndarray]], list[np.ndarray]]

# Two lengths, so that a model that takes batches gets padding.
_PROBE_SAMPLES = (32000, 20000)


def portable_function(task: Task, run: Run, format: str) -> Callable:
    """What is converted; raises `TfvoiceError` where a run has no form of that name."""
    function = task.portable_function(run, format)
    if function is None:
        raise TfvoiceError(
            f"--format={format}: {run.config.model.name}, the model of {run.run_dir}, has no such form; use "
            "--format=saved_model."
        )
    return function


def write(path: Path, model: bytes, run: Run, network: Recognise, converted: Recognise, tolerance: float) -> None:
    """Compares a converted model with the network on noise, and writes it.

    Args:
      path: file of the model.
      model: its content.
      run: that it was made of.
      network: of the run.
      converted: the model.
      tolerance: largest difference of a probability.

    Raises:
      TfvoiceError: the model gives other probabilities, or another number of frames.
    """
    random = np.random.default_rng(0)
    recordings = [random.normal(0, 0.1, samples).astype(np.float32) for samples in _PROBE_SAMPLES]
    pairs = zip(converted(recordings), network(recordings), strict=True)
    # NumPy's maximum of NaN is NaN, Python's is not.
    difference = np.max([_difference(found, expected) for found, expected in pairs])
    if not difference < tolerance:
        raise TfvoiceError(
            f"{run.run_dir}: {path.name} differs from the network by {difference:.2f} of a probability, and was not "
            "written; export a SavedModel."
        )
    path.write_bytes(model)


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Of the probabilities of a recording; 1 where the frames are not as many."""
    if found.shape != expected.shape:
        return 1.0
    return float(np.abs(np.exp(found) - np.exp(expected)).max())
