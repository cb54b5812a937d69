"""Text normalisation, and text to class ids and back, in Python and in the graph.

`Alphabet.normalise` spells any Unicode text with the characters of the alphabet:

1. A character of the alphabet is kept, in the alphabet's case: where all its letters have one case, text is folded to
   it; where it mixes cases, nothing is folded. An alphabet with a dotless i is folded as in Turkish: "I" is "ı" and
   "İ" is "i". One with both Greek sigmas has the final one at the ends of words, and there only.
2. Any other character is decomposed (Unicode NFKD: "ﬁ" is "fi") and loses its combining marks ("é" is "e"), unless the
   accented letter itself is in the alphabet. Arabic and Hebrew vowel points are such marks, too.
3. Typographic apostrophes, the backtick and the acute accent are apostrophes. An apostrophe is kept only inside a word,
   and only if the alphabet has it: at the edge of a word it looks like a quotation mark, and has no sound.
4. Quotation marks, brackets, invisible format characters and the Arabic tatweel are deleted: "file(s)" is "files".
5. All other punctuation becomes a space, so that words never run together: "well-known", "and/or", "no...What?",
   "D.N.A.".
6. Symbols that are spoken as words (digits, & % @ # * $ + = and the like), letters of other scripts and pictographs are
   unknown. An unknown symbol is dropped and `unknown` counts it; `AlphabetConfig.unknown` tells the caller whether to
   use the utterance.
7. White space is collapsed last, to single spaces with none at the ends (deleted in an alphabet without a space).

Both implementations share one table (code point -> spelling) and one list of replacement rules. The graph uses core
TensorFlow ops and constants only, so that it works in tf.data and in a SavedModel without a table to initialise.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pydantic

from tfvoice.config import Config, ConfigError

if TYPE_CHECKING:
    import tensorflow as tf

# In place of characters: the training run takes those of its data, see `tfvoice.text.proposal`.
AUTO = "auto"
PRESETS = {
    "default": " 'abcdefghijklmnopqrstuvwxyz",
    "wavenet": " abcdefghijklmnopqrstuvwxyz",
    "deepspeech2": "'ABCDEFGHIJKLMNOPQRSTUVWXYZ ",
}

APOSTROPHES = frozenset("'`´‘’‛ʹʻʼ′ꞌ")
# The Arabic tatweel, which stretches a word, and selectors of variants: letters and marks in Unicode, without a sound.
_SILENT = re.compile("[\u0640\u034f\u180b-\u180d\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_SPOKEN_SYMBOLS = frozenset("#%&*@§‰‱٪")  # punctuation in Unicode
_SEPARATORS = frozenset("⁄∕−")  # fraction slash, division slash, minus: mathematical symbols in Unicode
_QUOTES_AND_BRACKETS = frozenset({"Ps", "Pe", "Pi", "Pf"})
_TURKISH = {"lower": {"I": "ı", "İ": "i"}, "upper": {"i": "İ", "ı": "I"}}
_PAGE = 256
# Katakana and voicing marks -> their half-width forms, which Unicode composes in no normal form.
_HALF_WIDTH_RUN = re.compile("[ｦ-ﾟ]+")
_HALF_WIDTH = {unicodedata.normalize("NFKC", chr(code)): chr(code) for code in range(0xFF66, 0xFFA0)}


class AlphabetConfig(Config):
    """The output characters of a recogniser.

    Attributes:
      characters: the characters in the order of their class ids; or the name of a preset (a key of `PRESETS`); or
        `auto`, for the characters of the training data, which a run has in its place.
      unknown: treatment of an utterance with symbols outside the alphabet: `drop` deletes the symbols from its text,
        `skip` skips the utterance. Both are counted.
    """

    characters: str = PRESETS["default"]
    unknown: Literal["drop", "skip"] = "drop"

    @pydantic.field_validator("characters", mode="before")
    @classmethod
    def _resolve_preset(cls, value):
        return PRESETS.get(value, value) if isinstance(value, str) else value

    @pydantic.field_validator("characters")
    @classmethod
    def _validate(cls, characters: str) -> str:
        if characters == AUTO:
            return characters
        if len(characters) < 2:
            raise ValueError("an alphabet needs at least 2 characters, or the name of a preset: " + ", ".join(PRESETS))
        for character, count in Counter(characters).items():
            if count > 1:
                raise ValueError(f"{character!r} occurs {count} times; write each character once")
            if not character.isprintable():
                raise ValueError(
                    f"{character!r} is a control character or white space; the only space allowed is the ordinary one"
                )
            parts = unicodedata.normalize("NFD", character)
            if len(parts) > 1 and all(part in characters for part in parts):
                raise ValueError(f"{character!r} and all its parts occur, so it has two spellings; remove one")
        return characters


class Alphabet:
    """Text <-> class ids for one `AlphabetConfig`; the rules are in the module's docstring.

    A class id is an index into the alphabet's characters. The CTC blank is not one of them.

    Attributes:
      config: the configuration.
      characters: the characters in the order of their ids.
      size: number of characters.

    Raises:
      ConfigError: the characters are still to be taken from data (`auto`).
    """

    def __init__(self, config: AlphabetConfig):
        if config.characters == AUTO:
            raise ConfigError("alphabet.characters is auto: name the characters, or train with tfvoice_train on data.")
        self.config = config
        self.characters = config.characters
        self.size = len(config.characters)
        self._ids = {character: index for index, character in enumerate(self.characters)}
        self._spelling = _Spelling(self.characters)
        self._cleanup = _cleanup_rules(self.characters)

    def normalise(self, text: str) -> str:
        """Spells a text with the alphabet's characters; a normalised text stays as it is."""
        text = _replace(text, self._spelling.compositions).translate(self._spelling)
        return _replace(text, self._cleanup)

    def unknown(self, text: str) -> Counter[str]:
        """Counts the symbols of a text that `normalise` drops, as they are written in the text."""
        text = _replace(text, self._spelling.compositions)
        return Counter(symbol for symbol in text if self._spelling[ord(symbol)] is None)

    def changes(self, texts: Iterable[str]) -> Counter[tuple[str, str]]:
        """Counts the letters and marks of texts that the alphabet spells otherwise ("ü" as "u") or drops (as "").

        Case, width and ligatures are no such change, and neither is a sigma that becomes final.
        """
        symbols: Counter[str] = Counter()
        for text in texts:
            symbols.update(compose(text))
        changes: Counter[tuple[str, str]] = Counter()
        for symbol, count in symbols.items():
            letter, spelled = self._spelling.letter(symbol), self._spelling[ord(symbol)] or ""
            if letter and self._spelling.lower(spelled) != letter:
                changes[self._spelling.lower(symbol), spelled] += count
        return changes

    def encode(self, text: str) -> list[int]:
        """Normalises a text and returns the class ids of its characters."""
        return [self._ids[character] for character in self.normalise(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of class ids.

        Raises:
          ValueError: an id is not in 0..size-1, such as a blank or padding.
        """
        ids = [int(class_id) for class_id in ids]
        for class_id in ids:
            if not 0 <= class_id < self.size:
                raise ValueError(f"class id {class_id} is not in 0..{self.size - 1}: drop blanks and padding first.")
        return "".join(self.characters[class_id] for class_id in ids)

    def normalise_in_graph(self, texts: tf.Tensor) -> tf.Tensor:
        """`normalise` for a UTF-8 string tensor, a scalar or `[batch]`; same shape."""
        import tensorflow as tf

        spellings = tf.constant(_pages(self.characters).spellings)
        spelled = tf.ragged.map_flat_values(lambda flat: tf.gather(spellings, flat), self._spelling_ids(texts))
        return _replace_in_graph(tf.strings.reduce_join(spelled, axis=-1), self._cleanup)

    def unknown_in_graph(self, texts: tf.Tensor) -> tf.Tensor:
        """Number of symbols that `normalise_in_graph` drops, int32, of the shape of `texts`."""
        import tensorflow as tf

        spelling_ids = self._spelling_ids(texts)
        dropped = tf.ragged.map_flat_values(lambda flat: tf.cast(tf.equal(flat, 0), tf.int32), spelling_ids)
        return tf.reduce_sum(dropped, axis=-1)

    def encode_in_graph(self, texts: tf.Tensor) -> tf.RaggedTensor | tf.Tensor:
        """`encode` for a string tensor.

        Args:
          texts: UTF-8, `[batch]` or a scalar.

        Returns:
          int32 class ids: ragged `[batch, characters]`, or for a scalar a tensor `[characters]`.
        """
        import tensorflow as tf

        codes = np.array([ord(character) for character in self.characters], np.int32)
        order = np.argsort(codes).astype(np.int32)

        def look_up(flat):
            return tf.gather(tf.constant(order), tf.searchsorted(tf.constant(codes[order]), flat))

        decoded = tf.strings.unicode_decode(self.normalise_in_graph(texts), "UTF-8")
        return tf.ragged.map_flat_values(look_up, decoded)

    def decode_in_graph(self, ids: tf.RaggedTensor | tf.Tensor, lengths: tf.Tensor | None = None) -> tf.Tensor:
        """`decode` for a batch.

        Args:
          ids: ragged `[batch, characters]`, or dense `[batch, characters]` with `lengths`.
          lengths: int `[batch]`: number of ids in each row of a dense tensor; None: every row is full.

        Returns:
          UTF-8 strings `[batch]`.
        """
        import tensorflow as tf

        if lengths is not None:
            ids = tf.RaggedTensor.from_tensor(ids, lengths)
        characters = tf.constant(list(self.characters))
        decoded = tf.ragged.map_flat_values(lambda flat: tf.gather(characters, flat), ids)
        return tf.strings.reduce_join(decoded, axis=-1)

    def _spelling_ids(self, texts):
        """Index of each code point in `_Pages.spellings`; 0 means unknown."""
        import tensorflow as tf

        pages = _pages(self.characters)

        def look_up(flat):
            starts = tf.gather(tf.constant(pages.starts), flat // _PAGE)
            return tf.gather(tf.constant(pages.spelling_ids), starts + flat % _PAGE)

        composed = _replace_in_graph(tf.convert_to_tensor(texts), self._spelling.compositions)
        return tf.ragged.map_flat_values(look_up, tf.strings.unicode_decode(composed, "UTF-8"))


def format_counts(symbols: Counter[str]) -> str:
    """The most frequent symbols that `Alphabet.unknown` counts, with their counts."""
    return ", ".join(f"{count} {symbol!r}" for symbol, count in symbols.most_common(10))


class _Spelling(dict):
    """Code point -> its spelling, or None if it is unknown (`str.translate` drops it); filled on demand."""

    def __init__(self, characters: str):
        super().__init__()
        self.characters = frozenset(characters)
        self.case = _case(characters)
        self.compositions = _compositions(characters)
        self.turkish = _is_turkish(characters)
        self.final_sigma = _has_final_sigma(characters)

    def __missing__(self, code: int) -> str | None:
        self[code] = spelled = self.spell(chr(code))
        return spelled

    def letter(self, symbol: str) -> str:
        """The letters or the mark that a symbol of the text stands for, in lower case; "" for any other symbol."""
        return self.lower(compatible(symbol)) if is_letter(symbol) else ""

    def lower(self, text: str) -> str:
        """The lower case of a text, composed, without apostrophes; the final sigma counts as an ordinary one."""
        text = "".join(symbol for symbol in text if symbol not in APOSTROPHES)
        text = text.replace("İ", "i").replace("I", "ı" if self.turkish else "i")
        return unicodedata.normalize("NFC", text.lower()).replace("ς", "σ")

    def spell(self, symbol: str) -> str | None:
        category = unicodedata.category(symbol)
        if category in ("Cn", "Co", "Cs"):
            return None
        if self.final_sigma and symbol == "ς":
            return "σ"  # the rules at the end restore it
        for candidate in (symbol, *_folded(symbol, self.case, self.turkish)):
            if candidate in self.characters:
                return candidate
        # Most of Unicode is letters without a decomposition; only Hangul syllables have one that this does not list.
        if category == "Lo" and not unicodedata.decomposition(symbol) and not "가" <= symbol <= "힣":
            return None
        symbol = unicodedata.normalize("NFC", symbol)  # some characters are canonical duplicates of the acute accent
        parts = "'" if symbol in APOSTROPHES else unicodedata.normalize("NFKD", symbol)
        folded = "".join(map(self._fold, _replace(parts, self.compositions)))
        spelled = [self._spell_part(part) for part in folded]
        return None if None in spelled else "".join(spelled)

    def _fold(self, part: str) -> str:
        # The upper case of one Greek mark is a letter, so marks are not folded. Both directions in turn, because each
        # alone misses a letter: dotless i, capital sharp s.
        if part in self.characters or self.case == "none" or unicodedata.category(part).startswith("M"):
            return part
        folded = part.upper().casefold() if self.case == "lower" else part.casefold().upper()
        return unicodedata.normalize("NFKD", folded)

    def _spell_part(self, part: str) -> str | None:
        category = unicodedata.category(part)
        if part in self.characters:
            # The lunate sigma is the final one to Unicode.
            return "σ" if self.final_sigma and part == "ς" else part
        if part in APOSTROPHES:
            return "'" if "'" in self.characters else ""
        if part in _SPOKEN_SYMBOLS:
            return None
        if (
            part == '"'
            or _SILENT.match(part)
            or category in _QUOTES_AND_BRACKETS
            or category == "Cf"
            or category.startswith("M")
        ):
            return ""
        if part.isspace() or part in _SEPARATORS or category.startswith("P"):
            return " "
        return None


class _Pages(NamedTuple):
    """The table of `_Spelling` for all of Unicode, in pages of 256 code points that share equal pages.

    Attributes:
      starts: int32 `[pages of Unicode]`: start of the page of a code point in `spelling_ids`.
      spelling_ids: int32: the index of a code point's spelling in `spellings`.
      spellings: strings; index 0 is that of unknown symbols, and empty.
    """

    starts: np.ndarray
    spelling_ids: np.ndarray
    spellings: list[str]


@functools.lru_cache(maxsize=8)
def _pages(characters: str) -> _Pages:
    table = _Spelling(characters)
    ids: dict[str | None, int] = {None: 0}
    pages: dict[tuple[int, ...], int] = {}
    starts = []
    for first in range(0, 0x110000, _PAGE):
        spelled = [table.spell(chr(code)) for code in range(first, first + _PAGE)]
        page = tuple(ids.setdefault(spelling, len(ids)) for spelling in spelled)
        starts.append(pages.setdefault(page, len(pages)) * _PAGE)
    spellings = [spelling or "" for spelling in ids]
    return _Pages(np.array(starts, np.int32), np.array(list(pages), np.int32).ravel(), spellings)


def _case(characters: str) -> Literal["lower", "upper", "none"]:
    """The case of all letters of the alphabet; `none` if they are of both cases, or have none."""
    lower, upper = (any(test(character) for character in characters) for test in (str.islower, str.isupper))
    return "none" if lower == upper else "lower" if lower else "upper"


def compose(text: str) -> str:
    """Unicode NFC; half-width katakana, whose voicing marks it does not compose, become ordinary ones first."""
    return unicodedata.normalize("NFC", _HALF_WIDTH_RUN.sub(lambda run: unicodedata.normalize("NFKC", run[0]), text))


def is_letter(symbol: str) -> bool:
    """Whether a symbol stands for a sound by itself: a letter or a combining mark, but no apostrophe."""
    return (
        unicodedata.category(symbol) in ("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc")
        and symbol not in APOSTROPHES
        and not _SILENT.match(symbol)
    )


def compatible(symbol: str) -> str:
    """The ordinary form of a symbol: full width, half width, ligatures and presentation forms are resolved."""
    # NFKC takes apart the vowel am of Thai and Lao, which everybody writes as one.
    return symbol if symbol in "ำຳ" else unicodedata.normalize("NFKC", symbol)


def _is_turkish(characters: str) -> bool:
    """Whether the alphabet distinguishes a dotless i, so that I and İ are folded as in Turkish, Azeri and Kazakh."""
    return {"lower": "ı", "upper": "İ"}.get(_case(characters), "\0") in characters


def _has_final_sigma(characters: str) -> bool:
    return _case(characters) == "lower" and "σ" in characters and "ς" in characters


def _folded(symbol: str, case: str, turkish: bool) -> list[str]:
    """Candidates for the symbol in the case of the alphabet."""
    if turkish and symbol in _TURKISH[case]:
        return [_TURKISH[case][symbol]]
    # Unicode's upper case of the sharp s is two letters, even where the alphabet has the capital one.
    upper = "ẞ" if symbol == "ß" else symbol.upper()
    return {"lower": [symbol.lower()], "upper": [upper], "none": []}[case]


def _compositions(characters: str) -> list[tuple[str, str]]:
    """Rules that compose the alphabet's accented letters from a letter and its combining marks.

    The marks must follow directly and in canonical order, as in any Unicode normal form.
    """
    case = _case(characters)
    rules = {"I\u0307": "i"} if case == "lower" and _is_turkish(characters) else {}
    for character in characters:
        variants = (character,) if case == "none" else (character, character.lower(), character.upper())
        for parts in (unicodedata.normalize("NFD", variant) for variant in variants if len(variant) == 1):
            if len(parts) > 1 and unicodedata.combining(parts[1]):
                rules[parts] = character
                if all(part in _HALF_WIDTH for part in parts):
                    rules["".join(_HALF_WIDTH[part] for part in parts)] = character
    return [(re.escape(parts), rules[parts]) for parts in sorted(rules, key=len, reverse=True)]


def _cleanup_rules(characters: str) -> list[tuple[str, str]]:
    """Rules that depend on neighbouring characters: apostrophes at the edges of words, spaces, final sigmas."""
    apostrophes = [(r"(^| )'+", r"\1"), (r"'+( |$)", r"\1")] if "'" in characters else []
    spaces = [("  +", " "), ("^ | $", "")] if " " in characters else [(" ", "")]
    return apostrophes + spaces + ([("([^ ])σ( |$)", r"\1ς\2")] if _has_final_sigma(characters) else [])


def _replace(text: str, rules: list[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        text = re.sub(pattern, replacement, text)
    return text


def _replace_in_graph(texts, rules: list[tuple[str, str]]):
    import tensorflow as tf

    for pattern, replacement in rules:
        texts = tf.strings.regex_replace(texts, pattern, replacement)
    return texts
