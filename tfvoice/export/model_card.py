"""What people should know about a model that leaves: a page of Markdown.

Sections as in Mitchell et al., "Model Cards for Model Reporting" (arXiv 1810.03993), as far as a run can fill them.
"""

import json
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfvoice import version
from tfvoice.asr.recognizer import Recognizer
from tfvoice.experiment import Experiment

# Of the corpora, as their publishers state them. Whoever lays out other recordings like one of them has another.
LICENCES = {
    "vctk": "CC BY 4.0 (0.92), ODC-By 1.0 (0.80)",
    "ljspeech": "public domain",
    "librispeech": "CC BY 4.0",
    "an4": "free to use, by Carnegie Mellon University",
    "common_voice": "CC0 1.0",
    "tedlium": "CC BY-NC-ND 3.0",
    "voxforge": "GPL 3.0",
}
_UNKNOWN = "not known to tfvoice; ask whoever made the recordings"
_USES = {
    "recognition": "Reads aloud speech of the language and the kind of its training data. It was not made to judge "
    "people, and what it reads can be wrong: see the error rates.",
    "generation": "Generates audio like its training data, sample by sample, without control over what is said or "
    "played. Voices can resemble those of the training data.",
}


def write(run: Experiment, checkpoint: str) -> str:
    """The card of a run as Markdown.

    Args:
      run: with its weights.
      checkpoint: `best` or `last`, which weights those are.
    """
    name, info = run.config.model.name, run.info
    corpus = info.get("corpus", "unknown")
    weights = sum(variable.shape.num_elements() for variable in run.model.trainable_variables)
    facts = {"model": name, "weights": f"{weights:,} trainable parameters, checkpoint `{checkpoint}`"}
    facts |= {"tfvoice": version.installed(), "TensorFlow": tf.__version__}
    if isinstance(run, Recognizer):
        features = run.config.features
        characters = "".join(run.alphabet.characters).replace("|", "\\|")
        facts |= {"sample rate": f"{features.sample_rate_hz} Hz", "alphabet": f"`{characters}`"}
        facts |= {"length": f"trained on clips of up to {run.config.data.max_seconds:g} s"}
    else:
        quantization = run.config.quantization
        facts |= {"sample rate": f"{run.sample_rate_hz} Hz", "levels": f"{quantization.levels}, {quantization.kind}"}
    data = Path(str(info.get("data", "unknown"))).name
    facts |= {"training data": f"`{data}`, read as {corpus}", "licence of the data": _licence(corpus)}
    lines = [f"# {run.run_dir.resolve().name}", "", _USES[run.task], "", "| | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in facts.items()]
    lines += ["", "## Measured", "", *_measured(run), ""]
    return "\n".join(lines)


def _licence(corpus: str) -> str:
    known = LICENCES.get(corpus)
    return f"{known}, for the published {corpus}; other recordings have their own" if known else _UNKNOWN


def _measured(run: Experiment) -> list[str]:
    """A table of what `tfvoice_eval` has written into the run, or how to get one."""
    reports = [_read(path) for path in sorted((run.run_dir / "report").glob("eval-*.json"))]
    rows = [row for row in map(_row, reports) if row]
    if not rows:
        return ["Nothing yet: `tfvoice_eval` measures a run, and the next export tells what it found."]
    return ["| data | split | checkpoint | result, 95 % interval |", "|---|---|---|---|", *rows]


def _row(report: dict[str, Any]) -> str:
    if "wer" in report:
        found = "; ".join(f"{key.upper()} {_percent(report[key])}" for key in ("wer", "cer"))
        found += f"; {report['utterances']} utterances, {report['decoder']}"
    elif "bits_per_sample" in report:
        low, high = report["interval_95"]
        found = f"{report['bits_per_sample']:.3f} bits per sample [{low:.3f}, {high:.3f}]; {report['clips']} clips"
    else:
        return ""
    return f"| {Path(report['data']).name} | {report['split']} | {report['checkpoint']} | {found} |"


def _percent(rate: dict[str, Any]) -> str:
    low, high = rate["interval_95"]
    return f"{100 * rate['rate']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _read(path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        return {}
