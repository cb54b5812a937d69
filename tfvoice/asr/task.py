"""How a recogniser is trained: its batches, its objective, and what a validation finds and shows."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from tfvoice.asr import decoders, evaluate
from tfvoice.asr.recognizer import Recognizer
from tfvoice.audio import features
from tfvoice.data.index import Index
from tfvoice.report import plots
from tfvoice.training import callbacks, objectives
from tfvoice.training.callbacks import Validation

_TRANSCRIPTS = 8
# Of the utterance that is drawn: enough for a sentence, and its characters still have room.
_DRAWN_SECONDS = 5.0


class Recognition:
    """The training of a recogniser.

    Args:
      experiment: the run, made for training.
      data_dir: folder of the shards.

    Attributes:
      objective: CTC.
      train_data, valid_data: batches.
    """

    def __init__(self, experiment: Recognizer, data_dir: str | Path):
        chosen = experiment.config
        self.objective = objectives.Ctc(experiment.model, features.channels(chosen.features), chosen.training)
        train_index, valid_index = (experiment.scan(data_dir, split) for split in ("train", "valid"))
        self.train_data = experiment.pipeline(train_index, augmented=True)
        self.valid_data = experiment.pipeline(valid_index)
        decode = decoders.build(decoders.DecoderConfig(), experiment.alphabet).labels
        self._reader = evaluate.Reader(experiment.network, self.valid_data, experiment.alphabet, decode)
        self._sample = Sample(experiment, valid_index)

    def validate(self) -> Validation:
        """Reads the split `valid`; the best weights are those of the lowest CER."""
        readings = self._reader.read()
        score = evaluate.score(readings)

        def summaries(epoch: int) -> None:
            texts = "\n\n".join(f"- {one.reference}\n- **{one.hypothesis}**" for one in readings[::-1][:_TRANSCRIPTS])
            tf.summary.text("valid/transcripts", texts)
            tf.summary.image("valid/alignment", self._sample.picture(epoch)[np.newaxis])
            self._sample.write_audio("valid/audio")

        rates = {"wer": round(score.wer, 5), "cer": round(score.cer, 5)}
        return Validation(score.cer, score.loss, rates, f"WER {score.wer:6.1%}  CER {score.cer:6.1%}", summaries)


class Sample:
    """The longest utterance of a validation that can still be drawn: heard and drawn at each.

    Args:
      experiment: the run.
      index: the utterances of the validation.
    """

    def __init__(self, experiment: Recognizer, index: Index):
        drawable = np.where(index.samples <= _DRAWN_SECONDS * index.sample_rate_hz, index.samples, -index.samples)
        row = int(drawable.argmax())
        self.sample_rate_hz = index.sample_rate_hz
        self.audio = index.audio(row)
        self._id = index.ids[row]
        self._text = experiment.alphabet.normalise(index.texts[row])
        self._experiment = experiment
        config = experiment.config.features
        values = features.compute(config, self.audio[np.newaxis], tf.constant([len(self.audio)]), experiment.statistics)
        self._features = values.values[0].numpy()

    def write_audio(self, tag: str) -> None:
        """Writes the audio to TensorBoard."""
        callbacks.write_audio(tag, self.audio, self.sample_rate_hz)

    def picture(self, epoch: int) -> np.ndarray:
        """Draws the utterance as the model reads it now."""
        logits = self._experiment.logits(self.audio[np.newaxis], [len(self.audio)])
        return plots.alignment(
            self._features,
            tf.nn.log_softmax(logits.values[0]).numpy(),
            self._experiment.alphabet,
            self._text,
            len(self.audio) / self.sample_rate_hz,
            f"{self._id}, {self._experiment.config.features.kind}, epoch {epoch}",
        )
