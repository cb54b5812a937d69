"""Laws of the picture of an utterance: each character stands at its time, and nothing is left behind."""

import gc

import matplotlib.axes
import matplotlib.figure
import numpy as np
import pytest

from tfvoice import ctc
from tfvoice.report import plots
from tfvoice.text.alphabet import Alphabet, AlphabetConfig

ALPHABET = Alphabet(AlphabetConfig())
FRAMES, SECONDS = 50, 2.0


def emitted(text, frames):
    """Log probabilities of a network that writes each character of a text in its frame, and blanks between."""
    probabilities = np.full((FRAMES, ALPHABET.size + 1), 1e-3)
    probabilities[:, ALPHABET.size] = 0.9
    for label, frame in zip(ALPHABET.encode(text), frames, strict=True):
        probabilities[frame, label], probabilities[frame, ALPHABET.size] = 0.95, 1e-3
    return np.log(probabilities / probabilities.sum(axis=1, keepdims=True))


@pytest.fixture
def written(monkeypatch):
    """The texts that are drawn: `(text, horizontal place, height)`."""
    found = []
    text = matplotlib.axes.Axes.text

    def recording(self, x, y, s, *rest, **options):
        found.append((s, x, y))
        return text(self, x, y, s, *rest, **options)

    monkeypatch.setattr(matplotlib.axes.Axes, "text", recording)
    return found


def draw(log_probabilities, text):
    features = np.random.default_rng(0).normal(size=(2 * FRAMES, 20))
    return plots.alignment(features, log_probabilities, ALPHABET, text, SECONDS, "p900_001, epoch 3")


def rows(written):
    """The rows of characters by their names, each a list of (character, seconds)."""
    names = {height: name for name, _, height in written if name in ("said", "read")}
    return {
        name: [(character, round(x, 3)) for character, x, y in written if y == height and len(character) == 1]
        for height, name in names.items()
    }


def test_what_was_said_and_what_was_read_stand_at_their_times(written):
    frames = [3, 7, 12, 20, 31]
    times = [round((frame + 0.5) * SECONDS / FRAMES, 3) for frame in frames]
    draw(emitted("hi yo", frames), "hi yo")
    letters = [pair for pair in zip("hi yo", times, strict=True) if pair[0] != " "]
    assert rows(written) == {"said": letters, "read": letters}


def test_what_was_said_is_placed_where_it_fits_best_and_not_where_something_else_was_read(written):
    draw(emitted("hat", [5, 15, 25]), "hut")
    assert [character for character, _ in rows(written)["said"]] == list("hut")
    assert rows(written)["said"][::2] == rows(written)["read"][::2]
    assert 0.22 < rows(written)["said"][1][1] < 1.02


@pytest.mark.parametrize("text", ["a" * 60, ""])
def test_a_text_that_no_path_gives_is_left_out_and_the_rest_is_drawn(written, text):
    draw(emitted("hi", [5, 15]), text)
    assert rows(written)["said"] == [] and len(rows(written)["read"]) == 2


def test_a_network_that_gives_no_numbers_is_drawn_too():
    assert draw(np.full((FRAMES, ALPHABET.size + 1), np.nan), "hi").dtype == np.uint8


def test_the_picture_is_wide_enough_for_its_characters_and_no_wider_than_a_screen():
    shapes = [
        plots.alignment(np.zeros((frames, 20)), np.log(np.full((frames, 29), 1 / 29)), ALPHABET, "hi", 1.0, "").shape
        for frames in (5, 150, 2000)
    ]
    assert shapes == [(480, 900, 3), (480, 1200, 3), (480, 2400, 3)]


def test_figures_are_not_kept():
    draw(emitted("hi", [5, 15]), "hi")
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing) is matplotlib.figure.Figure]


def test_the_blank_is_no_character(written):
    draw(np.log(np.where(np.arange(29) == ctc.blank(np.zeros(29)), 0.9, 0.1 / 28) * np.ones((FRAMES, 1))), "hi")
    assert rows(written)["read"] == [] and len(rows(written)["said"]) == 2
