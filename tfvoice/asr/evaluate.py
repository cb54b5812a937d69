"""Evaluation of a recogniser on a whole split: WER and CER with intervals, and every hypothesis.

Training skips utterances that are too long or have no CTC path; an evaluation scores all of them, so that results on
published test sets can be compared. What is longer than the training clips is transcribed in windows, as
`tfvoice_transcribe` does; what cannot be read counts as all words deleted.
"""

import functools
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tfvoice.asr import metrics, scoring
from tfvoice.asr import report as report_
from tfvoice.asr.decoders import DecoderConfig
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.transcribe import Transcriber
from tfvoice.data.index import Index
from tfvoice.data.records import RecordError
from tfvoice.report import evaluation
from tfvoice.report.evaluation import Measured


def evaluate_split(
    recognizer: Recognizer, index: Index, transcriber: Transcriber, progress: bool = False
) -> tuple[list[scoring.ScoredUtterance], float]:
    """Transcribes every utterance of an index.

    Args:
      recognizer: with its weights.
      index: of a split, nothing filtered.
      transcriber: of the recogniser.
      progress: whether to show bars.

    Returns:
      The utterances, and the seconds that transcribing them took; tracing the network is not included.
    """
    longest = recognizer.config.data.max_seconds * index.sample_rate_hz
    intact = np.array([_is_readable(index, row) for row in range(len(index))], bool)
    short = intact & (index.samples <= longest)
    evaluator = None
    if short.any():
        pipeline = recognizer.pipeline(index.subset(np.flatnonzero(short)))
        evaluator = scoring.Evaluator(recognizer.network, pipeline, recognizer.alphabet, transcriber.labels)
    long = np.flatnonzero(intact & ~short)
    start = time.perf_counter()
    results = evaluator.evaluate(progress) if evaluator else []
    if len(long):
        for row in tqdm(long, unit="utterance", desc=f"{index.split}, long", disable=None if progress else True):
            hypothesis = transcriber.transcribe_samples(index.audio(row)).text
            results.append(scoring.scored(index, row, recognizer.alphabet, hypothesis))
    seconds_taken = time.perf_counter() - start
    for row in np.flatnonzero(~intact):
        results.append(scoring.scored(index, row, recognizer.alphabet, "", unreadable=True))
    return results, seconds_taken


def _is_readable(index: Index, row: int) -> bool:
    """Whether a record has its checksum."""
    try:
        return bool(index.read([row]))
    except RecordError:
        return False


def summarise(results: list[scoring.ScoredUtterance], seconds_taken: float, worst: int = 20) -> dict[str, Any]:
    """What `report/eval-<split>.json` holds about the results.

    Args:
      results: of the whole split.
      seconds_taken: time that transcribing took.
      worst: how many of the worst utterances to list.

    Returns:
      Plain values: counts, rates with their 95 % intervals and error counts, real-time factor, and the worst utterances
      by character errors.
    """
    errors = {
        "wer": [metrics.word_errors(result.reference, result.hypothesis) for result in results],
        "cer": [metrics.character_errors(result.reference, result.hypothesis) for result in results],
        "cer_without_spaces": [
            metrics.character_errors(result.reference, result.hypothesis, spaces=False) for result in results
        ],
    }
    audio_seconds = sum(result.seconds for result in results)
    order = sorted(range(len(results)), key=lambda row: (-errors["cer"][row].total, results[row].id))
    unreadable = [result.id for result in results if result.unreadable]
    return {
        "total": len(results),
        "scored": len(results) - len(unreadable),
        "unreadable": unreadable,
        "audio_seconds": round(audio_seconds, 3),
        **{name: metrics.summarise(counts) for name, counts in errors.items()},
        "loss": scoring.score(results).loss,
        "real_time_factor": seconds_taken / audio_seconds if audio_seconds else 0.0,
        "worst": [
            asdict(results[row]) | {"aligned": metrics.aligned(results[row].reference, results[row].hypothesis)}
            for row in order[:worst]
            if errors["cer"][row].total
        ],
        "results": [asdict(result) for result in results],
    }


def evaluate_run(
    run_dir: str | Path,
    data_dir: str | Path | None = None,
    split: str = "test",
    checkpoint: str = "best",
    decoder: DecoderConfig = DecoderConfig(),  # noqa: B008 - frozen
    compare: tuple[str, ...] = (),
) -> tuple[dict[str, Any], Path]:
    """Evaluates a run on a whole split, with a decoder from `decoders.choose`; see `report.evaluation.evaluate`.

    The report has the results as `summarise` gives them.
    """
    recognizer = Recognizer.load(run_dir, checkpoint)
    # Before the data are read: its language model may be unusable.
    transcriber = Transcriber(recognizer, decoder)

    def measure(data_dir: str | Path, split: str) -> Measured:
        index = recognizer.scan(data_dir, split, filtered=False)
        results, seconds_taken = evaluate_split(recognizer, index, transcriber, progress=True)
        content = {"decoder": str(decoder), "dropped_symbols": dict(index.symbols), **summarise(results, seconds_taken)}
        return Measured(content, functools.partial(report_.write, recognizer, index))

    return evaluation.evaluate(recognizer, data_dir, split, compare, report_.METRIC, report_.row, measure)


def as_text(report: dict[str, Any], worst: int = 5) -> str:
    """The report for the terminal."""
    lines = [
        f"split      {report['split']}: {report['scored']} of {report['total']} utterances scored, "
        f"{report['audio_seconds'] / 60:.1f} minutes",
        f"decoder    {report['decoder']}",
    ]
    if report["unreadable"]:
        lines.append(f"unreadable {', '.join(report['unreadable'][:5])}: all their words count as deleted")
    for key, title in (("wer", "WER"), ("cer", "CER"), ("cer_without_spaces", "CER*")):
        rate = report[key]
        low, high = rate["interval_95"]
        lines.append(
            f"{title:<10} {rate['rate']:6.2%}  [{low:.2%}, {high:.2%}]  {rate['substitutions']} substitutions, "
            f"{rate['deletions']} deletions, {rate['insertions']} insertions in {rate['reference_units']}"
        )
    lines.append("           CER* ignores spaces, as deepspeech.pytorch does; [ ] is the 95 % bootstrap interval")
    if not any(" " in result["reference"] for result in report["results"]):
        lines.append("           no reference has a space, so that WER counts whole utterances; compare CER instead")
    lines.append(f"speed      {report['real_time_factor']:.4f} of real time")
    for result in report["worst"][:worst]:
        lines += ["", f"{result['id']} ({result['seconds']:.1f} s)", result["aligned"]]
    return "\n".join(lines)
