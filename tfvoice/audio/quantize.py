"""Quantisation of samples to levels and back: the classes that a sample-level model predicts.

`encode` and `decode` are inverses to half a step, over the whole range of -1 to 1 and for every number of levels. The
two ends of the range are levels, and the middle level, `levels // 2`, is that of silence.
"""

import math
from typing import Literal

import numpy as np
import pydantic
import tensorflow as tf

from tfvoice.config import Config


class QuantizationConfig(Config):
    """Settings of the quantisation.

    Attributes:
      kind: `mu_law`, steps that grow with the amplitude (ITU-T G.711, here continuous, with mu = levels - 1), or
        `linear`, steps of equal size.
      levels: number of levels.
      normalization: amplitude normalisation before the quantisation. `none`: full scale is -1 to 1 in every recording.
        `peak`: the peak of a recording, over all its clips, becomes 1. `min_max`: the minimum and the maximum of each
        clip become -1 and 1, as in the original; that moves silence off the middle, to another level in every clip.
    """

    kind: Literal["mu_law", "linear"] = "mu_law"
    levels: int = pydantic.Field(256, ge=2, le=65536)
    normalization: Literal["none", "peak", "min_max"] = "none"

    @property
    def silence(self) -> int:
        """The level of a sample of 0."""
        return self.levels // 2


def normalise(config: QuantizationConfig, samples: np.ndarray, peak: float | None = None) -> np.ndarray:
    """Applies `config.normalization`, before `encode`.

    Args:
      config: the quantisation.
      samples: float32 `[samples]`, a clip or a whole recording.
      peak: largest absolute value of the recording that the clip was cut from; None: the samples are the whole
        recording.
    """
    if config.normalization == "min_max":
        low, high = samples.min(), samples.max()
        return (samples - low) * (2 / max(high - low, 1e-9)) - 1
    if config.normalization == "peak":
        return samples / max(np.abs(samples).max() if peak is None else peak, 1e-9)
    return samples


def encode(config: QuantizationConfig, samples) -> tf.Tensor:
    """Quantises samples to levels.

    Args:
      config: the quantisation; its `normalization` is applied by `normalise`, not here.
      samples: float32 of any shape; values outside -1 to 1 are clipped.

    Returns:
      int32 of the same shape, 0 to `levels - 1`.
    """
    samples = tf.clip_by_value(tf.convert_to_tensor(samples, tf.float32), -1.0, 1.0)
    if config.kind == "mu_law":
        mu = config.levels - 1.0
        samples = tf.sign(samples) * tf.math.log1p(mu * tf.abs(samples)) / math.log1p(mu)
    highest = config.levels - 1
    # Floor after half a step up: 0 becomes the upper of two equally near levels.
    return tf.clip_by_value(tf.cast(tf.floor((samples + 1.0) * (highest / 2) + 0.5), tf.int32), 0, highest)


def decode(config: QuantizationConfig, levels) -> tf.Tensor:
    """Converts levels to samples, float32 in -1 to 1, of the same shape."""
    values = tf.cast(levels, tf.float32) * (2.0 / (config.levels - 1)) - 1.0
    if config.kind == "mu_law":
        mu = config.levels - 1.0
        values = tf.sign(values) * tf.math.expm1(tf.abs(values) * math.log1p(mu)) / mu
    return values
