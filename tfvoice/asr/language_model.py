"""CTC decoding with a word n-gram language model.

The result is the text with the highest `ln P_ctc + lm_weight * ln P_lm + word_score * words` (Hannun et al., arXiv
1408.2873, equation 4; Amodei et al., arXiv 1512.02595, section 3.8), P_ctc being summed over the paths that stay in the
beam. With a lexicon, only words of the language model can be recognised. Without, any word can: one that is not in the
model has the probability of `<unk>`, times that of its characters, all characters being equally likely. Hotwords are
words or phrases that add to the score of a text; those that the model lacks are added to the lexicon.
"""

import itertools
import logging
from collections.abc import Iterable
from collections.abc import Sequence as Sequence_
from concurrent import futures
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfvoice import hardware
from tfvoice.asr import arpa, beam_search, kenlm_binary, ngrams
from tfvoice.asr import lexicon as lexicon_
from tfvoice.asr.lexicon import Hotword
from tfvoice.asr.transcript import Alternative
from tfvoice.errors import TfvoiceError
from tfvoice.lengths import Sequence
from tfvoice.text.alphabet import Alphabet


class LanguageModel:
    """A word n-gram model and the alphabet that spells its words.

    Args:
      path: an ARPA file, plain or compressed, or a KenLM binary.
      alphabet: of the recogniser.

    Attributes:
      vocabulary: words by spelling.

    Raises:
      TfvoiceError: the file cannot be read, or the alphabet can spell none of its words.
    """

    def __init__(self, path: str | Path, alphabet: Alphabet):
        self.path = Path(path)
        self.alphabet = alphabet
        if not self.path.is_file():
            raise TfvoiceError(f"--lm={path}: no such file; docs/language_model.md shows how to make one.")
        try:
            read = kenlm_binary.read if kenlm_binary.is_one(self.path) else arpa.read
            words, self.table, self._has_unknown = read(self.path)
        except (OSError, ngrams.FormatError) as error:
            raise TfvoiceError(
                f"--lm={path}: is no language model ({error}); give an ARPA file or a KenLM binary."
            ) from None
        self.ids = {word: number for number, word in enumerate(words)}
        self.vocabulary = spell((word for word in words if not _is_mark(word)), alphabet)
        if not self.vocabulary.words:
            example = next(iter(self.vocabulary.unspelled), "")
            raise TfvoiceError(
                f"--lm={path}: none of its {len(self.vocabulary.unspelled)} words, such as {example!r}, can be spelled "
                f"with the alphabet of the run, {alphabet.characters!r}; use a model of words in the "
                "language of the run."
            )

    def warn(self) -> None:
        """Logs which words cannot be recognised."""
        unspelled, words = self.vocabulary.unspelled, len(self.vocabulary.words)
        if unspelled:
            logging.warning(
                "--lm=%s: %s of its %s words cannot be spelled with the alphabet of the run and are skipped, such as "
                "%s",
                self.path,
                f"{len(unspelled):,}",
                f"{len(unspelled) + words:,}",
                ", ".join(map(repr, unspelled[:3])),
            )
        if not self._has_unknown:
            logging.warning(
                "--lm=%s: has no <unk>; without a lexicon, words that it lacks are hardly recognised", self.path
            )

    def start(self) -> ngrams.State:
        """Returns the state before the first word."""
        return ngrams.next_state(self.table, ngrams.empty_state(self.table), self.ids[ngrams.START])[0]

    def score(self, state: ngrams.State, word: str) -> tuple[ngrams.State, float]:
        """Returns the state after a word, as the model spells it, and ln of the probability of that word."""
        return ngrams.next_state(self.table, state, self.ids.get(word, 0))

    def end(self, state: ngrams.State) -> float:
        """Returns ln of the probability that the sentence ends here."""
        return self.score(state, ngrams.END)[1]


class Hypothesis(NamedTuple):
    """A text that the search found, as classes, and its score: natural logarithms, weighted and summed."""

    labels: list[int]
    score: float


