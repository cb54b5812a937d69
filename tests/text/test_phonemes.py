"""Laws of phonemes: parsing and formatting are inverse, stress comes and goes, inline phonemes are found in text."""

import itertools
import re

import pytest

from tfvoice.text import phonemes
from tfvoice.text.phonemes import ARPABET, PhonemeError, PhonemeInventory

# A language with tones.
TONAL = PhonemeInventory(("a1", "a2", "m", "n"))


def test_arpabet_has_39_phonemes_and_69_with_stress():
    assert (len(ARPABET.symbols), len(ARPABET.bases)) == (69, 1 + 39)
    assert ARPABET.bases[0] == phonemes.SILENCE and list(ARPABET.symbols) == sorted(ARPABET.symbols)
    assert {phonemes.base(symbol) for symbol in ARPABET.symbols} == {*phonemes.VOWELS, *phonemes.CONSONANTS}
    assert ARPABET.unmarked == set(phonemes.VOWELS)


def test_symbols_have_stress_or_none():
    assert [phonemes.stress(symbol) for symbol in ("AH0", "AH1", "AH2", "HH")] == [0, 1, 2, None]
    assert phonemes.without_stress(("HH", "AH0", "L", "OW1")) == ("HH", "AH", "L", "OW")
    assert phonemes.base("7") == "7"


@pytest.mark.parametrize("inventory", [ARPABET, TONAL], ids=["arpabet", "tonal"])
def test_ids_and_text_are_inverted(inventory):
    for pronunciation in itertools.product(inventory.symbols[:20], repeat=2):
        assert inventory.decode(inventory.encode(pronunciation)) == pronunciation
        assert inventory.parse(phonemes.format(pronunciation)) == pronunciation
    assert sorted(inventory.base_ids.values()) == list(range(len(inventory.bases)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HH AH0 L OW1", "HH AH0 L OW1"),
        ("  hh ah0\tl ow1 ", "HH AH0 L OW1"),
        ("HH AH L OW", "HH AH1 L OW0"),
        ("HH AH L OW1", "HH AH0 L OW1"),
        ("S T", "S T"),
    ],
)
def test_phonemes_are_parsed_in_any_case_with_and_without_stress(text, expected):
    assert phonemes.format(ARPABET.parse(text)) == expected


def test_a_symbol_that_is_not_in_the_inventory_is_an_error_that_names_the_nearest():
    with pytest.raises(PhonemeError, match=r"^'AH3' is no phoneme; did you mean AH\d\?$"):
        ARPABET.parse("HH AH3")
    with pytest.raises(PhonemeError, match=r"'x' is no phoneme; known: a1, a2, m, n\."):
        TONAL.parse("x")
    with pytest.raises(PhonemeError, match="'sil' is no phoneme"):
        ARPABET.encode(["sil"])
    with pytest.raises(PhonemeError, match="there are no phonemes"):
        ARPABET.parse(" ")


def test_the_inventory_of_a_lexicon_is_what_occurs_in_it():
    found = PhonemeInventory.of([("m", "a1"), ("n", "a2"), ("m", "a2")])
    assert found == TONAL and found.bases == ("sil", "a", "m", "n")
    assert found.parse("m a") == ("m", "a1")
    # Without a tone 0, the first that there is.
    assert found.parse("m a1 n a") == ("m", "a1", "n", "a1")
    # Case is part of the symbols where two differ in nothing else.
    assert PhonemeInventory(("N", "n")).parse("n N") == ("n", "N")


def test_text_is_split_at_phonemes_in_braces():
    text = "Say {HH AH0 L OW1} to {ih t}{}."
    with pytest.raises(PhonemeError, match=r"\{\} at character 29: there are no phonemes\. Write phonemes in braces"):
        phonemes.split_inline(text)
    text = text.replace("{}", "")
    parts = phonemes.split_inline(text)
    assert [(part.text, part.phonemes) for part in parts] == [
        ("Say ", None),
        ("HH AH0 L OW1", ("HH", "AH0", "L", "OW1")),
        (" to ", None),
        ("ih t", ("IH1", "T")),
        (".", None),
    ]
    assert "".join(text[part.start : part.end] for part in parts) == text


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("Say {HH AH0 to her", "{ at character 5 has no partner; write phonemes in braces, as {HH AH0 L OW1}"),
        ("Say HH AH0} to her", "} at character 11 has no partner"),
        ("{{HH}}", "{ at character 1 has no partner"),
        ("{HH} }{", "} at character 6 has no partner"),
    ],
)
def test_a_brace_without_its_partner_is_an_error(text, fact):
    with pytest.raises(PhonemeError, match=re.escape(fact)):
        phonemes.split_inline(text)


@pytest.mark.parametrize("text", ["", "no braces"])
def test_text_without_braces_stays_whole(text):
    assert [(part.text, part.phonemes) for part in phonemes.split_inline(text)] == ([(text, None)] if text else [])


def test_braces_of_another_inventory():
    (part,) = phonemes.split_inline("{m a2}", TONAL)
    assert part.phonemes == ("m", "a2")
    with pytest.raises(PhonemeError, match=r"\{HH AH0\} at character 1: 'HH' is no phoneme"):
        phonemes.split_inline("{HH AH0}", TONAL)
