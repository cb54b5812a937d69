"""tfvoice: classic neural voice models in TensorFlow.

  import tfvoice

  transcriber = tfvoice.Transcriber(tfvoice.load("runs/vctk"))
  print(transcriber.transcribe("talk.mp3").text)

The names below are imported when they are first used; importing the package does nothing else. In particular it leaves
the environment alone: on a CPU without AVX-512, set `TF_ENABLE_ONEDNN_OPTS=1` before TensorFlow is loaded, as the
commands do; a training step then takes two thirds to half of the time.
"""

import importlib

_MODULES = {
    "Alphabet": "tfvoice.text.alphabet",
    "CORPORA": "tfvoice.data.corpora",
    "DecoderConfig": "tfvoice.asr.decoders",
    "Deepspeech2": "tfvoice.models.deepspeech2",
    "Recognizer": "tfvoice.asr.recognizer",
    "G2p": "tfvoice.models.deep_voice.g2p",
    "Generator": "tfvoice.generation.generator",
    "Pronouncer": "tfvoice.tts.pronounce",
    "SampleRnn": "tfvoice.models.sample_rnn",
    "StopConditions": "tfvoice.training.trainer",
    "TASKS": "tfvoice.tasks",
    "load": "tfvoice.tasks",
    "Sampler": "tfvoice.generation.sample",
    "TfvoiceError": "tfvoice.errors",
    "Transcriber": "tfvoice.asr.transcribe",
    "WavenetAsr": "tfvoice.models.wavenet_asr",
    "evaluate_run": "tfvoice.asr.evaluate",
    "read_manifest": "tfvoice.data.shards",
    "resolve": "tfvoice.tasks",
    "train": "tfvoice.tasks",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str):
    """Imports a public name from its module."""
    if name == "__version__":
        return _version()
    if name not in _MODULES:
        raise AttributeError(f"module 'tfvoice' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__


def _version() -> str:
    """The version of the installed package; a checkout that is only on the Python path has none."""
    from importlib import metadata

    try:
        return metadata.version("tfvoice")
    except metadata.PackageNotFoundError:
        return "(not installed)"
