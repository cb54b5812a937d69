"""Reports as pages: one file each, with audio and pictures inside, that needs no network."""

import base64
import contextlib
import datetime
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import soundfile
import soxr
import tensorflow as tf

from tfvoice import version
from tfvoice.asr import error_analysis, metrics
from tfvoice.asr.recognizer import Recognizer
from tfvoice.audio import features
from tfvoice.data.index import Index
from tfvoice.errors import TfvoiceError
from tfvoice.experiment import Experiment
from tfvoice.generation import metrics as audio_metrics
from tfvoice.generation.generator import Generator
from tfvoice.report import plots
from tfvoice.training import checkpoints

_TEMPLATES = Path(__file__).parent / "templates"
_WORST, _WORDS, _SPEAKERS, _CHARACTERS, _STEPS = 12, 30, 25, 30, 6
_NOTHING, _SPACE = "∅", "␣"


class Other(NamedTuple):
    """A run that stands beside: what it is called, its folder, the name of its model, and its report."""

    name: str
    folder: Path
    model: str
    found: dict[str, Any]


def others(run_dir: str | Path, compare: tuple[str, ...], split: str, key: str) -> list[Other]:
    """Reports of other runs; they are called by their folder, or its whole path where names are the same.

    Args:
      run_dir: folder of the run that they stand beside.
      compare: their folders.
      split: of the reports.
      key: what the report of a run of this kind has.

    Raises:
      TfvoiceError: one has no such report, or is a run of another kind.
    """
    names = [Path(folder).resolve().name for folder in compare]
    taken = [*names, Path(run_dir).resolve().name]
    names = [folder if taken.count(name) > 1 else name for name, folder in zip(names, compare, strict=True)]
    return [_other(name, folder, split, key) for name, folder in zip(names, compare, strict=True)]


def recogniser(run: Recognizer, index: Index, found: dict[str, Any], beside: list[Other]) -> Path:
    """Writes `report/eval-<split>.html`.

    Args:
      run: the run, with its weights.
      index: of the split.
      found: its report, from `evaluation`.
      beside: runs whose report of this split stands beside it, from `others`.

    Returns:
      The path.
    """
    readings = found["readings"]
    rows = {name: row for row, name in enumerate(index.ids)}
    levels_db = {one["id"]: audio_metrics.level_db(index.audio(rows[one["id"]])) for one in readings}
    speakers = error_analysis.groups(readings, lambda one: one["speaker"] or "unknown")
    wer, cer = found["wer"], found["cer"]
    tiles = [_tile("word error rate", wer), _tile("character error rate", cer)]
    minutes = f"{found['audio_seconds'] / 60:.1f} minutes"
    tiles.append({"name": "utterances", "value": f"{found['utterances']:,}", "note": minutes})
    speed = {"name": "speed", "value": f"{1 / max(found['real_time_factor'], 1e-9):.0f} x", "note": "real time"}
    content = {
        "tiles": [*tiles, speed],
        "runs": _sides(_side, _itself(run, found), beside),
        "curves": _curves([_itself(run, found), *beside]),
        "lengths": error_analysis.by_length(readings),
        "levels": error_analysis.by_level(readings, levels_db),
        "speakers": speakers[:_SPEAKERS],
        "more_speakers": max(0, len(speakers) - _SPEAKERS),
        "matrix": _matrix(error_analysis.confusions(readings)),
        "words": error_analysis.wrong_words(readings)[:_WORDS],
        "worst": [
            _utterance(run, index, rows[one["id"]], one, found["decoder"], beside) for one in found["worst"][:_WORST]
        ],
    }
    note = f"Decoder: {found['decoder']}. Intervals are 95 % bootstrap intervals over utterances."
    return _write(run, "recogniser.html", found, content, note)


