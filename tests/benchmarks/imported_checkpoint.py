"""Compares an imported checkpoint of deepspeech.pytorch with its network in PyTorch, from the same state_dict.

  pip install torch==2.13.0
  python tests/benchmarks/imported_checkpoint.py librispeech_pretrained_v3.ckpt ...

Prints the largest difference of the logits on prompts of tests/data/asterisk, and fails above 1e-3. The checkpoint is
parsed by tfvoice, so that neither deepspeech.pytorch nor PyTorch Lightning is needed.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS / "data")]

import make_golden  # noqa: E402

from tfvoice.audio import io  # noqa: E402
from tfvoice.converters import deepspeech_pytorch, torch_checkpoint  # noqa: E402

PROMPTS = sorted((TESTS / "data" / "asterisk").rglob("*.opus"))[:5]
LIMIT = 1e-3


def difference(path: str) -> float:
    """The largest absolute difference of the logits of an imported checkpoint, of which `reflect` is the padding."""
    with tempfile.TemporaryDirectory() as folder:
        run = deepspeech_pytorch.import_run(path, folder, "reflect")
    model = run.config.model
    classes = len(run.alphabet.characters) + 1
    network = make_golden.original(
        model.cell, model.bidirectional, model.units, model.convolution_channels, model.layers, classes
    )
    state_dict = torch_checkpoint.read(path)["state_dict"]
    network.load_state_dict({name: torch.tensor(tensor.read()) for name, tensor in state_dict.items()})
    network.eval()
    found = []
    for prompt in PROMPTS:
        samples = io.read(prompt, run.config.features.sample_rate_hz)
        with torch.inference_mode():
            expected = make_golden.original_logits(network, samples, model.bidirectional).numpy()
        logits = run.logits(samples[np.newaxis], np.array([len(samples)], np.int32)).values[0].numpy()
        # The blank, _, is the first label of the original and the last class here.
        found.append(np.abs(logits - np.roll(expected, -1, axis=1)).max())
    return float(max(found))


def main() -> int:
    """Compares each checkpoint; returns the exit status."""
    worst = 0.0
    for path in sys.argv[1:]:
        found = difference(path)
        worst = max(worst, found)
        print(f"{path}: logits differ by at most {found:.1e}")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
