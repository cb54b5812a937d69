"""Decision trees that predict duration, voicing and F0 of a phoneme from its neighbours; started by duration_f0.py.

A process of its own, in an environment that has scikit-learn. Reads an `.npz` of features and targets and writes one of
predictions. A tree is grown for the squared error and predicts the median of a leaf, which is best for the absolute
error; the size of its leaves is chosen on the split `valid`.
"""

import sys

import numpy as np
from sklearn.tree import DecisionTreeRegressor

_LEAVES = (5, 10, 20, 40, 80, 160)


def main() -> None:
    """Takes the paths of the data and of the predictions."""
    source, output = sys.argv[1:]
    with np.load(source) as file:
        data = dict(file)
    found = {name: _predict(data, name) for name in ("seconds", "voiced", "f0_hz")}
    np.savez(output, **found)


def _predict(data: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Predictions for the split `test`, by the tree that is best on `valid`."""
    best = None
    for leaf in _LEAVES:
        tree = _Tree(leaf, *_voiced(data, "train", name))
        features, targets = _voiced(data, "valid", name)
        error = np.abs(tree.predict(features) - targets).mean()
        if best is None or error < best[0]:
            best = error, leaf, tree
    print(f"{name}: leaves of {best[1]} phonemes", file=sys.stderr)
    return best[2].predict(data["test_features"])


def _voiced(data: dict[str, np.ndarray], split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and targets; those of F0 of voiced phonemes alone."""
    chosen = data[f"{split}_voiced"] > 0.5 if name == "f0_hz" else slice(None)
    return data[f"{split}_features"][chosen], data[f"{split}_{name}"][chosen]


class _Tree:
    def __init__(self, leaf: int, features: np.ndarray, targets: np.ndarray):
        self._tree = DecisionTreeRegressor(min_samples_leaf=leaf, random_state=0).fit(features, targets)
        leaves = self._tree.apply(features)
        self._medians = {number: np.median(targets[leaves == number], axis=0) for number in np.unique(leaves)}

    def predict(self, features: np.ndarray) -> np.ndarray:
        return np.stack([self._medians[number] for number in self._tree.apply(features)])


if __name__ == "__main__":
    main()
