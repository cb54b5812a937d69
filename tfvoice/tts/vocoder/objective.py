"""What a vocoder minimises."""

import tensorflow as tf

from tfvoice.generation import metrics
from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES
from tfvoice.training.task import Losses
from tfvoice.tts.vocoder.data import ClipBatch, ClipPipeline


class NextLevelObjective:
    """Negative log-likelihood of the next level, in bits per sample.

    Args:
      model: a vocoder.
      data: gives the shape of a batch.
    """

    unit = "bits per sample"

    def __init__(self, model, data: ClipPipeline):
        self.model = model
        self.signature = data.signature
        self._sizes = data.sizes
        # Fused, the small operations of the layers are a few passes over the samples: half the time on 2 cores.
        self._wavenet = tf.function(
            lambda levels, biases: model(levels, biases, first=self._sizes.lead), jit_compile=True
        )

    def split(self, batch: ClipBatch):
        """Levels and their conditioning; target levels and how many of them count."""
        inputs = (batch.levels, batch.phonemes, batch.stresses, batch.f0, batch.lengths, batch.offsets)
        return inputs, (batch.levels[:, 2 + self._sizes.lead * FRAME_SAMPLES :], batch.counts)

    def units(self, batch: ClipBatch):
        """The number of samples."""
        return tf.maximum(tf.cast(batch.samples, tf.float32), 1.0)

    def initial_state(self, batch_size: int):
        """Nothing is carried from one batch to the next."""
        return []

    def logits(self, levels, phonemes, stresses, f0, lengths, offsets, training: bool):
        """The logits of each level of the clips."""
        biases = self.model.condition(phonemes, stresses, f0, lengths, training)
        frames = offsets[:, tf.newaxis] + tf.range(self._sizes.lead + self._sizes.clip)
        # Beyond the end of an utterance nothing counts.
        biases = tf.gather(biases, tf.minimum(frames, tf.shape(biases)[1] - 1), batch_dims=1)
        return self._wavenet(levels, biases)

    def forward(self, inputs, carried, seed):
        """The logits."""
        return self.logits(*inputs, training=True), []

    def losses(self, outputs, targets, units):
        """Bits per sample, of the samples that count."""
        loss = tf.reduce_sum(metrics.bits(outputs, *targets)) / units
        return Losses(loss, loss)