def generator(run: Generator, drawn: np.ndarray, found: dict[str, Any], beside: list[Other]) -> Path:
    """Writes `report/eval-<split>.html`; `drawn` is float32 `[recordings, samples]`, the rest as for `recogniser`."""
    low, high = found["interval_95"]
    rate_hz = run.sample_rate_hz
    tiles = [
        {"name": "bits per sample", "value": f"{found['bits_per_sample']:.3f}", "note": f"{low:.3f} to {high:.3f}"},
        {"name": "knowing nothing", "value": f"{np.log2(found['levels']):.2f}", "note": f"{found['levels']} levels"},
        {"name": "clips", "value": f"{found['clips']:,}", "note": f"{found['audio_seconds'] / 60:.1f} minutes"},
    ]
    names = [str(number) for number in range(len(drawn))]
    content = {
        "tiles": tiles,
        "runs": _sides(_side_of_generator, _itself(run, found), beside),
        "curves": _curves([_itself(run, found), *beside]),
        "statistics": found["statistics"],
        "drawn": {
            "audio": [_audio(wave, rate_hz) for wave in drawn],
            "picture": _picture(plots.waveforms(drawn, rate_hz, names)),
        },
        "history": [_samples(path) for path in _spread(_validations(run.run_dir))],
        "beside": [
            {"run": other.name} | _samples(path) for other in beside for path in _validations(other.folder)[-1:]
        ],
    }
    return _write(run, "generator.html", found, content, "Intervals are 95 % bootstrap intervals over clips.")


