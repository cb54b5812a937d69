"""Laws of the compiled search; that of its scores is in test_language_model.py, by the definition."""

import numpy as np
import pytest

from tfvoice.asr import beam_search, lexicon, ngrams
from tfvoice.text.alphabet import Alphabet, AlphabetConfig

ALPHABET = Alphabet(AlphabetConfig(characters=" ab"))
MODEL = np.array([[-2.0, 0.0], [-99.0, 0.0], [-1.0, 0.0], [-0.5, 0.0], [-0.7, 0.0]], np.float32)
WORDS = {"a": 3, "ab": 4}


def found(values, beam_width=50, lexicon_only=True, count=1):
    table = ngrams.build(MODEL, [])
    numbers = list(WORDS.values())
    tree = lexicon.build_lexicon([ALPHABET.encode(word) for word in WORDS], numbers, table.word_scores[numbers])
    models = beam_search.Models(table, tree, lexicon.build_hotwords([], ALPHABET))
    settings = beam_search.Settings(beam_width, 0.0, 0.0, 0, 1, 2, lexicon_only)
    texts = beam_search.search(values, models, settings, count)
    return [(ALPHABET.decode(labels), score) for labels, score in texts]


def certain(classes):
    """Log probabilities of a path, ` ab_` with the blank last, that are nearly certain."""
    values = np.full([len(classes), 4], 1e-6, np.float32)
    values[np.arange(len(classes)), [" ab_".index(each) for each in classes]] = 1.0
    return np.log(values / values.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("lexicon_only", [True, False])
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("aa_b ", "ab"),
        ("  a_ _ a", "a a"),
        ("____", ""),
        ("    ", ""),
        ("a b", "a b"),
        ("a_a", "aa"),
        ("", ""),
    ],
)
def test_a_path_is_collapsed_and_its_spaces_are_single(path, text, lexicon_only):
    if not lexicon_only or set(text.split()) <= set(WORDS):
        assert found(certain(path), lexicon_only=lexicon_only)[0][0] == text


def test_an_unfinished_word_is_left_out_where_nothing_else_is_in_the_beam():
    assert found(certain("ab b"), beam_width=1)[0][0] in ("ab", "ab a", "ab ab")


def test_texts_are_distinct_and_no_more_than_there_are():
    values = np.log(np.full([6, 4], 0.25, np.float32))
    texts = [text for text, _ in found(values, count=7)]
    assert len(set(texts)) == len(texts) == 7
    assert len(found(certain("a"), beam_width=2, count=9)) <= 2
