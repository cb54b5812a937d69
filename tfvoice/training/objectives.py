"""What training minimises: for each kind of model, the parts of a batch, the network in training, and the loss."""

import math
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from tfvoice import ctc, lengths
from tfvoice.data import utterances
from tfvoice.data.utterances import Batch
from tfvoice.data.windows import ClipPipeline, Windows
from tfvoice.experiment import TrainingConfig


class Losses(NamedTuple):
    """Scalars: the loss that is told, and what is minimised."""

    told: tf.Tensor
    minimised: tf.Tensor


class Objective(Protocol):
    """What a `learner.Learner` asks.

    Attributes:
      model: a Keras model whose weights are built.
      signature: shapes and types of a batch.
    """

    model: Any
    signature: Any

    def split(self, batch) -> tuple[tuple[tf.Tensor, ...], tuple[tf.Tensor, ...]]:
        """Inputs of the network and what it should give, tensors whose rows can be shared among devices."""

    def units(self, batch) -> tf.Tensor:
        """What the loss is a mean over: how many of them the whole batch has, a float scalar."""

    def start(self, batch_size: int) -> list[tf.Tensor]:
        """What is carried into the first step, rows first."""

    def forward(self, inputs, carried: list[tf.Tensor], seed: tf.Tensor) -> tuple[Any, list[tf.Tensor]]:
        """The network; returns its outputs and what is carried into the next step."""

    def losses(self, outputs, targets, units: tf.Tensor) -> Losses:
        """Sums of losses over rows, divided by the units of the whole batch."""


class Ctc:
    """CTC of a recogniser, in nats per utterance.

    Args:
      model: the recogniser.
      channels: of its features.
      settings: `intermediate_share` of the predictions before the end of the network.
    """

    def __init__(self, model, channels: int, settings: TrainingConfig):
        self.model = model
        self.signature = utterances.signature(channels)
        self._share = settings.intermediate_share

    def split(self, batch: Batch):
        """Features and their lengths, labels and theirs."""
        return (batch.features, batch.lengths), (batch.labels, batch.label_lengths)

    def units(self, batch: Batch):
        """The utterances."""
        return tf.maximum(tf.reduce_sum(tf.cast(batch.rows >= 0, tf.float32)), 1.0)

    def start(self, batch_size: int):
        """Nothing is carried."""
        return []

    def forward(self, inputs, carried, seed):
        """The predictions, the last of which is that of the end of the network."""
        return self.model.predictions(*inputs, training=True, seed=seed), []

    def losses(self, outputs, targets, units):
        """The loss of the last prediction; where there are others, they have their share in what is minimised."""
        early = [tf.reduce_sum(ctc.loss(logits, *targets)) / units for logits in outputs]
        loss = early.pop()
        if not early:
            return Losses(loss, loss)
        return Losses(loss, (1 - self._share) * loss + self._share * tf.add_n(early) / len(early))


class NextSample:
    """The next level, from those before it: negative log-likelihood in bits per sample (Mehri et al., equation 1).

    Args:
      model: a SampleRNN.
      data: gives the shape of a batch.
    """

    def __init__(self, model, data: ClipPipeline):
        self.model = model
        self.signature = data.signature
        self._context = data.context

    def split(self, batch: Windows):
        """Levels and which rows begin a clip; levels to predict and how many of them count."""
        return (batch.levels, batch.reset), (batch.levels[:, self._context :], batch.lengths)

    def units(self, batch: Windows):
        """The samples."""
        return tf.maximum(tf.cast(batch.samples, tf.float32), 1.0)

    def start(self, batch_size: int):
        """The state at the start of a clip."""
        return self.model.start(batch_size)

    def forward(self, inputs, carried, seed):
        """The logits, and the state after the window: gradients do not reach back beyond it."""
        levels, reset = inputs
        return self.model(levels, carried, reset)

    def losses(self, outputs, targets, units):
        """Bits of the samples that count."""
        loss = tf.reduce_sum(bits(outputs, *targets)) / units
        return Losses(loss, loss)


def bits(logits: tf.Tensor, levels: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Negative log-likelihood of each row, in bits.

    Args:
      logits: `[batch, samples, levels]`.
      levels: int32 `[batch, samples]`, what was there.
      counts: int32 `[batch]`, samples of each row that count.

    Returns:
      float32 `[batch]`, sums.
    """
    nats = tf.nn.sparse_softmax_cross_entropy_with_logits(levels, logits)
    return tf.reduce_sum(nats * lengths.mask(counts, tf.shape(nats)[1])[:, :, 0], axis=1) / math.log(2)
