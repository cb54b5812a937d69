"""Written to spoken text: a table of pairs, and the laws that hold for any text."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tfvoice.errors import TfvoiceError
from tfvoice.text.normalize import NORMALIZERS, normalize, normalize_plain
from tfvoice.text.tokens import WORD, Normalized, Token

PAIRS = [
    line.split("\t") for line in (Path(__file__).parent / "normalize_pairs.tsv").read_text("utf-8").splitlines()[1:]
]
KINDS = sorted({kind for kind, _, _ in PAIRS})
# What is repeated in the tests of time, and mixed in random texts.
FRAGMENTS = [
    "a.",
    "A.",
    "1,",
    "1-",
    "a_",
    "/a",
    "a@",
    "(1",
    "'",
    '"',
    "😀",
    "e\u0301",
    " ",
    "\n",
    "...",
    "*",
    "$1",
    "1/",
]
FRAGMENTS += [
    "12:",
    "A&",
    "IV ",
    "Dr. ",
    "e.g.",
    "Jan ",
    "1st ",
    "5 km",
    ":) ",
    "http://a",
    "<a",
    "^1",
    "Привет ",
    "\0",
]
FRAGMENTS += ["a[1]", "1 000 ", " 000", "02 ", "1h ", "Mon-", "1 x ", "[", "Call Dr. A"]
FRAGMENTS += ["US", "WHO", "No. ", "Henry ", "vs", "it's ", "ﬁ", "½", "²", "٣", "\ud800", "\u200d", "’", "— "]


def random_text(numbers):
    kind = numbers.randrange(4)
    if kind == 0:
        return "".join(chr(numbers.randrange(32, 127)) for _ in range(numbers.randrange(1, 40)))
    if kind == 1:
        return "".join(chr(numbers.choice([numbers.randrange(0x3000), 0x1F600, 10])) for _ in range(20))
    if kind == 2:
        return "".join(numbers.choice("0123456789,.:/-–$%'\" ()+#x") for _ in range(numbers.randrange(1, 30)))
    return "".join(numbers.choice(FRAGMENTS) for _ in range(numbers.randrange(1, 12)))


RANDOM_TEXTS = [random_text(random.Random(seed)) for seed in range(1000)] + [written for _, written, _ in PAIRS]


@pytest.mark.parametrize("kind", KINDS)
def test_pairs(kind):
    for _, written, expected in (pair for pair in PAIRS if pair[0] == kind):
        assert normalize(written).spoken == expected.lower(), written
        letters = [word for word in expected.split() if word[0].isupper()]
        assert [token.text.capitalize() for token in normalize(written).tokens if token.letter] == letters, written


def test_the_table_is_large():
    assert len(PAIRS) >= 300
    assert len({written for _, written, _ in PAIRS}) == len(PAIRS)


@pytest.mark.parametrize("name", NORMALIZERS)
def test_every_character_is_in_a_token_or_blank_or_unspoken(name):
    for text in RANDOM_TEXTS:
        result = normalize(text, name)
        covered = set()
        for part in (*result.tokens, *result.unspoken):
            assert 0 <= part.start < part.end <= len(text)
            covered.update(range(part.start, part.end))
        assert all(place in covered or text[place].isspace() for place in range(len(text))), text
        assert all(part.text == text[part.start : part.end] and part.reason for part in result.unspoken)
        starts = [token.start for token in result.tokens]
        assert starts == sorted(starts)


@pytest.mark.parametrize("name", NORMALIZERS)
@pytest.mark.parametrize("symbol", ["😀", "₥", "\0", "中"])
def test_what_has_no_words_is_reported_wherever_it_stands(name, symbol):
    if name == "plain" and symbol == "中":
        symbol = "7"
    numbers = random.Random(symbol)
    for text in RANDOM_TEXTS:
        place = numbers.randrange(len(text) + 1)
        result = normalize(text[:place] + symbol + text[place:], name)
        assert any(part.start <= place < part.end for part in result.unspoken), (text, place)


def test_words_have_the_letters_of_english_only():
    for text in RANDOM_TEXTS:
        assert all(WORD.fullmatch(word) for word in normalize(text).words), text


def test_spoken_words_stay_as_they_are():
    for text in RANDOM_TEXTS:
        words = normalize(text).words
        assert normalize(" ".join(words)).words == words, text


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=ascii)
def test_time_grows_with_the_length_only(fragment):
    text = (fragment * 10_000)[:10_000]
    start = time.process_time()
    normalize(text)
    # Some 0.1 s; with a square in it, it would be minutes for the 100 times longer chapter of a book.
    assert time.process_time() - start < 2


def test_what_cannot_be_spoken_is_reported_with_its_place():
    result = normalize("Я said 😀👍🏽 and ₥.")
    assert result.words == ("said", "and")
    assert [(part.text, part.start, part.reason) for part in result.unspoken] == [
        ("Я", 0, "Cyrillic letters"),
        ("😀👍🏽", 7, "emoji or pictures"),
        ("₥", 15, "symbols"),
    ]


def test_plain_keeps_the_letters_of_any_script():
    result = normalize("Привет, мир! Ça va? М’ята हिन्दी。", "plain")
    assert result.spoken == "привет , мир ! ça va ? м'ята हिन्दी ."
    assert not result.unspoken
    assert [part.reason for part in normalize_plain("12 €").unspoken] == ["numbers", "symbols"]


def test_a_function_is_a_normalizer():
    def shout(text):
        return Normalized(text, (Token(text.upper(), 0, len(text)),))

    assert normalize("hey", shout).words == ("HEY",)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(TfvoiceError, match="'de' is no normaliser; choose one of en, plain"):
        normalize("hallo", "de")


def test_a_function_of_a_module_is_named(tmp_path, monkeypatch):
    (tmp_path / "toy_language.py").write_text("from tfvoice.text.normalize import normalize_plain as words\nnone = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert normalize("Ça", "toy_language:words").words == ("ça",)
    for name, fact in {
        "toy_language:none": "toy_language has no function none; define it, from a text to a Normalized",
        "no_such_module:words": "no module named 'no_such_module'; put the folder of no_such_module.py on PYTHONPATH",
        "toy_language:": "is no normaliser; choose one of en, plain, or name your own as MODULE:FUNCTION",
    }.items():
        with pytest.raises(TfvoiceError, match=fact):
            normalize("x", name)


def test_importing_needs_neither_numpy_nor_tensorflow():
    modules = "tfvoice.text.normalize, tfvoice.text.english.sentences"
    code = f"import sys, {modules}; print({{'numpy', 'tensorflow'}} & set(sys.modules))"
    root = Path(__file__).parent.parent.parent
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root).stdout
    assert output == "set()\n"
