"""Exports a run: as a SavedModel or for TFLite, with what a server needs to know and a model card.

`tfvoice.json` is for servers, `model_card.md` for people. The folder appears under its name only when it is complete.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from tfvoice import storage, tasks
from tfvoice.errors import TfvoiceError
from tfvoice.export import metadata, model_card, onnx, saved_model, tflite
from tfvoice.remote import ObjectPath
from tfvoice.run import Run, local_folder
from tfvoice.storage import Place
from tfvoice.training.task import Task

# Writers of a run into an empty folder.
FORMATS: dict[str, Callable[[Task, Run, Path], None]] = {
    "saved_model": saved_model.write,
    "tflite": tflite.write,
    "onnx": onnx.write,
}
# Causes that TensorFlow names at the end of a message of its internals.
_CAUSES = [
    os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO)
]


def export(
    run_dir: str | Path,
    output: str | Path | ObjectPath,
    checkpoint: str = "best",
    overwrite: bool = False,
    format: str = "saved_model",
) -> Place:
    """Writes a run for use elsewhere.

    Args:
      run_dir: folder of the run, or its URL.
      output: folder of the model, or its URL. Servers want its last part to be a number, the version:
        `models/english/1`.
      checkpoint: `best` or `last`.
      overwrite: replace an exported model that is there.
      format: a key of `FORMATS`.

    Returns:
      The folder.

    Raises:
      TfvoiceError: the folder is no run, the run has no weights or no such format, or `output` is in use or cannot be
        written.
    """
    output = storage.place(output)
    if format == "saved_model":
        saved_model.check_path(output)
    _refuse_other_content(output, overwrite)
    with local_folder(run_dir) as folder:
        _write(folder, output, checkpoint, overwrite, format)
    return output


def _refuse_other_content(output: Place, overwrite: bool) -> None:
    if storage.is_partial(output) or not output.exists():
        return
    if any(output.iterdir() if output.is_dir() else [output]):
        if not overwrite:
            raise TfvoiceError(
                f"{output}: is already there; use the next version's number, or --overwrite to replace it."
            )
        if not (output / metadata.FILE).is_file():
            raise TfvoiceError(f"{output}: holds no exported model, so --overwrite does not replace it; use another.")


def _write(run_dir: str | Path, output: Place, checkpoint: str, overwrite: bool, format: str) -> None:
    task = tasks.of_run(run_dir)
    run = task.run.load(run_dir, checkpoint)
    try:
        with storage.staged_folder(output, overwrite, last=metadata.FILE) as folder:
            FORMATS[format](task, run, folder)
            known = {"model": run.config.model.name, "task": task.name, "checkpoint": run.loaded}
            metadata.write(folder, known | task.describe(run))
            storage.write(folder / "model_card.md", model_card.write(task, run, run.loaded))
    except (OSError, tf.errors.OpError) as error:
        raise TfvoiceError(f"{output}: cannot write the model: {_reason(error)}.") from None


def _reason(error: OSError | tf.errors.OpError) -> str:
    """What the system said, without the temporary files and operations that TensorFlow names before it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(getattr(error, "message", error))
    return next((cause for cause in _CAUSES if cause in text), text)
