"""Tunes the two weights of a language model: a grid search on a split, from logits that are computed once."""

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

from tfvoice import ctc, storage
from tfvoice.asr import decoders, metrics
from tfvoice.asr.decoders import DecoderConfig
from tfvoice.asr.language_model import LanguageModel
from tfvoice.asr.recognizer import Recognizer
from tfvoice.data import shards
from tfvoice.data.workers import end_with_parent
from tfvoice.errors import TfvoiceError
from tfvoice.text.alphabet import Alphabet, AlphabetConfig

# The first grid, and how often its steps are then halved around the best trial.
_LM_WEIGHTS = (0.0, 0.3, 0.6, 0.9, 1.2, 1.5)
_WORD_SCORES = (-2.0, 0.0, 2.0, 4.0)
_HALVINGS = 2


class Utterances(NamedTuple):
    """Input of a search: log probabilities `[frames, classes]` and the reference of each utterance."""

    log_probabilities: list[np.ndarray]
    references: list[str]


@dataclass(frozen=True)
class Trial:
    """A pair of weights and its error rates."""

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
    """Evaluates weights on a split, and writes the best into the run.

    The logits are kept in `report/logits-<split>.npz` and used again as long as weights and data are the same. All
    trials are written to `report/lm-tuning.json`, and plotted in `report/lm-tuning.png`.

    Args:
      run_dir: folder of the run.
      decoder: with the path of the language model; its weights are ignored.
      data_dir: folder of the shards; None: the one that the run was trained on.
      split: name of the split; not the one that is evaluated later.
      checkpoint: `best` or `last`.
      utterances: how many are decoded in each trial, of all lengths.
      workers: processes, each of which holds the language model.

    Returns:
      All trials in order, the first being greedy decoding without a language model, and the best one.

    Raises:
      TfvoiceError: the run, the data or the language model cannot be used.
    """
    run = Recognizer.load(run_dir, checkpoint)
    decoders.build(decoder, run.alphabet)
    sample = _spread(_utterances(run, data_dir, split, run.loaded), utterances)
    trials = [_greedy(sample, run.alphabet)]
    with _Pool(decoder, run.config.alphabet, sample, workers) as pool:
        for grid in _grids(trials):
            trials += pool.run(grid, trials)
    best = _best(trials[1:])
    weights = {"lm_weight": best.lm_weight, "word_score": best.word_score}
    tuned = decoder.model_copy(update=weights | {"lm": str(Path(decoder.lm).resolve())})
    report = run.run_dir / "report"
    content = {"decoder": tuned.model_dump(), "split": split, "utterances": len(sample.references)}
    content |= {"greedy": asdict(trials[0]), "trials": [asdict(trial) for trial in trials[1:]]}
    storage.write(report / "lm-tuning.json", (json.dumps(content, indent=2) + "\n").encode())
    plot(report / "lm-tuning.png", trials, f"{Path(decoder.lm).name}, {len(sample.references)} utterances of {split}")
    decoders.save_tuned(run_dir, tuned)
    return trials, best


