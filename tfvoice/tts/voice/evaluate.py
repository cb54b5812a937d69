"""Evaluation of a voice on a split of its aligned records: each of its parts, how it is understood, and how fast it is.

A sentence is there three times: as it was recorded; copied, by the vocoder with the phonemes, durations and F0 of the
recording; and synthesised from its text alone. What separates the first two is the vocoder, the last two the prosody.
"""

import functools
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from tfvoice.asr.recognizer import Recognizer
from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.errors import TfvoiceError
from tfvoice.generation import scoring as generation_scoring
from tfvoice.report import evaluation
from tfvoice.report.evaluation import Measured
from tfvoice.tts.duration_f0 import evaluate as prosody_evaluate
from tfvoice.tts.vocoder import evaluate as vocoder_evaluate
from tfvoice.tts.vocoder import metrics as vocoder_metrics
from tfvoice.tts.vocoder.data import VocoderIndex
from tfvoice.tts.vocoder.metrics import CopyErrors
from tfvoice.tts.vocoder.objective import NextLevelObjective
from tfvoice.tts.vocoder.scoring import LikelihoodScorer
from tfvoice.tts.voice import metrics
from tfvoice.tts.voice import report as report_
from tfvoice.tts.voice.metrics import Listener, Timing
from tfvoice.tts.voice.run import VoiceRun
from tfvoice.tts.voice.speaker import Speaker, SpokenSentence

# At most so many sentences are spoken, evenly from the split.
_SPOKEN = 48
# The kinds of speech, and how tables call them.
KINDS = {"recording": "recordings", "copy": "copy synthesis", "synthesis": "synthesis"}


class SpokenUtterance(NamedTuple):
    """A sentence of the split in its three kinds.

    Attributes:
      id, text: as in the records.
      waves: float32 `[samples]`, by the keys of `KINDS`.
      alignments: of the waves; None where nothing could be synthesised.
      errors: of the copy.
      timing: of the synthesis.
    """

    id: str
    text: str
    waves: dict[str, np.ndarray]
    alignments: dict[str, PhonemeAlignment | None]
    errors: CopyErrors
    timing: Timing | None


def evaluate_run(
    run_dir: str | Path,
    data_dir: str | Path | None = None,
    split: str = "test",
    checkpoint: str = "best",
    compare: tuple[str, ...] = (),
    recognizer: str | Path | None = None,
) -> tuple[dict[str, Any], Path]:
    """Evaluates a voice on a split of aligned records, see `report.evaluation.evaluate`.

    Args:
      run_dir, split, checkpoint, compare: as there.
      data_dir: folder of aligned records; None: those in the folder of the voice.
      recognizer: folder of a run that transcribes what is spoken; None: intelligibility is not measured.
    """
    voice = VoiceRun.load(run_dir, checkpoint)
    listener = None if recognizer is None else Listener(Recognizer.load(recognizer))

    def measure(data_dir: str | Path, split: str) -> Measured:
        index = voice.vocoder.index(data_dir, split)
        content = _of_parts(voice, data_dir, split, index)
        spoken = speak(voice, index)
        hypotheses: dict[str, list[str]] = {}
        if listener:
            hypotheses = {
                kind: listener.transcribe([each.waves[kind] for each in spoken], voice.sample_rate_hz) for kind in KINDS
            }
        texts = [each.text for each in spoken]
        content |= {
            "copy_errors": vocoder_evaluate.summarise([each.errors for each in spoken]),
            **metrics.speed([each.timing for each in spoken if each.timing]),
            "recognizer": None if recognizer is None else Path(recognizer).resolve().name,
            report_.METRIC: {kind: listener.error_rates(texts, found) for kind, found in hypotheses.items()},
            "results": [_result(each, hypotheses, place) for place, each in enumerate(spoken)],
        }
        return Measured(content, functools.partial(report_.write, voice, spoken))

    return evaluation.evaluate(voice, data_dir, split, compare, report_.METRIC, report_.row, measure)


def speak(voice: VoiceRun, index: VocoderIndex) -> list[SpokenUtterance]:
    """Copies and synthesises sentences of a split, evenly from all of it."""
    speaker, clips, spoken = Speaker(voice), index.clips, []
    rows = sorted(set(np.linspace(0, len(clips) - 1, _SPOKEN).round().astype(int).tolist()))
    for number, row in enumerate(tqdm(rows, unit="sentence", desc="speaking", disable=None)):
        text, recording = clips.texts[row], clips.audio(row)
        copy = speaker.speak(SpokenSentence(text, [], index.alignments[row]))[: len(recording)]
        if not number:
            # What is compiled by the first sentence does not count.
            _synthesise(speaker, text)
        planned, synthesis, timing = _synthesise(speaker, text)
        waves = {"recording": recording, "copy": copy, "synthesis": synthesis}
        alignments = {"recording": index.alignments[row], "copy": index.alignments[row], "synthesis": planned}
        errors = vocoder_metrics.copy_errors(recording, copy, voice.sample_rate_hz)
        spoken.append(SpokenUtterance(clips.ids[row], text, waves, alignments, errors, timing))
    return spoken


