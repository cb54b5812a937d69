"""A run for TFLite: samples to log probabilities, with built-in operations only.

Decoding is left to the caller: the best class of each frame, runs merged, blanks (the last class) dropped.
"""

import contextlib
import functools
import importlib.util
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfvoice.export import saved_model, verify
from tfvoice.run import Run
from tfvoice.training.task import Task

# Largest difference of a probability between the network and the converted model.
_TOLERANCE = 0.05


def write(task: Task, run: Run, folder: Path) -> None:
    """Writes `model_float16.tflite` and, where ai-edge-quantizer is installed, `model_int8.tflite`, and checks them.

    Args:
      task: of the run.
      run: with its weights.
      folder: exists.

    Raises:
      TfvoiceError: the model has no form for TFLite, or the converted model gives other probabilities.
    """
    function = verify.portable_function(task, run, "tflite")
    models = {"float16": convert(run, function, float16=True)}
    if importlib.util.find_spec("ai_edge_quantizer"):
        models["int8"] = with_int8_weights(convert(run, function))

    def network(recordings: list[np.ndarray]) -> list[np.ndarray]:
        return [function(samples[np.newaxis])["log_probs"][0].numpy() for samples in recordings]

    for kind, model in models.items():
        converted = functools.partial(_recognise, model)
        verify.write(folder / f"model_{kind}.tflite", model, run, network, converted, _TOLERANCE)


def convert(run: Run, function: Callable, float16: bool = False) -> bytes:
    """Makes a TFLite model.

    Args:
      run: with its weights.
      function: from `Task.portable_function`: `waveform`, float32 `[1, samples]` of any length at the run's rate, to
        `log_probs`, float32 `[1, frames, classes]`.
      float16: whether weights have 16 bits, not 32.
    """
    module = saved_model.module_of(run, {"log_probs": function})
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)
    if float16:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def with_int8_weights(model: bytes) -> bytes:
    """The same model with 8-bit weights, a scale for each output channel; activations stay float32.

    TensorFlow's own converter rounds activations to 8 bits as well, which the features do not survive.
    """
    from ai_edge_quantizer import quantizer, recipe

    # It prints progress.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        chosen = quantizer.Quantizer(bytearray(model))
        chosen.load_quantization_recipe(recipe.weight_only_wi8_afp32())
        return bytes(chosen.quantize().quantized_model)


def _recognise(model: bytes, recordings: list[np.ndarray]) -> list[np.ndarray]:
    return [log_probabilities(model, samples) for samples in recordings]


def log_probabilities(model: bytes, samples: np.ndarray) -> np.ndarray:
    """What TFLite's interpreter gives for float32 `[samples]`: `[frames, classes]`."""
    with warnings.catch_warnings():
        # That it will move into a package of its own.
        warnings.simplefilter("ignore")
        interpreter = tf.lite.Interpreter(model_content=model)
    place = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(place, [1, len(samples)])
    interpreter.allocate_tensors()
    interpreter.set_tensor(place, samples[np.newaxis])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
