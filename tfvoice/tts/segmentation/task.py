"""The task of segmentation: its training with CTC over phoneme pairs, and what commands, reports and exports ask."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from tfvoice import ctc_lattice
from tfvoice.asr import metrics
from tfvoice.audio import features
from tfvoice.ctc_lattice import LatticeBatch
from tfvoice.data import aligned, utterances
from tfvoice.data.utterances import Batch
from tfvoice.training.task import Losses, ModelCard, UndecodedTask, Validation
from tfvoice.tts.segmentation import scoring
from tfvoice.tts.segmentation.data import LatticeIndex
from tfvoice.tts.segmentation.run import SegmentationRun


class SegmentationTraining:
    """The training of a segmentation model; see `tfvoice.training.task.TrainingJob`.

    Args:
      run: made for training.
      data_dir: folder of plain records.
    """

    def __init__(self, run: SegmentationRun, data_dir: str | Path):
        aligned.read_plain_manifest(data_dir)
        train, valid = (run.scan(data_dir, split) for split in ("train", "valid"))
        for scanned in (train, valid):
            if sentence := scanned.notice():
                print(sentence)
        self.train_data = run.pipeline(train, augmented=True)
        self.valid_data = run.pipeline(valid)
        self.objective = PairObjective(run, train)
        self._scorer = scoring.Scorer(run, valid)

    def validate(self) -> Validation:
        """Recognises the pairs of the split `valid`; the best weights are those of the lowest pair error rate."""
        results = self._scorer.score(beam=False)
        loss = float(np.mean([result.loss for result in results]))
        rates = {
            "pair_error_rate": metrics.rate([result.pair_errors for result in results]),
            "per": metrics.rate([result.phoneme_errors for result in results]),
            "score": float(np.mean([result.score for result in results])),
        }
        text = f"pair errors {rates['pair_error_rate']:6.1%}  PER {rates['per']:6.1%}"
        # Of equal rates, as of a run that has just started and emits nothing, the lower loss.
        score = rates["pair_error_rate"] + loss * 1e-6
        return Validation(score, loss, {name: round(rate, 5) for name, rate in rates.items()}, text, lambda epoch: None)


class PairObjective:
    """CTC over the lattices of phoneme pairs, in nats per utterance.

    Args:
      run: made for training.
      scanned: the utterances of its training split.
    """

    unit = "nats per utterance"

    def __init__(self, run: SegmentationRun, scanned: LatticeIndex):
        self.model = run.model
        self.signature = utterances.signature(features.channels(run.config.features))
        self._scanned = scanned
        self._guided_epochs = run.config.silence.guided_epochs

    def split(self, batch: Batch):
        """Features and their lengths; lattices, and in how many of the first and last frames there is silence."""
        silence = scoring.edge_silence(batch.features, batch.lengths)
        guide = tf.where(batch.epoch < self._guided_epochs, silence, -1)
        return (batch.features, batch.lengths), (*self._scanned.batch_in_graph(batch.rows), guide)

    def units(self, batch: Batch):
        """The number of utterances."""
        return tf.maximum(tf.reduce_sum(tf.cast(batch.rows >= 0, tf.float32)), 1.0)

    def initial_state(self, batch_size: int):
        """Nothing is carried."""
        return []

    def forward(self, inputs, carried, seed):
        """The logits."""
        return self.model(*inputs, training=True, seed=seed), []

    def losses(self, outputs, targets, units):
        """The loss is what is minimised."""
        *lattices, silence = targets
        lattices = LatticeBatch(*lattices)
        bias = scoring.edge_bias(silence, outputs.lengths, tf.shape(outputs.values)[1], lattices)
        loss = tf.reduce_sum(ctc_lattice.loss(outputs, lattices, bias)) / units
        return Losses(loss, loss)


class SegmentationTask(UndecodedTask):
    """Phoneme boundaries of recorded speech; see `tfvoice.training.task.Task`.

    What only an evaluation or an export needs is imported by their methods: training starts without it.
    """

    name = "segmentation"
    summary = "a segmentation model"
    commands = ("tfvoice_align",)
    run = SegmentationRun
    no_decoder = "recognises phonemes, so that there is no text to decode; omit --decoder."

    @staticmethod
    def evaluation() -> ModuleType:
        """The module `evaluate`."""
        from tfvoice.tts.segmentation import evaluate

        return evaluate

    def training(self, run: SegmentationRun, data_dir: str | Path) -> SegmentationTraining:
        """Batches, CTC over pairs, and validation by pair error rate."""
        return SegmentationTraining(run, data_dir)

    def card(self, run: SegmentationRun) -> ModelCard:
        """Sample rate, phonemes and where they come from."""
        config = run.config
        return ModelCard(
            "Finds where the phonemes of a known text lie in its audio, for the voices of its training data. What it "
            "recognises without a text is a by-product.",
            {
                "sample rate": f"{config.features.sample_rate_hz} Hz",
                "phonemes": f"{len(run.phonemes)}: {' '.join(run.phonemes)}",
                "lexicon": config.pronunciation.described(),
            },
        )

    def describe(self, run: SegmentationRun) -> dict[str, Any]:
        """Sample rate, frames and phonemes."""
        config = run.config.features
        return {
            "sample_rate_hz": config.sample_rate_hz,
            "seconds_per_frame": config.hop_samples / config.sample_rate_hz,
            "phonemes": list(run.phonemes),
        }

    def signatures(self, run: SegmentationRun) -> dict[str, Callable]:
        """`log_probs`, under that name and `serving_default`: waveforms to log probabilities of pairs."""
        from tfvoice.tts.segmentation import signatures

        return signatures.signatures(run)


SEGMENTATION = SegmentationTask()
