"""How well a generator predicts a split, and how what it generates compares with it."""

from pathlib import Path
from typing import Any

import numpy as np

from tfvoice.asr.decoders import DecoderConfig
from tfvoice.audio import quantize
from tfvoice.data.windows import ClipPipeline
from tfvoice.errors import TfvoiceError
from tfvoice.generation import likelihood, metrics, sample
from tfvoice.generation.generator import Generator
from tfvoice.report import html

# What is drawn to be compared, and how much of the data it is compared with.
_COUNT, _SECONDS = 8, 4.0
_DATA_SECONDS = 600.0
# How many of what is drawn can be heard in the page.
_HEARD = 4


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
      decoder: the default; there is nothing to decode.
      compare: folders of runs whose reports of this split stand beside it in the page.

    Returns:
      Bits per sample with their 95 % interval, and statistics of what is generated (at temperature 1), of the data, and
      of white noise of the same level; and the path of the page.

    Raises:
      TfvoiceError: the run, the data, the split or a run to compare with cannot be used.
    """
    if decoder != DecoderConfig():
        raise TfvoiceError(f"{run_dir}: generates audio, so that there is no text to decode; leave --decoder out.")
    beside = html.others(run_dir, compare, split, "bits_per_sample")
    generator = Generator.load(run_dir, checkpoint)
    data_dir = generator.data_dir(data_dir)
    pipeline = generator.pipeline(generator.scan(data_dir, split))
    clips = likelihood.Scorer(generator.model, pipeline).score(progress=True)
    drawn = sample.Sampler(generator).collect(_COUNT, round(_SECONDS * generator.sample_rate_hz), progress=True)
    report = {
        "split": split,
        "data": str(data_dir),
        "checkpoint": checkpoint,
        "clips": len(clips),
        "audio_seconds": round(pipeline.index.seconds, 3),
        "left_out": dict(pipeline.index.dropped),
        "bits_per_sample": likelihood.per_sample(clips),
        "interval_95": list(likelihood.interval(clips)),
        "levels": generator.config.quantization.levels,
        "statistics": compared(np.concatenate(drawn), _data(pipeline), generator.sample_rate_hz),
        "readings": [clip._asdict() for clip in clips],
    }
    generator.write_report(f"eval-{split}", report)
    return report, html.generator(generator, drawn[:_HEARD], report, beside)


def compared(drawn: np.ndarray, data: np.ndarray, sample_rate_hz: int) -> dict[str, dict[str, float]]:
    """Statistics of what was drawn, of data, and of white noise as loud as the data, each against the data.

    The distance of the data is that of its two halves: nothing that is drawn can be expected to come much nearer.
    """
    known = metrics.of(data, sample_rate_hz)
    halves = [metrics.of(half, sample_rate_hz) for half in np.array_split(data, 2)]
    noise = np.random.default_rng(0).normal(0, 10 ** (known.level_db / 20), len(drawn)).clip(-1, 1)
    found = {"samples": metrics.of(drawn, sample_rate_hz), "data": known}
    found["white noise"] = metrics.of(noise.astype(np.float32), sample_rate_hz)
    table = {}
    for name, one in found.items():
        distance = metrics.log_mel_distance_db(*(halves if name == "data" else (one, known)))
        values = {"log_mel_distance_db": distance} | one._asdict()
        table[name] = {key: round(float(value), 4) for key, value in values.items() if key != "log_mel_db"}
    return table


def _data(pipeline: ClipPipeline) -> np.ndarray:
    """Some clips as the model sees them, quantised."""
    order = np.random.default_rng(0).permutation(len(pipeline.index))
    seconds = np.cumsum(pipeline.index.samples[order]) / pipeline.index.sample_rate_hz
    some = order[: max(2, int(np.searchsorted(seconds, _DATA_SECONDS)))]
    return np.concatenate([quantize.decode(pipeline.quantization, pipeline.levels(clip)).numpy() for clip in some])


def as_text(report: dict[str, Any], worst: int) -> str:
    """The report as a person reads it in a terminal."""
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(report["left_out"].items())) or "none"
    low, high = report["interval_95"]
    lines = [
        f"split      {report['split']}: {report['clips']} clips, {report['audio_seconds'] / 60:.1f} minutes; "
        f"left out: {left_out}",
        f"NLL        {report['bits_per_sample']:.4f} bits per sample  [{low:.4f}, {high:.4f}]; knowing nothing costs "
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
    ordered = sorted(report["readings"], key=lambda clip: -clip["bits"] / clip["samples"])
    lines += [f"{clip['bits'] / clip['samples']:.3f} bits per sample: {clip['id']}" for clip in ordered[:worst]]
    return "\n".join(lines)
