"""CTC decoding with a word n-gram language model: KenLM's models, flashlight-text's beam search.

The result is the text with the highest `ln P_ctc + lm_weight * ln P_lm + word_score * words` (Hannun et al., arXiv
1408.2873, equation 4; Amodei et al., arXiv 1512.02595, section 3.8), P_ctc being summed over the paths that stay in the
beam. With a lexicon, only words of the language model can be recognised. Without, any word can: one that is not in the
model has the probability of `<unk>`, times that of its characters, all characters being equally likely.

kenlm and flashlight-text are the extra `tfvoice[lm]`; they are imported when a `Search` is built.
"""

import bz2
import gzip
import importlib
import logging
import lzma
import math
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

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
# Log probability of all classes but the space in the frame that is appended to end the last word.
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
        self.vocabulary = spell(read_words(self.path), alphabet)
        if not self.vocabulary.words:
            example = next(iter(self.vocabulary.unspelled), "")
            raise TfvoiceError(
                f"--lm={path}: none of its {len(self.vocabulary.unspelled)} words, such as {example!r}, can be spelled "
                f"with the alphabet of the run, {alphabet.decode(range(alphabet.size))!r}; use a model of words in the "
                "language of the run."
            )
        self._state = kenlm.State

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
        if self.score(self.start(), "<unk>")[1] < _IMPOSSIBLE:
            logging.warning(
                "--lm=%s: has no <unk>; without a lexicon, words that it lacks are hardly recognised", self.path
            )

    def start(self):
        """Returns the state before the first word, KenLM's history of the words so far."""
        state = self._state()
        self._model.BeginSentenceWrite(state)
        return state

    def score(self, state, word: str) -> tuple:
        """Returns the state after a word, as the model spells it, and ln of the probability of that word."""
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
      lexicon: whether only words of the language model can be recognised.

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
        # flashlight-text would also score a second space in a row as a word: our word scores are all in the scorer.
        words = list(model.vocabulary.words.items())
        units = _WordUnits([word for _, word in words]) if lexicon else _CharacterUnits(model, self._space)
        self._model = _scorer(library, model, units, lm_weight, word_score)
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
        values = logits.astype(np.float32)
        values -= np.logaddexp.reduce(values, axis=-1, keepdims=True)
        classes = values.shape[1]
        end = np.full([1, classes], _NEVER, np.float32)
        end[0, self._space] = 0.0
        emissions = np.ascontiguousarray(np.concatenate([values, end]))
        self._model.reset()
        hypotheses = self._decoder.decode(emissions.ctypes.data, len(emissions), classes)
        if not hypotheses:
            return ""
        if self._lexicon is not None:
            # Not its characters, which can end in a word that is not complete.
            return " ".join(self._lexicon[word] for word in hypotheses[0].words if word >= 0)
        path = np.array(hypotheses[0].tokens, np.int64)
        kept = path[np.flatnonzero(np.diff(path, prepend=-1))]
        text = self._alphabet.decode(kept[(kept >= 0) & (kept < classes - 1)].tolist())
        return " ".join(text.split())

    def _decode(self, values: np.ndarray, lengths: np.ndarray):
        rows = [self._alphabet.encode(self.best(row[:length])) for row, length in zip(values, lengths, strict=True)]
        ids = np.array([label for row in rows for label in row], np.int32)
        return ids, np.array([len(row) for row in rows], np.int64)


class _StepScore(NamedTuple):
    """What a step of the search adds: ln of the language model's probability, and a number of words."""

    log_probability: float
    words: int


class _WordUnits:
    """States and scores of a search that adds whole words: the state is that of the language model.

    `_scorer` calls this or `_CharacterUnits`. `start` gives the state before the first unit; `after`, the state after a
    word or a character, by its number, and its score; `end`, the score of the end.
    """

    def __init__(self, words: list[str]):
        self._words = words

    def start(self, model: LanguageModel):
        return model.start()

    def after(self, model: LanguageModel, state, number: int) -> tuple:
        after, score = model.score(state, self._words[number])
        return after, _StepScore(score, 1)

    def end(self, model: LanguageModel, state) -> _StepScore:
        return _StepScore(model.end(state), 0)


