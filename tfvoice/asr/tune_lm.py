"""Finding the two weights of a language model: a search on a split, from logits that are computed once."""

import hashlib
import io
import json
import multiprocessing
import zipfile
from collections.abc import Iterator
from concurrent import futures
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm

from tfvoice import ctc
from tfvoice.asr import decoders, metrics
from tfvoice.asr.decoders import DecoderConfig
from tfvoice.asr.language_model import LanguageModel
from tfvoice.asr.recognizer import Recognizer
from tfvoice.data import shards
from tfvoice.data.convert import end_with_parent
from tfvoice.errors import TfvoiceError
from tfvoice.text.alphabet import Alphabet, AlphabetConfig
from tfvoice.training import checkpoints

# The first grid, and how often its steps are then halved around the best.
_LM_WEIGHTS = (0.0, 0.3, 0.6, 0.9, 1.2, 1.5)
_WORD_SCORES = (-2.0, 0.0, 2.0, 4.0)
_HALVINGS = 2


class Utterances(NamedTuple):
    """What a search reads: log probabilities `[frames, classes]` and the text of each utterance."""

    log_probabilities: list[np.ndarray]
    references: list[str]


@dataclass(frozen=True)
class Trial:
    """A pair of weights and the rates that it gives."""

    lm_weight: float
    word_score: float
    wer: float
    cer: float


def tune(
    run_dir: str | Path,
    decoder: DecoderConfig,
    data_dir: str | Path | None = None,
    split: str = "valid",
    checkpoint: str = "best",
    utterances: int = 300,
    workers: int = 1,
) -> tuple[list[Trial], Trial]:
    """Tries weights on a split, and writes the best into the run.

    The logits are kept in `report/logits-<split>.npz` and used again as long as weights and data are the same. All
    trials go to `report/lm-tuning.json`, and their picture to `report/lm-tuning.png`.

    Args:
      run_dir: folder of the run.
      decoder: with the path of the language model; its weights are what is sought.
      data_dir: folder of the shards; None: the one that the run was trained on.
      split: name of the split, which must not be the one that is to be measured later.
      checkpoint: `best` or `last`.
      utterances: how many are read in each trial, spread over all lengths.
      workers: processes, each of which holds the language model.

    Returns:
      All trials in order, the first being greedy decoding without a language model, and the best one.

    Raises:
      TfvoiceError: the run, the data or the language model cannot be used.
    """
    experiment = Recognizer.load(run_dir, checkpoint)
    decoders.build(decoder, experiment.alphabet)
    chosen = _spread(_utterances(experiment, data_dir, split, checkpoint), utterances)
    trials = [_greedy(chosen, experiment.alphabet)]
    with _Pool(decoder, experiment.config.alphabet, chosen, workers) as pool:
        for grid in _grids(trials):
            trials += pool.run(grid, trials)
    best = _best(trials[1:])
    found = decoder.model_copy(update={"lm_weight": best.lm_weight, "word_score": best.word_score})
    found = found.model_copy(update={"lm": str(Path(decoder.lm).resolve())})
    report = experiment.run_dir / "report"
    content = {"decoder": found.model_dump(), "split": split, "utterances": len(chosen.references)}
    content |= {"greedy": asdict(trials[0]), "trials": [asdict(trial) for trial in trials[1:]]}
    checkpoints.write_atomically(report / "lm-tuning.json", (json.dumps(content, indent=2) + "\n").encode())
    draw(report / "lm-tuning.png", trials, f"{Path(decoder.lm).name}, {len(chosen.references)} utterances of {split}")
    decoders.remember(run_dir, found)
    return trials, best


