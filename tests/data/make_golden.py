"""Writes the golden arrays of tests/data/golden: networks in PyTorch, their weights, outputs and gradients.

  pip install torch==2.13.0
  python tests/data/make_golden.py

The tests compare with the files, so that they need no PyTorch. Everything here is small: together at most 300 kB.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from tfvoice.audio import io

DATA = Path(__file__).parent
GOLDEN = DATA / "golden"
CELLS = {"lstm": (nn.LSTM, 4), "gru": (nn.GRU, 3), "rnn": (nn.RNN, 1)}

# Of `recurrent` and `deepspeech2`.
UNITS, CHANNELS, LENGTHS = 4, 3, [7, 4, 1, 0]
LAYERS, FILTERS, BANDS, CLASSES, LOOKAHEAD = 3, 2, 81, 7, 5
KERNELS, STRIDES, CEILING, EPSILON = ((11, 41), (11, 21)), ((2, 2), (1, 2)), 20.0, 1e-5
FORMS = {
    "lstm": {},
    "gru": {"cell": "gru"},
    "rnn": {"cell": "rnn"},
    "unidirectional": {"bidirectional": False},
    "2017": {"padded_convolutions": False, "recurrent_bias": False},
}
# Of `checkpoints`: deepspeech.pytorch 3 has 161 bands and 29 labels.
LABELS = list("_'ABCDEFGHIJKLMNOPQRSTUVWXYZ ")
SAMPLES = slice(6000, 14000)


def main() -> None:
    """Writes all files."""
    GOLDEN.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN / "recurrent.npz", **recurrent())
    np.savez_compressed(GOLDEN / "deepspeech2.npz", **deepspeech2())
    checkpoints()
    containers()
    for path in sorted(GOLDEN.iterdir()):
        print(f"{path.stat().st_size:7d} {path.name}")


def random_values(random: np.random.Generator, *shape: int) -> np.ndarray:
    """Normal numbers of variance 1 / fan-in, rounded to multiples of 1/64, which compress well."""
    values = random.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))
    return (np.round(64 * values) / 64).astype(np.float32)


def short(values: np.ndarray) -> np.ndarray:
    """Rounds float32 to 12 bits of mantissa, which compress well: a relative error of at most 2^-13."""
    bits = np.ascontiguousarray(values).view(np.int32)
    return ((bits + (1 << 10)) & ~((1 << 11) - 1)).view(np.float32)


def packed(name: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays as one flat array and their paths: each array of a file costs 300 bytes."""
    values = np.concatenate([value.ravel() for value in arrays.values()])
    return {name: values, f"{name}/paths": np.array(list(arrays))}


def gate_order(cell: str, units: int) -> np.ndarray:
    """PyTorch's rows in the order of Keras's: the gates of a GRU are r, z, n in PyTorch and z, r, n in Keras."""
    order = np.arange(CELLS[cell][1] * units)
    return np.concatenate([order[units : 2 * units], order[:units], order[2 * units :]]) if cell == "gru" else order


def set_recurrent(module: nn.Module, end: str, cell: str, kernel, recurrent_kernel, bias=None) -> None:
    """Gives a PyTorch layer weights in the layout of Keras: `[inputs, gates]`, and one bias or, for a GRU, two."""
    order = gate_order(cell, recurrent_kernel.shape[0])
    values = {f"weight_ih_{end}": kernel.T, f"weight_hh_{end}": recurrent_kernel.T}
    if bias is not None:
        biases = bias if cell == "gru" else np.stack([bias, np.zeros_like(bias)])
        values |= {f"bias_ih_{end}": biases[0], f"bias_hh_{end}": biases[1]}
    for name, value in values.items():
        getattr(module, name).data = torch.tensor(value[order].copy())


def recurrent() -> dict[str, np.ndarray]:
    """Each cell in each direction: weights in the layout of Keras, and the outputs of each sequence alone."""
    random = np.random.default_rng(0)
    inputs = random_values(random, len(LENGTHS), max(LENGTHS), CHANNELS)
    arrays = {"inputs": inputs, "lengths": np.array(LENGTHS, np.int32)}
    for cell, (kind, gates) in CELLS.items():
        for direction in ("forward", "backward"):
            bias_shape = (2, gates * UNITS) if cell == "gru" else (gates * UNITS,)
            weights = {
                "kernel": random_values(random, CHANNELS, gates * UNITS),
                "recurrent_kernel": random_values(random, UNITS, gates * UNITS),
                "bias": random_values(random, *bias_shape),
            }
            layer = kind(CHANNELS, UNITS, batch_first=True)
            set_recurrent(layer, "l0", cell, *weights.values())
            outputs = np.zeros([len(LENGTHS), max(LENGTHS), UNITS], np.float32)
            for row, length in enumerate(LENGTHS):
                step = -1 if direction == "backward" else 1
                if length:
                    sequence = torch.tensor(inputs[row : row + 1, :length][:, ::step].copy())
                    outputs[row, :length] = layer(sequence)[0].detach().numpy()[0, ::step]
            arrays |= {f"{cell}_{direction}/{name}": value for name, value in {**weights, "outputs": outputs}.items()}
    return arrays


