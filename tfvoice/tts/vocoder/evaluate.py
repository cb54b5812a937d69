"""Evaluation of a vocoder on a split: likelihood in bits per sample, and copy synthesis beside the recordings."""

import functools
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from tfvoice import bootstrap
from tfvoice.generation import scoring as generation_scoring
from tfvoice.report import evaluation
from tfvoice.report.evaluation import Measured
from tfvoice.tts.vocoder import metrics
from tfvoice.tts.vocoder import report as report_
from tfvoice.tts.vocoder.data import ClipPipeline
from tfvoice.tts.vocoder.metrics import CopyErrors
from tfvoice.tts.vocoder.objective import NextLevelObjective
from tfvoice.tts.vocoder.run import VocoderRun
from tfvoice.tts.vocoder.scoring import LikelihoodScorer
from tfvoice.tts.vocoder.synthesis import Synthesizer

# Utterances that are spoken with their own durations and F0, evenly from the split.
_COPIES = 16
# Rows of the report: name and unit of each error of a copy.
ROWS = {"distortion_db": ("mel-cepstral distortion", "dB"), "f0_hz": ("F0", "Hz"), "voicing": ("voicing differs", "")}


class Copy(NamedTuple):
    """A recording, and its copy synthesis: float32 `[samples]` each."""

    id: str
    text: str
    recording: np.ndarray
    copy: np.ndarray
    errors: CopyErrors


def evaluate_run(
    run_dir: str | Path,
    data_dir: str | Path | None = None,
    split: str = "test",
    checkpoint: str = "best",
    compare: tuple[str, ...] = (),
) -> tuple[dict[str, Any], Path]:
    """Evaluates a run on a split of aligned records, see `report.evaluation.evaluate`.

    The report has bits per sample, and the errors of copy synthesis, with their 95 % intervals.
    """
    run = VocoderRun.load(run_dir, checkpoint)

    def measure(data_dir: str | Path, split: str) -> Measured:
        pipeline = run.pipeline(run.index(data_dir, split))
        scored = LikelihoodScorer(NextLevelObjective(run.model, pipeline), pipeline).score(progress=True)
        copies, seconds_taken = copy_synthesis(run, pipeline)
        seconds = sum(len(each.copy) for each in copies) / run.sample_rate_hz
        content = {
            "utterances": len(scored),
            "audio_seconds": round(pipeline.index.clips.seconds, 3),
            "bits_per_sample": generation_scoring.bits_per_sample(scored),
            "interval_95": list(generation_scoring.interval(scored)),
            "levels": run.config.quantization.levels,
            "copies": [{"id": each.id, **rounded(each.errors)} for each in copies],
            "copy_errors": summarise([each.errors for each in copies]),
            "times_real_time": seconds / max(seconds_taken, 1e-9),
            "results": [one._asdict() for one in scored],
        }
        return Measured(content, functools.partial(report_.write, run, copies))

    return evaluation.evaluate(run, data_dir, split, compare, report_.METRIC, report_.row, measure)


def copy_synthesis(run: VocoderRun, pipeline: ClipPipeline) -> tuple[list[Copy], float]:
    """Speaks some utterances with their own durations and F0; also returns the seconds that speaking them took."""
    clips, synthesizer, copies, seconds = pipeline.index.clips, Synthesizer(run), [], 0.0
    rows = sorted(set(np.linspace(0, len(clips) - 1, _COPIES).round().astype(int).tolist()))
    # Compiled before the clock starts.
    synthesizer.speak(pipeline.conditioning[rows[0]].part(0, run.sizes.silence + 1))
    for row in tqdm(rows, unit="utterance", desc="copy synthesis", disable=None):
        recording, start = clips.audio(row), time.monotonic()
        copy = synthesizer.speak(pipeline.conditioning[row], run.config.sampling.temperature, seed=row)
        seconds += time.monotonic() - start
        copy = copy[: len(recording)]
        errors = metrics.copy_errors(recording, copy, run.sample_rate_hz)
        copies.append(Copy(clips.ids[row], clips.texts[row], recording, copy, errors))
    return copies, seconds


def summarise(errors: list[CopyErrors]) -> dict[str, Any]:
    """Mean and 95 % interval of each error, over utterances that have it; None where none has."""
    found: dict[str, Any] = {}
    for name in ROWS:
        values = [getattr(each, name) for each in errors if np.isfinite(getattr(each, name))]
        interval = bootstrap.ratio_interval([(value, 1) for value in values]) if values else None
        found[name] = {"mean": round(float(np.mean(values)), 4), "interval_95": list(interval)} if values else None
    return found


def copy_error_lines(report: dict[str, Any]) -> list[str]:
    """The errors of copies in a report for the terminal, a line for each that is known."""
    lines = []
    for key, (name, unit) in ROWS.items():
        if error := report["copy_errors"][key]:
            low, high = error["interval_95"]
            lines.append(f"  {name:<24} {error['mean']:7.3f} {unit:<3} [{low:.3f}, {high:.3f}]")
    return lines


def as_text(report: dict[str, Any], worst: int) -> str:
    """The report for the terminal, with the `worst` utterances of the most bits per sample."""
    low, high = report["interval_95"]
    lines = [
        f"split      {report['split']}: {report['utterances']} utterances, {report['audio_seconds'] / 60:.1f} minutes",
        f"NLL        {report['bits_per_sample']:.4f} bits per sample  [{low:.4f}, {high:.4f}]; uniform baseline: "
        f"{np.log2(report['levels']):.2f}",
        f"copy synthesis of {len(report['copies'])} utterances, {report['times_real_time']:.2f} times real time:",
    ]
    lines += copy_error_lines(report)
    lines.append("[ ] is the 95 % bootstrap interval over utterances")
    ordered = sorted(report["results"], key=lambda one: -one["bits"] / one["samples"])
    lines += [f"{one['bits'] / one['samples']:.3f} bits per sample: {one['id']}" for one in ordered[:worst]]
    return "\n".join(lines)


def as_line(report: dict[str, Any]) -> str:
    """Bits per sample in one line; "" where it is no report of this task."""
    if not {report_.METRIC, "copy_errors"} <= report.keys():
        return ""
    low, high = report["interval_95"]
    return f"{report['bits_per_sample']:.3f} bits per sample [{low:.3f}, {high:.3f}]; {report['utterances']} utterances"


def rounded(errors: CopyErrors) -> dict[str, float | None]:
    """The errors of a copy as JSON has them: None for NaN."""
    return {name: round(value, 4) if np.isfinite(value) else None for name, value in errors._asdict().items()}
