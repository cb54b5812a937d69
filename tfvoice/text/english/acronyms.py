"""Words by their case: which capitals are letters ("FBI"), which a word ("NASA"), and which only shout ("WHAT?").

The rule, in this order, for a word of capitals:

1. in a sentence without small letters, everything is a word but what has no vowel and the table of spelled acronyms,
   unless these are words, too ("US", "IT");
2. the tables of spoken and of spelled acronyms;
3. without a vowel it is spelled ("HTML");
4. with four letters or more it is a word ("OPEC", "STOP");
5. with three letters, consonant-vowel-consonant is a word ("DOG"); others are spelled ("IBM") unless listed as words;
6. with two letters it is spelled ("TV") unless listed as a word.
"""

import re

from tfvoice.text.english import abbreviations
from tfvoice.text.english.numbers import digits, pairs, plural

_VOWEL = re.compile("[AEIOUY]")
_SYLLABLE = re.compile("[BCDFGHJKLMNPRSTVWYZ][AEIOU][BCDFGHJKLMNPRSTVWXYZ]")
_SOUNDS = re.compile(
    "[HMNSZTKPFGRBWXJ]*(?:HM+|MM+|SH+|ZZ+|GR+|BR+|PS+T|PF+T|TSK)[HMSTZR]*|NTH|[AEIOU]+[GRW]*H+|.*([A-Z])\\1\\1.*"
)
# Longer words without a vowel are noises, not acronyms.
_LONGEST_ACRONYM = 6
# "Ms", "As" and "Is" are words.
_PLURAL = re.compile("([A-Z]{2,6}|[B-DFGHJ-LNP-RTV-Z])s")
_RUNS = re.compile("[0-9]+|(?<![A-Za-z])[a-z][A-Z][a-z]+|[A-Z]?[a-z]+|[A-Z]+")


def letters(word: str) -> str:
    """The names of letters: "FBI" is "F B I"."""
    return " ".join(word.upper())


def is_spelled(word: str, shouted: bool = False) -> bool:
    """Whether a word of capitals is read letter by letter; see the module.

    Args:
      word: capitals only.
      shouted: whether it stands in a sentence without small letters.
    """
    spelled = word in abbreviations.SPELLED_ACRONYMS
    if not spelled and len(word) <= 12 and _SOUNDS.fullmatch(word):
        return False
    if not _VOWEL.search(word):
        return len(word) <= _LONGEST_ACRONYM
    if spelled:
        return not (shouted and word in abbreviations.ALSO_WORDS)
    if shouted or word in abbreviations.SPOKEN_ACRONYMS or word in abbreviations.SHORT_WORDS:
        return False
    return len(word) < 3 or (len(word) == 3 and not _SYLLABLE.fullmatch(word))


def speak_word(word: str, shouted: bool = False, before: str = "", after: str = "") -> str:
    """The spoken form of a written word of letters, with its possessive: "FBI's" is "F B I's".

    Args:
      word: as it is written.
      shouted: as for `is_spelled`.
      before: the word before it.
      after: the word after it.
    """
    stem, apostrophe, ending = word.partition("'")
    if stem in abbreviations.MIXED:
        return abbreviations.MIXED[stem] + (apostrophe + ending).lower()
    if stem in abbreviations.STRESSED and (not ending or ending.isupper()):
        befores, afters = abbreviations.STRESSED[stem]
        is_acronym = not (shouted or ending) and (before.lower() in befores or after in afters)
        return letters(stem) if is_acronym else word.lower()
    plural = _PLURAL.fullmatch(stem)
    if plural and (len(plural[1]) == 1 or is_spelled(plural[1])):
        return f"{letters(plural[1])}'s"
    if stem.isupper() and len(stem) > 1 and ending.lower() in ("", "s", "d", "ll", "re") and is_spelled(stem, shouted):
        return letters(stem) + (apostrophe + ending).lower()
    if stem.islower() and not _VOWEL.search(stem.upper()) and stem.upper() in abbreviations.SPELLED_ACRONYMS:
        return letters(stem) + (apostrophe + ending).lower()
    # What is spoken stays as it is when it is normalised again, so "Dept" is read as "dept" is.
    lower = word.lower()
    return abbreviations.UNDOTTED.get(lower) or (lower if word == lower else speak_word(lower))


def speak_mixed(chunk: str) -> str:
    """The spoken form of letters and digits in one word, or in a name with capitals inside: "B2B", "myFile"."""
    runs = _RUNS.findall(chunk)
    if len(runs) > 1 and runs[-1] == "s" and runs[-2].isdecimal():
        return plural(" ".join(map(_speak_run, runs[:-1])))
    if len(runs) > 1 and runs[-1] == "ers" and runs[-2].isdecimal():
        return f"{speak_mixed(chunk[:-3])}ers".replace("eers", "ers")  # "49ers"
    return " ".join(map(_speak_run, runs))


def _speak_run(run: str) -> str:
    if run.isdecimal():
        return pairs(run) if len(run) < 5 else digits(run)
    if len(run) == 1 or run in abbreviations.MIXED:
        return abbreviations.MIXED.get(run) or run.upper()
    if run.isupper():
        return letters(run) if is_spelled(run) or len(run) == 2 else speak_word(run.lower())
    if not _VOWEL.search(run.upper()) or run.upper() in abbreviations.SPELLED_ACRONYMS - abbreviations.ALSO_WORDS:
        return letters(run)
    return speak_word(run.lower())
