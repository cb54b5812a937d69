"""tfvoice: classic neural voice models in TensorFlow.

  import tfvoice

  recognizer = tfvoice.Recognizer.load("runs/vctk")
  print(tfvoice.Transcriber(recognizer).transcribe("talk.mp3").text)

The names below are loaded when they are first used; to import the package costs nothing.
"""

import importlib
import os

# On processors without AVX-512 TensorFlow leaves oneDNN off unless it is told otherwise before it is loaded; with it a
# training step takes two thirds to half of the time there, too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_HOMES = {
    "Alphabet": "tfvoice.text.alphabet",
    "CORPORA": "tfvoice.data.corpora",
    "Recognizer": "tfvoice.asr.recognizer",
    "Generator": "tfvoice.generation.generator",
    "Limits": "tfvoice.training.trainer",
    "MODELS": "tfvoice.models",
    "Sampler": "tfvoice.generation.sample",
    "TfvoiceError": "tfvoice.errors",
    "Transcriber": "tfvoice.asr.transcribe",
    "evaluate_run": "tfvoice.asr.evaluate",
    "read_manifest": "tfvoice.data.shards",
    "resolve": "tfvoice.experiment",
    "train": "tfvoice.training.trainer",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    """Loads a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tfvoice' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
