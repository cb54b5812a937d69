"""What is to be spoken: words and pauses with their places in the written text, and what cannot be spoken.

A normaliser cuts a text into pieces, each with the words that are said for it. `assemble` makes tokens of them and
sees to it that no character is lost: it is blank, or within the span of a token, or reported as unspoken.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from tfvoice.text.folding import Folded

# From the weakest to the strongest: of several in a row, the strongest is kept.
PAUSES = ",:;.!?"
SENTENCE_ENDS = frozenset(".!?")
# The form of words in English; a normaliser of another language has words of other letters.
_BLANK = "blank"
WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")


@dataclass(frozen=True)
class Token:
    """A word or a pause.

    Attributes:
      text: a word in lower case, or one of `PAUSES`.
      start: where the written text that it stands for begins; all words of "42" have the same span.
      end: where it ends.
      letter: whether the word is the name of a letter: the "a" of "USA", unlike the "a" of "a dog".
    """

    text: str
    start: int
    end: int
    letter: bool = False

    @property
    def is_pause(self) -> bool:
        """Whether this is a pause, not a word."""
        return self.text in PAUSES


@dataclass(frozen=True)
class Unspoken:
    """A part of the written text that has no words.

    Attributes:
      start: where it begins.
      end: where it ends.
      text: the part itself.
      reason: why it is not spoken, in a few words.
    """

    start: int
    end: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.text!r} at {self.start}: {self.reason}"


@dataclass(frozen=True)
class Normalized:
    """A text as it is spoken.

    Attributes:
      text: as it is written.
      tokens: words and pauses, in order.
      unspoken: the parts without words, in order.
    """

    text: str
    tokens: tuple[Token, ...]
    unspoken: tuple[Unspoken, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The words without the pauses."""
        return tuple(token.text for token in self.tokens if not token.is_pause)

    @property
    def spoken(self) -> str:
        """All tokens as text: "hello , world ."."""
        return " ".join(token.text for token in self.tokens)

    @property
    def sentences(self) -> tuple[tuple[Token, ...], ...]:
        """The tokens, cut after each pause that ends a sentence."""
        cut: list[list[Token]] = [[]]
        for token in self.tokens:
            cut[-1].append(token)
            if token.text in SENTENCE_ENDS:
                cut.append([])
        return tuple(tuple(sentence) for sentence in cut if sentence)


@dataclass(frozen=True)
class Piece:
    """A part of a folded text, and what is said for it.

    Attributes:
      start: where it begins in the folded text.
      end: where it ends.
      spoken: words and pauses, separated by spaces; "" for nothing. A word that begins with a capital is the name of a
        letter.
      reason: why nothing is said; "" for silent punctuation, which is not reported.
    """

    start: int
    end: int
    spoken: str
    reason: str = ""


def assemble(text: str, folded: Folded, pieces: Iterable[Piece]) -> Normalized:
    """Makes tokens of pieces.

    Args:
      text: as it is written.
      folded: the text that was cut into pieces.
      pieces: in order, without overlaps. Between them are blanks, silent punctuation, and what is to be reported.

    Returns:
      the tokens. Silent punctuation belongs to the span of the token beside it; of pauses in a row, the strongest is
      kept; pauses before the first word are silent.
    """
    spans: list[_Span] = []
    silent: set[int] = set()
    last: _Span | None = None
    for piece in pieces:
        span = _Span(folded.starts[piece.start], folded.ends[piece.end - 1], piece.spoken, piece.reason)
        if span.is_pause and last and last.is_pause:
            last.spoken = max(last.spoken, span.spoken, key=PAUSES.index)
            if _all_silent(text, last.end, span.start, silent):
                last.end = span.end
            else:  # The pause must not hide what is to be reported: "yes, 😀, no".
                silent.update(range(span.start, span.end))
        elif span.reason or (span.spoken and (last or not span.is_pause)):
            spans.append(span)
            last = span if span.spoken else last
        elif not span.spoken:
            silent.update(range(span.start, span.end))
    unspoken = _cover(text, spans, silent) + [(span.start, span.end, span.reason) for span in spans if span.reason]
    tokens = [
        Token(word.lower(), span.start, span.end, word[0].isupper()) for span in spans for word in span.spoken.split()
    ]
    reported = [Unspoken(start, end, text[start:end], reason) for start, end, reason in sorted(unspoken)]
    return Normalized(text, tuple(tokens), tuple(reported))


@functools.lru_cache(maxsize=4096)
def why_unspoken(character: str) -> str:
    """Why a character has no words; "" for silent punctuation and blanks."""
    category = unicodedata.category(character)
    if character.isspace() or category[0] in "MZ" or category == "Cf":
        return ""
    if category[0] == "L":
        return f"{_script(character)} letters"
    if category[0] == "N":
        return "numbers"
    if category[0] == "C":
        return "control characters" if category == "Cc" else "unknown characters"
    if category == "So" or "\U0001f3fb" <= character <= "\U0001f3ff":
        return "emoji or pictures"
    return "symbols" if category in ("Sc", "Sm") or character in "#%&*@§‰/\\^" else ""


class _Span:
    """A piece with its place in the written text, which grows over the silent characters beside it."""

    def __init__(self, start: int, end: int, spoken: str, reason: str = ""):
        self.start = start
        self.end = end
        self.spoken = spoken
        self.reason = reason

    @property
    def is_pause(self) -> bool:
        return bool(self.spoken) and self.spoken in PAUSES


def _cover(text: str, spans: list[_Span], silent: set[int]) -> list[tuple[int, int, str]]:
    """Finds a place for each character between the spans: silent ones grow a span, all others are unspoken."""
    unspoken = []
    position = 0
    before: _Span | None = None
    for span in [*spans, None]:
        after = span if span and span.spoken else None
        until = span.start if span else len(text)
        while position < until:
            start, reason = position, _gap_kind(text, position, silent)
            position = _run_end(text, start, until, silent)
            if reason == _BLANK:
                continue
            if reason:
                unspoken.append((start, position, reason))
            elif after and (not before or (position == until and (before.end < start or before.is_pause))):
                after.start = min(start, after.start)
            elif before:
                before.end = position
            else:
                unspoken.append((start, position, "punctuation without words"))
        position = max(position, span.end if span else 0)
        before = after or before
    return unspoken


def _all_silent(text: str, start: int, end: int, silent: set[int]) -> bool:
    return all(_gap_kind(text, position, silent) in ("", _BLANK) for position in range(start, end))


def _gap_kind(text: str, position: int, silent: set[int]) -> str:
    return _BLANK if text[position].isspace() else "" if position in silent else why_unspoken(text[position])


def _run_end(text: str, start: int, until: int, silent: set[int]) -> int:
    """The end of a run of characters that are alike; marks and joiners go with what stands before them."""
    end = start + 1
    kind = _gap_kind(text, start, silent)
    while end < until:
        joined = kind not in ("", _BLANK) and unicodedata.category(text[end]) in ("Mn", "Mc", "Me", "Cf")
        if not joined and _gap_kind(text, end, silent) != kind:
            break
        end += 1
    return end


def _script(letter: str) -> str:
    """The script of a letter by its Unicode name: "Cyrillic"."""
    name = unicodedata.name(letter, "unknown").split()[0]
    return name if name == "CJK" else name.title()