def _other(name: str, folder: str, split: str, key: str) -> Other:
    """A run with its report of a split, from which its row can be made."""
    path = Path(folder) / "report" / f"eval-{split}.json"
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
        description = json.loads((Path(folder) / "experiment.json").read_text(encoding="utf-8"))
        model = str(description["config"]["model"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        raise TfvoiceError(
            f"--compare={folder}: has no report of split {split} yet; write it with "
            f"tfvoice_eval --run={folder} --split={split}."
        ) from None
    if key not in found:
        raise TfvoiceError(f"--compare={folder}: is a run of {model}, which is measured by other numbers.")
    other = Other(name, Path(folder), model, found)
    try:
        _sides(_SIDES[key], other, [])
    except (KeyError, TypeError):
        raise TfvoiceError(
            f"--compare={folder}: its report is of another version of tfvoice; write it anew with "
            f"tfvoice_eval --run={folder} --split={split}."
        ) from None
    return other


def _itself(run: Experiment, found: dict[str, Any]) -> Other:
    return Other(run.run_dir.resolve().name, run.run_dir, run.config.model.name, found)


def _write(run: Experiment, template: str, found: dict[str, Any], content: dict[str, Any], note: str) -> Path:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True)
    page = environment.get_template(template).render(
        title=f"{run.run_dir.resolve().name}: {found['split']}",
        subtitle=f"{run.config.model.name}, checkpoint {found['checkpoint']}, data {Path(found['data']).name}",
        version=version.installed(),
        date=datetime.date.today().isoformat(),
        footnote=note,
        **content,
    )
    path = run.run_dir / "report" / f"eval-{found['split']}.html"
    checkpoints.write_atomically(path, page.encode())
    return path


def _tile(name: str, rate: dict[str, Any]) -> dict[str, str]:
    low, high = rate["interval_95"]
    note = f"{100 * low:.1f} to {100 * high:.1f} %"
    return {"name": name, "value": f"{100 * rate['rate']:.1f} %", "note": note}


def _sides(side: Callable[[Other], dict[str, Any]], itself: Other, beside: list[Other]) -> list[dict[str, Any]]:
    """Rows of runs; whoever read other recordings is marked."""
    recordings = [{reading["id"] for reading in one.found["readings"]} for one in (itself, *beside)]
    return [
        side(one) | {"name": one.name, "other_data": known != recordings[0]}
        for one, known in zip((itself, *beside), recordings, strict=True)
    ]


def _side(one: Other) -> dict[str, Any]:
    kept = ("decoder", "utterances", "wer", "cer")
    return {"model": one.model} | {key: one.found[key] for key in kept}


def _side_of_generator(one: Other) -> dict[str, Any]:
    samples = one.found["statistics"]["samples"]
    rates = {"distance": samples["log_mel_distance_db"], "silence": samples["silence"]}
    return {"bits": one.found["bits_per_sample"], "interval": one.found["interval_95"]} | rates


# What a row is made by, by the key that tells the kind of a report.
_SIDES = {"wer": _side, "bits_per_sample": _side_of_generator}


def _matrix(found: list[error_analysis.Confusion]) -> dict[str, Any]:
    """The commonest confusions as a table."""
    names = {"": _NOTHING, " ": _SPACE}
    common = found[: 4 * _CHARACTERS]
    said = sorted({one.said for one in common}, key=lambda name: (name == "", name))
    read = sorted({one.read for one in common}, key=lambda name: (name == "", name))
    counts = {(one.said, one.read): one.count for one in common}
    return {
        "columns": [names.get(name, name) for name in read],
        "rows": [
            {"name": names.get(row, row), "counts": [counts.get((row, name), 0) for name in read]} for row in said
        ],
        "most": max(counts.values(), default=1),
    }


def _utterance(
    run: Recognizer, index: Index, row: int, one: dict[str, Any], decoder: str, beside: list[Other]
) -> dict[str, Any]:
    samples, config = index.audio(row), run.config.features
    lengths = tf.constant([len(samples)])
    seen = features.compute(config, samples[np.newaxis], lengths, run.statistics).values[0].numpy()
    logits = run.logits(samples[np.newaxis], lengths).values[0]
    caption = "" if decoder == "greedy" else f"read: the best path, without {decoder}"
    picture = plots.alignment(
        seen,
        tf.nn.log_softmax(logits).numpy(),
        run.alphabet,
        one["reference"],
        len(samples) / index.sample_rate_hz,
        caption,
    )
    same = []
    for other in beside:
        texts = [each["hypothesis"] for each in other.found["readings"] if each["id"] == one["id"]]
        same += [{"name": other.name, "pairs": metrics.pairs(one["reference"], text)} for text in texts]
    return one | {
        "errors": metrics.character_errors(one["reference"], one["hypothesis"]).total,
        "pairs": metrics.pairs(one["reference"], one["hypothesis"]),
        "others": same,
        "audio": _audio(samples, index.sample_rate_hz),
        "picture": _picture(picture),
    }


def _validations(folder: Path) -> list[Path]:
    """Pictures of what a run drew at its validations, in their order."""
    return sorted((folder / "samples").glob("step-*.png"))


def _spread(paths: list[Path]) -> list[Path]:
    """Some of them, from the first to the last."""
    places = np.linspace(0, len(paths) - 1, min(_STEPS, len(paths)))
    return [paths[place] for place in sorted({round(place) for place in places})]


def _samples(path: Path) -> dict[str, Any]:
    """What was drawn at the validation of a picture."""
    waves = [soundfile.read(wave, dtype="float32") for wave in sorted(path.parent.glob(f"{path.stem}-*.wav"))]
    audio = [_audio(samples, rate_hz) for samples, rate_hz in waves]
    picture = _data("image/png", path.read_bytes())
    return {"name": f"step {int(path.stem.removeprefix('step-')):,}", "audio": audio, "picture": picture}


def _curves(runs: list[Other]) -> str:
    logs = {run.name: _log(run.folder / "metrics.jsonl") for run in runs}
    logs = {name: lines for name, lines in logs.items() if lines}
    return plots.svg(plots.learning(logs)) if logs else ""


def _log(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`, without damaged ones; of a run that goes on, the last may be half there."""
    lines = []
    for text in path.read_text("utf-8", "replace").splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError, TypeError):
            line = json.loads(text)
            if {"minutes", "train_loss", "valid_loss"} <= set(line):
                lines.append(line)
    return lines


def _audio(samples: np.ndarray, sample_rate_hz: int) -> str:
    """MP3, which every browser plays; at a rate that it knows."""
    data = io.BytesIO()
    rate_hz = min((8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), key=lambda r: abs(r - sample_rate_hz))
    if rate_hz != sample_rate_hz:
        samples = soxr.resample(samples, sample_rate_hz, rate_hz)
    soundfile.write(data, samples, rate_hz, format="MP3", subtype="MPEG_LAYER_III")
    return _data("audio/mpeg", data.getvalue())


def _picture(pixels: np.ndarray) -> str:
    return _data("image/png", plots.png(pixels))


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