def plot(path: Path, trials: list[Trial], caption: str) -> None:
    """Plots WER over the two weights; `trials` as `tune` returns them."""
    greedy, *with_lm = trials
    best = _best(with_lm)
    figure = Figure(figsize=(7.5, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    x, y = ([getattr(trial, name) for trial in with_lm] for name in ("lm_weight", "word_score"))
    rates = np.array([100 * trial.wer for trial in with_lm])
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
    """Pairs of weights for the next trials: a coarse grid, then finer ones around the best trial so far."""
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

    def __init__(self, decoder: DecoderConfig, alphabet: AlphabetConfig, sample: Utterances, workers: int):
        # A fork of a process that runs TensorFlow would hang.
        context = multiprocessing.get_context("spawn")
        self._pool = futures.ProcessPoolExecutor(workers, context, _prepare, (decoder, alphabet, sample))

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(self, *_):
        self._pool.shutdown(cancel_futures=True)

    def run(self, grid: list[tuple[float, float]], before: list[Trial]) -> list[Trial]:
        """Evaluates the pairs of a grid, and shows the best so far."""
        trials = []
        with tqdm(total=len(grid), unit="trial", desc="tuning") as bar:
            try:
                for trial in self._pool.map(_try, grid):
                    trials.append(trial)
                    best = _best([*before[1:], *trials])
                    bar.set_postfix_str(
                        f"best WER {best.wer:.2%} at {best.lm_weight:g}, {best.word_score:g}", refresh=False
                    )
                    bar.update()
            except futures.process.BrokenProcessPool:
                raise TfvoiceError(
                    "a process of the search was killed, perhaps for lack of memory: each holds the language "
                    "model; use --workers=1."
                ) from None
        return trials


# Of a process of the pool.
_worker: tuple[DecoderConfig, LanguageModel, Utterances] | None = None


def _prepare(decoder: DecoderConfig, alphabet: AlphabetConfig, sample: Utterances) -> None:
    end_with_parent()
    global _worker
    _worker = decoder, LanguageModel(decoder.lm, Alphabet(alphabet)), sample


def _try(pair: tuple[float, float]) -> Trial:
    decoder, model, sample = _worker
    search = decoders.search_with(model, decoder.model_copy(update={"lm_weight": pair[0], "word_score": pair[1]}))
    return _trial(*pair, sample, [search.best(values) for values in sample.log_probabilities])


def _greedy(sample: Utterances, alphabet: Alphabet) -> Trial:
    texts = [alphabet.decode(ctc.best_path(values)[0]) for values in sample.log_probabilities]
    return _trial(0.0, 0.0, sample, [" ".join(text.split()) for text in texts])


def _trial(lm_weight: float, word_score: float, sample: Utterances, hypotheses: list[str]) -> Trial:
    pairs = list(zip(sample.references, hypotheses, strict=True))
    wer, cer = (
        metrics.rate([count(*pair) for pair in pairs]) for count in (metrics.word_errors, metrics.character_errors)
    )
    return Trial(lm_weight, word_score, round(wer, 6), round(cer, 6))


def _spread(everything: Utterances, count: int) -> Utterances:
    """Picks `count` of the utterances, which are sorted by length, evenly spaced."""
    total = len(everything.references)
    rows = np.unique(np.linspace(0, total - 1, min(count, total)).astype(int))
    return Utterances(*([values[row] for row in rows] for values in everything))


def _utterances(run: Recognizer, data_dir, split: str, checkpoint: str) -> Utterances:
    """The log probabilities of a split: those stored in the run, or new ones, which are then stored."""
    data_dir = run.data_dir(data_dir)
    digest = hashlib.sha256(run.checkpoint(checkpoint).read_bytes())
    digest.update(str(shards.read_manifest(data_dir).fingerprint).encode())
    path = run.run_dir / "report" / f"logits-{split}.npz"
    if stored := _stored(path, digest.hexdigest()):
        return stored
    utterances = _computed(run, data_dir, split)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"values": np.concatenate(utterances.log_probabilities), "references": np.array(utterances.references)}
    arrays |= {"frames": [len(values) for values in utterances.log_probabilities], "digest": digest.hexdigest()}
    content = io.BytesIO()
    np.savez(content, **arrays)
    storage.write(path, content.getbuffer())
    return utterances


def _stored(path: Path, digest: str) -> Utterances | None:
    """The log probabilities that an earlier search stored; None where they are missing, damaged or of other weights."""
    try:
        with np.load(path) as file:
            if file["digest"] == digest:
                values = np.split(file["values"], np.cumsum(file["frames"])[:-1])
                return Utterances(values, file["references"].tolist())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass
    return None


def _computed(run: Recognizer, data_dir, split: str) -> Utterances:
    scanned = run.scan(data_dir, split)
    network = tf.function(run.network, reduce_retracing=True)
    values, references = [], []
    with tqdm(total=len(scanned), unit="utterance", desc=f"logits of {split}") as bar:
        for batch in run.pipeline(scanned).batches(epochs=1):
            logits = network(batch.features, batch.lengths)
            rows = zip(
                batch.rows.numpy(), tf.nn.log_softmax(logits.values).numpy(), logits.lengths.numpy(), strict=True
            )
            for row, log_probabilities, length in rows:
                if row >= 0:
                    values.append(log_probabilities[:length])
                    references.append(run.alphabet.normalise(scanned.texts[row]))
                    bar.update()
    if not references:
        raise TfvoiceError(f"{data_dir}: the split {split} has no utterances that the run can use.")
    return Utterances(values, references)
