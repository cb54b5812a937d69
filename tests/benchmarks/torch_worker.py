"""The network of `tfvoice/models/wavenet_asr.py` in idiomatic PyTorch: two convolutions in each block.

In a process of its own, because TensorFlow and PyTorch would compete for the cores. Padding is not masked.
"""

from typing import Any

import measure
import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Gated dilated convolutions, mixed by a 1-wide one; every convolution is followed by batch normalisation."""

    def __init__(self, width: int, kernel_size: int, dilation: int, norm: dict[str, float]):
        super().__init__()
        dilated = {"dilation": dilation, "padding": dilation * (kernel_size - 1) // 2, "bias": False}
        self.filter = nn.Conv1d(width, width, kernel_size, **dilated)
        self.filter_norm = nn.BatchNorm1d(width, **norm)
        self.gate = nn.Conv1d(width, width, kernel_size, **dilated)
        self.gate_norm = nn.BatchNorm1d(width, **norm)
        self.mix = nn.Conv1d(width, width, 1, bias=False)
        self.mix_norm = nn.BatchNorm1d(width, **norm)

    def forward(self, inputs):
        filters = torch.tanh(self.filter_norm(self.filter(inputs)))
        gates = torch.sigmoid(self.gate_norm(self.gate(inputs)))
        output = torch.tanh(self.mix_norm(self.mix(filters * gates)))
        return inputs + output, output


class Network(nn.Module):
    """`[batch, channels, frames]` to logits `[batch, classes, ceil(frames / stride)]`."""

    def __init__(self, model: dict[str, Any], channels: int, classes: int):
        super().__init__()
        width, taps = model["width"], model["front_kernel_size"]
        norm = {"eps": model["batch_norm_epsilon"], "momentum": 1 - model["batch_norm_momentum"]}
        self.front = nn.Conv1d(channels, width, taps, stride=model["stride"], padding=taps // 2, bias=False)
        self.front_norm = nn.BatchNorm1d(width, **norm)
        dilations = list(model["dilations"]) * model["stacks"]
        self.blocks = nn.ModuleList(Block(width, model["kernel_size"], dilation, norm) for dilation in dilations)
        self.hidden = nn.Conv1d(width, width, 1, bias=False)
        self.hidden_norm = nn.BatchNorm1d(width, **norm)
        self.output = nn.Conv1d(width, classes, 1)

    def forward(self, features):
        hidden = torch.tanh(self.front_norm(self.front(features)))
        skip = 0
        for block in self.blocks:
            hidden, output = block(hidden)
            skip = skip + output
        return self.output(torch.tanh(self.hidden_norm(self.hidden(skip))))


def prepare(spec: dict[str, Any]):
    """Takes {model, channels, classes, batch, frames, labels, threads} from the TensorFlow side."""
    torch.set_num_threads(spec["threads"])
    torch.manual_seed(0)
    batch, blank = spec["batch"], spec["classes"] - 1
    network = Network(spec["model"], spec["channels"], spec["classes"])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    criterion = nn.CTCLoss(blank=blank, reduction="sum")
    features = torch.randn(batch, spec["channels"], spec["frames"])
    lengths = torch.full([batch], -(-spec["frames"] // spec["model"]["stride"]))
    labels, label_lengths = torch.randint(blank, [batch, spec["labels"]]), torch.full([batch], spec["labels"])

    def step():
        network.train()
        optimizer.zero_grad()
        logits = functional.log_softmax(network(features).permute(2, 0, 1), -1)
        loss = criterion(logits, labels, lengths, label_lengths) / batch
        loss.backward()
        optimizer.step()
        return {"loss": loss.item()}

    def forward():
        network.eval()
        with torch.inference_mode():
            network(features)

    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {"step": step, "forward": forward}, {"version": torch.__version__, "parameters": parameters}


if __name__ == "__main__":
    measure.serve(prepare)
