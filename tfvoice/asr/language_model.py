"""CTC decoding with a word n-gram language model: KenLM's models, flashlight-text's beam search.

What is sought is the text with the highest `ln P_ctc + lm_weight * ln P_lm + word_score * words` (Hannun et al., arXiv
1408.2873, equation 4; Amodei et al., arXiv 1512.02595, section 3.8), P_ctc being summed over the paths that stay in the
beam. With a lexicon, only words of the language model can be read. Without, any can: one that the model does not know
has the probability of `<unk>`, times that of its letters, all letters being equally likely.

kenlm and flashlight-text are the extra `tfvoice[lm]`; they are imported when a `Search` is made.
"""

import importlib
import logging
import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfvoice.asr import vocabulary
from tfvoice.errors import TfvoiceError
from tfvoice.lengths import Sequence
from tfvoice.text.alphabet import Alphabet

# Prefixes whose score is lower than the best by more than this are dropped.
_THRESHOLD = 25.0
# Without a lexicon, only so many classes of a frame are tried: each is a call from C++ to Python.
_CLASSES = 10
_LN_10 = math.log(10)
# KenLM gives `<unk>` 10 ** -100 where the file does not have it.
_IMPOSSIBLE = -99 * _LN_10
# The appended frame that ends the last word: all classes but the space are this unlikely.
_NEVER = -1e4


class LanguageModel:
    """A word n-gram model and the alphabet that spells its words.

    Args:
      path: an ARPA file, plain or compressed, or a KenLM binary.
      alphabet: of the recogniser.

    Attributes:
      vocabulary: words by spelling.

    Raises:
      TfvoiceError: kenlm is not installed, the file cannot be read, or the alphabet can spell none of its words.
    """

    def __init__(self, path: str | Path, alphabet: Alphabet):
        self.path = Path(path)
        self.alphabet = alphabet
        if not self.path.is_file():
            raise TfvoiceError(f"--lm={path}: no such file; docs/language_model.md shows how to make one.")
        kenlm = _imported("kenlm")
        options = kenlm.Config()
        options.show_progress = False
        options.arpa_complain = kenlm.ARPALoadComplain.NONE
        try:
            self._model = kenlm.Model(str(path), options)
        except (OSError, RuntimeError) as error:
            raise TfvoiceError(
                f"--lm={path}: is no language model that KenLM can read ({_reason(error)}); "
                "give an ARPA file or a KenLM binary."
            ) from None
        self.vocabulary = vocabulary.spelled(vocabulary.listed(self.path), alphabet)
        if not self.vocabulary.words:
            example = next(iter(self.vocabulary.unspelled), "")
            raise TfvoiceError(
                f"--lm={path}: none of its {len(self.vocabulary.unspelled)} words, such as {example!r}, can be spelled "
                f"with the alphabet of the run, {alphabet.decode(range(alphabet.size))!r}; use a model of words in the "
                "language of the run."
            )
        self._state = kenlm.State

    def warn(self) -> None:
        """Logs what will keep words from being read."""
        unspelled, words = self.vocabulary.unspelled, len(self.vocabulary.words)
        if unspelled:
            logging.warning(
                "--lm=%s: %s of its %s words cannot be spelled with the alphabet of the run and are left out, such as "
                "%s",
                self.path,
                f"{len(unspelled):,}",
                f"{len(unspelled) + words:,}",
                ", ".join(map(repr, unspelled[:3])),
            )
        if self.score(self.start(), "<unk>")[1] < _IMPOSSIBLE:
            logging.warning("--lm=%s: has no <unk>; without a lexicon, words that it lacks are hardly read", self.path)

    def start(self):
        """Returns the state before the first word: what KenLM keeps of the words so far."""
        state = self._state()
        self._model.BeginSentenceWrite(state)
        return state

    def score(self, state, word: str) -> tuple:
        """Returns the state after a word, by the model's own form, and ln of the probability of that word."""
        after = self._state()
        return after, _LN_10 * self._model.BaseScore(state, word, after)

    def end(self, state) -> float:
        """Returns ln of the probability that the sentence ends here."""
        return self.score(state, "</s>")[1]