class DeepSpeech2:
    """The network of deepspeech.pytorch, from its description.

    Args:
      random: source of the weights.
      options: `cell`, `bidirectional`, `padded_convolutions` and `recurrent_bias` of `Deepspeech2Config`.

    Attributes:
      weights: in the layout of tfvoice, by the path of the variable.
      parameters: by path, a parameter of PyTorch and the function that brings its gradient into that layout.
    """

    def __init__(self, random, cell="lstm", bidirectional=True, padded_convolutions=True, recurrent_bias=True):
        self.random, self.cell, self.bidirectional = random, cell, bidirectional
        self.padded, self.recurrent_bias = padded_convolutions, recurrent_bias
        self.weights, self.parameters = {}, {}
        self.convolutions, bands = [], BANDS
        for number, (kernel, strides) in enumerate(zip(KERNELS, STRIDES, strict=True)):
            self.convolutions.append(self._convolution(number, kernel, strides))
            bands = (bands + (2 * (kernel[1] // 2) if self.padded else 0) - kernel[1]) // strides[1] + 1
        self.convolution_norms = [self._norm(f"convolution_norm_{n}", nn.BatchNorm2d, FILTERS) for n in range(2)]
        self.recurrents = [self._recurrent(n, UNITS if n else bands * FILTERS) for n in range(LAYERS)]
        self.recurrent_norms = [self._norm(f"recurrent_norm_{n}", nn.BatchNorm1d, UNITS) for n in range(1, LAYERS)]
        self.output_norm = self._norm("output_norm", nn.BatchNorm1d, UNITS)
        self.output = self._plain("output/kernel", UNITS, CLASSES)
        if not bidirectional:
            self.lookahead = self._plain("lookahead/kernel", LOOKAHEAD, UNITS)

    def _new(self, path: str, *shape: int) -> np.ndarray:
        self.weights[path] = random_values(self.random, *shape)
        return self.weights[path]

    def _plain(self, path: str, *shape: int) -> torch.Tensor:
        parameter = torch.tensor(self._new(path, *shape)).requires_grad_()
        self.parameters[path] = parameter, lambda gradient: gradient
        return parameter

    def _convolution(self, number: int, kernel, strides) -> nn.Module:
        name, inputs = f"convolution_{number}", FILTERS if number else 1
        values, bias = self._new(f"{name}/kernel", *kernel, inputs, FILTERS), self._new(f"{name}/bias", FILTERS)
        padding = [size // 2 for size in kernel[::-1]] if self.padded else 0
        module = nn.Conv2d(inputs, FILTERS, kernel[::-1], strides[::-1], padding)
        module.weight.data, module.bias.data = torch.tensor(values.transpose(3, 2, 1, 0).copy()), torch.tensor(bias)
        self.parameters[f"{name}/kernel"] = module.weight, lambda gradient: gradient.transpose(3, 2, 1, 0)
        self.parameters[f"{name}/bias"] = module.bias, lambda gradient: gradient
        return module

    def _norm(self, name: str, kind, channels: int) -> nn.Module:
        module = kind(channels, eps=EPSILON)
        gamma, beta, mean, variance = (
            self._new(f"{name}/{key}", channels) for key in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        gamma[:], variance[:] = np.abs(gamma) + 0.5, np.abs(variance) + 0.5
        module.weight.data, module.bias.data = torch.tensor(gamma), torch.tensor(beta)
        module.running_mean, module.running_var = torch.tensor(mean), torch.tensor(variance)
        self.parameters[f"{name}/gamma"] = module.weight, lambda gradient: gradient
        self.parameters[f"{name}/beta"] = module.bias, lambda gradient: gradient
        return module

    def _recurrent(self, number: int, inputs: int) -> nn.Module:
        kind, gates = CELLS[self.cell]
        module = kind(inputs, UNITS, bias=self.recurrent_bias, bidirectional=self.bidirectional)
        inner = {"lstm": "lstm_cell", "gru": "gru_cell", "rnn": "simple_rnn_cell"}[self.cell]
        back = np.argsort(gate_order(self.cell, UNITS))
        # tfvoice flattens channels within bands, PyTorch bands within channels.
        rows = np.arange(inputs) if number else np.arange(inputs).reshape(-1, FILTERS).T.ravel()
        unflatten = np.argsort(rows)
        for direction, end in (("forward", "l0"), ("backward", "l0_reverse"))[: 1 + self.bidirectional]:
            path = f"recurrent_{number}/{direction}/inner/{inner}"
            kernel = self._new(f"{path}/kernel", inputs, gates * UNITS)
            recurrent_kernel = self._new(f"{path}/recurrent_kernel", UNITS, gates * UNITS)
            bias = None
            if self.recurrent_bias:
                bias = self._new(f"{path}/bias", *([2] if self.cell == "gru" else []), gates * UNITS)
            set_recurrent(module, end, self.cell, kernel[rows], recurrent_kernel, bias)
            self.parameters[f"{path}/kernel"] = (
                getattr(module, f"weight_ih_{end}"),
                lambda gradient: gradient[back].T[unflatten],
            )
            self.parameters[f"{path}/recurrent_kernel"] = (
                getattr(module, f"weight_hh_{end}"),
                lambda gradient: gradient[back].T,
            )
        return module

    def __call__(self, features: np.ndarray, lengths: list[int], training: bool = False) -> torch.Tensor:
        """A padded batch `[batch, frames, bands]` to logits `[batch, frames / 2, classes]`."""
        for norm in (*self.convolution_norms, *self.recurrent_norms, self.output_norm):
            norm.train(training)
        frames = torch.tensor(lengths)
        first = last = (frames + 1) // 2
        if not self.padded:
            first = (frames - KERNELS[0][0]) // 2 + 1
            last = first - (KERNELS[1][0] - 1)
        x = torch.tensor(features).transpose(1, 2)[:, None]
        for convolution, norm, left in zip(self.convolutions, self.convolution_norms, (first, last), strict=True):
            x = convolution(x)
            padding = (torch.arange(x.shape[3]) >= left[:, None])[:, None, None]
            x = norm(x.masked_fill(padding, 0)).masked_fill(padding, 0)
            x = x.clamp(0, CEILING).masked_fill(padding, 0)
        x = x.flatten(1, 2).permute(2, 0, 1)
        for number, layer in enumerate(self.recurrents):
            if number:
                x = self.recurrent_norms[number - 1](x.flatten(0, 1)).view(x.shape)
            packed = nn.utils.rnn.pack_padded_sequence(x, last, enforce_sorted=False)
            x, _ = nn.utils.rnn.pad_packed_sequence(layer(packed)[0], total_length=len(x))
            if self.bidirectional:
                x = x.view(*x.shape[:2], 2, -1).sum(2)
        if not self.bidirectional:
            padded = nn.functional.pad(x.permute(1, 2, 0), (0, LOOKAHEAD - 1))
            x = nn.functional.conv1d(padded, self.lookahead.T[:, None], groups=UNITS)
            x = x.clamp(0, CEILING).permute(2, 0, 1)
        x = self.output_norm(x.flatten(0, 1)).view(x.shape)
        return (x @ self.output).transpose(0, 1)


def deepspeech2() -> dict[str, np.ndarray]:
    """Each form: weights, logits in inference of single utterances and of a batch, and gradients in training.

    The gradients are those of the sum of the logits times `upstream`, within each length.
    """
    random = np.random.default_rng(1)
    lengths = [61, 48, 40]
    features = (np.round(8 * random.standard_normal([3, 61, BANDS])) / 8).astype(np.float32)
    features *= (np.arange(61) < np.array(lengths)[:, None])[:, :, None]
    upstream = random_values(random, 3, 31, CLASSES)
    arrays = {"features": features, "lengths": np.array(lengths, np.int32), "upstream": upstream}
    for form, options in FORMS.items():
        network = DeepSpeech2(random, **options)
        with torch.no_grad():
            arrays[f"{form}/logits_60"] = network(features[:1, :60], [60]).numpy()
            arrays[f"{form}/logits_61"] = network(features[:1], [61]).numpy()
            arrays[f"{form}/logits_batch"] = network(features, lengths).numpy()
        logits = network(features, lengths, training=True)
        frames = logits.shape[1]
        left = (np.array(lengths) + 1) // 2 if network.padded else (np.array(lengths) - 11) // 2 - 9
        valid = (np.arange(frames) < left[:, None])[:, :, None]
        (logits * torch.tensor(upstream[:, :frames] * valid)).sum().backward()
        gradients = {
            path: short(layout(parameter.grad.numpy())) for path, (parameter, layout) in network.parameters.items()
        }
        arrays |= packed(f"{form}/weights", network.weights) | packed(f"{form}/gradients", gradients)
    return arrays


def checkpoints() -> None:
    """Checkpoints of deepspeech.pytorch 3 as PyTorch saves them, and the logits of half a second of speech."""
    path = sorted((DATA / "asterisk").rglob("*.opus"))[0]
    samples = np.round(2**15 * io.read(path, 16000)[SAMPLES]).astype(np.int16)
    arrays = {"samples": samples}
    spectrogram = {"sample_rate": 16000, "window_size": 0.02, "window_stride": 0.01, "window": "hamming"}
    hyper_parameters = {"labels": LABELS, "precision": 32, "spect_cfg": spectrogram}
    forms = {"lstm": ("lstm", True), "gru": ("gru", True), "rnn": ("rnn", True), "unidirectional": ("lstm", False)}
    torch.manual_seed(0)
    for form, (cell, bidirectional) in forms.items():
        network = original(cell, bidirectional)
        content = {"epoch": 11, "pytorch-lightning_version": "1.1.2", "state_dict": network.state_dict()}
        content |= {"hyper_parameters": hyper_parameters, "optimizer_states": [{"state": torch.ones(3)}]}
        torch.save(content, GOLDEN / f"deepspeech_pytorch_{form}.ckpt")
        with torch.inference_mode():
            arrays[f"{form}/logits"] = original_logits(network, samples / np.float32(2**15), bidirectional).numpy()
    np.savez_compressed(GOLDEN / "deepspeech_pytorch.npz", **arrays)


def named(**children: nn.Module) -> nn.Module:
    """A module with these children."""
    module = nn.Module()
    for name, child in children.items():
        module.add_module(name, child)
    return module


def original(
    cell: str, bidirectional: bool, units: int = 3, filters: int = 2, layers: int = 2, classes: int = len(LABELS)
) -> nn.Module:
    """Modules with the names of those of deepspeech.pytorch, random weights and moving statistics."""
    first, second = (
        [nn.Conv2d(1, filters, (41, 11), (2, 2), (20, 5)), nn.BatchNorm2d(filters), nn.Hardtanh(0, 20)],
        [nn.Conv2d(filters, filters, (21, 11), (2, 1), (10, 5)), nn.BatchNorm2d(filters), nn.Hardtanh(0, 20)],
    )
    recurrent_layers = []
    for number in range(layers):
        layer = CELLS[cell][0](units if number else 41 * filters, units, bidirectional=bidirectional)
        norm = {"batch_norm": named(module=nn.BatchNorm1d(units))} if number else {}
        recurrent_layers.append(named(rnn=layer, **norm))
    network = named(conv=named(seq_module=nn.Sequential(*first, *second)), rnns=nn.ModuleList(recurrent_layers))
    if not bidirectional:
        lookahead = named(conv=nn.Conv1d(units, units, 20, groups=units, bias=False))
        network.add_module("lookahead", nn.ModuleList([lookahead]))
    last = nn.ModuleList([nn.BatchNorm1d(units), nn.Linear(units, classes, bias=False)])
    network.add_module("fc", nn.ModuleList([named(module=last)]))
    with torch.no_grad():
        for name, value in network.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                value.copy_(torch.rand_like(value) + 0.5)
    return network.eval()


def original_logits(network: nn.Module, samples: np.ndarray, bidirectional: bool) -> torch.Tensor:
    """The logits of deepspeech.pytorch for the samples of one utterance at 16 kHz, `[frames, labels]`."""
    window = torch.hamming_window(320, periodic=True, dtype=torch.float64)
    spectrum = torch.stft(torch.tensor(samples).double(), 320, 160, window=window, return_complex=True)
    x = torch.log1p(spectrum.abs())
    x = ((x - x.mean()) / x.std()).float()[None, None]
    x = network.conv.seq_module(x).flatten(1, 2)[0].T
    for number, layer in enumerate(network.rnns):
        x = layer.batch_norm.module(x) if number else x
        x = layer.rnn(x[:, None])[0][:, 0]
        x = x.view(len(x), -1, layer.rnn.hidden_size).sum(1)
    if not bidirectional:
        ahead = nn.functional.pad(x.T[None], (0, 19))
        x = nn.functional.hardtanh(network.lookahead[0].conv(ahead)[0].T, 0, 20)
    norm, linear = network.fc[0].module
    return linear(norm(x))


def containers() -> None:
    """A file with what `torch.save` writes: views, parameters, half precision, a layer, and plain containers."""
    torch.manual_seed(0)
    tensors = {"w": torch.randn(3, 5).T, "p": nn.Parameter(torch.ones(2)), "h": torch.ones(2).half()}
    layer = nn.LSTM(3, 4)
    plain = {"n": [1], "s": torch.Size([2, 3]), "set": {1}, "bytes": b"ab"}
    torch.save({**tensors, **plain, "state_dict": layer.state_dict()}, GOLDEN / "containers.pt")
    arrays = {name: value.detach().numpy() for name, value in tensors.items()}
    arrays |= {f"state_dict/{name}": value.numpy() for name, value in layer.state_dict().items()}
    np.savez_compressed(GOLDEN / "containers.npz", **arrays)


if __name__ == "__main__":
    main()
