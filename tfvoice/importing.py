"""Recognisers that others have trained, as runs.

deepspeech.pytorch (SeanNaren, version 3, PyTorch Lightning checkpoints). What its file says about the network is read
from the shapes of the weights; labels and the spectrogram from its hyperparameters. To the same weights here:

- labels are put in another order, because blank is the last class here;
- the two biases of an LSTM or RNN, which are only ever added, become one;
- kernels over (frequency, time) become kernels over (time, frequency);
- the first recurrent layer takes its inputs band by band, not channel by channel;
- the gates of a GRU change places.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tfvoice import checkpoints, config, experiment, torch_file
from tfvoice.config import ConfigError
from tfvoice.errors import TfvoiceError
from tfvoice.experiment import Experiment, ExperimentConfig
from tfvoice.torch_file import Inert

SOURCES = ("deepspeech.pytorch",)

_CELLS = {4: "lstm", 3: "gru", 1: "rnn"}
_NORM = ("weight", "bias", "running_mean", "running_var")


def import_run(
    checkpoint: str | Path, run_dir: str | Path, pad_mode: str = "reflect", overwrite: bool = False
) -> Experiment:
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
    if experiment.is_run(run_dir) and not overwrite:
        raise TfvoiceError(f"{run_dir}: holds a run already; use another --run, or --overwrite to replace it.")
    content = torch_file.read(checkpoint, ("deepspeech_pytorch",))
    weights = _Weights(checkpoint, content)
    labels, spectrogram = _hyperparameters(checkpoint, content, weights.shape("fc.0.module.1.weight")[0])
    overrides = [f"model.{key}={value}" for key, value in weights.form().items()]
    overrides += [f"features.{key}={value}" for key, value in {**spectrogram, "pad_mode": pad_mode}.items()]
    characters = "".join(label for label in labels if label != "_")
    try:
        values = experiment.resolve("deepspeech2", "deepspeech2_faithful", overrides).model_dump()
        values["alphabet"]["characters"] = characters
        settings = config.build(ExperimentConfig, values, "this checkpoint")
    except ConfigError as error:
        raise TfvoiceError(f"{checkpoint}: cannot be used here: {error}") from None
    # Built before the folder is touched: weights that do not fit leave nothing behind.
    made = Experiment(run_dir, settings, info={"imported": {"from": SOURCES[0], "checkpoint": str(checkpoint)}})
    _assign(made.model, weights, labels.index("_"))
    weights.check_all_used()
    if overwrite:
        experiment.clear(run_dir)
        shutil.rmtree(Path(run_dir) / "report", ignore_errors=True)
    made.write()
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    return made


class _Weights:
    """The tensors of a checkpoint by name; what is missing, has another shape or is left over is told."""

    def __init__(self, path: str | Path, content: Any):
        self._path = path
        found = content.get("state_dict") if isinstance(content, dict) else None
        if not isinstance(found, dict) or not all(isinstance(value, np.ndarray) for value in found.values()):
            held = f"a dictionary of {', '.join(map(str, content))}" if isinstance(content, dict) else _kind(content)
            raise TfvoiceError(
                f"{path}: is no Lightning checkpoint of deepspeech.pytorch 3: it holds {held}, no state_dict of "
                "tensors."
            )
        self._left = dict(found)
        self._names = set(found)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor that has not been taken yet."""
        if name not in self._left:
            raise TfvoiceError(f"{self._path}: is no checkpoint of deepspeech.pytorch 3: the tensor {name} is missing.")
        return self._left[name].shape

    def take(self, name: str, *shape: int) -> np.ndarray:
        """Returns a tensor of the wanted shape, as float32."""
        if self.shape(name) != shape:
            raise TfvoiceError(f"{self._path}: the tensor {name} is {self.shape(name)} and should be {shape}.")
        found = self._left.pop(name).astype(np.float32)
        if not np.isfinite(found).all():
            raise TfvoiceError(f"{self._path}: the tensor {name} holds numbers that are not finite.")
        return found

    def form(self) -> dict[str, Any]:
        """The form of the network, as keys of `Deepspeech2Config`."""
        rows, units = self.shape("rnns.0.rnn.weight_hh_l0")
        cell = _CELLS.get(rows // units if rows % units == 0 else 0)
        if cell is None:
            raise TfvoiceError(f"{self._path}: rnns.0.rnn.weight_hh_l0 is {rows} x {units}: no LSTM, GRU or RNN.")
        layers = sum(name.endswith(".rnn.weight_hh_l0") for name in self._names)
        form = {"cell": cell, "units": units, "layers": layers}
        form["bidirectional"] = str("rnns.0.rnn.weight_hh_l0_reverse" in self._names).lower()
        form["convolution_channels"] = self.shape("conv.seq_module.0.weight")[0]
        if form["bidirectional"] == "false":
            form["lookahead"] = self.shape("lookahead.0.conv.weight")[-1]
        return form

    def check_all_used(self) -> None:
        """Refuses what has tensors that have no place here."""
        left = sorted(name for name in self._left if not name.endswith(".num_batches_tracked"))
        if left:
            raise TfvoiceError(f"{self._path}: holds tensors that this network has no place for: {', '.join(left)}.")


def _hyperparameters(path: str | Path, content: dict, classes: int) -> tuple[list[str], dict[str, Any]]:
    """Labels, and the keys of `FeatureConfig` that the checkpoint decides."""
    found = _value(content.get("hyper_parameters"))
    labels = found.get("labels") if isinstance(found, dict) else None
    if not isinstance(labels, list) or len(labels) != classes or labels.count("_") != 1:
        raise TfvoiceError(
            f"{path}: its hyper_parameters hold no list of {classes} labels with one _ among them, but {_kind(labels)}."
        )
    if not all(isinstance(label, str) and len(label) == 1 for label in labels):
        raise TfvoiceError(f"{path}: its labels are not single characters: {', '.join(map(str, labels))}.")
    spectrogram = found.get("spect_cfg")
    spectrogram = spectrogram if isinstance(spectrogram, dict) else {}
    rate_hz, window, hop = (
        spectrogram.get(key, usual)
        for key, usual in (("sample_rate", 16000), ("window_size", 0.02), ("window_stride", 0.01))
    )
    kind = str(spectrogram.get("window", "hamming")).rsplit(".", 1)[-1]
    numbers = {"sample_rate_hz": rate_hz, "window_ms": 1000 * window, "hop_ms": 1000 * hop}
    return labels, numbers | {"fft_size": int(rate_hz * window), "window": kind}


def _value(held: Any) -> Any:
    """The plain value of what OmegaConf, an enumeration or a dataclass wrapped."""
    if isinstance(held, dict):
        return {key: _value(value) for key, value in held.items()}
    if isinstance(held, list | tuple):
        return [_value(value) for value in held]
    if not isinstance(held, Inert):
        return held
    state = held.state[0] or held.state[1] if isinstance(held.state, tuple) else held.state
    for key in ("_content", "_val"):
        if key in state:
            return _value(state[key])
    if state or held.items:
        return {key: _value(value) for key, value in {**state, **held.items}.items()}
    return _value(held.arguments[-1]) if held.arguments else {}


def _kind(value: Any) -> str:
    if isinstance(value, list):
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
