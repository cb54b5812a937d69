"""The network of `tfvoice/models/wavenet_asr.py` as one would write it in PyTorch, timed on demand.

A process of its own, for TensorFlow and PyTorch would fight over the cores. The first line of standard input is a
JSON object (see `main`), and each line after it is one measurement: `step` trains on a made batch, `forward` runs the
network as in inference. The answer is one JSON line.
"""

import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Gated dilated convolutions, mixed by a 1-wide one; every convolution is followed by batch normalisation."""

    def __init__(self, width: int, kernel_size: int, dilation: int, norm: dict):
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
    """`[batch, channels, frames]` to logits `[batch, classes, ceil(frames / stride)]`; padding is not masked."""

    def __init__(self, model: dict, channels: int, classes: int):
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


class Work:
    """A network, a batch and an optimizer."""

    def __init__(self, spec: dict):
        torch.manual_seed(0)
        batch, frames, labels = spec["batch"], spec["frames"], spec["labels"]
        stride = spec["model"]["stride"]
        self.network = Network(spec["model"], spec["channels"], spec["classes"])
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        self.loss = nn.CTCLoss(blank=spec["classes"] - 1, reduction="sum")
        self.features = torch.randn(batch, spec["channels"], frames)
        self.lengths = torch.full([batch], -(-frames // stride))
        self.labels = torch.randint(spec["classes"] - 1, [batch, labels])
        self.label_lengths = torch.full([batch], labels)

    def step(self):
        """Forward, loss, backward, update."""
        self.network.train()
        self.optimizer.zero_grad()
        logits = self.network(self.features).permute(2, 0, 1)
        loss = self.loss(functional.log_softmax(logits, -1), self.labels, self.lengths, self.label_lengths)
        (loss / len(self.features)).backward()
        self.optimizer.step()
        return loss.item()

    def forward(self):
        """The network alone, as in inference."""
        self.network.eval()
        with torch.inference_mode():
            return self.network(self.features).sum().item()


def main():
    """Reads {model, channels, classes, batch, frames, labels, threads}, then one measurement a line."""
    spec = json.loads(sys.stdin.readline())
    torch.set_num_threads(spec["threads"])
    work = Work(spec)
    parameters = sum(parameter.numel() for parameter in work.network.parameters())
    print(json.dumps({"version": torch.__version__, "parameters": parameters}), flush=True)
    for line in sys.stdin:
        began, cpu = time.perf_counter(), time.process_time()
        getattr(work, line.strip())()
        answer = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
