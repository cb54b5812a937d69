"""The network of `tfvoice/models/deepspeech2.py` in PyTorch, as in deepspeech.pytorch: masks, packed sequences.

In a process of its own, because TensorFlow and PyTorch would compete for the cores.
"""

from typing import Any

import measure
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import rnn


class Network(nn.Module):
    """`[batch, 1, channels, frames]` to logits `[frames / 2, batch, classes]`; the directions are summed."""

    def __init__(self, model: dict[str, Any], channels: int, classes: int):
        super().__init__()
        filters, units = model["convolution_channels"], model["units"]
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(1, filters, (41, 11), (2, 2), (20, 5)),
                nn.Conv2d(filters, filters, (21, 11), (2, 1), (10, 5)),
            ]
        )
        self.convolution_norms = nn.ModuleList(nn.BatchNorm2d(filters) for _ in self.convolutions)
        bands = ((channels + 1) // 2 + 1) // 2
        kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[model["cell"]]
        widths = [bands * filters] + [units] * (model["layers"] - 1)
        self.recurrents = nn.ModuleList(kind(width, units, bidirectional=True) for width in widths)
        self.norms = nn.ModuleList(nn.BatchNorm1d(units) for _ in widths)
        self.output = nn.Linear(units, classes, bias=False)

    def forward(self, x, lengths):
        for convolution, norm in zip(self.convolutions, self.convolution_norms, strict=True):
            x = convolution(x)
            padding = (torch.arange(x.shape[3]) >= lengths[:, None])[:, None, None]
            x = norm(x.masked_fill(padding, 0)).masked_fill(padding, 0)
            x = functional.hardtanh(x, 0, 20).masked_fill(padding, 0)
        x = x.flatten(1, 2).permute(2, 0, 1)
        for number, recurrent in enumerate(self.recurrents):
            if number:
                x = self.norms[number - 1](x.flatten(0, 1)).view(x.shape)
            packed, _ = recurrent(rnn.pack_padded_sequence(x, lengths, enforce_sorted=False))
            x, _ = rnn.pad_packed_sequence(packed, total_length=len(x))
            x = x.view(*x.shape[:2], 2, -1).sum(2)
        return self.output(self.norms[-1](x.flatten(0, 1)).view(x.shape))


def prepare(spec: dict[str, Any]):
    """Takes {model, channels, classes, batch, frames, lengths, labels, threads} from the TensorFlow side."""
    torch.set_num_threads(spec["threads"])
    torch.manual_seed(0)
    batch, blank = spec["batch"], spec["classes"] - 1
    network = Network(spec["model"], spec["channels"], spec["classes"])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    criterion = nn.CTCLoss(blank=blank, reduction="sum", zero_infinity=True)
    frames = torch.tensor(spec["lengths"])
    features = torch.randn(batch, 1, spec["channels"], spec["frames"])
    features[(torch.arange(spec["frames"]) >= frames[:, None])[:, None, None].expand_as(features)] = 0
    lengths = (frames + 1) // 2
    labels, label_lengths = torch.randint(blank, [batch, spec["labels"]]), torch.full([batch], spec["labels"])

    def step():
        network.train()
        optimizer.zero_grad()
        logits = functional.log_softmax(network(features, lengths), -1)
        loss = criterion(logits, labels, lengths, label_lengths) / batch
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 50)
        optimizer.step()
        return {"loss": loss.item()}

    def forward():
        network.eval()
        with torch.inference_mode():
            network(features, lengths)

    parameters = sum(parameter.numel() for parameter in network.parameters())
    about = {"version": torch.__version__, "parameters": parameters}
    return {"step": step, "forward": forward, "memory": measure.peak}, about


if __name__ == "__main__":
    measure.serve(prepare)
