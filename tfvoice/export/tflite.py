"""WaveNet ASR for TFLite: samples to log probabilities, with built-in operations only.

The text is for the caller to read: the best class of each frame, runs merged, blanks (the last class) dropped.
"""

import contextlib
import importlib.util
import io
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfvoice.asr.recognizer import Recognizer
from tfvoice.audio import features
from tfvoice.errors import TfvoiceError
from tfvoice.experiment import Experiment
from tfvoice.export import saved_model

# Of a probability, between the network and what was converted, on noise.
_MOST_APART = 0.05
_PROBE_SECONDS = 2.0


def write(run: Experiment, folder: Path) -> None:
    """Writes `model_float16.tflite` and, where ai-edge-quantizer is installed, `model_int8.tflite`, and tries them.

    Args:
      run: with its weights.
      folder: is there.

    Raises:
      TfvoiceError: the model is none that TFLite can run, or what was converted reads otherwise.
    """
    if run.config.model.name != "wavenet_asr":
        raise TfvoiceError(f"--format=tflite: is for wavenet_asr, and {run.run_dir} is {run.config.model.name}.")
    samples = np.random.default_rng(0).normal(0, 0.1, round(_PROBE_SECONDS * run.config.features.sample_rate_hz))
    samples = samples.astype(np.float32)
    wanted = tf.nn.softmax(run.logits(samples[np.newaxis], [len(samples)]).values[0]).numpy()
    models = {"float16": convert(run, float16=True)}
    if importlib.util.find_spec("ai_edge_quantizer"):
        models["int8"] = with_weights_of_8_bits(convert(run))
    for kind, model in models.items():
        apart = float(np.abs(np.exp(log_probabilities(model, samples)) - wanted).max())
        if not apart < _MOST_APART:
            raise TfvoiceError(
                f"{run.run_dir}: its TFLite model in {kind} differs from the network by {apart:.2f} of a probability, "
                "and was not written; export a SavedModel."
            )
        (folder / f"model_{kind}.tflite").write_bytes(model)


def convert(run: Recognizer, float16: bool = False) -> bytes:
    """Makes a TFLite model.

    Args:
      run: with its weights.
      float16: whether weights have 16 bits, not 32.

    Returns:
      A model with the input `waveform`, float32 `[1, samples]` of any length at the run's rate, and the output
      `log_probs`, float32 `[1, frames, classes]`.
    """

    @tf.function(input_signature=[tf.TensorSpec([1, None], tf.float32, name="waveform")])
    def read(waveform):
        inputs = features.compute(run.config.features, waveform, tf.shape(waveform)[1:], run.statistics)
        return {"log_probs": tf.nn.log_softmax(run.network(inputs.values, inputs.lengths).values)}

    module = saved_model.holding(run, {"read": read})
    converter = tf.lite.TFLiteConverter.from_concrete_functions([read.get_concrete_function()], module)
    if float16:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def with_weights_of_8_bits(model: bytes) -> bytes:
    """The same model with weights of 8 bits, a scale for each output channel; it still calculates in float32.

    TensorFlow's own converter rounds what is multiplied by them to 8 bits as well, which the features do not survive.
    """
    from ai_edge_quantizer import quantizer, recipe

    # Its progress is nothing to look at.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        chosen = quantizer.Quantizer(bytearray(model))
        chosen.load_quantization_recipe(recipe.weight_only_wi8_afp32())
        return bytes(chosen.quantize().quantized_model)


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
