"""The models by name."""

from typing import Annotated, Any, NamedTuple

import pydantic

from tfvoice.config import Config, ConfigError, nearest
from tfvoice.models import deepspeech2, sample_rnn, wavenet_asr

# Any of the recognisers; the key `name` says which.
RecognizerModelConfig = Annotated[
    wavenet_asr.WavenetAsrConfig | deepspeech2.Deepspeech2Config, pydantic.Field(discriminator="name")
]


class Entry(NamedTuple):
    """What a name stands for.

    Attributes:
      task: `recognition` or `generation`.
      config: configuration class.
      model: model class.
      defaults: of the other sections of a configuration, where they are not those of their classes.
    """

    task: str
    config: type[Config]
    model: type
    defaults: dict[str, dict[str, Any]]


_DEEPSPEECH2_FEATURES = {"kind": "log_spectrogram", "window_ms": 20.0, "fft_size": 320, "window": "hamming"}

_SAMPLE_RNN_DEFAULTS = {
    "training": {"weight_decay": 0.0, "clip_norm": 0.0, "clip_value": 1.0, "average": 0.0, "batch_size": 16}
}

MODELS = {
    "wavenet_asr": Entry("recognition", wavenet_asr.WavenetAsrConfig, wavenet_asr.WavenetAsr, {}),
    "deepspeech2": Entry(
        "recognition",
        deepspeech2.Deepspeech2Config,
        deepspeech2.Deepspeech2,
        {"features": _DEEPSPEECH2_FEATURES, "augmentation": {"frequency_width": 27, "time_width": 70}},
    ),
    "sample_rnn": Entry("generation", sample_rnn.SampleRnnConfig, sample_rnn.SampleRnn, _SAMPLE_RNN_DEFAULTS),
}


def entry(name: str) -> Entry:
    """Looks a model up; raises `ConfigError` with the known names where there is none of that name."""
    if name not in MODELS:
        raise ConfigError(f"--model={name}: there is no such model; {nearest(name, MODELS)}.")
    return MODELS[name]


def build(config: Config, classes: int, product_dtype: str = "float32"):
    """Makes the Keras model that a model configuration describes."""
    return entry(config.name).model(config, classes, product_dtype)
