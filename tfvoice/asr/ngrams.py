"""N-gram probabilities with backoff, as one hash table that compiled code searches (Katz, 1987).

ln P(w | context) is that of the longest n-gram which the model holds, plus the backoff weights of the longer contexts.
An n-gram is found by a hash of its words, the last word first, so that one loop over the context finds all orders. The
hash is KenLM's (Heafield, 2011), whose binaries store nothing but the hashes of their n-grams.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfvoice.compiled import compiled

UNKNOWN = "<unk>"
START = "<s>"
END = "</s>"
# KenLM's value for `<unk>` where a model has none.
MISSING_UNKNOWN = -100.0

_LN_10 = math.log(10)
_CONTEXT_FACTOR = np.uint64(8978948897894561157)
_WORD_FACTOR = np.uint64(17894857484156487943)
_SPREAD_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_ONE = np.uint64(1)


class Table(NamedTuple):
    """The n-grams of a model; probabilities and backoff weights are natural logarithms.

    Attributes:
      order: words of the longest n-grams.
      word_scores: float32 `[words]`: probability of each word without a context.
      word_backoffs: float32 `[words]`.
      keys: uint64 `[slots]`, a power of two of them: hashes of the n-grams of two words and more; 0 is an empty slot.
      scores: float32 `[slots]`.
      backoffs: float32 `[slots]`.
    """

    order: int
    word_scores: np.ndarray
    word_backoffs: np.ndarray
    keys: np.ndarray
    scores: np.ndarray
    backoffs: np.ndarray


class Model(NamedTuple):
    """An n-gram model as files hold it.

    Attributes:
      words: by id; the first is `<unk>`.
      table: the n-grams.
      has_unknown: whether the file gives `<unk>` a probability.
    """

    words: list[str]
    table: Table
    has_unknown: bool


class FormatError(ValueError):
    """A file is no n-gram model, or is damaged; the message is the reason."""


class Section(NamedTuple):
    """The n-grams of one length, with log10 of their probabilities and backoff weights.

    Attributes:
      keys: uint64 `[n-grams]`, from `hashes`.
      scores: float32 `[n-grams]`.
      backoffs: float32 `[n-grams]`.
    """

    keys: np.ndarray
    scores: np.ndarray
    backoffs: np.ndarray


class State(NamedTuple):
    """The words that the probability of the next one depends on.

    Attributes:
      words: int32 `[order - 1]`: the last word first.
      backoffs: float32 `[order - 1]`: backoff weights of the contexts of 1, 2, ... words.
      length: how many of them are in the model.
    """

    words: np.ndarray
    backoffs: np.ndarray
    length: int


def hashes(words: np.ndarray) -> np.ndarray:
    """Hashes n-grams `[n-grams, n]`, the words as ids in the order of the text; returns uint64 `[n-grams]`."""
    keys = words[:, -1].astype(np.uint64)
    for column in range(words.shape[1] - 2, -1, -1):
        keys = extended_hash(keys, words[:, column].astype(np.uint64))
    return keys


def extended_hash(key, word):
    """The hash of an n-gram with one more word at its front; both uint64, numbers or arrays."""
    return (key * _CONTEXT_FACTOR) ^ ((word + _ONE) * _WORD_FACTOR)


def build(unigrams: np.ndarray, sections: Sequence[Section]) -> Table:
    """Builds the table.

    Args:
      unigrams: float32 `[words, 2]`: log10 of probability and of backoff weight; word 0 is `<unk>`.
      sections: the n-grams of 2, 3, ... words.
    """
    total = sum(len(section.keys) for section in sections)
    slots = 1 << max(1, math.ceil(1.5 * total)).bit_length()
    table = Table(
        1 + len(sections),
        np.ascontiguousarray(unigrams[:, 0] * np.float32(_LN_10)),
        np.ascontiguousarray(unigrams[:, 1] * np.float32(_LN_10)),
        np.zeros(slots, np.uint64),
        np.zeros(slots, np.float32),
        np.zeros(slots, np.float32),
    )
    for section in sections:
        _insert(table, section.keys, section.scores * np.float32(_LN_10), section.backoffs * np.float32(_LN_10))
    return table


@compiled
def _insert(table, keys, scores, backoffs):
    for row in range(len(keys)):
        slot = _slot(table, keys[row])
        table.keys[slot] = keys[row]
        table.scores[slot] = scores[row]
        table.backoffs[slot] = backoffs[row]


@compiled
def _slot(table, key):
    """The slot of a key, or the empty one where it belongs."""
    mask = len(table.keys) - 1
    # The lowest bits of the hash depend on the lowest bits of the word ids only.
    slot = np.int64((key * _SPREAD_FACTOR) >> np.uint64(20)) & mask
    while table.keys[slot] != 0 and table.keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


_extended_hash = compiled(extended_hash)


@compiled
def score(table, state, word, words, backoffs):
    """Scores a word, and writes the state after it.

    Args:
      table: a `Table`.
      state: the `State` before the word.
      word: id of the word.
      words: int32 `[order - 1]`: receives the words of the state after it.
      backoffs: float32 `[order - 1]`: receives its backoff weights.

    Returns:
      ln of the probability of the word, and the length of the state after it.
    """
    longest = table.order - 1
    found = table.word_scores[word]
    length = min(1, longest)
    if longest:
        words[0] = word
        backoffs[0] = table.word_backoffs[word]
    key = np.uint64(word)
    matched = 0
    while matched < state.length:
        key = _extended_hash(key, np.uint64(state.words[matched]))
        slot = _slot(table, key)
        if table.keys[slot] == 0:
            break
        found = table.scores[slot]
        matched += 1
        if matched < longest:
            words[matched] = state.words[matched - 1]
            backoffs[matched] = table.backoffs[slot]
            length = matched + 1
    for context in range(matched, state.length):
        found += state.backoffs[context]
    return found, length


def empty_state(table: Table) -> State:
    """The state without a context."""
    return State(np.zeros(table.order - 1, np.int32), np.zeros(table.order - 1, np.float32), 0)


def next_state(table: Table, state: State, word: int) -> tuple[State, float]:
    """Returns the state after a word, by its id, and ln of the probability of that word."""
    after = empty_state(table)
    found, length = score(table, state, word, after.words, after.backoffs)
    return after._replace(length=length), float(found)
