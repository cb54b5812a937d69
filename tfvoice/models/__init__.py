"""The models by name."""

from typing import NamedTuple

from tfvoice.config import Config, ConfigError, nearest
from tfvoice.models import wavenet_asr


class Entry(NamedTuple):
    """What a name stands for: its configuration class and its model class."""

    config: type[Config]
    model: type


MODELS = {
    "wavenet_asr": Entry(wavenet_asr.WavenetAsrConfig, wavenet_asr.WavenetAsr),
}


def entry(name: str) -> Entry:
    """Looks a model up; raises `ConfigError` with the known names where there is none of that name."""
    if name not in MODELS:
        raise ConfigError(f"--model={name}: there is no such model; {nearest(name, MODELS)}.")
    return MODELS[name]


def build(config: Config, classes: int, product_dtype: str = "float32"):
    """Makes the Keras model that a model configuration describes."""
    return entry(config.name).model(config, classes, product_dtype)