def draw(path: Path, trials: list[Trial], caption: str) -> None:
    """Draws WER over the two weights; `trials` as `tune` returns them."""
    greedy, *tried = trials
    best = _best(tried)
    figure = Figure(figsize=(7.5, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    x, y = ([getattr(trial, name) for trial in tried] for name in ("lm_weight", "word_score"))
    rates = np.array([100 * trial.wer for trial in tried])
    worst = float(np.quantile(rates, 0.8))
    levels = np.linspace(rates.min(), max(worst, rates.min() + 0.1), 13)
    filled = axes.tricontourf(x, y, rates, levels=levels, cmap="viridis_r", extend="max")
    axes.set_facecolor("0.9")
    figure.colorbar(filled, label="WER, %", format="%.1f")
    axes.plot(x, y, ".", color="black", markersize=3)
    axes.plot(best.lm_weight, best.word_score, "*", color="red", markersize=14)
    axes.set_xlabel("lm_weight")
    axes.set_ylabel("word_score")
    axes.set_title(f"{caption}: WER {best.wer:.1%} at the star, greedy {greedy.wer:.1%}", fontsize=10)
    figure.savefig(path)


def _grids(trials: list[Trial]) -> Iterator[list[tuple[float, float]]]:
    """Pairs to try next: a coarse grid, then finer ones around the best trial so far."""
    yield [(weight, score) for weight in _LM_WEIGHTS for score in _WORD_SCORES]
    steps = _LM_WEIGHTS[1] - _LM_WEIGHTS[0], _WORD_SCORES[1] - _WORD_SCORES[0]
    for halving in range(1, _HALVINGS + 1):
        best = _best(trials[1:])
        known = {(trial.lm_weight, trial.word_score) for trial in trials[1:]}
        weights = [round(best.lm_weight + move * steps[0] / 2**halving, 4) for move in (-1, 0, 1)]
        scores = [round(best.word_score + move * steps[1] / 2**halving, 4) for move in (-1, 0, 1)]
        pairs = [(weight, score) for weight in weights for score in scores if weight >= 0]
        yield [pair for pair in pairs if pair not in known]


def _best(trials: list[Trial]) -> Trial:
    return min(trials, key=lambda trial: (trial.wer, trial.cer, trial.lm_weight))


class _Pool:
    """Processes that each hold the language model and the utterances."""

    def __init__(self, decoder: DecoderConfig, alphabet: AlphabetConfig, chosen: Utterances, workers: int):
        # A fork of a process that runs TensorFlow would hang.
        context = multiprocessing.get_context("spawn")
        self._pool = futures.ProcessPoolExecutor(workers, context, _prepare, (decoder, alphabet, chosen))

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(self, *_):
        self._pool.shutdown(cancel_futures=True)

    def run(self, grid: list[tuple[float, float]], before: list[Trial]) -> list[Trial]:
        """Tries the pairs of a grid, and shows the best so far."""
        found = []
        with tqdm(total=len(grid), unit="trial", desc="tuning") as bar:
            try:
                for trial in self._pool.map(_try, grid):
                    found.append(trial)
                    best = _best([*before[1:], *found])
                    bar.set_postfix_str(
                        f"best WER {best.wer:.2%} at {best.lm_weight:g}, {best.word_score:g}", refresh=False
                    )
                    bar.update()
            except futures.process.BrokenProcessPool:
                raise TfvoiceError(
                    "a process that tried weights was killed, perhaps for want of memory: each holds the language "
                    "model; use --workers=1."
                ) from None
        return found


_held: tuple[DecoderConfig, LanguageModel, Utterances] | None = None


def _prepare(decoder: DecoderConfig, alphabet: AlphabetConfig, chosen: Utterances) -> None:
    end_with_parent()
    global _held
    _held = decoder, LanguageModel(decoder.lm, Alphabet(alphabet)), chosen


def _try(pair: tuple[float, float]) -> Trial:
    decoder, model, chosen = _held
    search = decoders.search_with(model, decoder.model_copy(update={"lm_weight": pair[0], "word_score": pair[1]}))
    return _trial(*pair, chosen, [search.best(values) for values in chosen.log_probabilities])


def _greedy(chosen: Utterances, alphabet: Alphabet) -> Trial:
    texts = [alphabet.decode(ctc.best_path(values)[0]) for values in chosen.log_probabilities]
    return _trial(0.0, 0.0, chosen, [" ".join(text.split()) for text in texts])


def _trial(lm_weight: float, word_score: float, chosen: Utterances, hypotheses: list[str]) -> Trial:
    pairs = list(zip(chosen.references, hypotheses, strict=True))
    wer, cer = (
        metrics.rate([count(*pair) for pair in pairs]) for count in (metrics.word_errors, metrics.character_errors)
    )
    return Trial(lm_weight, word_score, round(wer, 6), round(cer, 6))


def _spread(everything: Utterances, count: int) -> Utterances:
    """Takes so many of the utterances, which are sorted by length, at even distances."""
    total = len(everything.references)
    rows = np.unique(np.linspace(0, total - 1, min(count, total)).astype(int))
    return Utterances(*([values[row] for row in rows] for values in everything))


def _utterances(experiment: Recognizer, data_dir, split: str, checkpoint: str) -> Utterances:
    """Reads the log probabilities of a split from the run, or computes and writes them."""
    data_dir = experiment.data_dir(data_dir)
    digest = hashlib.sha256(experiment.checkpoint(checkpoint).read_bytes())
    digest.update(str(shards.read_manifest(data_dir).fingerprint).encode())
    path = experiment.run_dir / "report" / f"logits-{split}.npz"
    if kept := _kept(path, digest.hexdigest()):
        return kept
    found = _computed(experiment, data_dir, split)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"values": np.concatenate(found.log_probabilities), "references": np.array(found.references)}
    arrays |= {"frames": [len(values) for values in found.log_probabilities], "digest": digest.hexdigest()}
    content = io.BytesIO()
    np.savez(content, **arrays)
    checkpoints.write_atomically(path, content.getbuffer())
    return found


def _kept(path: Path, digest: str) -> Utterances | None:
    """What an earlier search left; None where it left nothing, something else, or something damaged."""
    try:
        with np.load(path) as kept:
            if kept["digest"] == digest:
                values = np.split(kept["values"], np.cumsum(kept["frames"])[:-1])
                return Utterances(values, kept["references"].tolist())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass
    return None


def _computed(experiment: Recognizer, data_dir, split: str) -> Utterances:
    scanned = experiment.scan(data_dir, split)
    network = tf.function(experiment.network, reduce_retracing=True)
    values, references = [], []
    with tqdm(total=len(scanned), unit="utterance", desc=f"logits of {split}") as bar:
        for batch in experiment.pipeline(scanned).batches(epochs=1):
            logits = network(batch.features, batch.lengths)
            rows = zip(
                batch.rows.numpy(), tf.nn.log_softmax(logits.values).numpy(), logits.lengths.numpy(), strict=True
            )
            for row, log_probabilities, length in rows:
                if row >= 0:
                    values.append(log_probabilities[:length])
                    references.append(experiment.alphabet.normalise(scanned.texts[row]))
                    bar.update()
    if not references:
        raise TfvoiceError(f"{data_dir}: the split {split} has no utterances that the run can use.")
    return Utterances(values, references)