def _synthesise(speaker: Speaker, text: str) -> tuple[PhonemeAlignment | None, np.ndarray, Timing | None]:
    """Speaks a text as `tfvoice_speak` does; nothing where no word of it can be spoken."""
    start, blocks, first = time.monotonic(), [], 0.0
    try:
        sentence = speaker.plan(text)
    except TfvoiceError:
        return None, np.zeros(0, np.float32), None
    for block in speaker.stream(sentence):
        first = first or time.monotonic() - start
        blocks.append(block)
    samples = np.concatenate(blocks)
    return (
        sentence.alignment,
        samples,
        Timing(len(samples) / speaker.voice.sample_rate_hz, time.monotonic() - start, first),
    )


def _of_parts(voice: VoiceRun, data_dir: str | Path, split: str, index: VocoderIndex) -> dict[str, Any]:
    """What is measured of the vocoder and of the model of duration and F0, on the whole split."""
    pipeline, predictor = voice.vocoder.pipeline(index), voice.duration_f0
    scored = LikelihoodScorer(NextLevelObjective(voice.vocoder.model, pipeline), pipeline).score(progress=True)
    prosody = predictor.index(predictor.config, data_dir, split)
    return {
        "utterances": len(scored),
        "audio_seconds": round(index.clips.seconds, 3),
        "bits_per_sample": generation_scoring.bits_per_sample(scored),
        "interval_95": list(generation_scoring.interval(scored)),
        "levels": voice.vocoder.config.quantization.levels,
        "prosody_errors": prosody_evaluate.summarise(prosody_evaluate.predicted_errors(predictor, prosody)[0]),
    }


def _result(spoken: SpokenUtterance, hypotheses: dict[str, list[str]], place: int) -> dict[str, Any]:
    errors = vocoder_evaluate.rounded(spoken.errors)
    transcripts = {kind: found[place] for kind, found in hypotheses.items()}
    return {"id": spoken.id, "text": spoken.text, **errors, "transcripts": transcripts}


def as_text(report: dict[str, Any], worst: int) -> str:
    """The report for the terminal, with the `worst` sentences by the distortion of their copies."""
    low, high = report["interval_95"]
    lines = [
        f"split      {report['split']}: {report['utterances']} utterances, {report['audio_seconds'] / 60:.1f} minutes",
        f"vocoder    {report['bits_per_sample']:.4f} bits per sample  [{low:.4f}, {high:.4f}]; uniform baseline: "
        f"{np.log2(report['levels']):.2f}",
        "durations and F0, mean absolute errors:",
    ]
    for key, (name, unit, factor) in prosody_evaluate.ROWS.items():
        mean, (low, high) = report["prosody_errors"][key].values()
        lines.append(f"  {name:<24} {factor * mean:7.2f} {unit:<3} [{factor * low:.2f}, {factor * high:.2f}]")
    lines.append(f"copy synthesis of {len(report['results'])} sentences:")
    lines += vocoder_evaluate.copy_error_lines(report)
    lines += _intelligibility(report)
    lines.append(
        f"speed      {report['times_real_time']:.2f} times real time, the first sound after "
        f"{report['first_sound_seconds']:.2f} s"
    )
    lines.append("[ ] is the 95 % bootstrap interval over utterances")
    ordered = sorted(report["results"], key=lambda one: -one["distortion_db"])
    lines += [f"{one['distortion_db']:.1f} dB: {one['id']}: {one['text']}" for one in ordered[:worst]]
    return "\n".join(lines)


def _intelligibility(report: dict[str, Any]) -> list[str]:
    found = report[report_.METRIC]
    if not found:
        return ["intelligibility was not measured; name a run of a recogniser with --recognizer=RUN"]
    lines = [f"intelligibility, by {report['recognizer']}:"]
    for kind, title in KINDS.items():
        rates = []
        for key in ("cer", "wer"):
            low, high = found[kind][key]["interval_95"]
            rates.append(f"{key.upper()} {found[kind][key]['rate']:6.1%} [{low:.1%}, {high:.1%}]")
        lines.append(f"  {title:<24} {'  '.join(rates)}")
    return lines


def as_line(report: dict[str, Any]) -> str:
    """Bits per sample and intelligibility in one line; "" where it is no report of a voice."""
    if report_.METRIC not in report:
        return ""
    low, high = report["interval_95"]
    parts = [f"{report['bits_per_sample']:.3f} bits per sample [{low:.3f}, {high:.3f}]"]
    for kind, rates in report[report_.METRIC].items():
        low, high = rates["cer"]["interval_95"]
        parts.append(f"CER of {KINDS[kind]} {rates['cer']['rate']:.1%} [{low:.1%}, {high:.1%}]")
    return f"{'; '.join(parts)}; {len(report['results'])} sentences"
