"""An alphabet from texts: which letters a language writes, how often, and what an alphabet changes about them.

The proposal has the letters in lower case, the apostrophe where it occurs inside words, and a space unless the script
writes none. Letters are composed (Unicode NFC); width, ligatures and presentation forms are resolved (NFKC). Combining
marks without a composed form, such as the vowel signs of Hindi and Thai, are characters of their own. Left out are

- digits and symbols, because their sound depends on what they stand for;
- scripts with less than one letter in a hundred, such as a Latin name in Cyrillic text;
- vowel points of Arabic, Hebrew and Syriac, unless the text is fully pointed;
- letters rarer than 1 in 20,000 of their script, such as the "é" of "café" in English, unless these add up: a script of
  thousands of letters has many rare ones.

The alphabet spells what is left out by its ordinary rules: "é" as "e", where it has no better form not at all.
"""

import itertools
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tfvoice.errors import TfvoiceError
from tfvoice.text.alphabet import APOSTROPHES, Alphabet, AlphabetConfig, compatible, compose, is_letter

# Shares of all letters, or of those of their script.
_FOREIGN = 0.01
_POINTED = 0.2
_RARE = 1 / 20_000
_RARE_TOGETHER = 1 / 1000
# With fewer examples, a recogniser hardly learns a letter.
_FEW = 10
# Of letters, in a script that needs no spaces.
_WORD = 1 / 20
_WIDTH = 100

_POINTS = "vowel points"
_POINTED_SCRIPTS = ("ARABIC", "HEBREW", "SYRIAC")
_UNSPACED_SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "YI", "THAI", "LAO", "KHMER", "MYANMAR")
_INNER_APOSTROPHE = re.compile(rf"(?<=[^\W\d_])[{''.join(sorted(APOSTROPHES))}](?=[^\W\d_])")


class Proposal(NamedTuple):
    """An alphabet for texts, and what it makes of them.

    Attributes:
      characters: of the alphabet.
      texts: number of texts.
      counts: of its characters in the normalised texts.
      changes: letters that are spelled otherwise or dropped, as `Alphabet.changes` counts them.
      dropped: symbols that are dropped, as `Alphabet.unknown` counts them.
    """

    characters: str
    texts: int
    counts: Counter[str]
    changes: Counter[tuple[str, str]]
    dropped: Counter[str]

    def as_toml(self) -> str:
        """The alphabet as a configuration file, with the counts as comments."""
        rare = {letter: self.counts[letter] for letter in self.characters if self.counts[letter] < _FEW}
        respelled = {pair: count for pair, count in self.changes.items() if pair[1]}
        # Letters that vanish are among the unknown symbols, marks are not.
        marks = {old: count for (old, new), count in self.changes.items() if not new and old not in self.dropped}
        lines = [
            f"{self.texts} texts, {self.counts.total()} characters of {len(self.characters)} kinds:",
            *_table(self.counts, repr),
            *_section(f"Rare, hardly to be learned from fewer than {_FEW} examples:", rare, repr),
            *_section("Spelled otherwise:", respelled, lambda pair: f"{pair[0]!r} as {pair[1]!r}"),
            *_section("Dropped (write numbers and symbols as words):", self.dropped + Counter(marks), repr),
        ]
        comments = "".join(f"# {line}\n" for line in lines)
        return f"{comments}[alphabet]\ncharacters = {json.dumps(self.characters, ensure_ascii=False)}\n"


def propose(texts: Iterable[str], source: str) -> Proposal:
    """Proposes an alphabet for texts; `source` and errors as for `characters_of`."""
    texts = list(texts)
    alphabet = Alphabet(AlphabetConfig(characters=characters_of(texts, source)))
    counts: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for text in texts:
        counts.update(alphabet.normalise(text))
        dropped.update(alphabet.unknown(text))
    return Proposal(alphabet.characters, len(texts), counts, alphabet.changes(texts), dropped)


def notice(alphabet: Alphabet, texts: list[str]) -> str:
    """One sentence on the letters of texts that the alphabet changes, and what to type against it; "" for none."""
    changes = alphabet.changes(texts)
    respelled = Counter({f"{old!r} to {new!r}": count for (old, new), count in changes.items() if new})
    vanishing = Counter({repr(old): count for (old, new), count in changes.items() if not new})
    facts = []
    if respelled:
        facts.append(f"changes {_most_common(respelled)}")
    if vanishing:
        facts.append(f"drops {_most_common(vanishing)}")
    if not facts:
        return ""
    proposed = _characters(texts)
    advice = "."
    if len(proposed) > 1:
        kept = Alphabet(AlphabetConfig(characters=proposed))
        if kept.changes(texts).total() < changes.total():
            advice = (
                "; --set alphabet.characters=auto keeps the letters of the data, and tfvoice_text --alphabet "
                "--data=DIR lists them."
            )
    return f"the alphabet {' and '.join(facts)}{advice}"


