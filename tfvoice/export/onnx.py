"""A run of a recogniser as an ONNX model: padded batches of samples to log probabilities, with standard operations.

tf2onnx converts the graph. What it cannot convert is replaced here: the Fourier transform becomes a product with a
matrix, `log1p` a sum and a logarithm, and TensorFlow's symmetric `SAME` padding explicit pads, since ONNX Runtime
rejects `SAME` with a dilation. So is what it gets wrong: it divides negative integers towards zero. Decoding is left to
the caller, as for TFLite.
"""

import contextlib
import importlib.util
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tfvoice.errors import TfvoiceError
from tfvoice.export import verify
from tfvoice.run import Run
from tfvoice.training.task import Task

FILE = "model.onnx"
# Opset 17 is in ONNX Runtime since 1.12 (2022); nothing here needs a later one.
_OPSET = 17
# Largest difference of a probability between the network and the converted model.
_TOLERANCE = 0.01
# `onnx.TensorProto.INT64`.
_INT64 = 7


def write(task: Task, run: Run, folder: Path) -> None:
    """Writes `model.onnx` and compares it with the network.

    Args:
      task: of the run.
      run: with its weights.
      folder: exists.

    Raises:
      TfvoiceError: the extra is not installed, the model has no form for ONNX, or the converted model gives other
        log probabilities.
    """
    function = verify.portable_function(task, run, "onnx")
    for name in ("tf2onnx", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            raise TfvoiceError(f"--format=onnx needs {name}; install it with pip install 'tfvoice[onnx]'.")
    model = convert(function)

    def network(recordings: list[np.ndarray]) -> list[np.ndarray]:
        return _rows({name: value.numpy() for name, value in function(*_batch(recordings)).items()})

    def converted(recordings: list[np.ndarray]) -> list[np.ndarray]:
        return _rows(log_probabilities(model, *_batch(recordings)))

    verify.write(folder / FILE, model, run, network, converted, _TOLERANCE)


def convert(function) -> bytes:
    """Makes an ONNX model of a `tf.function` from `Task.portable_function`."""
    import tf2onnx

    handlers = {
        "RFFT": (_keep, []),
        "Real": (_transform, ["MatMul", np.cos]),
        "Imag": (_transform, ["MatMul", np.sin]),
        "Log1p": (_log1p, ["Log"]),
        "FloorMod": (_keep, ["Mod"]),
        "FloorDiv": (_floor_divide, ["Div"]),
        "SparseToDense": (_scatter, ["ScatterND"]),
    }
    with _quiet():
        model, _ = tf2onnx.convert.from_function(
            function, function.input_signature, opset=_OPSET, custom_op_handlers=handlers
        )
    _pad_explicitly(model.graph)
    return model.SerializeToString()


def log_probabilities(model: bytes, waveform: np.ndarray, samples: np.ndarray) -> dict[str, np.ndarray]:
    """What ONNX Runtime gives for float32 `[batch, samples]` and int32 `[batch]`, by the names of the outputs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"waveform": waveform, "samples": samples})
    return dict(zip((output.name for output in session.get_outputs()), outputs, strict=True))


def _batch(recordings: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Recordings as `[batch, samples]`, padded with zeros, and their lengths."""
    lengths = np.array([len(samples) for samples in recordings], np.int32)
    waveform = np.zeros([len(recordings), max(lengths)], np.float32)
    for row, samples in zip(waveform, recordings, strict=True):
        row[: len(samples)] = samples
    return waveform, lengths


def _rows(outputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The log probabilities of each row, without padding."""
    return [values[:count] for values, count in zip(outputs["log_probs"], outputs["frames"], strict=True)]


# Handlers of tf2onnx: they change a node in place.


def _keep(graph, node, name, arguments) -> None:
    """Changes the type alone, or nothing of a node that loses its consumers and is then removed."""


def _transform(graph, node, name, arguments) -> None:
    """The real or the imaginary part of a Fourier transform: a product with a matrix.

    The sign of the imaginary part is lost, and no feature depends on it. Frames longer than the transform are cut, as
    by TensorFlow: those rows of the matrix are 0.
    """
    transform = node.inputs[0]
    size = int(transform.inputs[1].get_tensor_value(as_list=True)[0])
    # Reduced modulo the size, so that the angles of large products are exact.
    turns = np.outer(np.arange(size), np.arange(size // 2 + 1)) % size / size
    rows = graph.get_shape(transform.input[0])[-1]
    weights = np.pad(arguments[0](2 * np.pi * turns), [(0, max(0, rows - size)), (0, 0)])[:rows]
    matrix = graph.make_const(f"{name}_matrix", weights.astype(np.float32))
    graph.replace_inputs(node, [transform.input[0], matrix.output[0]])


def _log1p(graph, node, name, arguments) -> None:
    one = graph.make_const(f"{name}_one", np.float32(1))
    total = graph.make_node("Add", [node.input[0], one.output[0]])
    graph.replace_inputs(node, [total.output[0]])


def _floor_divide(graph, node, name, arguments) -> None:
    """Division of integers, which ONNX rounds towards 0, without the remainder, which has the sign of the divisor."""
    value, divisor = node.input
    remainder = graph.make_node("Mod", [value, divisor])
    whole = graph.make_node("Sub", [value, remainder.output[0]])
    graph.replace_inputs(node, [whole.output[0], divisor])


def _scatter(graph, node, name, arguments) -> None:
    """Values at their positions in a vector of zeros; tf2onnx's own form has 32-bit indices, which ONNX lacks."""
    indices, shape, values, _ = node.input
    shape, indices = (graph.make_node("Cast", [index], attr={"to": _INT64}).output[0] for index in (shape, indices))
    zeros = graph.make_node("ConstantOfShape", [shape])
    axis = graph.make_const(f"{name}_axis", np.array([-1], np.int64))
    indices = graph.make_node("Unsqueeze", [indices, axis.output[0]])
    graph.replace_inputs(node, [zeros.output[0], indices.output[0], values])
    del node.attr["validate_indices"]


def _pad_explicitly(graph) -> None:
    """Replaces `SAME` padding, which at stride 1 and with an odd kernel is symmetric."""
    from onnx import helper

    for node in graph.node:
        values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.op_type == "Conv" and values.get("auto_pad", b"").startswith(b"SAME"):
            assert set(values["strides"]) == {1} and all(size % 2 for size in values["kernel_shape"])
            reach = [
                dilation * (size - 1) // 2
                for dilation, size in zip(values["dilations"], values["kernel_shape"], strict=True)
            ]
            kept = [attribute for attribute in node.attribute if attribute.name != "auto_pad"]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute("pads", reach * 2)])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """tf2onnx logs each of its passes, and warns of operations that its handlers here replace."""
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
