"""Beam search for the phonemes of many words at once, as one graph.

All hypotheses of all words take a step together. A word is done when its best hypothesis has ended: the probability of
the others can only fall. The length is bounded by that of the word, since a network may never end it.
"""

from typing import NamedTuple

import tensorflow as tf

from tfvoice.models.deep_voice.g2p import BOUNDARY, G2p

# Most phonemes of a word by its letters: in CMUdict "fyi" is as long, with 15.
_PER_LETTER, _MORE = 2, 9
_IMPOSSIBLE = -1e9


class Hypotheses(NamedTuple):
    """The likeliest pronunciations of each word, best first.

    Attributes:
      classes: int32 `[batch, beam, steps]`; from the end on they are the boundary.
      scores: float32 `[batch, beam]`, ln of the probability.
    """

    classes: tf.Tensor
    scores: tf.Tensor


def search(model: G2p, letters: tf.Tensor, lengths: tf.Tensor, beam: int) -> Hypotheses:
    """Searches for the phonemes of words.

    Args:
      model: the network.
      letters: int32 `[batch, letters]`.
      lengths: int32 `[batch]`.
      beam: hypotheses that are kept for each word; 1 is greedy search.
    """
    words = model.encode(letters, lengths)
    batch = tf.shape(letters)[0]
    limits = _PER_LETTER * lengths[:, tf.newaxis] + _MORE
    # Of no words, the maximum would be below 0.
    steps = tf.maximum(tf.reduce_max(limits), 0)
    states = [tf.repeat(state, beam, axis=0) for state in words.states]
    # At first there is one hypothesis, not several equal ones.
    scores = tf.tile([[0.0] + [_IMPOSSIBLE] * (beam - 1)], [batch, 1])
    previous = tf.fill([batch, beam], BOUNDARY)
    # An ended hypothesis continues with boundaries, at no cost.
    ended = _IMPOSSIBLE * (1 - tf.one_hot(BOUNDARY, model.classes))

    def has_ended(count, previous):
        # The boundary before the first step is no end.
        return ((previous == BOUNDARY) & (count > 0)) | (count >= limits)

    def step(count, previous, scores, classes, states):
        rows = tf.reshape(previous, [-1, 1])
        logits, states = model.decode(words, states, rows, tf.ones_like(rows[:, 0]))
        costs = tf.reshape(tf.nn.log_softmax(logits), [batch, beam, model.classes])
        costs = tf.where(has_ended(count, previous)[:, :, tf.newaxis], ended, costs)
        totals = tf.reshape(scores[:, :, tf.newaxis] + costs, [batch, -1])
        scores, places = tf.math.top_k(totals, beam)
        parents, previous = places // model.classes, places % model.classes
        classes = tf.gather(classes, parents, batch_dims=1)
        classes = tf.where(tf.range(steps) == count, previous[:, :, tf.newaxis], classes)
        rows = tf.reshape(parents + tf.range(batch)[:, tf.newaxis] * beam, [-1])
        return count + 1, previous, scores, classes, [tf.gather(state, rows) for state in states]

    def searching(count, previous, *_):
        return ~tf.reduce_all(has_ended(count, previous)[:, 0])

    start = (tf.constant(0), previous, scores, tf.fill([batch, beam, steps], BOUNDARY), states)
    # The number of words may be known when this is traced, and is not after a step.
    hypotheses, rows = tf.TensorShape([None, beam]), tf.TensorShape([None, model.config.units])
    shapes = (tf.TensorShape([]), hypotheses, hypotheses, tf.TensorShape([None, beam, None]), [rows] * len(states))
    _, _, scores, classes, _ = tf.while_loop(searching, step, start, shapes)
    return Hypotheses(classes, scores)
