"""A start from another run: the tensors that a new model takes from it, and the variables that are not trained."""

import fnmatch
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfvoice import checkpoints
from tfvoice.config import ConfigError
from tfvoice.errors import TfvoiceError
from tfvoice.run import Run

_LISTED = 8


class Transfer(NamedTuple):
    """What a model took from a run.

    Attributes:
      taken: paths of the variables whose name and shape fit.
      by_class: paths of the variables that were taken class by class.
      new: paths of the variables that keep their initial values.
      new_classes: labels of the classes that the run does not have, where a variable was taken by class.
    """

    taken: list[str]
    by_class: list[str]
    new: list[str]
    new_classes: list[str]

    def describe(self) -> str:
        """The counts, and the names of what is new, in one sentence."""
        count = len(self.taken) + len(self.by_class)
        parts = [f"{count} of {count + len(self.new)} tensors taken"]
        if self.by_class:
            classes = " ".join(self.new_classes)
            parts.append(f"{', '.join(self.by_class)} by character" + (f" (new: {classes})" if classes else ""))
        if self.new:
            more = f" and {len(self.new) - _LISTED} more" if len(self.new) > _LISTED else ""
            parts.append(f"new: {', '.join(self.new[:_LISTED])}{more}")
        return "; ".join(parts) + "."


def take_weights(run: Run, source: Run) -> Transfer:
    """Assigns the weights of a run to the model of another one, as far as names and shapes fit.

    Where a tensor has an axis of classes (`Run.class_axes`), each class that both runs have is taken by its label, in
    whatever order the classes are; a letter that the source lacks is taken from its other case.

    Args:
      run: whose weights are assigned.
      source: with its weights.

    Raises:
      TfvoiceError: no tensor fits.
    """
    tensors = checkpoints.named(source.model.weights)
    axes, matches = run.class_axes(), _matches(run.class_labels(), source.class_labels())
    result = Transfer([], [], [], [])
    for name, variable in checkpoints.named(run.model.weights).items():
        value = np.asarray(tensors[name]) if name in tensors else np.zeros(0)
        axis = axes.get(name)
        if axis is not None and name in tensors and matches and _fits(variable.shape, value.shape, axis):
            joined = np.moveaxis(np.array(variable), axis, 0)
            joined[list(matches)] = np.moveaxis(value, axis, 0)[list(matches.values())]
            variable.assign(np.moveaxis(joined, 0, axis))
            result.by_class.append(name)
        elif axis is None and value.shape == tuple(variable.shape):
            variable.assign(value)
            result.taken.append(name)
        else:
            result.new.append(name)
    if not result.taken:
        raise TfvoiceError(
            f"{source.run_dir}: no tensor of this run of {source.config.model.name} fits a {run.config.model.name} of "
            "this configuration; leave --model and model.* out to use the architecture of that run."
        )
    if result.by_class:
        result.new_classes.extend(label for number, label in enumerate(run.class_labels()) if number not in matches)
    return result


def freeze(model, patterns: Sequence[str]) -> None:
    """Makes the variables whose paths match one of the patterns untrainable.

    Args:
      model: a built Keras model.
      patterns: as in file names, with `*`, `?` and `[...]`; `*` matches slashes, too. The name of the model at the
        start of a path can be left out.

    Raises:
      ConfigError: a pattern matches no variable, or nothing is left to train.
    """
    for pattern in patterns:
        either = (pattern, f"{model.name}/{pattern}")
        matching = [
            variable for variable in model.weights if any(fnmatch.fnmatchcase(variable.path, whole) for whole in either)
        ]
        if not matching:
            roots = sorted({variable.path.removeprefix(f"{model.name}/").split("/")[0] for variable in model.weights})
            raise ConfigError(
                f"training.freeze={pattern}: no variable has such a path; those of this model begin with "
                f"{', '.join(roots[:_LISTED])}{', ...' if len(roots) > _LISTED else ''}."
            )
        for variable in matching:
            variable.trainable = False
    if not model.trainable_variables:
        raise ConfigError(f"training.freeze={list(patterns)}: nothing is left to train; leave a pattern out.")


def _matches(labels: Sequence[str], known: Sequence[str]) -> dict[int, int]:
    """For each class that the other run has, too, its number there."""
    numbers = {label: number for number, label in enumerate(known)}
    matches = {}
    for number, label in enumerate(labels):
        other = label if label in numbers else label.swapcase()
        if other in numbers:
            matches[number] = numbers[other]
    return matches


def _fits(shape: Sequence[int], other: Sequence[int], axis: int) -> bool:
    """Whether two shapes differ in the axis of the classes at most."""
    return len(shape) == len(other) and all(
        one == two for place, (one, two) in enumerate(zip(shape, other, strict=True)) if place != axis
    )
