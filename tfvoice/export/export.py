"""A run leaves: as a SavedModel or for TFLite, with what a server needs to know and what people should.

`tfvoice.json` is for servers, `model_card.md` for people. The folder appears under its name only when it is complete.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfvoice import tasks
from tfvoice.asr.recognizer import Recognizer
from tfvoice.errors import TfvoiceError
from tfvoice.experiment import Experiment
from tfvoice.export import model_card, saved_model, tflite
from tfvoice.serving.predictor import DESCRIPTION

# What writes a run into a folder that is there.
FORMATS: dict[str, Callable[[Experiment, Path], None]] = {"saved_model": saved_model.write, "tflite": tflite.write}


def export(
    run_dir: str | Path,
    output: str | Path,
    checkpoint: str = "best",
    overwrite: bool = False,
    kind: str = "saved_model",
) -> Path:
    """Writes a run for use elsewhere.

    Args:
      run_dir: folder of the run.
      output: folder of the model. Servers want its last part to be a number, the version: `models/english/1`.
      checkpoint: `best` or `last`.
      overwrite: replace what is there.
      kind: in `FORMATS`.

    Returns:
      The folder.

    Raises:
      TfvoiceError: the run has no weights, is no run, or is none for this kind, or the folder is in use.
    """
    output = Path(output)
    if output.exists() and any(output.iterdir() if output.is_dir() else [output]):
        if not overwrite:
            raise TfvoiceError(
                f"{output}: is already there; use the next version's number, or --overwrite to replace it."
            )
        if not (output / DESCRIPTION).is_file():
            raise TfvoiceError(f"{output}: holds no exported model, so --overwrite does not replace it; use another.")
    run = tasks.of_run(run_dir).run.load(run_dir, checkpoint)
    partial, old = (output.with_name(f".{output.name}.{os.getpid()}.{kind}") for kind in ("partial", "old"))
    try:
        partial.mkdir(parents=True)
        FORMATS[kind](run, partial)
        text = json.dumps(describe(run, checkpoint), indent=2, ensure_ascii=False) + "\n"
        (partial / DESCRIPTION).write_text(text, encoding="utf-8")
        (partial / "model_card.md").write_text(model_card.write(run, checkpoint), encoding="utf-8")
        if overwrite and output.exists():
            os.replace(output, old)
        os.replace(partial, output)
    except (OSError, tf.errors.OpError) as error:
        if old.exists() and not output.exists():
            os.replace(old, output)
        reason = error.message if isinstance(error, tf.errors.OpError) else error.strerror or error
        raise TfvoiceError(f"{output}: cannot write the model: {reason}.") from None
    finally:
        for folder in (partial, old):
            shutil.rmtree(folder, ignore_errors=True)
    return output


def describe(run: Experiment, checkpoint: str) -> dict[str, Any]:
    """What a server needs to know about a model."""
    content: dict[str, Any] = {"schema": 1, "model": run.config.model.name, "task": run.task, "checkpoint": checkpoint}
    if isinstance(run, Recognizer):
        return content | {
            "sample_rate_hz": run.config.features.sample_rate_hz,
            "max_seconds": run.config.data.max_seconds,
            "seconds_per_frame": run.seconds_per_frame(),
            "characters": run.alphabet.characters,
        }
    return content | {"sample_rate_hz": run.sample_rate_hz, "levels": run.config.quantization.levels}