class Search:
    """Beam search with a language model.

    Args:
      model: the language model.
      beam_width: prefixes kept after each frame.
      lm_weight: of the logarithm of the language model's probability.
      word_score: added for each word; negative values give fewer and longer words.
      lexicon: whether only words of the language model can be read.

    Raises:
      TfvoiceError: flashlight-text is not installed, or the alphabet has no space.
    """

    def __init__(
        self, model: LanguageModel, beam_width: int, lm_weight: float, word_score: float, lexicon: bool = True
    ):
        self._alphabet = model.alphabet
        self._space = _space(model.alphabet)
        library = _imported("flashlight.lib.text.decoder")
        blank = model.alphabet.size
        # flashlight-text would give its score of a word to a second space in a row, too: ours are all in the scorer.
        words = list(model.vocabulary.words.items())
        kind = _Words([word for _, word in words]) if lexicon else _Letters(model, self._space)
        self._model = _scorer(library, model, kind, lm_weight, word_score)
        self._lexicon = [spelling for spelling, _ in words] if lexicon else None
        if lexicon:
            options = library.LexiconDecoderOptions(
                beam_width, blank + 1, _THRESHOLD, 1.0, 0.0, -math.inf, 0.0, True, library.CriterionType.CTC
            )
            trie = _trie(library, self._model, model.alphabet, words, self._space)
            self._decoder = library.LexiconDecoder(options, trie, self._model, self._space, blank, -1, [], False)
        else:
            options = library.LexiconFreeDecoderOptions(
                beam_width, min(_CLASSES, blank + 1), _THRESHOLD, 1.0, 0.0, True, library.CriterionType.CTC
            )
            self._decoder = library.LexiconFreeDecoder(options, self._model, self._space, blank, [])

    @property
    def break_class(self) -> int:
        """The class at which a long recording can be cut in two: a space, since a word must stay whole."""
        return self._space

    def __call__(self, logits: Sequence) -> tf.RaggedTensor:
        """Decodes logits `[batch, frames, classes]` to labels, ragged int32 `[batch, (labels)]`; also in a graph."""
        ids, counts = tf.numpy_function(self._decode, [logits.values, logits.lengths], [tf.int32, tf.int64])
        ids.set_shape([None])
        counts.set_shape([None])
        return tf.RaggedTensor.from_row_lengths(ids, counts, validate=False)

    def best(self, logits: np.ndarray) -> str:
        """The best text for one row of logits, or of log probabilities, `[frames, classes]`."""
        values = logits.astype(np.float32)
        values -= np.logaddexp.reduce(values, axis=-1, keepdims=True)
        classes = values.shape[1]
        end = np.full([1, classes], _NEVER, np.float32)
        end[0, self._space] = 0.0
        emissions = np.ascontiguousarray(np.concatenate([values, end]))
        self._model.reset()
        found = self._decoder.decode(emissions.ctypes.data, len(emissions), classes)
        if not found:
            return ""
        if self._lexicon is not None:
            # Its characters may go on into a word that was never finished.
            return " ".join(self._lexicon[word] for word in found[0].words if word >= 0)
        path = np.array(found[0].tokens, np.int64)
        kept = path[np.flatnonzero(np.diff(path, prepend=-1))]
        text = self._alphabet.decode(kept[(kept >= 0) & (kept < classes - 1)].tolist())
        return " ".join(text.split())

    def _decode(self, values: np.ndarray, lengths: np.ndarray):
        rows = [self._alphabet.encode(self.best(row[:length])) for row, length in zip(values, lengths, strict=True)]
        ids = np.array([label for row in rows for label in row], np.int32)
        return ids, np.array([len(row) for row in rows], np.int64)


class _Worth(NamedTuple):
    """What a step adds: ln of the language model's probability, and words."""

    language: float
    words: int


