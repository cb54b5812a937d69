"""Laws of the search: greedy is the best class of each step, a wide beam is exhaustive, the length is bounded."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.models.deep_voice.g2p import G2p, G2pConfig
from tfvoice.tts.g2p import search as search_

LETTERS, PHONEMES, LONGEST = 4, 2, 4


@pytest.fixture(scope="module")
def model():
    model = G2p(G2pConfig(units=5), LETTERS, PHONEMES)
    model.build(None)
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(np.random.default_rng(number).standard_normal(weight.shape))
    # Words end soon.
    model.output_layer.bias.assign([2.0, 0.5, 0.0])
    return model


@pytest.fixture(scope="module")
def search(model):
    """Compiled, for a beam of 1, 3 or 64."""
    functions = {}

    def search(letters, lengths, beam):
        if beam not in functions:
            functions[beam] = tf.function(lambda *words: search_.search(model, *words, beam), reduce_retracing=True)
        return functions[beam](tf.constant(letters), tf.constant(lengths))

    return search


@pytest.fixture(scope="module")
def words():
    random = np.random.default_rng(2)
    return random.integers(0, LETTERS, (8, 6)).astype(np.int32), np.array([6, 1, 3, 4, 5, 2, 1, 6], np.int32)


def log_probabilities(model, letters, pronunciations):
    """ln of the probability of pronunciations of a word, ends included, and the likeliest class of each step."""
    counts = np.array([len(one) for one in pronunciations], np.int32)
    table = np.zeros([len(counts), max(1, counts.max())], np.int32)
    for row, one in enumerate(pronunciations):
        table[row, : len(one)] = one
    rows = len(counts)
    logits = model(np.tile(letters, (rows, 1)), np.full(rows, len(letters), np.int32), table, counts)
    costs = tf.nn.log_softmax(logits).numpy()
    targets = np.pad(table, [(0, 0), (0, 1)])
    taken = np.take_along_axis(costs, targets[..., np.newaxis], axis=2)[..., 0]
    taken[np.arange(taken.shape[1]) > counts[:, np.newaxis]] = 0
    return taken.sum(axis=1), costs.argmax(axis=2)


def trimmed(classes):
    classes = classes.numpy().tolist()
    return tuple(classes[: classes.index(0)] if 0 in classes else classes)


@pytest.mark.parametrize("beam", [1, 3])
def test_scores_are_those_of_the_network_in_their_order(model, search, words, beam):
    best = search(*words, beam)
    ended = 0
    for row, length in enumerate(words[1]):
        found = [trimmed(one) for one in best.classes[row]]
        assert len(set(found)) == beam and np.all(np.diff(best.scores[row]) <= 0)
        expected, _ = log_probabilities(model, words[0][row, :length], found[:1])
        if len(found[0]) < 2 * length + 9:
            assert float(best.scores[row, 0]) == pytest.approx(expected[0], abs=1e-4)
            ended += 1
    assert ended >= 6


def test_greedy_search_takes_the_best_class_of_each_step(model, search, words):
    best = search(*words, 1)
    for row, length in enumerate(words[1]):
        found = trimmed(best.classes[row, 0])
        _, likeliest = log_probabilities(model, words[0][row, :length], [found])
        assert tuple(likeliest[0, : len(found)]) == found


def test_a_wide_beam_finds_the_likeliest(model, search, words):
    best = search(*words, 64)
    every = list(itertools.chain.from_iterable(itertools.product([1, 2], repeat=count) for count in range(LONGEST + 1)))
    for row in (1, 2, 5):
        letters = words[0][row, : words[1][row]]
        scores, _ = log_probabilities(model, letters, every)
        if len(found := trimmed(best.classes[row, 0])) <= LONGEST:
            assert found == every[int(scores.argmax())]
        assert float(best.scores[row, 0]) >= scores.max() - 1e-4


def test_padding_and_company_change_nothing(search, words):
    letters, lengths = words
    together = search(letters, lengths, 3)
    for row, length in enumerate(lengths):
        alone = search(letters[row : row + 1, :length], lengths[row : row + 1], 3)
        assert trimmed(alone.classes[0, 0]) == trimmed(together.classes[row, 0])
        assert float(alone.scores[0, 0]) == pytest.approx(float(together.scores[row, 0]), abs=1e-4)


def test_a_network_that_never_ends_is_stopped_at_a_length_of_each_word(words):
    model = G2p(G2pConfig(units=5), LETTERS, PHONEMES)
    model.build(None)
    model.output_layer.bias.assign([-100, 0, 0])
    best = search_.search(model, *words, 2)
    assert [len(trimmed(one)) for one in best.classes[:, 0]] == (2 * words[1] + 9).tolist()
