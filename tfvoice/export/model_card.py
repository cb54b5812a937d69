"""The model card of an exported model: a page of Markdown.

Sections as in Mitchell et al., "Model Cards for Model Reporting" (arXiv 1810.03993), as far as a run can fill them.
"""

import logging
from pathlib import Path

import tensorflow as tf

import tfvoice
from tfvoice import storage
from tfvoice.run import Run
from tfvoice.training.task import Task

# Of the corpora, as their publishers state them. Other recordings in the layout of a corpus have another.
LICENCES = {
    "vctk": "CC BY 4.0 (0.92), ODC-By 1.0 (0.80)",
    "ljspeech": "public domain",
    "librispeech": "CC BY 4.0",
    "an4": "free to use, by Carnegie Mellon University",
    "cmudict": "BSD 2-clause, by Carnegie Mellon University",
    "common_voice": "CC0 1.0",
    "tedlium": "CC BY-NC-ND 3.0",
    "voxforge": "GPL 3.0",
}
_UNKNOWN = "not known to tfvoice; ask the publisher of the recordings"


def write(task: Task, run: Run, checkpoint: str) -> str:
    """The card of a run as Markdown.

    Args:
      task: of the run.
      run: with its weights.
      checkpoint: `best` or `last`, which weights those are.
    """
    card, info = task.card(run), run.info
    corpus = info.get("corpus", "unknown")
    trainable = [variable for model in run.models for variable in model.trainable_variables]
    weights = sum(variable.shape.num_elements() for variable in trainable)
    facts = {
        "model": run.config.model.name,
        "weights": f"{weights:,} trainable parameters, checkpoint `{checkpoint}`",
        "tfvoice": tfvoice.__version__,
        "TensorFlow": tf.__version__,
        **card.facts,
        "training data": f"`{Path(str(info.get('data', 'unknown'))).name}`, corpus {corpus}",
        "licence of the data": _licence(corpus),
    }
    if origin := info.get("init_from"):
        start = f"`{Path(origin['run']).name}`, corpus {origin.get('corpus', 'unknown')}"
        facts |= {"started from": start, "licence of its data": _licence(origin.get("corpus", "unknown"))}
    if earlier := [f"`{Path(stage['earlier']['data']).name}`" for stage in info.get("stages", []) if stage["new_data"]]:
        facts["trained before on"] = ", ".join(earlier)
    lines = [f"# {run.run_dir.resolve().name}", "", card.intended_use, "", "| | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in facts.items()]
    lines += ["", "## Results", "", *_results(task, run), ""]
    return "\n".join(lines)


def _licence(corpus: str) -> str:
    known = LICENCES.get(corpus)
    return f"{known}, for the published {corpus}; other recordings have their own" if known else _UNKNOWN


def _results(task: Task, run: Run) -> list[str]:
    """A table of the reports that `tfvoice_eval` has written into the run, or how to get one."""
    paths = sorted((run.run_dir / "report").glob("eval-*.json"))
    rows = [row for path in paths if (row := _row(task, path))]
    if not rows:
        return ["None yet: `tfvoice_eval` measures a run, and the next export shows its results."]
    return ["| data | split | checkpoint | result, 95 % interval |", "|---|---|---|---|", *rows]


def _row(task: Task, path: Path) -> str:
    """The row of a report; empty for one that is damaged or of another task, or was written by another version."""
    try:
        report = {**storage.read_json(path)}
        result = task.format_result(report)
        return (
            f"| {Path(report['data']).name} | {report['split']} | {report['checkpoint']} | {result} |" if result else ""
        )
    except (ValueError, KeyError, TypeError):
        logging.warning("%s: cannot be read, so that the model card leaves it out; run tfvoice_eval again", path)
        return ""
