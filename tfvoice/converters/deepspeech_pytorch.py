"""Converts PyTorch Lightning checkpoints of deepspeech.pytorch (SeanNaren, version 3) to runs.

The architecture follows from the shapes in the `state_dict`; labels and the spectrogram come from the hyperparameters.
The weights differ in:

- the order of the labels, because the blank is the last class here;
- the two biases of an LSTM or RNN, which are only added to each other, and become one;
- convolution kernels over (frequency, time), which become kernels over (time, frequency);
- the inputs of the first recurrent layer, which are ordered by band and then by channel here;
- the order of the gates of a GRU.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfvoice import checkpoints, config, storage, tasks
from tfvoice.asr.config import RecognizerConfig
from tfvoice.asr.recognizer import Recognizer
from tfvoice.config import ConfigError
from tfvoice.converters import torch_checkpoint
from tfvoice.converters.torch_checkpoint import Inert, Tensor
from tfvoice.errors import TfvoiceError
from tfvoice.run import clear, is_run

_CELLS = {4: "lstm", 3: "gru", 1: "rnn"}
_NORM = ("weight", "bias", "running_mean", "running_var")
# Defaults of deepspeech.pytorch, for keys that the checkpoint does not have.
_SPECTROGRAM = {"sample_rate": 16000, "window_size": 0.02, "window_stride": 0.01}
# Limit of nested wrappers; OmegaConf wraps a value three times.
_MAX_WRAPPERS = 8


def import_run(
    checkpoint: str | Path, run_dir: str | Path, pad_mode: str | None = None, overwrite: bool = False
) -> Recognizer:
    """Converts a checkpoint of deepspeech.pytorch to a run; nothing in the file is executed.

    Args:
      checkpoint: the `.ckpt` file.
      run_dir: folder of the new run.
      pad_mode: librosa's padding of both ends of the audio in training: `reflect` before its version 0.9.0 (February
        2022), `constant` (zeros) since. None: by the age of the PyTorch Lightning that wrote the file.
      overwrite: replace an existing run.

    Raises:
      TfvoiceError: the file is not a checkpoint of deepspeech.pytorch 3, the folder holds a run, or another process
        writes there.
    """
    if not overwrite and is_run(run_dir):
        raise TfvoiceError(f"{run_dir}: already holds a run; use another --run, or --overwrite to replace it.")
    content = torch_checkpoint.read(checkpoint)
    weights = _Weights(checkpoint, content)
    labels, spectrogram = _hyperparameters(checkpoint, content, weights.shape("fc.0.module.1.weight", 2)[0])
    overrides = [f"model.{key}={value}" for key, value in weights.architecture().items()]
    spectrogram["pad_mode"] = pad_mode or _pad_mode(content)
    overrides += [f"features.{key}={value}" for key, value in spectrogram.items()]
    characters = "".join(label for label in labels if label != "_")
    try:
        values = tasks.resolve("deepspeech2", "deepspeech2_faithful", overrides).model_dump()
        values["alphabet"]["characters"] = characters
        settings = config.build(RecognizerConfig, values, "this checkpoint")
    except ConfigError as error:
        raise TfvoiceError(f"{checkpoint}: cannot be used here: {error}") from None
    # Assigned before the folder is touched, so that weights of other shapes leave no files.
    run = Recognizer(
        run_dir, settings, info={"imported": {"from": "deepspeech.pytorch", "checkpoint": str(checkpoint)}}
    )
    _assign(run.model, weights, labels.index("_"))
    weights.check_all_used()
    with storage.locked(run_dir, "command"):
        if overwrite:
            clear(run_dir)
        run.write()
        checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {})
    return run


class _Weights:
    """The `state_dict` of a checkpoint; missing and surplus tensors and other shapes are errors."""

    def __init__(self, path: str | Path, content: Any):
        self._path = path
        state_dict = content.get("state_dict") if isinstance(content, dict) else None
        if not isinstance(state_dict, dict) or not any(isinstance(value, Tensor) for value in state_dict.values()):
            keys = f"a dictionary of {', '.join(map(_kind, content))}" if isinstance(content, dict) else _kind(content)
            raise TfvoiceError(
                f"{path}: is no Lightning checkpoint of deepspeech.pytorch 3: it holds {keys}, no state_dict of "
                "tensors."
            )
        self._unused = {str(name): value for name, value in state_dict.items()}
        self._names = set(self._unused)

    def shape(self, name: str, rank: int) -> tuple[int, ...]:
        """Shape of a tensor that has not been taken yet; it must have so many axes, none of them empty."""
        if name not in self._unused:
            raise TfvoiceError(f"{self._path}: is no checkpoint of deepspeech.pytorch 3: the tensor {name} is missing.")
        tensor = self._unused[name]
        if not isinstance(tensor, Tensor):
            raise TfvoiceError(f"{self._path}: the tensor {name} is {_kind(tensor)}, which cannot be read here.")
        shape = tensor.shape
        if len(shape) != rank or 0 in shape:
            raise TfvoiceError(f"{self._path}: the tensor {name} is {shape} and should have {rank} axes.")
        return shape

    def take(self, name: str, *shape: int) -> np.ndarray:
        """Returns a tensor of a shape as float32, and marks it as used."""
        if (actual := self.shape(name, len(shape))) != shape:
            raise TfvoiceError(f"{self._path}: the tensor {name} is {actual} and should be {shape}.")
        values = self._unused.pop(name).read().astype(np.float32)
        if not np.isfinite(values).all():
            raise TfvoiceError(f"{self._path}: the tensor {name} holds numbers that are not finite.")
        return values

    def architecture(self) -> dict[str, Any]:
        """The architecture of the network, as keys of `Deepspeech2Config`."""
        rows, units = self.shape("rnns.0.rnn.weight_hh_l0", 2)
        cell = _CELLS.get(rows // units if rows % units == 0 else 0)
        if cell is None:
            raise TfvoiceError(f"{self._path}: rnns.0.rnn.weight_hh_l0 is {rows} x {units}: no LSTM, GRU or RNN.")
        layers = sum(name.endswith(".rnn.weight_hh_l0") for name in self._names)
        architecture = {"cell": cell, "units": units, "layers": layers}
        architecture["bidirectional"] = str("rnns.0.rnn.weight_hh_l0_reverse" in self._names).lower()
        architecture["convolution_channels"] = self.shape("conv.seq_module.0.weight", 4)[0]
        if architecture["bidirectional"] == "false":
            architecture["lookahead"] = self.shape("lookahead.0.conv.weight", 3)[-1]
        return architecture

    def check_all_used(self) -> None:
        """Raises where a tensor has not been taken."""
        unused = sorted(name for name in self._unused if not name.endswith(".num_batches_tracked"))
        if unused:
            raise TfvoiceError(f"{self._path}: holds tensors that this network does not have: {', '.join(unused)}.")


def _hyperparameters(path: str | Path, content: dict, classes: int) -> tuple[list[str], dict[str, Any]]:
    """The labels, and the keys of `FeatureConfig` that the checkpoint sets."""
    hyper = _unwrap(content.get("hyper_parameters"))
    hyper = hyper if isinstance(hyper, dict) else {}
    labels = _unwrap(hyper.get("labels"))
    if not isinstance(labels, list | tuple) or len(labels) != classes:
        raise TfvoiceError(f"{path}: its hyper_parameters hold no list of {classes} labels, but {_kind(labels)}.")
    labels = [_unwrap(label) for label in labels]
    if not all(isinstance(label, str) and len(label) == 1 for label in labels):
        raise TfvoiceError(f"{path}: its labels are not single characters: {', '.join(map(_kind, labels))}.")
    if labels.count("_") != 1:
        raise TfvoiceError(f"{path}: one of its labels should be _, the blank; {labels.count('_')} are.")
    spectrogram = _unwrap(hyper.get("spect_cfg"))
    spectrogram = spectrogram if isinstance(spectrogram, dict) else {}
    rate_hz, window, hop = (_number(path, spectrogram, key) for key in _SPECTROGRAM)
    window_name = _unwrap(spectrogram.get("window", "hamming"))
    if not isinstance(window_name, str):
        raise TfvoiceError(f"{path}: its spect_cfg.window is {_kind(window_name)}, no name of a window.")
    numbers = {"sample_rate_hz": round(rate_hz), "window_ms": 1000 * window, "hop_ms": 1000 * hop}
    return labels, numbers | {"fft_size": int(rate_hz * window), "window": window_name.rsplit(".", 1)[-1].lower()}


def _pad_mode(content: dict) -> str:
    """Zeros where PyTorch Lightning is 1.6 (March 2022) or later, so that librosa is likely 0.9.0 or later."""
    found = re.match(r"(\d+)\.(\d+)", str(content.get("pytorch-lightning_version", "")))
    return "constant" if found and (int(found[1]), int(found[2])) >= (1, 6) else "reflect"


def _number(path: str | Path, spectrogram: dict, key: str) -> float:
    value = _unwrap(spectrogram.get(key, _SPECTROGRAM[key]))
    if not isinstance(value, int | float) or not 0 < value < 1e6:
        raise TfvoiceError(f"{path}: its spect_cfg.{key} is {_kind(value)}, no number between 0 and a million.")
    return value


def _unwrap(value: Any) -> Any:
    """The value in wrappers of OmegaConf, an enumeration or a dataclass; values inside it may be wrapped, too."""
    for _ in range(_MAX_WRAPPERS):
        if not isinstance(value, Inert):
            break
        states = value.state if isinstance(value.state, tuple) else [value.state]
        state = {key: item for part in states if isinstance(part, dict) for key, item in part.items()}
        inner = [state[key] for key in ("_content", "_val") if key in state]
        # Of an enumeration: `getattr(Kind, "NAME")`, or `Kind("value")`.
        last = value.arguments[-1] if value.arguments else {}
        value = inner[0] if inner else {**state, **value.items} or last
    return value


def _kind(value: Any) -> str:
    """Short description of a value, for errors."""
    if isinstance(value, str | int | float | bool):
        text = str(value) if isinstance(value, str) else repr(value)
        return text if len(text) < 30 else f"{text[:30]}..."
    if isinstance(value, Sequence):
        return f"a list of {len(value)}"
    return value.name if isinstance(value, Inert) else "nothing" if value is None else f"a {type(value).__name__}"


def _assign(model, weights: _Weights, blank: int) -> None:
    """Assigns the tensors of the checkpoint to a built model."""
    for number, (layer, norm) in enumerate(zip(model.convolutions, model.convolution_norms, strict=True)):
        time, bands, inputs, outputs = layer.kernel.shape
        taps = weights.take(f"conv.seq_module.{3 * number}.weight", outputs, inputs, bands, time)
        layer.kernel.assign(taps.transpose(3, 2, 1, 0))
        layer.bias.assign(weights.take(f"conv.seq_module.{3 * number}.bias", outputs))
        _assign_norm(norm, weights, f"conv.seq_module.{3 * number + 1}")
    channels = model.config.convolution_channels
    for number, recurrent in enumerate(model.recurrents):
        if number:
            _assign_norm(model.recurrent_norms[number - 1], weights, f"rnns.{number}.batch_norm.module")
        for direction, suffix in zip(recurrent.directions, ("l0", "l0_reverse"), strict=False):
            _assign_recurrent(direction, weights, f"rnns.{number}.rnn", suffix, 1 if number else channels)
    if not model.config.bidirectional:
        frames, units = model.look_ahead.kernel.shape
        model.look_ahead.kernel.assign(weights.take("lookahead.0.conv.weight", units, 1, frames)[:, 0].T)
    _assign_norm(model.output_norm, weights, "fc.0.module.0")
    units, classes = model.output_layer.kernel.shape
    order = [*(label for label in range(classes) if label != blank), blank]
    model.output_layer.kernel.assign(weights.take("fc.0.module.1.weight", classes, units)[order].T)


def _assign_norm(norm, weights: _Weights, name: str) -> None:
    for variable, key in zip((norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance), _NORM, strict=True):
        variable.assign(weights.take(f"{name}.{key}", *variable.shape))


def _assign_recurrent(layer, weights: _Weights, name: str, suffix: str, channels: int) -> None:
    cell = layer.inner.cell
    (inputs, rows), units = cell.kernel.shape, layer.units
    order = np.arange(rows)
    if layer.cell == "gru":
        order = np.concatenate([order[units : 2 * units], order[:units], order[2 * units :]])
    kernel = weights.take(f"{name}.weight_ih_{suffix}", rows, inputs)[order].T
    kernel = kernel.reshape(channels, -1, rows).transpose(1, 0, 2).reshape(inputs, rows)
    cell.kernel.assign(kernel)
    cell.recurrent_kernel.assign(weights.take(f"{name}.weight_hh_{suffix}", rows, units)[order].T)
    input_bias, recurrent_bias = (weights.take(f"{name}.bias_{key}_{suffix}", rows)[order] for key in ("ih", "hh"))
    cell.bias.assign(np.stack([input_bias, recurrent_bias]) if layer.cell == "gru" else input_bias + recurrent_bias)
