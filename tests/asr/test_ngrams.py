"""Laws of n-gram probabilities, with numbers that are worked out by hand."""

import math

import numpy as np
import pytest

from tfvoice.asr import ngrams

# <unk>, <s>, a, b
UNIGRAMS = np.array([[-3.0, 0.0], [-99.0, -0.1], [-1.0, -0.2], [-2.0, -0.3]], np.float32)


def section(*rows):
    ids, scores, backoffs = zip(*rows, strict=True)
    return ngrams.Section(ngrams.hashes(np.array(ids)), np.array(scores, "f4"), np.array(backoffs, "f4"))


TABLE = ngrams.build(UNIGRAMS, [section(([1, 2], -0.5, -0.25), ([2, 3], -0.6, 0.0)), section(([1, 2, 3], -0.125, 0.0))])


def scores(table, *words):
    state, found = ngrams.empty_state(table), []
    for word in words:
        state, value = ngrams.next_state(table, state, word)
        found.append(value / math.log(10))
    return found, state


def test_the_longest_known_ngram_decides_and_longer_contexts_back_off():
    # <s> a b is known; then b a is not: the backoff weights of "a b" and "b", and "a" alone.
    assert scores(TABLE, 1, 2, 3, 2)[0] == pytest.approx([-99.0, -0.5, -0.125, -1.0 - 0.3], abs=1e-5)
    # <s> a a: those of "<s> a" and "a".
    assert scores(TABLE, 1, 2, 2)[0][-1] == pytest.approx(-1.0 - 0.25 - 0.2, abs=1e-5)
    assert scores(TABLE, 2, 0, 3)[0] == pytest.approx([-1.0, -3.0 - 0.2, -2.0], abs=1e-5)


def test_a_state_holds_the_longest_context_that_is_known():
    assert [scores(TABLE, *words)[1].length for words in ((), (2,), (1, 2), (3, 3), (1, 2, 3))] == [0, 1, 2, 1, 2]
    assert scores(TABLE, 1, 2)[1].words.tolist() == [2, 1]


def test_a_model_of_single_words_has_no_states():
    table = ngrams.build(UNIGRAMS, [])
    found, state = scores(table, 2, 3, 0)
    assert found == pytest.approx([-1.0, -2.0, -3.0], abs=1e-5) and state.length == 0


def test_many_ngrams_are_all_found():
    ids = np.stack(np.meshgrid(np.arange(60), np.arange(60)), -1).reshape(-1, 2)
    values = -np.arange(len(ids), dtype=np.float32) / len(ids)
    table = ngrams.build(np.zeros([60, 2], np.float32), [ngrams.Section(ngrams.hashes(ids), values, 0 * values)])
    for (first, second), value in list(zip(ids.tolist(), values.tolist(), strict=True))[::97]:
        assert scores(table, first, second)[0][-1] == pytest.approx(value, abs=1e-5)
