"""Evaluation of a generator on a split: likelihood in bits per sample, and statistics of samples beside the data."""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from tfvoice.audio import quantize
from tfvoice.data.windows import WindowPipeline
from tfvoice.generation import metrics, sample, scoring
from tfvoice.generation import report as report_
from tfvoice.generation.generator import Generator
from tfvoice.report import evaluation
from tfvoice.report.evaluation import Measured

# Samples that are compared with the data, and how much of the data.
_COUNT, _SECONDS = 8, 4.0
_DATA_SECONDS = 600.0
# Samples that can be played in the page.
_PLAYED = 4


def evaluate_run(
    run_dir: str | Path,
    data_dir: str | Path | None = None,
    split: str = "test",
    checkpoint: str = "best",
    compare: tuple[str, ...] = (),
) -> tuple[dict[str, Any], Path]:
    """Evaluates a run on a whole split, see `report.evaluation.evaluate`.

    The report has bits per sample with their 95 % interval, and statistics of samples (at temperature 1), of the data,
    and of white noise of the same level.
    """
    generator = Generator.load(run_dir, checkpoint)

    def measure(data_dir: str | Path, split: str) -> Measured:
        pipeline = generator.pipeline(generator.scan(data_dir, split, filtered=False))
        clips = scoring.LikelihoodScorer(generator.model, pipeline).score(progress=True)
        samples = sample.Sampler(generator).sample(_COUNT, round(_SECONDS * generator.sample_rate_hz), progress=True)
        content = {
            "clips": len(clips),
            "audio_seconds": round(pipeline.index.seconds, 3),
            "bits_per_sample": scoring.bits_per_sample(clips),
            "interval_95": list(scoring.interval(clips)),
            "levels": generator.config.quantization.levels,
            "statistics": statistics(np.concatenate(samples), _data(pipeline), generator.sample_rate_hz),
            "results": [clip._asdict() for clip in clips],
        }
        return Measured(content, functools.partial(report_.write, generator, samples[:_PLAYED]))

    return evaluation.evaluate(generator, data_dir, split, compare, report_.METRIC, report_.row, measure)


def statistics(samples: np.ndarray, data: np.ndarray, sample_rate_hz: int) -> dict[str, dict[str, float]]:
    """Statistics of samples, of data, and of white noise with the level of the data, each compared with the data.

    The distance of the data is that of its two halves: no samples can be expected to come much nearer.
    """
    measured = metrics.measure(data, sample_rate_hz)
    halves = [metrics.measure(half, sample_rate_hz) for half in np.array_split(data, 2)]
    noise = np.random.default_rng(0).normal(0, 10 ** (measured.level_db / 20), len(samples)).clip(-1, 1)
    rows = {"samples": metrics.measure(samples, sample_rate_hz), "data": measured}
    rows["white noise"] = metrics.measure(noise.astype(np.float32), sample_rate_hz)
    table = {}
    for name, row in rows.items():
        distance = metrics.log_mel_distance_db(*(halves if name == "data" else (row, measured)))
        values = {"log_mel_distance_db": distance} | row._asdict()
        table[name] = {key: round(float(value), 4) for key, value in values.items() if key != "log_mel_db"}
    return table


def _data(pipeline: WindowPipeline) -> np.ndarray:
    """Some clips in the form that the model sees, quantised."""
    order = np.random.default_rng(0).permutation(len(pipeline.index))
    seconds = np.cumsum(pipeline.index.samples[order]) / pipeline.index.sample_rate_hz
    some = order[: max(2, int(np.searchsorted(seconds, _DATA_SECONDS)))]
    return np.concatenate([quantize.decode(pipeline.quantization, pipeline.levels(clip)).numpy() for clip in some])


def as_line(report: dict[str, Any]) -> str:
    """Bits per sample with their interval in one line; "" where it is no report of this task."""
    if report_.METRIC not in report:
        return ""
    low, high = report["interval_95"]
    return f"{report['bits_per_sample']:.3f} bits per sample [{low:.3f}, {high:.3f}]; {report['clips']} clips"


def as_text(report: dict[str, Any], worst: int) -> str:
    """The report for the terminal."""
    low, high = report["interval_95"]
    lines = [
        f"split      {report['split']}: {report['clips']} clips, {report['audio_seconds'] / 60:.1f} minutes",
        f"NLL        {report['bits_per_sample']:.4f} bits per sample  [{low:.4f}, {high:.4f}]; uniform baseline: "
        f"{np.log2(report['levels']):.2f}",
        "           [ ] is the 95 % bootstrap interval over clips",
        "",
        f"{'':<12} {'log-mel distance':>18} {'level':>10} {'silence':>9} {'clipping':>9} {'flatness':>9}",
    ]
    for name, row in report["statistics"].items():
        lines.append(
            f"{name:<12} {row['log_mel_distance_db']:>15.1f} dB {row['level_db']:>7.1f} dB {row['silence']:>9.1%} "
            f"{row['clipping']:>9.2%} {row['flatness']:>9.3f}"
        )
    lines.append("The distance of the data is that of its two halves; samples that are noise have that of noise.")
    ordered = sorted(report["results"], key=lambda clip: -clip["bits"] / clip["samples"])
    lines += [f"{clip['bits'] / clip['samples']:.3f} bits per sample: {clip['id']}" for clip in ordered[:worst]]
    return "\n".join(lines)