class _CharacterUnits:
    """States and scores of a search that adds characters: the state of the language model, and a prefix of a word.

    The characters of an unknown word are scored as soon as no known word has its prefix, so that it does not crowd the
    beam until it ends.
    """

    def __init__(self, model: LanguageModel, space: int):
        self._characters = model.alphabet.decode(range(model.alphabet.size))
        self._space = space
        self._words = model.vocabulary.words
        self._prefixes = {word[:end] for word in self._words for end in range(len(word) + 1)}
        self._character = -math.log(model.alphabet.size)

    def start(self, model: LanguageModel):
        return model.start(), ""

    def after(self, model: LanguageModel, state, number: int) -> tuple:
        history, spelling = state
        if number != self._space:
            longer = spelling + self._characters[number]
            unscored = len(longer) if spelling in self._prefixes else 1
            return (history, longer), _StepScore(0.0 if longer in self._prefixes else unscored * self._character, 0)
        if not spelling:
            return state, _StepScore(0.0, 0)
        history, score = self._word(model, history, spelling)
        return (history, ""), _StepScore(score, 1)

    def end(self, model: LanguageModel, state) -> _StepScore:
        history, spelling = state
        if not spelling:
            return _StepScore(model.end(history), 0)
        history, score = self._word(model, history, spelling)
        return _StepScore(score + model.end(history), 1)

    def _word(self, model: LanguageModel, history, spelling: str) -> tuple:
        if spelling in self._words:
            return model.score(history, self._words[spelling])
        history, score = model.score(history, "<unk>")
        return history, score + (len(spelling) * self._character if spelling in self._prefixes else 0.0)


def _scorer(library, model: LanguageModel, units, lm_weight: float, word_score: float):
    """Builds the language model that flashlight-text calls; its base class is in a library that is imported late."""

    def weighted(score: _StepScore) -> float:
        return lm_weight * score.log_probability + word_score * score.words

    class Scorer(library.LM):
        def __init__(self):
            super().__init__()
            self._states = {}

        def reset(self):
            """Drops the states of the last utterance."""
            self._states = {}

        def start(self, start_with_nothing):
            state = library.LMState()
            self._states[state] = units.start(model), 0.0
            return state

        def score(self, state, number):
            after = state.child(number)
            if after not in self._states:
                unit_state, score = units.after(model, self._states[state][0], number)
                self._states[after] = unit_state, weighted(score)
            return after, self._states[after][1]

        def finish(self, state):
            return state, weighted(units.end(model, self._states[state][0]))

    return Scorer()


def _trie(library, scorer, alphabet: Alphabet, words: list[tuple[str, str]], space: int):
    """The lexicon as a prefix tree, each node with the best score of a first word below it."""
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
    """KenLM's message without the line and the condition of its source."""
    text = " ".join(str(error).split())
    match = re.search(r"threw \w+(?: because `.*?')?\. ?(.*)", text) or re.search(r"\((.*)", text)
    return (match[1] if match else text).rstrip(").")


def _imported(name: str):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise TfvoiceError(
            "--decoder=lm: kenlm and flashlight-text are not installed; pip install 'tfvoice[lm]'."
        ) from None


_BINARY = b"mmap lm http://kheafield.com/code"
# KenLM goes by the first bytes too, not by the suffix.
_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
# KenLM splits at these; other white space belongs to words.
_FIELD = re.compile("[^ \t\n\v\f\r]+")


class Vocabulary(NamedTuple):
    """The words of a language model that an alphabet can spell.

    Attributes:
      words: each word as the model spells it, by its spelling with the alphabet.
      unspelled: words that need characters the alphabet does not have.
    """

    words: dict[str, str]
    unspelled: list[str]


def spell(words: Iterator[str], alphabet: Alphabet) -> Vocabulary:
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


def read_words(path: Path) -> Iterator[str]:
    """The words of an ARPA file, or of a KenLM binary, without those for sentences and unknown words."""
    with open(path, "rb") as file:
        start = file.read(len(_BINARY))
    for word in _from_binary(path) if start == _BINARY else _from_arpa(path, start):
        if not re.fullmatch("<.*>", word):
            yield word


def _from_binary(path: Path) -> Iterator[str]:
    """The strings at the end of the file, each closed by a zero; the first is `<unk>`."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.rfind(b"<unk>\0")
        if start < 0:
            raise TfvoiceError(
                f"--lm={path}: holds no list of its words, which build_binary writes by default; give the ARPA file."
            )
        words = content[start:].decode("utf-8", "replace").split("\0")
    yield from filter(None, words)


def _from_arpa(path: Path, start: bytes) -> Iterator[str]:
    opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), open)
    with opener(path, "rt", encoding="utf-8", errors="replace", newline="\n") as lines:
        unigrams = False
        for line in lines:
            if line.startswith("\\"):
                if unigrams:
                    return
                unigrams = line.strip() == "\\1-grams:"
            elif unigrams and len(fields := _FIELD.findall(line)) > 1:
                yield fields[1]
