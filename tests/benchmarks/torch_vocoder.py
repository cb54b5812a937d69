"""The vocoder of Deep Voice in PyTorch: a cached sampling loop, and a training step with dilated convolutions.

Sampling keeps the inputs of all layers in rings, computes the part of all gates that needs no newer sample as a batched
product, and all skip connections as one product. `torch.compile` of a step took minutes and gave half of the samples of
eager PyTorch. In a process of its own, as TensorFlow would compete for the cores.
"""

import functools
import math
from typing import Any

import measure
import numpy as np
import torch
from torch import nn
from torch.nn import functional

# Levels whose logits are compared.
_COMPARED = 128


class Sampler(nn.Module):
    """A step from the two levels before a sample to its logits, and the loop over it."""

    def __init__(self, weights: dict[str, torch.Tensor], biases: torch.Tensor, dilations: list[int], frame: int):
        super().__init__()
        self.frame: int = frame
        first, gates = weights["wavenet/first_kernel"], weights["wavenet/gate_kernels"]
        self.layers: int = gates.shape[0]
        self.r: int = gates.shape[2]
        starts = np.cumsum(dilations) - dilations
        tensors = {
            "older": first[0], "newer": first[1] + weights["wavenet/first_bias"],
            "past": gates[:, 0].contiguous(), "present": gates[:, 1].transpose(1, 2).contiguous(),
            "biases": biases + weights["wavenet/gate_biases"],
            "residual": weights["wavenet/residual_kernels"].transpose(1, 2).contiguous(),
            "residual_bias": weights["wavenet/residual_biases"],
            "skip": weights["wavenet/skip_kernel"], "skip_bias": weights["wavenet/skip_bias"],
            "head": weights["wavenet/head_kernel"], "head_bias": weights["wavenet/head_bias"],
            "output": weights["wavenet/output_kernel"], "output_bias": weights["wavenet/output_bias"],
            "dilations": torch.tensor(dilations), "starts": torch.tensor(starts),
        }  # fmt: skip
        for name, value in tensors.items():
            self.register_buffer(name, value)
        self.register_buffer("memory", torch.zeros(sum(dilations), self.r))

    def step(self, older: torch.Tensor, newer: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
        rows = self.starts + sample % self.dilations
        past = torch.bmm(self.memory[rows].unsqueeze(1), self.past).squeeze(1)
        sums = past + self.biases[sample // self.frame]
        hidden = torch.tanh(self.older[older] + self.newer[newer])
        inputs, gates = [], []
        for layer in range(self.layers):
            inputs.append(hidden)
            total = torch.addmv(sums[layer], self.present[layer], hidden)
            gate = torch.tanh(total[: self.r]) * torch.sigmoid(total[self.r :])
            hidden = hidden + torch.addmv(self.residual_bias[layer], self.residual[layer], gate)
            gates.append(gate)
        self.memory[rows] = torch.stack(inputs)
        skip = torch.relu(torch.cat(gates) @ self.skip + self.skip_bias)
        head = torch.relu(skip @ self.head + self.head_bias)
        return head @ self.output + self.output_bias

    def forward(self, samples: int, given: torch.Tensor) -> torch.Tensor:
        """Levels that follow silence; or, where levels are given, the logits of each of them but the first two."""
        self.memory.zero_()
        forced = given.numel() > 0
        levels = given if forced else torch.full([samples + 2], self.output_bias.shape[0] // 2)
        logits = []
        for sample in range(samples):
            found = self.step(levels[sample], levels[sample + 1], torch.tensor(sample))
            if forced:
                logits.append(found)
            else:
                levels[sample + 2] = torch.multinomial(torch.softmax(found, 0), 1)[0]
        return torch.stack(logits) if forced else levels


class Qrnn(nn.Module):
    """A quasi-recurrent layer in one direction, `[batch, time, channels]`."""

    def __init__(self, channels: int, units: int, backward: bool):
        super().__init__()
        self.backward, self.convolution = backward, nn.Conv1d(channels, 3 * units, 2)

    def forward(self, inputs):
        inputs = inputs.flip(1) if self.backward else inputs
        sums = self.convolution(functional.pad(inputs.transpose(1, 2), (1, 0)))
        z, f, o = sums.permute(2, 0, 1).chunk(3, dim=2)
        f = torch.sigmoid(f)
        hidden = torch.sigmoid(o) * pool(f, (1 - f) * torch.tanh(z))
        hidden = hidden.transpose(0, 1)
        return hidden.flip(1) if self.backward else hidden


@torch.jit.script
def pool(factors: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
    state, states = torch.zeros_like(added[0]), []
    for factor, value in zip(factors.unbind(0), added.unbind(0)):  # noqa: B905 - TorchScript
        state = factor * state + value
        states.append(state)
    return torch.stack(states)


class Network(nn.Module):
    """Levels and conditioning to logits `[batch, classes, samples]`."""

    def __init__(self, spec: dict[str, Any], weights: dict[str, torch.Tensor]):
        super().__init__()
        self.spec, self.dilations = spec, spec["dilations"]
        classes, self.r = weights["wavenet/first_kernel"].shape[1:]
        skip, layers = weights["wavenet/skip_bias"].shape[0], len(self.dilations)
        width, units = weights["forward_0/kernel"].shape[1], weights["forward_0/kernel"].shape[2] // 3
        sizes = [(width, units), (2 * units, layers * self.r)]
        self.conditioner = nn.ModuleList(
            nn.ModuleList(Qrnn(*size, backward) for backward in (False, True)) for size in sizes
        )
        self.first = nn.Embedding(2 * classes, self.r)
        self.first_bias = nn.Parameter(torch.zeros(self.r))
        self.gates = nn.ModuleList(nn.Conv1d(self.r, 2 * self.r, 2, dilation=size) for size in self.dilations)
        self.residuals = nn.ModuleList(nn.Conv1d(self.r, self.r, 1) for _ in self.dilations)
        self.skip, self.head = nn.Conv1d(layers * self.r, skip, 1), nn.Conv1d(skip, classes, 1)
        self.output, self.classes = nn.Conv1d(classes, classes, 1), classes
        self.load(weights)

    @torch.no_grad()
    def load(self, weights):
        """Takes the weights of the TensorFlow side."""
        for number, pair in enumerate(self.conditioner):
            for name, layer in zip(("forward", "backward"), pair, strict=True):
                layer.convolution.weight.copy_(weights[f"{name}_{number}/kernel"].permute(2, 1, 0))
                layer.convolution.bias.copy_(weights[f"{name}_{number}/bias"])
        net = {name.removeprefix("wavenet/"): value for name, value in weights.items()}
        self.first.weight.copy_(net["first_kernel"].flatten(0, 1))
        self.first_bias.copy_(net["first_bias"])
        for layer, (gate, residual) in enumerate(zip(self.gates, self.residuals, strict=True)):
            gate.weight.copy_(net["gate_kernels"][layer].permute(2, 1, 0))
            gate.bias.copy_(net["gate_biases"][layer])
            residual.weight[:, :, 0] = net["residual_kernels"][layer].T
            residual.bias.copy_(net["residual_biases"][layer])
        for name in ("skip", "head", "output"):
            layer = getattr(self, name)
            layer.weight[:, :, 0] = net[f"{name}_kernel"].T
            layer.bias.copy_(net[f"{name}_bias"])

    def condition(self, phonemes, stresses, f0):
        """Biases `[batch, layers, 2 * residual, samples]`."""
        spec = self.spec
        ids = ((phonemes, spec["phonemes"]), (stresses, spec["stresses"]))
        hidden = torch.cat([*(functional.one_hot(v.long(), c).flatten(2).float() for v, c in ids), f0], dim=2)
        for pair in self.conditioner:
            hidden = torch.stack([layer(hidden) for layer in pair], dim=3).flatten(2)
        hidden = hidden[:, spec["offset"] : spec["offset"] + spec["lead"] + spec["clip"]].transpose(1, 2)
        return hidden.unflatten(1, (len(self.dilations), 2 * self.r))

    def forward(self, levels, phonemes, stresses, f0):
        frame, biases = self.spec["frame_samples"], self.condition(phonemes, stresses, f0)
        lead, shape = self.spec["lead"] * frame, (-1, biases.shape[-1], frame)
        levels = levels[:, :-1].long()
        hidden = self.first(levels[:, :-1]) + self.first(levels[:, 1:] + self.classes) + self.first_bias
        hidden, gated = torch.tanh(hidden).transpose(1, 2), []
        for layer, (gate, residual) in enumerate(zip(self.gates, self.residuals, strict=True)):
            sums = gate(functional.pad(hidden, (self.dilations[layer], 0)))
            sums = (sums.unflatten(2, shape[1:]) + biases[:, layer, :, :, None]).flatten(2)
            value = torch.tanh(sums[:, : self.r]) * torch.sigmoid(sums[:, self.r :])
            hidden = hidden + residual(value)
            gated.append(value[:, :, lead:])
        skip = functional.relu(self.skip(torch.cat(gated, dim=1)))
        return self.output(functional.relu(self.head(skip)))


def prepare(spec: dict[str, Any]):
    """Takes {task, path, dilations, frame_samples, threads, ...} from the TensorFlow side."""
    torch.set_num_threads(spec["threads"])
    torch.manual_seed(0)
    arrays = dict(np.load(spec["path"]))
    weights = {
        name.removeprefix("weights/"): torch.from_numpy(value)
        for name, value in arrays.items()
        if name.startswith("weights/")
    }
    return (_sampling if spec["task"] == "sampling" else _training)(spec, weights, arrays)


def _sampling(spec, weights, arrays):
    sampler = Sampler(weights, torch.from_numpy(arrays["biases"]), spec["dilations"], spec["frame_samples"]).eval()
    given, nothing = torch.from_numpy(arrays["levels"]).long(), torch.zeros(0, dtype=torch.long)

    def run(network, threads):
        torch.set_num_threads(threads)
        with torch.inference_mode():
            network(spec["samples"], nothing)
        return {"samples": spec["samples"]}

    ways, errors = {}, []
    for name, network in {"eager": sampler, "TorchScript": torch.jit.script(sampler)}.items():
        with torch.inference_mode():
            errors.append(float(np.abs(network(_COMPARED, given).numpy() - arrays["logits"]).max()))
        # Products of this size are slower on several threads where those are not idle.
        for threads in {1, spec["threads"]}:
            ways[f"{name} on {threads}"] = functools.partial(run, network, threads)
    return ways, {"version": torch.__version__, "error": max(errors), "ways": list(ways)}


def _training(spec, weights, arrays):
    network = Network(spec, weights)
    optimizer = torch.optim.Adam(network.parameters(), lr=spec["learning_rate"])
    inputs = [torch.from_numpy(arrays[name]) for name in ("levels", "phonemes", "stresses", "f0")]
    target = inputs[0][:, 2 + spec["lead"] * spec["frame_samples"] :].long()
    with torch.no_grad():
        logits = network(*inputs)[:, :, : arrays["logits"].shape[1]].transpose(1, 2)
    error = float(np.abs(logits.numpy() - arrays["logits"]).max())

    def step():
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(*inputs), target) / math.log(2)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return {"loss": loss.item()}

    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {"step": step}, {"version": torch.__version__, "error": error, "parameters": parameters}


if __name__ == "__main__":
    measure.serve(prepare)
