"""The task of speech recognition: its training with CTC, and what commands, reports and exports ask of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfvoice import ctc
from tfvoice.asr import alignment_plot, decoders, scoring
from tfvoice.asr.recognizer import Recognizer
from tfvoice.audio import features
from tfvoice.data import index, utterances
from tfvoice.data.index import Index
from tfvoice.data.utterances import Batch
from tfvoice.models.wavenet_asr import WavenetAsr
from tfvoice.text import proposal
from tfvoice.training import callbacks
from tfvoice.training.config import TrainingConfig
from tfvoice.training.task import Losses, ModelCard, Validation

_TRANSCRIPTS = 8
# Longest utterance whose alignment is plotted: enough for a sentence, and its characters do not overlap.
_PLOTTED_SECONDS = 5.0


class RecognizerTraining:
    """The training of a recogniser; see `tfvoice.training.task.TrainingJob`.

    Args:
      run: made for training.
      data_dir: folder of the shards.
    """

    def __init__(self, run: Recognizer, data_dir: str | Path):
        self.objective = CtcObjective(run.model, features.channels(run.config.features), run.config.training)
        if sentence := proposal.notice(run.alphabet, index.read_texts(data_dir, "train")):
            print(f"train: {sentence}")
        train_index, valid_index = (run.scan(data_dir, split) for split in ("train", "valid"))
        self.train_data = run.pipeline(train_index, augmented=True)
        self.valid_data = run.pipeline(valid_index)
        decode = decoders.build(decoders.DecoderConfig(), run.alphabet).labels
        self._evaluator = scoring.Evaluator(run.network, self.valid_data, run.alphabet, decode)
        self._example = ValidationExample(run, valid_index)

    def validate(self) -> Validation:
        """Transcribes the split `valid`; the best weights are those of the lowest CER."""
        results = self._evaluator.evaluate()
        score = scoring.score(results)

        def summaries(epoch: int) -> None:
            longest = results[::-1][:_TRANSCRIPTS]
            texts = "\n\n".join(f"- {result.reference}\n- **{result.hypothesis}**" for result in longest)
            tf.summary.text("valid/transcripts", texts)
            tf.summary.image("valid/alignment", self._example.plot(epoch)[np.newaxis])
            self._example.write_audio("valid/audio")

        rates = {"wer": round(score.wer, 5), "cer": round(score.cer, 5)}
        return Validation(score.cer, score.loss, rates, f"WER {score.wer:6.1%}  CER {score.cer:6.1%}", summaries)


class ValidationExample:
    """The longest utterance of a validation whose alignment can be plotted; it is logged at each.

    Args:
      run: the run.
      index: the utterances of the validation.
    """

    def __init__(self, run: Recognizer, index: Index):
        short = index.samples <= _PLOTTED_SECONDS * index.sample_rate_hz
        row = int(np.where(short, index.samples, -index.samples).argmax())
        self.sample_rate_hz = index.sample_rate_hz
        self.audio = index.audio(row)
        self._id = index.ids[row]
        self._reference = run.alphabet.normalise(index.texts[row])
        self._run = run
        lengths = tf.constant([len(self.audio)])
        inputs = features.compute(run.config.features, self.audio[np.newaxis], lengths, run.statistics)
        self._features = inputs.values[0].numpy()

    def write_audio(self, tag: str) -> None:
        """Writes the audio to TensorBoard."""
        callbacks.write_audio(tag, self.audio, self.sample_rate_hz)

    def plot(self, epoch: int) -> np.ndarray:
        """Plots the alignment of the utterance with the weights as they are."""
        logits = self._run.logits(self.audio[np.newaxis], [len(self.audio)])
        return alignment_plot.alignment(
            self._features,
            tf.nn.log_softmax(logits.values[0]).numpy(),
            self._run.alphabet,
            self._reference,
            len(self.audio) / self.sample_rate_hz,
            f"{self._id}, {self._run.config.features.kind}, epoch {epoch}",
        )


class CtcObjective:
    """CTC of a recogniser, in nats per utterance.

    Args:
      model: of the recogniser.
      channels: of its features.
      settings: their `intermediate_share` weighs the intermediate predictions.
    """

    unit = "nats per utterance"

    def __init__(self, model, channels: int, settings: TrainingConfig):
        self.model = model
        self.signature = utterances.signature(channels)
        self._share = settings.intermediate_share

    def split(self, batch: Batch):
        """Features and their lengths; labels and their lengths."""
        return (batch.features, batch.lengths), (batch.labels, batch.label_lengths)

    def units(self, batch: Batch):
        """The number of utterances."""
        return tf.maximum(tf.reduce_sum(tf.cast(batch.rows >= 0, tf.float32)), 1.0)

    def initial_state(self, batch_size: int):
        """Nothing is carried."""
        return []

    def forward(self, inputs, carried, seed):
        """The predictions, the last of which is the final one."""
        return self.model.predictions(*inputs, training=True, seed=seed), []

    def losses(self, outputs, targets, units):
        """The loss of the final prediction is logged; what is minimised includes the intermediate ones."""
        *intermediate, loss = [tf.reduce_sum(ctc.loss(logits, *targets)) / units for logits in outputs]
        if not intermediate:
            return Losses(loss, loss)
        mean = tf.add_n(intermediate) / len(intermediate)
        return Losses(loss, (1 - self._share) * loss + self._share * mean)


class RecognitionTask:
    """Speech recognition with CTC; see `tfvoice.training.task.Task`.

    What only an evaluation or an export needs is imported by their methods: training starts without it.
    """

    name = "recognition"
    summary = "a recogniser"
    commands = ("tfvoice_transcribe", "tfvoice_tune_lm", "tfvoice_text")
    run = Recognizer

    def training(self, run: Recognizer, data_dir: str | Path) -> RecognizerTraining:
        """Batches, CTC, and validation by CER."""
        return RecognizerTraining(run, data_dir)

    def evaluate(self, run_dir, data_dir, split, checkpoint, compare, decoder) -> tuple[dict[str, Any], Path]:
        """WER and CER of a split."""
        from tfvoice.asr import evaluate

        chosen = decoders.choose(run_dir, **decoder)
        return evaluate.evaluate_run(run_dir, data_dir, split, checkpoint, chosen, compare)

    def format_report(self, report: dict[str, Any], worst: int) -> str:
        """Rates with their intervals, and the worst utterances."""
        from tfvoice.asr import evaluate

        return evaluate.as_text(report, worst)

    def format_result(self, report: dict[str, Any]) -> str:
        """WER and CER with their intervals."""
        if "wer" not in report:
            return ""
        rates = "; ".join(f"{key.upper()} {_percent(report[key])}" for key in ("wer", "cer"))
        return f"{rates}; {report['scored']} of {report['total']} utterances scored, {report['decoder']}"

    def card(self, run: Recognizer) -> ModelCard:
        """Sample rate, alphabet and length of the training clips."""
        characters = "".join(run.alphabet.characters).replace("|", "\\|")
        return ModelCard(
            "Transcribes speech of the language and the kind of its training data. It was not made to judge people, "
            "and its transcripts can be wrong: see the error rates.",
            {
                "sample rate": f"{run.config.features.sample_rate_hz} Hz",
                "alphabet": f"`{characters}`",
                "length": f"trained on clips of up to {run.config.data.max_seconds:g} s",
            },
        )

    def describe(self, run: Recognizer) -> dict[str, Any]:
        """Sample rate, length of the training clips, frames and characters."""
        return {
            "sample_rate_hz": run.config.features.sample_rate_hz,
            "max_seconds": run.config.data.max_seconds,
            "seconds_per_frame": run.seconds_per_frame(),
            "characters": run.alphabet.characters,
        }

    def signatures(self, run: Recognizer) -> dict[str, Callable]:
        """`wav`, `waveform`, `log_probs`, and for models that stream `stream_start` and `stream`."""
        from tfvoice.asr import signatures

        return signatures.signatures(run)

    def write_assets(self, run: Recognizer, folder: Path) -> None:
        """There are none."""

    def portable_function(self, run: Recognizer, format: str) -> Callable | None:
        """Samples to log probabilities; for TFLite only of WaveNet ASR, since it has no recurrent layers."""
        from tfvoice.asr import signatures

        if format == "tflite":
            return signatures.tflite_function(run) if isinstance(run.model, WavenetAsr) else None
        return signatures.onnx_function(run)


RECOGNITION = RecognitionTask()


def _percent(rate: dict[str, Any]) -> str:
    low, high = rate["interval_95"]
    return f"{100 * rate['rate']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