def characters_of(texts: Iterable[str], source: str) -> str:
    """The characters of an alphabet for texts.

    Args:
      texts: any Unicode.
      source: where the texts come from, for the message.

    Raises:
      TfvoiceError: they have fewer than two letters.
    """
    characters = _characters(list(texts))
    if len(characters) < 2:
        raise TfvoiceError(f"{source}: its texts have fewer than two letters, too few for an alphabet; look at them.")
    return characters


def _characters(texts: list[str]) -> str:
    """As `characters_of`; "" for texts without letters."""
    symbols: Counter[str] = Counter()
    apostrophes = 0
    for text in texts:
        composed = compose(text)
        symbols.update(composed)
        apostrophes += len(_INNER_APOSTROPHE.findall(composed))
    letters = _letters(symbols)
    kept = _common(letters)
    # What could be written in two ways is written with its parts: ऩ, where its dot also stands alone.
    kept -= {letter for letter in kept if len(_parts(letter)) > 1 and _parts(letter) <= kept}
    if all(unicodedata.category(letter)[0] == "M" for letter in kept):
        return ""
    apostrophe = "'" if apostrophes > _RARE * letters.total() else ""
    return (" " if _has_spaces(texts, letters) else "") + apostrophe + "".join(sorted(kept))


def _has_spaces(texts: list[str], letters: Counter[str]) -> bool:
    """Whether words are separated: always, except where most letters are of a script that does not do so."""
    unspaced = sum(count for letter, count in letters.items() if _script(letter) in _UNSPACED_SCRIPTS)
    if unspaced < letters.total() / 2:
        return True
    pairs = (pair for text in texts for pair in itertools.pairwise(text.split()))
    return (
        sum(_can_be_proposed(left[-1]) and _can_be_proposed(right[0]) for left, right in pairs)
        > _WORD * letters.total()
    )


def _letters(symbols: Counter[str]) -> Counter[str]:
    """Counts the letters and marks among symbols, in lower case and in their ordinary form."""
    letters: Counter[str] = Counter()
    for symbol, count in symbols.items():
        if symbol not in APOSTROPHES:
            for letter in unicodedata.normalize("NFC", compatible(symbol).replace("İ", "i").lower()):
                if _can_be_proposed(letter):
                    letters[letter] += count
    return letters


def _can_be_proposed(symbol: str) -> bool:
    """Whether a symbol can be in a proposal; parts of Korean syllables cannot, and the Chinese zero is a number."""
    return symbol == "〇" or (is_letter(symbol) and not "\u1100" <= symbol <= "\u11ff")


def _script(letter: str) -> str:
    """The script of a letter, by the first word of its name in Unicode."""
    word = re.split("[ -]", unicodedata.name(letter, ""))[0]
    if word in _POINTED_SCRIPTS and unicodedata.category(letter)[0] == "M":
        return _POINTS
    return "CJK" if word == "IDEOGRAPHIC" else word


def _common(letters: Counter[str]) -> set[str]:
    """The letters without foreign scripts, sparse vowel points, and letters that are rare in their script."""
    scripts: dict[str, Counter[str]] = {}
    for letter, count in letters.items():
        scripts.setdefault(_script(letter), Counter())[letter] = count
    kept: set[str] = set()
    for script, members in scripts.items():
        total = members.total()
        if total < (_POINTED if script == _POINTS else _FOREIGN) * letters.total():
            continue
        rare = {letter for letter, count in members.items() if count < _RARE * total}
        if sum(members[letter] for letter in rare) > _RARE_TOGETHER * total:
            rare = set()
        kept |= members.keys() - rare
    return kept


def _parts(letter: str) -> set[str]:
    """A letter and its marks; only the letter itself where it has none."""
    return set(unicodedata.normalize("NFD", letter))


def _most_common(counts: Counter[str]) -> str:
    listed = ", ".join(f"{count} {what}" for what, count in counts.most_common(10))
    return listed + (f" and {len(counts) - 10} more" if len(counts) > 10 else "")


def _section(title: str, counts: Mapping[Any, int], shown: Callable[[Any], str]) -> list[str]:
    return [title, *_table(counts, shown)] if counts else []


def _table(counts: Mapping[Any, int], shown: Callable[[Any], str]) -> list[str]:
    """Lines of counts, the most frequent first."""
    lines = [""]
    for what, count in Counter(counts).most_common():
        if len(lines[-1]) > _WIDTH:
            lines.append("")
        lines[-1] += f"  {count} {shown(what)}"
    return lines
