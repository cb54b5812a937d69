"""Laws of the prefix tree and of hotwords."""

import numpy as np
import pytest

from tfvoice.asr import lexicon
from tfvoice.asr.lexicon import Hotword
from tfvoice.errors import TfvoiceError
from tfvoice.text.alphabet import Alphabet, AlphabetConfig

ALPHABET = Alphabet(AlphabetConfig(characters=" abc"))


def test_the_tree_holds_the_words_and_forecasts_the_best_below():
    spellings, words = [[2, 1], [1], [1, 2, 3], [1, 2]], [5, 6, 7, 8]
    tree = lexicon.build_lexicon(spellings, words, np.array([-1.0, -4.0, -2.0, -3.0]))
    found = {}

    def visit(node, path):
        if tree[node]["word"] >= 0:
            found[path] = int(tree[node]["word"])
        child = tree[node]["first_child"]
        while child:
            visit(child, (*path, int(tree[child]["label"])))
            child = tree[child]["sibling"]

    visit(0, ())
    assert found == {tuple(spelling): word for spelling, word in zip(spellings, words, strict=True)}
    assert tree[0]["forecast"] == -1.0 and len(tree) == 6
    assert {(int(node["label"]), float(node["forecast"])) for node in tree[1:]} == {
        (1, -2.0),
        (2, -2.0),
        (3, -2.0),
        (2, -1.0),
        (1, -1.0),
    }


def total(hotwords, text):
    """What a text gets, a space before and after it."""
    automaton = lexicon.build_hotwords(hotwords, ALPHABET)
    state, bonus = 0, 0.0
    for label in [" abc".index(character) for character in f"{text} "]:
        state = automaton.after[state, label]
        bonus += automaton.bonus[state]
    return bonus


@pytest.mark.parametrize(
    ("text", "bonus"),
    [
        ("ab", 1.0),
        ("abc", 0.0),
        ("cab", 0.0),
        ("c ab c", 1.0),
        ("ab ab", 2.0),
        ("ab c", 1.0),
        ("ab ca", 11.0),
        ("ab ca b", 111.0),
        ("ca b", 100.0),
        ("ab ca ab", 12.0),
        ("", 0.0),
    ],
)
def test_hotwords_are_found_where_they_stand_as_words(text, bonus):
    assert total([Hotword("ab", 1.0), Hotword("ab ca", 10.0), Hotword("ca b", 100.0)], text) == bonus


def test_the_forecast_grows_with_the_part_that_is_there_and_is_not_kept():
    automaton = lexicon.build_hotwords([Hotword("abc", 8.0)], ALPHABET)
    state, forecasts = 0, []
    for label in (1, 2, 3, 0, 1, 1):
        state = automaton.after[state, label]
        forecasts.append(float(automaton.forecast[state]))
    assert forecasts == [2.0, 4.0, 6.0, 0.0, 2.0, 0.0]


def test_a_file_has_a_hotword_a_line_and_perhaps_a_weight(tmp_path):
    path = tmp_path / "hot.txt"
    path.write_text("# names\n\nAbba\n  cab  ba\t2.5\r\nb\t-3\n", encoding="utf-8-sig")
    assert lexicon.read_hotwords(path, ALPHABET) == [("abba", 10.0), ("cab ba", 2.5), ("b", -3.0)]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("ab\nabd\n", "hot.txt: line 2, 'abd', has 'd', which is not in the alphabet of the run; write it as it is"),
        ("ab\tmuch\n", "hot.txt: line 1, .* should be a word or a phrase, and perhaps a tab and a weight, such as"),
        ("ab\tnan\n", "hot.txt: line 1, .* should be a word or a phrase"),
        ("...\n", "hot.txt: line 1, .* should be a word or a phrase"),
        ("\n", "hot.txt: has no words; write one in each line"),
        (b"\xff\xfe", "hot.txt: is not UTF-8; save it as UTF-8"),
        (None, "hot.txt: no such file or directory; name a text file"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_with_a_remedy(tmp_path, content, sentence):
    path = tmp_path / "hot.txt"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TfvoiceError, match=f"--hotwords=.*{sentence}"):
        lexicon.read_hotwords(path, ALPHABET)
