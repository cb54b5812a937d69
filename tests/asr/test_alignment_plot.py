"""Laws of the figure of an utterance: each character is at its time, and no figure is kept."""

import gc

import matplotlib.axes
import matplotlib.figure
import numpy as np
import pytest

from tfvoice import ctc
from tfvoice.asr import alignment_plot
from tfvoice.text.alphabet import Alphabet, AlphabetConfig

ALPHABET = Alphabet(AlphabetConfig())
FRAMES, SECONDS = 50, 2.0


def emitted(text, frames):
    """Log probabilities of a network that emits each character of a text in its frame, and blanks between."""
    probabilities = np.full((FRAMES, ALPHABET.size + 1), 1e-3)
    probabilities[:, ALPHABET.size] = 0.9
    for label, frame in zip(ALPHABET.encode(text), frames, strict=True):
        probabilities[frame, label], probabilities[frame, ALPHABET.size] = 0.95, 1e-3
    return np.log(probabilities / probabilities.sum(axis=1, keepdims=True))


@pytest.fixture
def written(monkeypatch):
    """The texts of the figure: `(text, horizontal position, height)`."""
    found = []
    text = matplotlib.axes.Axes.text

    def recording(self, x, y, s, *rest, **options):
        found.append((s, x, y))
        return text(self, x, y, s, *rest, **options)

    monkeypatch.setattr(matplotlib.axes.Axes, "text", recording)
    return found


def plot(log_probabilities, text):
    features = np.random.default_rng(0).normal(size=(2 * FRAMES, 20))
    return alignment_plot.alignment(features, log_probabilities, ALPHABET, text, SECONDS, "p900_001, epoch 3")


def rows(written):
    """The rows of characters by their names, each a list of (character, seconds)."""
    names = {height: name for name, _, height in written if name in ("REF", "HYP")}
    return {
        name: [(character, round(x, 3)) for character, x, y in written if y == height and len(character) == 1]
        for height, name in names.items()
    }


def test_reference_and_hypothesis_are_at_their_times(written):
    frames = [3, 7, 12, 20, 31]
    times = [round((frame + 0.5) * SECONDS / FRAMES, 3) for frame in frames]
    plot(emitted("hi yo", frames), "hi yo")
    letters = [pair for pair in zip("hi yo", times, strict=True) if pair[0] != " "]
    assert rows(written) == {"REF": letters, "HYP": letters}


def test_the_reference_is_placed_by_forced_alignment_and_not_by_the_best_path(written):
    plot(emitted("hat", [5, 15, 25]), "hut")
    assert [character for character, _ in rows(written)["REF"]] == list("hut")
    assert rows(written)["REF"][::2] == rows(written)["HYP"][::2]
    assert 0.22 < rows(written)["REF"][1][1] < 1.02


@pytest.mark.parametrize("text", ["a" * 60, ""])
def test_a_reference_without_a_path_leaves_its_row_empty(written, text):
    plot(emitted("hi", [5, 15]), text)
    assert rows(written)["REF"] == [] and len(rows(written)["HYP"]) == 2


def test_logits_that_are_not_finite_are_plotted():
    assert plot(np.full((FRAMES, ALPHABET.size + 1), np.nan), "hi").dtype == np.uint8


def test_the_width_grows_with_the_frames_within_limits():
    shapes = [
        alignment_plot.alignment(
            np.zeros((frames, 20)), np.log(np.full((frames, 29), 1 / 29)), ALPHABET, "hi", 1.0, ""
        ).shape
        for frames in (5, 150, 2000)
    ]
    assert shapes == [(480, 900, 3), (480, 1200, 3), (480, 2400, 3)]


def test_figures_are_not_kept():
    plot(emitted("hi", [5, 15]), "hi")
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing) is matplotlib.figure.Figure]


def test_the_blank_is_not_shown_as_a_character(written):
    plot(np.log(np.where(np.arange(29) == ctc.blank(np.zeros(29)), 0.9, 0.1 / 28) * np.ones((FRAMES, 1))), "hi")
    assert rows(written)["HYP"] == [] and len(rows(written)["REF"]) == 2