class _Words:
    """What a search holds that adds whole words: the state of the language model alone.

    This and `_Letters` are what `_scorer` asks. `start` gives what is held at the beginning; `after`, what is held
    after a word or a letter, by its number, and what that adds; `end`, what the end adds.
    """

    def __init__(self, words: list[str]):
        self._words = words

    def start(self, model: LanguageModel):
        return model.start()

    def after(self, model: LanguageModel, state, number: int) -> tuple:
        after, score = model.score(state, self._words[number])
        return after, _Worth(score, 1)

    def end(self, model: LanguageModel, state) -> _Worth:
        return _Worth(model.end(state), 0)


class _Letters:
    """What a search holds that adds characters: the state of the language model, and the beginning of a word.

    What is no beginning of a known word pays for its letters at once, so that it does not crowd the beam until it ends.
    """

    def __init__(self, model: LanguageModel, space: int):
        self._characters = model.alphabet.decode(range(model.alphabet.size))
        self._space = space
        self._words = model.vocabulary.words
        self._beginnings = {word[:end] for word in self._words for end in range(len(word) + 1)}
        self._letter = -math.log(model.alphabet.size)

    def start(self, model: LanguageModel):
        return model.start(), ""

    def after(self, model: LanguageModel, state, number: int) -> tuple:
        known, spelling = state
        if number != self._space:
            longer = spelling + self._characters[number]
            unpaid = len(longer) if spelling in self._beginnings else 1
            return (known, longer), _Worth(0.0 if longer in self._beginnings else unpaid * self._letter, 0)
        if not spelling:
            return state, _Worth(0.0, 0)
        known, score = self._word(model, known, spelling)
        return (known, ""), _Worth(score, 1)

    def end(self, model: LanguageModel, state) -> _Worth:
        known, spelling = state
        if not spelling:
            return _Worth(model.end(known), 0)
        known, score = self._word(model, known, spelling)
        return _Worth(score + model.end(known), 1)

    def _word(self, model: LanguageModel, known, spelling: str) -> tuple:
        if spelling in self._words:
            return model.score(known, self._words[spelling])
        known, score = model.score(known, "<unk>")
        return known, score + (len(spelling) * self._letter if spelling in self._beginnings else 0.0)


def _scorer(library, model: LanguageModel, kind, lm_weight: float, word_score: float):
    """Makes what flashlight-text asks for scores; a class of a library that is imported late."""

    def weighted(worth: _Worth) -> float:
        return lm_weight * worth.language + word_score * worth.words

    class Scorer(library.LM):
        def __init__(self):
            super().__init__()
            self._held = {}

        def reset(self):
            """Forgets the states of the last utterance."""
            self._held = {}

        def start(self, start_with_nothing):
            state = library.LMState()
            self._held[state] = kind.start(model), 0.0
            return state

        def score(self, state, number):
            after = state.child(number)
            if after not in self._held:
                held, worth = kind.after(model, self._held[state][0], number)
                self._held[after] = held, weighted(worth)
            return after, self._held[after][1]

        def finish(self, state):
            return state, weighted(kind.end(model, self._held[state][0]))

    return Scorer()


def _trie(library, scorer, alphabet: Alphabet, words: list[tuple[str, str]], space: int):
    """The spellings as a tree, with the best score of a first word below each branch."""
    trie = library.Trie(alphabet.size + 1, space)
    start = scorer.start(False)
    for number, (spelling, _) in enumerate(words):
        trie.insert([*alphabet.encode(spelling), space], number, scorer.score(start, number)[1])
    trie.smear(library.SmearingMode.MAX)
    return trie


def _space(alphabet: Alphabet) -> int:
    characters = alphabet.decode(range(alphabet.size))
    if " " not in characters:
        raise TfvoiceError("--decoder=lm: the alphabet of the run has no space, and thus no words.")
    return characters.index(" ")


def _reason(error: Exception) -> str:
    """What KenLM says, without the place and the condition in its own source."""
    text = " ".join(str(error).split())
    found = re.search(r"threw \w+(?: because `.*?')?\. ?(.*)", text) or re.search(r"\((.*)", text)
    return (found[1] if found else text).rstrip(").")


def _imported(name: str):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise TfvoiceError(
            "--decoder=lm: kenlm and flashlight-text are not installed; pip install 'tfvoice[lm]'."
        ) from None
