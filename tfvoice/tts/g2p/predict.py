"""Words to phonemes with a trained network, strings to strings in one graph, for Python and for an export alike."""

import functools
import unicodedata
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfvoice.text.phonemes import Pronunciation
from tfvoice.tts.g2p import search as search_
from tfvoice.tts.g2p.run import G2pRun

# Words of a graph call: enough to keep the cores busy, and few enough to be of nearly one length.
_BATCH = 256
# Classes of characters that are no letters, and of letters that the network does not know.
_SKIPPED, _UNKNOWN = -1, -2
# Characters of the longest word: of CMUdict it has 34, and the time of the search grows with the square.
LONGEST = 100
# From this block of Unicode on there are no further accented or capital letters of alphabets in everyday use.
_PUNCTUATION = 0x2000


def spelling_table(letters: str) -> np.ndarray:
    """The class of each code point, int32; -1 for what is no letter, -2 for a letter that the network does not know.

    Case and accents do not matter where the network does not know them: "É" is "e". A code point beyond the end of the
    table is unknown, too.
    """
    classes = {letter: number for number, letter in enumerate(letters)}
    found = {}
    for code in [*range(_PUNCTUATION), *(ord(letter) for letter in letters if ord(letter) >= _PUNCTUATION)]:
        character = chr(code)
        for spelled in (character, character.lower(), _plain(character)):
            if spelled in classes:
                found[code] = classes[spelled]
                break
    codes = range(1 + max(found, default=0))
    return np.array([found.get(code, _UNKNOWN if chr(code).isalpha() else _SKIPPED) for code in codes], np.int32)


def words_to_phonemes(run: G2pRun, words: tf.Tensor, beam: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Spells and pronounces words, in a graph.

    Args:
      run: the network, its letters and its phonemes.
      words: strings `[batch]`, UTF-8. What is no letter, such as a hyphen, is skipped.
      beam: of the search.

    Returns:
      The phonemes with spaces between them, strings `[batch]`, and ln of the probability of each, float32 `[batch]`.
      The phonemes are empty for a word without letters, with one that the network does not know, or of more than
      `LONGEST` characters.
    """
    table = tf.constant(_cached_table(run.letters))
    codes = tf.strings.unicode_decode(words, "UTF-8")
    known = tf.gather(table, tf.minimum(codes.flat_values, len(table) - 1))
    ids = tf.where(codes.flat_values < len(table), known, _UNKNOWN)
    refused = tf.reduce_any(codes.with_flat_values(ids == _UNKNOWN), axis=1) | (codes.row_lengths() > LONGEST)
    kept = (ids >= 0) & ~tf.gather(refused, codes.value_rowids())
    spelled = tf.ragged.boolean_mask(codes.with_flat_values(ids), codes.with_flat_values(kept))
    lengths = tf.cast(spelled.row_lengths(), tf.int32)
    # At least one column: a batch can be without a letter.
    letters = tf.pad(spelled.to_tensor(), [[0, 0], [0, 1]])
    best = search_.search(run.model, letters, lengths, beam)
    classes = tf.where(lengths[:, tf.newaxis] > 0, best.classes[:, 0], 0)
    symbols = tf.gather(tf.constant(run.class_labels()), classes)
    # Classes after the end are 0.
    counts = tf.reduce_sum(tf.cast(classes != 0, tf.int32), axis=1)
    ragged = tf.RaggedTensor.from_tensor(symbols, lengths=counts)
    return tf.strings.reduce_join(ragged, axis=-1, separator=" "), best.scores[:, 0]


class G2pPredictor:
    """Pronounces words with a network; traced once.

    Args:
      run: with its weights. Later changes of the weights have effect.
      beam: of the search; None: that of the run's configuration.
    """

    def __init__(self, run: G2pRun, beam: int | None = None):
        self._run = run
        beam = beam or run.config.search.beam

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def pronounce(words):
            return words_to_phonemes(run, words, beam)[0]

        self._pronounce = pronounce

    def pronounce(self, words: Sequence[str]) -> list[Pronunciation]:
        """The phonemes of each word; empty as for `words_to_phonemes`."""
        pronounced: list[Pronunciation] = [()] * len(words)
        order = sorted(range(len(words)), key=lambda place: len(words[place]))
        for first in range(0, len(order), _BATCH):
            places = order[first : first + _BATCH]
            texts = self._pronounce(tf.constant([words[place] for place in places])).numpy()
            for place, text in zip(places, texts, strict=True):
                pronounced[place] = tuple(text.decode().split())
        return pronounced


@functools.lru_cache(8)
def _cached_table(letters: str) -> np.ndarray:
    return spelling_table(letters)


def _plain(character: str) -> str:
    """A character in lower case, without accents."""
    decomposed = unicodedata.normalize("NFKD", character.lower())
    return "".join(one for one in decomposed if not unicodedata.combining(one))
