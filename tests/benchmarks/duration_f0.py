"""Measures runs of `duration_f0` beside two baselines on the same utterances, and prints a table.

  python tests/benchmarks/duration_f0.py --data=aligned --peer_python=VENV/bin/python runs/duration_f0 ...

The baselines learn from the split `train` of the same records: the median of each phoneme with its stress, and decision
trees over two neighbours on each side and the place in the utterance. VENV has scikit-learn. Medians, not means, since
they are what an absolute error rewards. The targets are 30 ms, 25 Hz, and to be better than both baselines.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from tfvoice.tts.duration_f0 import metrics, prosody
from tfvoice.tts.duration_f0.data import ProsodyIndex
from tfvoice.tts.duration_f0.predict import ProsodyPredictor
from tfvoice.tts.duration_f0.prosody import PhonemeProsody
from tfvoice.tts.duration_f0.run import DurationF0Run

_VALUES = 20
_NEIGHBOURS = 2
_TARGETS = {"duration_ms": 30.0, "f0_hz": 25.0}


def main() -> None:
    """Prints a row for each baseline and each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of aligned records")
    parser.add_argument("--split", default="test")
    parser.add_argument("--peer_python", help="interpreter that has scikit-learn; without it there are no trees")
    parser.add_argument("runs", nargs="*", help="folders of runs")
    arguments = parser.parse_args()
    indices = {split: ProsodyIndex(arguments.data, split, _VALUES) for split in {"train", "valid", arguments.split}}
    train, test = indices["train"], indices[arguments.split]
    print(f"{train.describe()}; {test.describe()}")
    print(f"{'':<24} {'duration ms':>22} {'without silence':>22} {'F0 Hz':>22} {'voicing':>8}")
    rows = [_row("median of the phoneme", test, _medians(train, test))]
    if arguments.peer_python:
        rows.append(_row("decision trees", test, _trees(arguments.peer_python, train, indices["valid"], test)))
    best = {key: min(row[key] for row in rows) for key in _TARGETS}
    for folder in arguments.runs:
        row = _row(Path(folder).name, test, ProsodyPredictor(DurationF0Run.load(folder)).predict(test.phonemes))
        met = all(row[key] <= target and row[key] < best[key] for key, target in _TARGETS.items())
        print(f"{'':<24} {'targets met' if met else 'targets missed'}")


def _row(name: str, index: ProsodyIndex, predicted: list[PhonemeProsody]) -> dict[str, float]:
    """Prints the errors of predictions, and returns their means."""
    found = [
        metrics.errors(alignment, target.prosody, each)
        for alignment, target, each in zip(index.alignments, index.targets, predicted, strict=True)
    ]
    means, intervals = metrics.means(found), metrics.intervals(found)
    cells = [
        f"{means[key]:8.1f} [{intervals[key][0]:5.1f}, {intervals[key][1]:5.1f}]"
        for key in ("duration_ms", "speech_ms", "f0_hz")
    ]
    print(f"{name:<24} {' '.join(cells)} {means['voicing']:8.1%}", flush=True)
    return means


def _medians(train: ProsodyIndex, test: ProsodyIndex) -> list[PhonemeProsody]:
    """The median of each phoneme with its stress; where it has too little of a voice, that of all phonemes."""
    symbols = np.array([symbol for symbols in train.phonemes for symbol in symbols])
    seconds, voiced, f0_hz = (np.concatenate(parts) for parts in zip(*(t.prosody for t in train.targets), strict=True))
    every = np.median(f0_hz[voiced > 0.5], axis=0)
    table = {}
    for symbol in np.unique(symbols):
        chosen = symbols == symbol
        with_voice = chosen & (voiced > 0.5)
        level = np.median(f0_hz[with_voice], axis=0) if with_voice.sum() >= 10 else every
        table[symbol] = (np.median(seconds[chosen]), voiced[chosen].mean(), level)
    default = (np.median(seconds), voiced.mean(), every)
    return [
        PhonemeProsody(
            *(np.array(part) for part in zip(*(table.get(each, default) for each in utterance), strict=True))
        )
        for utterance in test.phonemes
    ]


def _trees(python: str, train: ProsodyIndex, valid: ProsodyIndex, test: ProsodyIndex) -> list[PhonemeProsody]:
    """Predictions of decision trees, made by duration_f0_tree.py."""
    labels = {
        label: number for number, label in enumerate(sorted({s.rstrip("012") for u in train.phonemes for s in u}))
    }
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "data.npz", Path(folder) / "predicted.npz"
        arrays = {}
        for split, index in (("train", train), ("valid", valid), ("test", test)):
            arrays[f"{split}_features"] = np.concatenate([_features(symbols, labels) for symbols in index.phonemes])
            columns = zip(*(target.prosody for target in index.targets), strict=True)
            for name, parts in zip(PhonemeProsody._fields, columns, strict=True):
                arrays[f"{split}_{name}"] = np.concatenate(parts)
        np.savez(source, **arrays)
        subprocess.run([python, str(Path(__file__).with_name("duration_f0_tree.py")), source, output], check=True)
        with np.load(output) as file:
            predicted = PhonemeProsody(file["seconds"], file["voiced"], file["f0_hz"])
    cuts = np.cumsum([len(symbols) for symbols in test.phonemes])[:-1]
    return [PhonemeProsody(*parts) for parts in zip(*(np.split(part, cuts) for part in predicted), strict=True)]


def _features(symbols: list[str], labels: dict[str, int]) -> np.ndarray:
    """One-hot phonemes and stresses of a window around each phoneme, and its place: `[phonemes, features]`."""
    known = [symbol if symbol.rstrip("012") in labels else next(iter(labels)) for symbol in symbols]
    classes, stresses = prosody.symbol_classes(known, labels)
    one = np.concatenate([np.eye(len(labels))[classes], np.eye(4)[stresses]], axis=1).astype(np.float32)
    count = len(symbols)
    padded = np.pad(one, [(_NEIGHBOURS, _NEIGHBOURS), (0, 0)])
    window = np.concatenate([padded[shift : shift + count] for shift in range(2 * _NEIGHBOURS + 1)], axis=1)
    place = np.arange(count)
    return np.concatenate([window, np.stack([place, count - 1 - place, np.full(count, count)], axis=1)], axis=1)


if __name__ == "__main__":
    main()
