"""SampleRNN in PyTorch as in samplernn-pytorch: weight norm on all layers but the GRUs, one hidden layer.

As there, sampling is a Python loop that applies weight norm for each sample. In a process of its own, because
TensorFlow and PyTorch would compete for the cores.
"""

import itertools
import math
from typing import Any

import measure
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm


class Tier(nn.Module):
    """Frames `[batch, steps, size]` to `[batch, steps * ratio, units]` for the tier below."""

    def __init__(self, size: int, ratio: int, units: int, layers: int):
        super().__init__()
        self.size = size
        self.first = nn.Parameter(torch.zeros(layers, 1, units))
        self.expand = weight_norm(nn.Conv1d(size, units, 1))
        self.recurrent = nn.GRU(units, units, layers, batch_first=True)
        self.upsample = weight_norm(nn.ConvTranspose1d(units, units, ratio, stride=ratio, bias=False))
        self.bias = nn.Parameter(torch.zeros(units, ratio))

    def forward(self, frames, above, state):
        values = self.expand(frames.transpose(1, 2)).transpose(1, 2)
        values = values if above is None else values + above
        state = self.first.expand(-1, len(frames), -1).contiguous() if state is None else state
        values, state = self.recurrent(values, state)
        vectors = self.upsample(values.transpose(1, 2)) + self.bias.repeat(1, values.shape[1])
        return vectors.transpose(1, 2), state.detach()


class Network(nn.Module):
    """Levels `[batch, context + samples]` to log-probabilities `[batch, samples, classes]`."""

    def __init__(self, model: dict[str, Any], classes: int):
        super().__init__()
        sizes, units = model["frame_sizes"], model["units"]
        ratios = [sizes[0]] + [large // small for small, large in itertools.pairwise(sizes)]
        pairs = list(zip(sizes, ratios, strict=True))[::-1]
        self.classes, self.frame, self.context = classes, sizes[0], sizes[-1]
        self.tiers = nn.ModuleList(Tier(size, ratio, units, model["layers"]) for size, ratio in pairs)
        self.embedding = nn.Embedding(classes, model["embedding"])
        self.input = weight_norm(nn.Conv1d(model["embedding"], units, self.frame, bias=False))
        self.hidden = weight_norm(nn.Conv1d(units, units, 1))
        self.output = weight_norm(nn.Conv1d(units, classes, 1))

    def scale_levels(self, levels):
        return 2 * (levels.float() / (self.classes / 2) - 1)

    def bottom(self, levels, above):
        embedded = self.embedding(levels).transpose(1, 2)
        hidden = functional.relu(self.input(embedded) + above.transpose(1, 2))
        logits = self.output(functional.relu(self.hidden(hidden))).transpose(1, 2)
        return functional.log_softmax(logits, -1)

    def forward(self, levels, states):
        above, final = None, []
        for tier, state in zip(self.tiers, states, strict=True):
            inputs = self.scale_levels(levels[:, self.context - tier.size : -tier.size])
            above, state = tier(inputs.unflatten(1, (-1, tier.size)), above, state)
            final.append(state)
        return self.bottom(levels[:, self.context - self.frame : -1], above), final

    @torch.no_grad()
    def generate(self, rows: int, samples: int):
        context = self.context
        levels = torch.full([rows, context + samples], self.classes // 2)
        states, vectors = [None] * len(self.tiers), [None] * len(self.tiers)
        for position in range(context, context + samples):
            above = None
            for number, tier in enumerate(self.tiers):
                if position % tier.size == 0:
                    frame = self.scale_levels(levels[:, position - tier.size : position])[:, None]
                    vectors[number], states[number] = tier(frame, above, states[number])
                below = self.tiers[number + 1].size if number + 1 < len(self.tiers) else 1
                at = position % tier.size // below
                above = vectors[number][:, at : at + 1]
            logits = self.bottom(levels[:, position - self.frame : position], above)
            levels[:, position] = logits[:, 0].exp().multinomial(1)[:, 0]
        return levels[:, context:]


def prepare(spec: dict[str, Any]):
    """Takes {model, classes, batch, samples, threads, generated} from the TensorFlow side."""
    torch.set_num_threads(spec["threads"])
    torch.manual_seed(0)
    network = Network(spec["model"], spec["classes"])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    levels = torch.randint(spec["classes"], [spec["batch"], network.context + spec["samples"]])
    states = [None] * len(network.tiers)

    def step():
        nonlocal states
        optimizer.zero_grad()
        predicted, states = network(levels, states)
        target = levels[:, network.context :]
        loss = functional.nll_loss(predicted.flatten(0, 1), target.flatten()) / math.log(2)
        loss.backward()
        for parameter in network.parameters():
            if parameter.grad is not None:
                functional.hardtanh(parameter.grad, -1, 1, inplace=True)
        optimizer.step()
        return {"loss": loss.item()}

    def sample(rows):
        def run():
            network.generate(rows, spec["generated"])
            return {"samples": rows * spec["generated"]}

        return run

    parameters = sum(parameter.numel() for parameter in network.parameters())
    about = {"version": torch.__version__, "parameters": parameters}
    return {"step": step, "sample 1": sample(1), "sample 16": sample(16)}, about


if __name__ == "__main__":
    measure.serve(prepare)
