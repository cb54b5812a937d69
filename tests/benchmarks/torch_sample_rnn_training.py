"""Trains the network of `torch_sample_rnn.py` on clips, with the recipe of samplernn-pytorch.

The recipe: its initial weights, Adam at 0.001, gradients clipped to 1 by value, whole clips of one length, shuffled for
each epoch, states carried from window to window, and the last batch dropped if it is incomplete.
"""

import math
from typing import Any

import measure
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_sample_rnn import Network


def initialise(network: Network) -> None:
    """As in samplernn-pytorch: He and LeCun uniform, an orthogonal kernel for the candidate, biases of zero."""
    _uniform(network.input, 6)
    _uniform(network.hidden, 6)
    _uniform(network.output, 3)
    for tier in network.tiers:
        _uniform(tier.expand, 6)
        units = tier.recurrent.hidden_size
        nn.init.zeros_(tier.bias)
        bound = math.sqrt(6 / units)
        tier.upsample.weight = nn.init.uniform_(torch.empty_like(tier.upsample.weight), -bound, bound)
        for name, weight in tier.recurrent.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(weight)
                continue
            nn.init.uniform_(weight, -math.sqrt(3 / units), math.sqrt(3 / units))
            if name.startswith("weight_hh"):
                with torch.no_grad():
                    nn.init.orthogonal_(weight[2 * units :])


def _uniform(layer: nn.Conv1d, numerator: float) -> None:
    """Initialises a convolution with weight norm: its kernel, which sets direction and gain, and its bias."""
    bound = math.sqrt(numerator / (layer.in_channels * layer.kernel_size[0]))
    layer.weight = nn.init.uniform_(torch.empty_like(layer.weight), -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def windows(clips: torch.Tensor, context: int, samples: int, silence: int):
    """Windows `[batch, context + samples]` of clips `[batch, length]`, and whether each is the first of its clips."""
    clips = functional.pad(clips, (context, 0), value=silence)
    for start in range(0, clips.shape[1] - context, samples):
        yield clips[:, start : start + context + samples], start == 0


def prepare(spec: dict[str, Any]):
    """Takes {model, classes, batch, samples, threads, clips, seconds}: `clips` is a file with `train` and `valid`."""
    torch.set_num_threads(spec["threads"])
    torch.manual_seed(0)
    classes, batch = spec["classes"], spec["batch"]
    network = Network(spec["model"], classes)
    initialise(network)
    optimizer = torch.optim.Adam(network.parameters())
    with np.load(spec["clips"]) as arrays:
        clips = {name: torch.from_numpy(arrays[name].astype(np.int64)) for name in ("train", "valid")}
    window = spec["samples"], classes // 2
    states: list = []

    def loss_of(levels, first):
        """Mean bits of the samples that are not padding (-1)."""
        nonlocal states
        predicted, states = network(levels.clamp(min=0), [None] * len(network.tiers) if first else states)
        target = levels[:, network.context :]
        return functional.nll_loss(predicted.flatten(0, 1), target.flatten(), ignore_index=-1) / math.log(2)

    def training_windows():
        while True:
            order = torch.randperm(len(clips["train"]))
            for start in range(0, len(order) - batch + 1, batch):
                yield from windows(clips["train"][order[start : start + batch]], network.context, *window)

    batches = training_windows()

    def train():
        import time

        end, losses = time.perf_counter() + spec["seconds"], []
        while time.perf_counter() < end:
            loss = loss_of(*next(batches))
            optimizer.zero_grad(set_to_none=False)  # the initial states have no gradient in later windows: 0, as there
            loss.backward()
            for parameter in network.parameters():
                functional.hardtanh(parameter.grad, -1, 1, inplace=True)
            optimizer.step()
            losses.append(loss.item())
        return {"loss": float(np.mean(losses)), "steps": len(losses)}

    @torch.no_grad()
    def valid():
        nonlocal states
        training_states, bits, samples = states, 0.0, 0
        for start in range(0, len(clips["valid"]), batch):
            for levels, first in windows(clips["valid"][start : start + batch], network.context, *window):
                count = (levels[:, network.context :] >= 0).sum().item()
                if count:
                    bits, samples = bits + loss_of(levels, first).item() * count, samples + count
        states = training_states
        return {"loss": bits / samples}

    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {"train": train, "valid": valid}, {"version": torch.__version__, "parameters": parameters}


if __name__ == "__main__":
    measure.serve(prepare)