class Search:
    """Beam search with a language model.

    Args:
      model: the language model.
      beam_width: prefixes kept after each frame.
      lm_weight: of the logarithm of the language model's probability.
      word_score: added for each word; negative values give fewer and longer words.
      lexicon: whether only words of the language model, and hotwords, can be recognised.
      hotwords: words and phrases that are expected.

    Raises:
      TfvoiceError: the alphabet has no space.
    """

    def __init__(
        self,
        model: LanguageModel,
        beam_width: int,
        lm_weight: float,
        word_score: float,
        lexicon: bool = True,
        hotwords: Sequence_[Hotword] = (),
    ):
        self._alphabet = model.alphabet
        self._space = _space(model.alphabet)
        self._settings = beam_search.Settings(
            beam_width,
            float(lm_weight),
            float(word_score),
            self._space,
            model.ids[ngrams.START],
            model.ids[ngrams.END],
            lexicon,
        )
        ids = {spelling: model.ids[word] for spelling, word in model.vocabulary.words.items()}
        for hotword in hotwords:
            for word in hotword.text.split():
                ids.setdefault(word, 0)
        numbers = list(ids.values())
        tree = lexicon_.build_lexicon(
            [model.alphabet.encode(spelling) for spelling in ids], numbers, model.table.word_scores[numbers]
        )
        automaton = lexicon_.build_hotwords(hotwords, model.alphabet)
        self._models = beam_search.Models(model.table, tree, automaton)

    @property
    def break_class(self) -> int:
        """The class at which a long recording can be split: a space, since a word must stay whole."""
        return self._space

    def __call__(self, logits: Sequence) -> tf.RaggedTensor:
        """Decodes logits `[batch, frames, classes]` to labels, ragged int32 `[batch, (labels)]`; also in a graph."""
        ids, counts = tf.numpy_function(self._decode, [logits.values, logits.lengths], [tf.int32, tf.int64])
        ids.set_shape([None])
        counts.set_shape([None])
        return tf.RaggedTensor.from_row_lengths(ids, counts, validate=False)

    def best(self, logits: np.ndarray) -> str:
        """The best text for one row of logits, or of log probabilities, `[frames, classes]`."""
        return self._alphabet.decode(self.n_best(logits, 1)[0].labels)

    def n_best(self, logits: np.ndarray, count: int) -> list[Hypothesis]:
        """The best texts for one row of logits, or of log probabilities, `[frames, classes]`; the best first."""
        values = logits - np.logaddexp.reduce(logits.astype(np.float32), axis=-1, keepdims=True)
        found = beam_search.search(values, self._models, self._settings, count)
        return [Hypothesis(labels, score) for labels, score in found]

    def _decode(self, values: np.ndarray, lengths: np.ndarray):
        rows = [row[:length] for row, length in zip(values, lengths, strict=True)]
        # The compiled search runs without Python's lock.
        with futures.ThreadPoolExecutor(hardware.cores()) as pool:
            found = [best.labels for (best,) in pool.map(lambda row: self.n_best(row, 1), rows)]
        ids = np.array([label for labels in found for label in labels], np.int32)
        return ids, np.array([len(labels) for labels in found], np.int64)


def combine(pieces: Iterable[list[Alternative]], count: int) -> list[Alternative]:
    """The best texts of a recording from those of its pieces, in order; each piece has at least one, the best first."""
    best = [Alternative("", 0.0)]
    for alternatives in pieces:
        pairs = sorted(itertools.product(best, alternatives), key=lambda pair: -(pair[0].score + pair[1].score))
        # Words on either side of a joint can be divided in several ways; the best of them counts.
        joined: dict[str, float] = {}
        for before, after in pairs:
            joined.setdefault(f"{before.text} {after.text}".strip(), before.score + after.score)
            if len(joined) == count:
                break
        best = [Alternative(*item) for item in joined.items()]
    return best


def _space(alphabet: Alphabet) -> int:
    if " " not in alphabet.characters:
        raise TfvoiceError("--decoder=lm: the alphabet of the run has no space, and thus no words.")
    return alphabet.characters.index(" ")


def _is_mark(word: str) -> bool:
    """Whether it stands for the start or the end of a sentence, or for unknown words."""
    return word.startswith("<") and word.endswith(">")


class Vocabulary(NamedTuple):
    """The words of a language model that an alphabet can spell.

    Attributes:
      words: each word as the model spells it, by its spelling with the alphabet.
      unspelled: words that need characters the alphabet does not have.
    """

    words: dict[str, str]
    unspelled: list[str]


def spell(words: Iterable[str], alphabet: Alphabet) -> Vocabulary:
    """Spells words with an alphabet, whose case and apostrophes may differ; of equal spellings the first counts."""
    words_by_spelling: dict[str, str] = {}
    unspelled = []
    for word in words:
        spelling = alphabet.normalise(word)
        if alphabet.unknown(word) or not spelling or " " in spelling:
            unspelled.append(word)
        else:
            words_by_spelling.setdefault(spelling, word)
    return Vocabulary(words_by_spelling, unspelled)
