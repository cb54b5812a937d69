"""The task of duration and F0: its training, and what commands, reports and exports ask of it."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import tensorflow as tf

from tfvoice.training.task import Losses, ModelCard, UndecodedTask, Validation
from tfvoice.tts.duration_f0 import metrics
from tfvoice.tts.duration_f0.config import ProsodyLossConfig
from tfvoice.tts.duration_f0.data import ProsodyBatch, ProsodyPipeline
from tfvoice.tts.duration_f0.predict import ProsodyPredictor
from tfvoice.tts.duration_f0.run import DurationF0Run


class DurationF0Training:
    """The training of a model of duration and F0; see `tfvoice.training.task.TrainingJob`.

    Args:
      run: made for training.
      data_dir: folder of aligned records.
    """

    def __init__(self, run: DurationF0Run, data_dir: str | Path):
        train_index, valid_index = (run.index(run.config, data_dir, split) for split in ("train", "valid"))
        self.train_data = run.pipeline(train_index, shuffled=True)
        self.valid_data = run.pipeline(valid_index)
        self.objective = ProsodyObjective(run.model, self.train_data, run.config.loss)
        self._predictor = ProsodyPredictor(run)
        self._loss = tf.function(self._summed_loss, input_signature=[self.valid_data.signature])

    def validate(self) -> Validation:
        """Errors on the split `valid`; the best weights are those of the lowest loss."""
        sums = [self._loss(batch) for batch in self.valid_data.batches(epochs=1)]
        loss = float(sum(total for total, _ in sums) / sum(units for _, units in sums))
        index = self.valid_data.index
        predicted = self._predictor.predict(index.phonemes)
        rates = metrics.means(
            [
                metrics.errors(alignment, target.prosody, each)
                for alignment, target, each in zip(index.alignments, index.targets, predicted, strict=True)
            ]
        )
        text = f"duration {rates['duration_ms']:.1f} ms, F0 {rates['f0_hz']:.1f} Hz, voicing {rates['voicing']:.1%}"
        return Validation(loss, loss, rates, text, lambda epoch: None)

    def _summed_loss(self, batch: ProsodyBatch):
        inputs, targets = self.objective.split(batch)
        units = self.objective.units(batch)
        outputs = self.objective.model(*inputs)
        return self.objective.losses(outputs, targets, tf.constant(1.0)).logged, units


class ProsodyObjective:
    """The loss of a phoneme (Arik et al., arXiv 1702.07825, section 3.3, whose weights no source states).

    Absolute error of the duration, cross entropy of the voicing, absolute error of F0 where it was measured, and
    absolute change of F0; on normalised quantities, weighted by `ProsodyLossConfig`, a mean over phonemes.

    Args:
      model: a network of duration and F0.
      data: gives the shape of a batch.
      weights: of the terms.
    """

    unit = "per phoneme"

    def __init__(self, model, data: ProsodyPipeline, weights: ProsodyLossConfig):
        self.model = model
        self.signature = data.signature
        self._weights = weights

    def split(self, batch: ProsodyBatch):
        """Classes and lengths; prosody and lengths."""
        inputs = (batch.phonemes, batch.stresses, batch.lengths)
        return inputs, (batch.duration, batch.voiced, batch.f0, batch.measured, batch.lengths)

    def units(self, batch: ProsodyBatch):
        """The number of phonemes."""
        return tf.cast(tf.reduce_sum(batch.lengths), tf.float32)

    def initial_state(self, batch_size: int):
        """Nothing is carried from one batch to the next."""
        return []

    def forward(self, inputs, carried, seed):
        """The predicted prosody."""
        return self.model(*inputs, training=True, seed=seed), []

    def losses(self, outputs, targets, units):
        """The loss of a phoneme; the same is minimised."""
        duration, voiced, f0, measured, lengths = targets
        valid = tf.sequence_mask(lengths, tf.shape(duration)[1], tf.float32)
        terms = (
            (self._weights.duration, tf.abs(outputs.duration - duration)),
            (self._weights.voicing, tf.nn.sigmoid_cross_entropy_with_logits(labels=voiced, logits=outputs.voicing)),
            (self._weights.f0, tf.reduce_mean(tf.abs(outputs.f0 - f0) * measured, axis=2)),
            (self._weights.f0_change, _mean_change(outputs.f0, valid)),
        )
        loss = tf.add_n([weight * tf.reduce_sum(term * valid) for weight, term in terms]) / units
        return Losses(loss, loss)


def _mean_change(f0: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Absolute change from each value to the next, that of the next phoneme included: `[batch, phonemes]`, means."""
    following = tf.pad(f0[:, 1:, :1], [[0, 0], [0, 1], [0, 0]])
    has_following = tf.pad(valid[:, 1:], [[0, 0], [0, 1]])
    joins = tf.abs(following - f0[:, :, -1:])[:, :, 0] * has_following
    return (tf.reduce_sum(tf.abs(f0[:, :, 1:] - f0[:, :, :-1]), axis=2) + joins) / f0.shape[2]


class DurationF0Task(UndecodedTask):
    """Prosody of phonemes; see `tfvoice.training.task.Task`.

    What only an evaluation or an export needs is imported by their methods: training starts without it.
    """

    name = "duration_f0"
    summary = "a model of duration and F0"
    commands = ()
    run = DurationF0Run
    no_decoder = "predicts no text that could be decoded; leave --decoder out."

    @staticmethod
    def evaluation() -> ModuleType:
        """The module `evaluate`."""
        from tfvoice.tts.duration_f0 import evaluate

        return evaluate

    def training(self, run: DurationF0Run, data_dir: str | Path) -> DurationF0Training:
        """Phonemes, the loss of their prosody, and validation by it."""
        return DurationF0Training(run, data_dir)

    def card(self, run: DurationF0Run) -> ModelCard:
        """Phonemes and statistics."""
        statistics = run.statistics
        return ModelCard(
            "Predicts how long each phoneme of an utterance is, whether it has a voice, and its F0: one part of a "
            "text-to-speech system, and of one voice. It does not know the words and punctuation around a phoneme.",
            {
                "phonemes": f"{len(run.labels)}: {' '.join(run.labels)}",
                "F0 values of a phoneme": str(run.config.model.f0_values),
                "mean duration": f"{1000 * statistics.seconds_mean:.0f} ms",
                "mean F0": f"{statistics.f0_mean_hz:.0f} Hz",
            },
        )

    def describe(self, run: DurationF0Run) -> dict[str, Any]:
        """Phonemes, and how many values F0 has."""
        return {"phonemes": run.labels, "f0_values": run.config.model.f0_values}

    def signatures(self, run: DurationF0Run) -> dict[str, Callable]:
        """`predict`, under the names `serving_default` and `predict`: phonemes to their prosody."""
        from tfvoice.tts.duration_f0 import signatures

        return signatures.signatures(run)


DURATION_F0 = DurationF0Task()
