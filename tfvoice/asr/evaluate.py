"""How well a recogniser reads a split: WER and CER with intervals, and where it goes wrong."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfvoice import ctc
from tfvoice.asr import decoders, metrics
from tfvoice.asr.decoders import DecoderConfig
from tfvoice.asr.recognizer import Recognizer
from tfvoice.audio import features
from tfvoice.data.utterances import Batch, Pipeline, signature
from tfvoice.lengths import Sequence
from tfvoice.report import html
from tfvoice.text.alphabet import Alphabet


@dataclass(frozen=True)
class Reading:
    """One utterance: what was said, what was read, and the CTC loss of what was said, in nats."""

    id: str
    speaker: str
    seconds: float
    reference: str
    hypothesis: str
    loss: float


class Score(NamedTuple):
    """Corpus-level rates (errors over units of the reference) and the mean loss in nats per utterance."""

    wer: float
    cer: float
    loss: float


class Reader:
    """Reads the utterances of a split, as often as wanted; traced once, so that memory does not grow.

    Args:
      network: features and lengths to logits.
      pipeline: of the split, without augmentation.
      alphabet: of the run.
      decode: the `labels` of a `decoders.Decoder`.
    """

    def __init__(
        self,
        network: Callable[[tf.Tensor, tf.Tensor], Sequence],
        pipeline: Pipeline,
        alphabet: Alphabet,
        decode: Callable[[Sequence], tf.RaggedTensor],
    ):
        self.index = pipeline.index
        self.alphabet = alphabet
        self._batches = pipeline.batches(epochs=1)
        self._references = [alphabet.normalise(text) for text in self.index.texts]

        @tf.function(input_signature=[signature(features.channels(pipeline.feature_config))])
        def step(batch: Batch):
            logits = network(batch.features, batch.lengths)
            return decode(logits), ctc.loss(logits, batch.labels, batch.label_lengths)

        self._step = step
        # Traced now, so that the first reading takes no longer than the next: it is timed.
        step.get_concrete_function()

    def read(self, progress: bool = False) -> list[Reading]:
        """Reads every utterance, from short to long; `progress` shows a bar."""
        readings = []
        bar = tqdm(total=len(self.index), unit="utterance", desc=self.index.split, disable=None if progress else True)
        with bar:
            for batch in self._batches:
                labels, losses = self._step(batch)
                for row, ids, loss in zip(batch.rows.numpy(), labels.to_list(), losses.numpy(), strict=True):
                    if row >= 0:
                        readings.append(self._reading(row, ids, loss))
                        bar.update()
        return readings

    def _reading(self, row: int, ids: list[int], loss: float) -> Reading:
        index = self.index
        return Reading(
            index.ids[row],
            index.speakers[row],
            round(float(index.samples[row]) / index.sample_rate_hz, 3),
            self._references[row],
            # Greedy CTC can write a blank before the first word or two in a row; a text never has them.
            " ".join(self.alphabet.decode(ids).split()),
            round(float(loss), 4),
        )


def score(readings: list[Reading]) -> Score:
    """Rates over all readings."""
    words = [metrics.word_errors(one.reference, one.hypothesis) for one in readings]
    characters = [metrics.character_errors(one.reference, one.hypothesis) for one in readings]
    loss = float(np.mean([one.loss for one in readings])) if readings else 0.0
    return Score(metrics.rate(words), metrics.rate(characters), loss)


def summarise(readings: list[Reading], seconds_taken: float, worst: int = 20) -> dict[str, Any]:
    """Everything that `report/eval-<split>.json` holds.

    Args:
      readings: of the whole split.
      seconds_taken: time that reading took.
      worst: how many of the worst utterances to list.

    Returns:
      Plain values: rates with their 95 % intervals and error counts, real-time factor, and the worst utterances by
      character errors.
    """
    counted = {
        "wer": [metrics.word_errors(one.reference, one.hypothesis) for one in readings],
        "cer": [metrics.character_errors(one.reference, one.hypothesis) for one in readings],
        "cer_without_spaces": [
            metrics.character_errors(one.reference, one.hypothesis, spaces=False) for one in readings
        ],
    }
    audio_seconds = sum(one.seconds for one in readings)
    order = sorted(range(len(readings)), key=lambda row: (-counted["cer"][row].total, readings[row].id))
    rates = {}
    for name, errors in counted.items():
        total = metrics.combine(errors)
        rates[name] = {
            "rate": metrics.rate(errors),
            "interval_95": list(metrics.interval(errors)),
            "substitutions": total.substitutions,
            "deletions": total.deletions,
            "insertions": total.insertions,
            "reference_units": total.reference_units,
        }
    return {
        "utterances": len(readings),
        "audio_seconds": round(audio_seconds, 3),
        **rates,
        "loss": score(readings).loss,
        "real_time_factor": seconds_taken / audio_seconds if audio_seconds else 0.0,
        "worst": [
            asdict(readings[row]) | {"aligned": metrics.aligned(readings[row].reference, readings[row].hypothesis)}
            for row in order[:worst]
            if counted["cer"][row].total
        ],
        "readings": [asdict(one) for one in readings],
    }


def evaluate_run(
    run_dir: str | Path,
    data_dir: str | Path | None = None,
    split: str = "test",
    checkpoint: str = "best",
    decoder: DecoderConfig = DecoderConfig(),  # noqa: B008 - frozen
    compare: tuple[str, ...] = (),
) -> tuple[dict[str, Any], Path]:
    """Measures a run on a split, and writes `report/eval-<split>.json` and `.html` into it.

    Args:
      run_dir: folder of the run.
      data_dir: folder of the shards; None: the one that the run was trained on.
      split: name of the split.
      checkpoint: `best` or `last`.
      decoder: how text is found, from `decoders.choose`.
      compare: folders of runs whose reports of this split stand beside it in the page.

    Returns:
      The report as `summarise` gives it, and the path of the page.

    Raises:
      TfvoiceError: the run, the data, the split or a run to compare with cannot be used.
    """
    beside = html.others(run_dir, compare, split, "wer")
    experiment = Recognizer.load(run_dir, checkpoint)
    decode = decoders.build(decoder, experiment.alphabet).labels
    data_dir = experiment.data_dir(data_dir)
    scanned = experiment.scan(data_dir, split)
    reader = Reader(experiment.network, experiment.pipeline(scanned), experiment.alphabet, decode)
    start = time.perf_counter()
    readings = reader.read(progress=True)
    report = {
        "split": split,
        "data": str(data_dir),
        "checkpoint": checkpoint,
        "decoder": str(decoder),
        "left_out": dict(scanned.dropped),
        "dropped_symbols": dict(scanned.symbols),
        **summarise(readings, time.perf_counter() - start),
    }
    experiment.write_report(f"eval-{split}", report)
    return report, html.recogniser(experiment, scanned, report, beside)


def as_text(report: dict[str, Any], worst: int = 5) -> str:
    """The report as a person reads it in a terminal."""
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(report["left_out"].items())) or "none"
    lines = [
        f"split      {report['split']}: {report['utterances']} utterances, {report['audio_seconds'] / 60:.1f} minutes; "
        f"left out: {left_out}",
        f"decoder    {report['decoder']}",
    ]
    for key, title in (("wer", "WER"), ("cer", "CER"), ("cer_without_spaces", "CER*")):
        rate = report[key]
        low, high = rate["interval_95"]
        lines.append(
            f"{title:<10} {rate['rate']:6.2%}  [{low:.2%}, {high:.2%}]  {rate['substitutions']} substitutions, "
            f"{rate['deletions']} deletions, {rate['insertions']} insertions in {rate['reference_units']}"
        )
    lines.append("           CER* leaves spaces out, as deepspeech.pytorch does; [ ] is the 95 % bootstrap interval")
    lines.append(f"speed      {report['real_time_factor']:.4f} of real time")
    for one in report["worst"][:worst]:
        lines += ["", f"{one['id']} ({one['seconds']:.1f} s)", one["aligned"]]
    return "\n".join(lines)
