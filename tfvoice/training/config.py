"""How weights are found: the section `training` of a configuration."""

from typing import Literal

import pydantic

from tfvoice.config import Config

# Keras dtype policies of the values of `TrainingConfig.precision`; `auto` has become one of them when a model is built.
DTYPE_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


class TrainingConfig(Config):
    """How weights are found.

    Attributes:
      epochs: passes over the training split; the learning-rate schedule ends at the last epoch.
      batch_size: utterances or clips in a step, over all devices.
      accumulate: batches whose gradients are added up for one step.
      optimizer: `adamw`, `sgd` with a Nesterov momentum of 0.9, or `maxprop`, that of the original WaveNet recogniser.
      learning_rate: peak value.
      warmup: share of all steps in which the learning rate rises from 0.
      decay: what follows: `cosine` down to a thousandth, `exponential`, a step down after each epoch or
        after `decay_steps`, or `constant`.
      epoch_factor: of the learning rate after each epoch, where `decay` is `exponential`.
      decay_steps: `epoch_factor` then applies after each so many steps; 0: after each epoch.
      weight_decay: of AdamW, on kernels only.
      clip_norm: gradients of a larger global norm are scaled down to it; 0: never. The loss is a mean over
        utterances or samples, so that the norm does not depend on the batch size.
      clip_value: each number of a gradient is then clipped to this size; 0: never.
      average: decay of the moving average of the weights that is evaluated and kept; 0: no average.
      intermediate_share: weight of the intermediate predictions in the loss, where the model has any.
      precision: type of the products in convolutions while training; sums, weights and recurrent layers stay float32.
        `auto` is bfloat16 where this machine multiplies it fast, else float32; which one is written into the run.
      xla: compile the network for each bucket. `auto`: on a GPU only, since on CPU it measured no faster. Under XLA,
        dropout uses other random numbers. The update of the weights is compiled on any single device, and the time
        loops of recurrent layers on CPUs, except with `off`.
      validate_steps: validate after so many steps, too, and not only at the end of each epoch; 0: do not.
      patience: stop after so many validations without a better result; 0: never.
      freeze: patterns of variable paths, such as `front/*` or `block_?/*`; the variables that match one are not
        trained. A frozen batch normalisation normalises by its moving statistics, which stay as they are.
      seed: of weights, order, augmentation and dropout.
    """

    epochs: int = pydantic.Field(50, ge=1)
    batch_size: int = pydantic.Field(16, ge=1)
    accumulate: int = pydantic.Field(1, ge=1)
    optimizer: Literal["adamw", "sgd", "maxprop"] = "adamw"
    learning_rate: float = pydantic.Field(1e-3, gt=0)
    warmup: float = pydantic.Field(0.05, ge=0, le=1)
    decay: Literal["cosine", "exponential", "constant"] = "cosine"
    epoch_factor: float = pydantic.Field(0.99, gt=0, le=1)
    decay_steps: int = pydantic.Field(0, ge=0)
    weight_decay: float = pydantic.Field(0.01, ge=0)
    clip_norm: float = pydantic.Field(50.0, ge=0)
    clip_value: float = pydantic.Field(0.0, ge=0)
    average: float = pydantic.Field(0.998, ge=0, lt=1)
    intermediate_share: float = pydantic.Field(0.5, ge=0, le=1)
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    xla: Literal["auto", "on", "off"] = "auto"
    validate_steps: int = pydantic.Field(0, ge=0)
    patience: int = pydantic.Field(0, ge=0)
    freeze: tuple[str, ...] = ()
    seed: int = pydantic.Field(0, ge=0, lt=2**31 - 2**20)
