"""The task of G2P, letters to phonemes: its training, and what commands, reports and exports ask of it."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import tensorflow as tf

from tfvoice.models.deep_voice.g2p import BOUNDARY
from tfvoice.training.task import Losses, ModelCard, UndecodedTask, Validation
from tfvoice.tts.g2p import metrics
from tfvoice.tts.g2p.data import WordBatch, WordIndex, WordPipeline
from tfvoice.tts.g2p.metrics import WordResult
from tfvoice.tts.g2p.predict import G2pPredictor
from tfvoice.tts.g2p.run import G2pRun


class G2pTraining:
    """The training of a G2P model; see `tfvoice.training.task.TrainingJob`.

    Args:
      run: made for training.
      data_dir: `cmudict` or the path of a lexicon.
    """

    def __init__(self, run: G2pRun, data_dir: str | Path):
        lexicon = run.lexicon(data_dir)
        train_index, valid_index = (WordIndex(lexicon, split) for split in ("train", "valid"))
        self.train_data = run.pipeline(train_index, shuffled=True)
        self.valid_data = run.pipeline(valid_index)
        self.objective = NextPhonemeObjective(run.model, self.train_data, run.config.loss.smoothing)
        # Greedy: a beam takes three times as long and changes the order of checkpoints little.
        self._predictor = G2pPredictor(run, beam=1)
        self._loss = tf.function(self._summed_loss, input_signature=[self.valid_data.signature])

    def validate(self) -> Validation:
        """Loss, PER and WER of the split `valid`; the best weights are those of the lowest WER."""
        sums = [self._loss(batch) for batch in self.valid_data.batches(epochs=1)]
        loss = float(sum(total for total, _ in sums) / sum(units for _, units in sums))
        index = self.valid_data.index
        hypotheses = self._predictor.pronounce(index.words)
        results = [WordResult(*row) for row in zip(index.words, index.pronunciations, hypotheses, strict=True)]
        found = {"": results, "_no_stress": list(map(metrics.without_stress, results))}
        rates = {}
        for suffix, each in found.items():
            errors = metrics.errors(each)
            rates["per" + suffix] = metrics.metrics.rate(errors)
            rates["wer" + suffix] = sum(one.total > 0 for one in errors) / len(errors)
        text = f"PER {rates['per']:6.2%}  WER {rates['wer']:6.2%}  without stress {rates['wer_no_stress']:6.2%}"
        # Of equal WERs, as of a run that has just started, the lower PER.
        return Validation(rates["wer"] + rates["per"] / 1000, loss, rates, text, lambda epoch: None)

    def _summed_loss(self, batch: WordBatch):
        inputs, targets = self.objective.split(batch)
        units = self.objective.units(batch)
        logits = self.objective.model(*inputs)
        return self.objective.losses(logits, targets, tf.constant(1.0)).logged, units


class NextPhonemeObjective:
    """Cross entropy of the next phoneme, in nats per phoneme, the end of a word included.

    Args:
      model: a G2P network.
      data: gives the shape of a batch.
      smoothing: see `LossConfig`.
    """

    unit = "nats per phoneme"

    def __init__(self, model, data: WordPipeline, smoothing: float):
        self.model = model
        self.signature = data.signature
        self._smoothing = smoothing

    def split(self, batch: WordBatch):
        """Letters and phonemes with their lengths; the phonemes again."""
        targets = (batch.phonemes, batch.phoneme_lengths)
        return (batch.letters, batch.lengths, *targets), targets

    def units(self, batch: WordBatch):
        """The number of predictions."""
        return tf.cast(tf.reduce_sum(batch.phoneme_lengths + 1), tf.float32)

    def initial_state(self, batch_size: int):
        """Nothing is carried from one batch to the next."""
        return []

    def forward(self, inputs, carried, seed):
        """The logits."""
        return self.model(*inputs, training=True, seed=seed), []

    def losses(self, outputs, targets, units):
        """Nats per phoneme, and what is minimised: the same with smoothed targets."""
        phonemes, lengths = targets
        labels = tf.pad(phonemes, [[0, 0], [0, 1]], constant_values=BOUNDARY)
        costs = -tf.nn.log_softmax(outputs)
        valid = tf.sequence_mask(lengths + 1, tf.shape(labels)[1], tf.float32)
        loss = tf.reduce_sum(tf.reduce_sum(costs * tf.one_hot(labels, outputs.shape[-1]), axis=-1) * valid) / units
        uniform = tf.reduce_sum(tf.reduce_mean(costs, axis=-1) * valid) / units
        return Losses(loss, (1 - self._smoothing) * loss + self._smoothing * uniform)


class G2pTask(UndecodedTask):
    """Pronunciation of words that no lexicon has; see `tfvoice.training.task.Task`.

    What only an evaluation or an export needs is imported by their methods: training starts without it.
    """

    name = "g2p"
    summary = "a G2P model"
    commands = ("tfvoice_pronounce",)
    run = G2pRun
    no_decoder = "its search is set with --set=search.beam=N in training; leave --decoder out."

    @staticmethod
    def evaluation() -> ModuleType:
        """The module `evaluate`."""
        from tfvoice.tts.g2p import evaluate

        return evaluate

    def training(self, run: G2pRun, data_dir: str | Path) -> G2pTraining:
        """Words, the cross entropy of the next phoneme, and validation by WER."""
        return G2pTraining(run, data_dir)

    def card(self, run: G2pRun) -> ModelCard:
        """Letters and phonemes."""
        symbols = run.inventory.symbols
        return ModelCard(
            "Pronounces words that a lexicon lacks, one at a time: it does not know the sentence around a word, and is "
            "weakest with names from other languages.",
            {
                "letters": f"`{run.letters}`",
                "phonemes": f"{len(symbols)}: {' '.join(symbols)}",
                "search": f"beam of {run.config.search.beam}",
            },
        )

    def describe(self, run: G2pRun) -> dict[str, Any]:
        """Letters and phonemes."""
        return {"letters": run.letters, "phonemes": list(run.inventory.symbols)}

    def signatures(self, run: G2pRun) -> dict[str, Callable]:
        """`pronounce`, under the names `serving_default` and `pronounce`: words to phonemes."""
        from tfvoice.tts.g2p import signatures

        return signatures.signatures(run)


G2P = G2pTask()
