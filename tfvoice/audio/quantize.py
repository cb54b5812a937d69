"""Samples to levels and back: what a network that predicts audio sample by sample chooses among.

`encode` and `decode` are inverses to half a step, over the whole range of -1 to 1 and for every number of levels. The
two ends of the range are levels of their own, and the middle, `levels // 2`, is the level of silence.
"""

import math
from typing import Literal

import numpy as np
import pydantic
import tensorflow as tf

from tfvoice.config import Config


class QuantizationConfig(Config):
    """How samples become levels.

    Attributes:
      kind: `mu_law`, steps that grow with the amplitude (ITU-T G.711, here continuous, with mu = levels - 1), or
        `linear`, steps of one size.
      levels: how many there are.
      normalization: of the loudness, before anything else. `none`: -1 to 1 is the range, whatever the recording.
        `peak`: the loudest sample of a recording, over all its clips, becomes 1. `min_max`: the lowest and the highest
        sample of each clip become -1 and 1, as in the original; that moves silence away from the middle, to another
        level in every clip.
    """

    kind: Literal["mu_law", "linear"] = "mu_law"
    levels: int = pydantic.Field(256, ge=2, le=65536)
    normalization: Literal["none", "peak", "min_max"] = "none"

    @property
    def silence(self) -> int:
        """The level of a sample of 0."""
        return self.levels // 2


def normalise(config: QuantizationConfig, samples: np.ndarray, peak: float | None = None) -> np.ndarray:
    """Makes samples as loud as `config.normalization` wants them before they are encoded.

    Args:
      config: the quantisation.
      samples: float32 `[samples]`, a clip or a whole recording.
      peak: the loudest sample of the recording that they were cut from; None: they are all of it.
    """
    if config.normalization == "min_max":
        low, high = samples.min(), samples.max()
        return (samples - low) * (2 / max(high - low, 1e-9)) - 1
    if config.normalization == "peak":
        return samples / max(np.abs(samples).max() if peak is None else peak, 1e-9)
    return samples


def encode(config: QuantizationConfig, samples) -> tf.Tensor:
    """Turns samples into levels.

    Args:
      config: the quantisation; its `normalization` is not applied here, see `normalise`.
      samples: float32 of any shape; what lies beyond -1 to 1 is clipped.

    Returns:
      int32 of that shape, 0 to `levels - 1`.
    """
    samples = tf.clip_by_value(tf.convert_to_tensor(samples, tf.float32), -1.0, 1.0)
    if config.kind == "mu_law":
        mu = config.levels - 1.0
        samples = tf.sign(samples) * tf.math.log1p(mu * tf.abs(samples)) / math.log1p(mu)
    highest = config.levels - 1
    # Half a step up and then down: 0 goes to the upper of two levels that are as near.
    return tf.clip_by_value(tf.cast(tf.floor((samples + 1.0) * (highest / 2) + 0.5), tf.int32), 0, highest)


def decode(config: QuantizationConfig, levels) -> tf.Tensor:
    """Turns levels into samples: float32 in -1 to 1 of the same shape."""
    values = tf.cast(levels, tf.float32) * (2.0 / (config.levels - 1)) - 1.0
    if config.kind == "mu_law":
        mu = config.levels - 1.0
        values = tf.sign(values) * tf.math.expm1(tf.abs(values) * math.log1p(mu)) / mu
    return values
