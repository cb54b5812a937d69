"""Recognisers that others have trained, as runs.

deepspeech.pytorch (SeanNaren, version 3, PyTorch Lightning checkpoints). What its file says about the network is read
from the shapes of the weights; labels and the spectrogram from its hyperparameters. To the same weights here:

- labels are put in another order, because blank is the last class here;
- the two biases of an LSTM or RNN, which are only ever added, become one;
- kernels over (frequency, time) become kernels over (time, frequency);
- the first recurrent layer takes its inputs band by band, not channel by channel;
- the gates of a GRU change places.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfvoice import config, experiment
from tfvoice.asr.recognizer import Recognizer
from tfvoice.config import ConfigError
from tfvoice.converters import torch_checkpoint
from tfvoice.converters.torch_checkpoint import Inert, Tensor
from tfvoice.errors import TfvoiceError
from tfvoice.experiment import RecognizerConfig
from tfvoice.training import checkpoints

_CELLS = {4: "lstm", 3: "gru", 1: "rnn"}
_NORM = ("weight", "bias", "running_mean", "running_var")
# What deepspeech.pytorch uses where the checkpoint does not say.
_SPECTROGRAM = {"sample_rate": 16000, "window_size": 0.02, "window_stride": 0.01}
# OmegaConf wraps a value three times.
_WRAPPINGS = 8


def import_run(
    checkpoint: str | Path, run_dir: str | Path, pad_mode: str = "reflect", overwrite: bool = False
) -> Recognizer:
    """Makes a run of a checkpoint of deepspeech.pytorch; nothing in the file is executed.

    Args:
      checkpoint: the `.ckpt` file.
      run_dir: folder of the new run.
      pad_mode: what librosa put beyond both ends of the audio when the network was trained: `reflect` until its
        version 0.9, `constant` since 0.10.
      overwrite: replace a run that is there.

    Raises:
      TfvoiceError: the file is not one that is understood, or the folder holds a run.
    """
    if not overwrite and experiment.is_run(run_dir):
        raise TfvoiceError(f"{run_dir}: holds a run already; use another --run, or --overwrite to replace it.")
    content = torch_checkpoint.read(checkpoint, ("deepspeech_pytorch",))
    weights = _Weights(checkpoint, content)
    labels, spectrogram = _hyperparameters(checkpoint, content, weights.shape("fc.0.module.1.weight", 2)[0])
    overrides = [f"model.{key}={value}" for key, value in weights.form().items()]
    overrides += [f"features.{key}={value}" for key, value in {**spectrogram, "pad_mode": pad_mode}.items()]
    characters = "".join(label for label in labels if label != "_")
    try:
        values = experiment.resolve("deepspeech2", "deepspeech2_faithful", overrides).model_dump()
        values["alphabet"]["characters"] = characters
        settings = config.build(RecognizerConfig, values, "this checkpoint")
    except ConfigError as error:
        raise TfvoiceError(f"{checkpoint}: cannot be used here: {error}") from None
    # Built before the folder is touched: weights that do not fit leave nothing behind.
    made = Recognizer(
        run_dir, settings, info={"imported": {"from": "deepspeech.pytorch", "checkpoint": str(checkpoint)}}
    )
    _assign(made.model, weights, labels.index("_"))
    weights.check_all_used()
    if overwrite:
        experiment.clear(run_dir)
    made.write()
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    return made


class _Weights:
    """The tensors of a checkpoint by name; what is missing, has another shape or is left over is told."""

    def __init__(self, path: str | Path, content: Any):
        self._path = path
        found = content.get("state_dict") if isinstance(content, dict) else None
        if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
            held = f"a dictionary of {', '.join(map(_kind, content))}" if isinstance(content, dict) else _kind(content)
            raise TfvoiceError(
                f"{path}: is no Lightning checkpoint of deepspeech.pytorch 3: it holds {held}, no state_dict of "
                "tensors."
            )
        self._left = {str(name): value for name, value in found.items()}
        self._names = set(self._left)

    def shape(self, name: str, rank: int) -> tuple[int, ...]:
        """Shape of a tensor that has not been taken yet, which must have so many axes, none of them empty."""
        if name not in self._left:
            raise TfvoiceError(f"{self._path}: is no checkpoint of deepspeech.pytorch 3: the tensor {name} is missing.")
        found = self._left[name].shape
        if len(found) != rank or 0 in found:
            raise TfvoiceError(f"{self._path}: the tensor {name} is {found} and should have {rank} axes.")
        return found

    def take(self, name: str, *shape: int) -> np.ndarray:
        """Returns a tensor of the wanted shape, as float32."""
        if (found := self.shape(name, len(shape))) != shape:
            raise TfvoiceError(f"{self._path}: the tensor {name} is {found} and should be {shape}.")
        values = self._left.pop(name).read().astype(np.float32)
        if not np.isfinite(values).all():
            raise TfvoiceError(f"{self._path}: the tensor {name} holds numbers that are not finite.")
        return values

    def form(self) -> dict[str, Any]:
        """The form of the network, as keys of `Deepspeech2Config`."""
        rows, units = self.shape("rnns.0.rnn.weight_hh_l0", 2)
        cell = _CELLS.get(rows // units if rows % units == 0 else 0)
        if cell is None:
            raise TfvoiceError(f"{self._path}: rnns.0.rnn.weight_hh_l0 is {rows} x {units}: no LSTM, GRU or RNN.")
        layers = sum(name.endswith(".rnn.weight_hh_l0") for name in self._names)
        form = {"cell": cell, "units": units, "layers": layers}
        form["bidirectional"] = str("rnns.0.rnn.weight_hh_l0_reverse" in self._names).lower()
        form["convolution_channels"] = self.shape("conv.seq_module.0.weight", 4)[0]
        if form["bidirectional"] == "false":
            form["lookahead"] = self.shape("lookahead.0.conv.weight", 3)[-1]
        return form

    def check_all_used(self) -> None:
        """Refuses what has tensors that have no place here."""
        left = sorted(name for name in self._left if not name.endswith(".num_batches_tracked"))
        if left:
            raise TfvoiceError(f"{self._path}: holds tensors that this network has no place for: {', '.join(left)}.")


def _hyperparameters(path: str | Path, content: dict, classes: int) -> tuple[list[str], dict[str, Any]]:
    """Labels, and the keys of `FeatureConfig` that the checkpoint decides."""
    found = _unwrapped(content.get("hyper_parameters"))
    found = found if isinstance(found, dict) else {}
    labels = _unwrapped(found.get("labels"))
    if not isinstance(labels, list | tuple) or len(labels) != classes:
        raise TfvoiceError(f"{path}: its hyper_parameters hold no list of {classes} labels, but {_kind(labels)}.")
    labels = [_unwrapped(label) for label in labels]
    if not all(isinstance(label, str) and len(label) == 1 for label in labels):
        raise TfvoiceError(f"{path}: its labels are not single characters: {', '.join(map(_kind, labels))}.")
    if labels.count("_") != 1:
        raise TfvoiceError(f"{path}: one of its labels should be _, the blank; {labels.count('_')} are.")
    spectrogram = _unwrapped(found.get("spect_cfg"))
    spectrogram = spectrogram if isinstance(spectrogram, dict) else {}
    rate_hz, window, hop = (_number(path, spectrogram, key) for key in _SPECTROGRAM)
    kind = _unwrapped(spectrogram.get("window", "hamming"))
    if not isinstance(kind, str):
        raise TfvoiceError(f"{path}: its spect_cfg.window is {_kind(kind)}, no name of a window.")
    numbers = {"sample_rate_hz": round(rate_hz), "window_ms": 1000 * window, "hop_ms": 1000 * hop}
    return labels, numbers | {"fft_size": int(rate_hz * window), "window": kind.rsplit(".", 1)[-1].lower()}


def _number(path: str | Path, spectrogram: dict, key: str) -> float:
    found = _unwrapped(spectrogram.get(key, _SPECTROGRAM[key]))
    if not isinstance(found, int | float) or not 0 < found < 1e6:
        raise TfvoiceError(f"{path}: its spect_cfg.{key} is {_kind(found)}, no number between 0 and a million.")
    return found


def _unwrapped(held: Any) -> Any:
    """What OmegaConf, an enumeration or a dataclass wrapped; what that holds may be wrapped again."""
    for _ in range(_WRAPPINGS):
        if not isinstance(held, Inert):
            break
        states = held.state if isinstance(held.state, tuple) else [held.state]
        state = {key: value for part in states if isinstance(part, dict) for key, value in part.items()}
        inner = [state[key] for key in ("_content", "_val") if key in state]
        # Of an enumeration: `getattr(Kind, "NAME")`, or `Kind("value")`.
        last = held.arguments[-1] if held.arguments else {}
        held = inner[0] if inner else {**state, **held.items} or last
    return held


def _kind(value: Any) -> str:
    """What something is, in a few words."""
    if isinstance(value, str | int | float | bool):
        text = str(value) if isinstance(value, str) else repr(value)
        return text if len(text) < 30 else f"{text[:30]}..."
    if isinstance(value, Sequence):
        return f"a list of {len(value)}"
    return value.name if isinstance(value, Inert) else "nothing" if value is None else f"a {type(value).__name__}"


def _assign(model, weights: _Weights, blank: int) -> None:
    """Gives a built model the tensors of the checkpoint."""
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
        for direction, end in zip(recurrent.directions, ("l0", "l0_reverse"), strict=False):
            _assign_recurrent(direction, weights, f"rnns.{number}.rnn", end, 1 if number else channels)
    if not model.config.bidirectional:
        frames, units = model.look_ahead.kernel.shape
        model.look_ahead.kernel.assign(weights.take("lookahead.0.conv.weight", units, 1, frames)[:, 0].T)
    _assign_norm(model.output_norm, weights, "fc.0.module.0")
    units, classes = model.output_layer.kernel.shape
    order = [*(label for label in range(classes) if label != blank), blank]
    model.output_layer.kernel.assign(weights.take("fc.0.module.1.weight", classes, units)[order].T)


def _assign_norm(norm, weights: _Weights, name: str) -> None:
    for ours, theirs in zip((norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance), _NORM, strict=True):
        ours.assign(weights.take(f"{name}.{theirs}", *ours.shape))


def _assign_recurrent(layer, weights: _Weights, name: str, end: str, channels: int) -> None:
    cell = layer.inner.cell
    (inputs, rows), units = cell.kernel.shape, layer.units
    order = np.arange(rows)
    if layer.cell == "gru":
        order = np.concatenate([order[units : 2 * units], order[:units], order[2 * units :]])
    kernel = weights.take(f"{name}.weight_ih_{end}", rows, inputs)[order].T
    kernel = kernel.reshape(channels, -1, rows).transpose(1, 0, 2).reshape(inputs, rows)
    cell.kernel.assign(kernel)
    cell.recurrent_kernel.assign(weights.take(f"{name}.weight_hh_{end}", rows, units)[order].T)
    into, own = (weights.take(f"{name}.bias_{which}_{end}", rows)[order] for which in ("ih", "hh"))
    cell.bias.assign(np.stack([into, own]) if layer.cell == "gru" else into + own)
