"""From a lexicon to batches of words: splits, letters and phonemes as classes.

The split of a word depends on its letters alone: the first 8 hexadecimal digits of the SHA-1 of the word, as a number,
modulo 100. Below 90 it is for training, with all its pronunciations; below 95 for validation; else for the test. So the
variants of a word are never on two sides, and a word keeps its split when a lexicon grows.
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfvoice.config import nearest
from tfvoice.data.datasets import Speed, epochs_from
from tfvoice.errors import TfvoiceError
from tfvoice.keys import Purpose
from tfvoice.models.deep_voice.g2p import BOUNDARY
from tfvoice.text.lexicon import PronunciationLexicon
from tfvoice.text.phonemes import PhonemeInventory, Pronunciation

# First bucket after each split.
SPLITS = {"train": 90, "valid": 95, "test": 100}
# Lengths are padded to a multiple, so that the loops of the recurrent layers are compiled for few of them.
_ROUND_TO = 2


def split_of(word: str) -> str:
    """The split of a word."""
    bucket = int(hashlib.sha1(word.encode()).hexdigest()[:8], 16) % 100
    return next(name for name, end in SPLITS.items() if bucket < end)


class WordBatch(NamedTuple):
    """The input of one step: pronunciations of words.

    Attributes:
      letters: int32 `[batch, letters]`, padded with 0.
      lengths: int32 `[batch]`.
      phonemes: int32 `[batch, phonemes]`, classes from 1 on, padded with 0.
      phoneme_lengths: int32 `[batch]`.
      epoch, position: int64 scalars, number of the epoch and of the batch in it.
      samples: int64 scalar, words of the batch.
    """

    letters: tf.Tensor
    lengths: tf.Tensor
    phonemes: tf.Tensor
    phoneme_lengths: tf.Tensor
    epoch: tf.Tensor
    position: tf.Tensor
    samples: tf.Tensor


def signature() -> WordBatch:
    """Shapes and types of a batch."""
    table, column, scalar = (
        tf.TensorSpec(shape, dtype) for shape, dtype in (([None, None], tf.int32), ([None], tf.int32), ([], tf.int64))
    )
    return WordBatch(table, column, table, column, scalar, scalar, scalar)


class WordIndex:
    """The words of one split, and their pronunciations.

    Attributes:
      split: name of the split.
      words: in the order of the lexicon.
      pronunciations: of each word, the usual one first.
    """

    speed = Speed("words_per_second", "words/s", 1)

    def __init__(self, lexicon: PronunciationLexicon, split: str):
        if split not in SPLITS:
            raise TfvoiceError(f"{lexicon.source}: there is no split {split}; {nearest(split, SPLITS)}.")
        self.split = split
        self.words = [word for word in lexicon.words() if split_of(word) == split]
        self.pronunciations = [lexicon.pronunciations(word) for word in self.words]
        if not self.words:
            raise TfvoiceError(
                f"{lexicon.source}: none of its {len(lexicon)} words falls into the split {split}, which has 5 to 90 % "
                "of the words of a lexicon by a hash of their letters; use a lexicon of some hundred words."
            )

    def __len__(self) -> int:
        return len(self.words)

    def describe(self) -> str:
        """One sentence: how many words and pronunciations."""
        return f"{self.split}: {len(self)} words, {sum(map(len, self.pronunciations))} pronunciations"


def letters_of(lexicon: PronunciationLexicon) -> str:
    """The letters of a lexicon, sorted: the classes that a G2P model reads."""
    return "".join(sorted(set().union(*lexicon.words())))


class WordPipeline:
    """Batches of the pronunciations of a split, all variants of a word.

    A batch holds words of nearly the same numbers of letters and phonemes, so that little of it is padding. As
    everywhere, (seed, epoch) determines the order, and starting in the middle of an epoch costs nothing.

    Args:
      index: the words.
      letters: classes of letters; others are an error.
      inventory: classes of phonemes.
      batch_size: rows of a batch; the last one of an epoch may have fewer.
      seed: of the order.
      shuffled: whether the order is another one in each epoch.
    """

    def __init__(
        self,
        index: WordIndex,
        letters: str,
        inventory: PhonemeInventory,
        batch_size: int,
        seed: int = 0,
        shuffled: bool = False,
    ):
        self.index = index
        self.signature = signature()
        self.batch_size, self.seed, self.shuffled = batch_size, seed, shuffled
        pairs = [(word, one) for word, each in zip(index.words, index.pronunciations, strict=True) for one in each]
        ids = {letter: number for number, letter in enumerate(letters)}
        if unknown := sorted(set().union(*index.words) - set(ids)):
            raise TfvoiceError(
                f"the split {index.split} has letters that the network does not know, such as {unknown[0]!r}; train "
                "another run, or delete its words from the lexicon."
            )
        self._letters = [[ids[letter] for letter in word] for word, _ in pairs]
        self._phonemes = [encode(inventory, one) for _, one in pairs]
        self._sizes = np.array([[len(row) for row in rows] for rows in (self._letters, self._phonemes)], np.int32)

    def steps(self, epoch: int = 0) -> int:
        """Number of batches of an epoch; the same for every epoch."""
        return -(-len(self._letters) // self.batch_size)

    def batches(self, epoch: int = 0, position: int = 0, epochs: int | None = None) -> Iterator[WordBatch]:
        """Batches from a position of an epoch on; arguments as for `tfvoice.data.datasets.epochs_from`."""
        for current, start in epochs_from(epoch, position, epochs):
            groups = self._groups(current)
            for number in range(start, len(groups)):
                yield self._batch(groups[number], current, number)

    def _groups(self, epoch: int) -> list[np.ndarray]:
        """The rows of each batch."""
        random = np.random.default_rng((self.seed, epoch, Purpose.SHUFFLE))
        order = random.permutation(len(self._letters)) if self.shuffled else np.arange(len(self._letters))
        letters, phonemes = self._sizes[:, order]
        order = order[np.lexsort((phonemes, letters))]
        groups = [order[first : first + self.batch_size] for first in range(0, len(order), self.batch_size)]
        return [groups[number] for number in random.permutation(len(groups))] if self.shuffled else groups

    def _batch(self, rows: np.ndarray, epoch: int, position: int) -> WordBatch:
        lengths, phoneme_lengths = self._sizes[:, rows]
        letters = _padded([self._letters[row] for row in rows], lengths)
        phonemes = _padded([self._phonemes[row] for row in rows], phoneme_lengths)
        counts = (np.int64(epoch), np.int64(position), np.int64(len(rows)))
        return WordBatch(letters, lengths, phonemes, phoneme_lengths, *counts)


def encode(inventory: PhonemeInventory, pronunciation: Pronunciation) -> list[int]:
    """Classes of phonemes: their ids after the boundary."""
    return [number + BOUNDARY + 1 for number in inventory.encode(pronunciation)]


def decode(inventory: PhonemeInventory, classes) -> Pronunciation:
    """Phonemes of classes, boundaries left out."""
    return inventory.decode(number - BOUNDARY - 1 for number in classes if number != BOUNDARY)


def _padded(rows: list[list[int]], lengths: np.ndarray) -> np.ndarray:
    """Rows as int32 `[rows, length]`, where the length is a multiple of `_ROUND_TO`."""
    table = np.zeros([len(rows), -(-max(1, lengths.max()) // _ROUND_TO) * _ROUND_TO], np.int32)
    table[np.arange(table.shape[1]) < lengths[:, np.newaxis]] = np.concatenate(rows)
    return table
