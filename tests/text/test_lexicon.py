"""Laws of pronunciation lexicons, and facts about CMUdict."""

import gzip
import hashlib
import re

import pytest

from tfvoice.text import lexicon
from tfvoice.text.lexicon import LexiconError
from tfvoice.text.phonemes import ARPABET

SMALL = """\
;;; a comment of the older format
# a comment
hello HH AH0 L OW1
hello(2) HH EH0 L OW1
CAT  K AE1 T # of case and remark

fox\tF AA1 K S
"""


@pytest.fixture
def written(tmp_path):
    """Writes a lexicon; returns its path."""

    def write(content, name="own.dict"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def spoken(found):
    return None if found is None else (" ".join(found.pronunciations[0]), found.by)


def test_words_variants_and_comments_are_read(written):
    found = lexicon.read(written(SMALL))
    assert found.words() == ["hello", "cat", "fox"] and len(found) == 3
    assert found.pronunciations("Hello") == (("HH", "AH0", "L", "OW1"), ("HH", "EH0", "L", "OW1"))
    assert found.pronunciations("dog") == () and "CAT" in found and "dog" not in found
    assert found.inventory.symbols == tuple(sorted({"HH", "AH0", "EH0", "L", "OW1", "K", "AE1", "T", "F", "AA1", "S"}))
    zipped = lexicon.read(written(gzip.compress(SMALL.encode()), "own.dict.gz"))
    assert [zipped.pronunciations(word) for word in zipped.words()] == [
        found.pronunciations(word) for word in found.words()
    ]


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("", "has no words; write a word and its phonemes in each line, as hello HH AH0 L OW1."),
        ("# only this\n\n", "has no words"),
        ("cat K AE1 T\ndog\n", "line 2, 'dog', has no phonemes; write them after the word"),
        ("cat K AE1 T\n\ndog D AO9 G\n", "line 3, dog: 'AO9' is no phoneme; did you mean AO"),
        ("cat K AE1 T\nd\xf6g D AO1 G".encode("latin-1"), "line 2 is not UTF-8; save the lexicon as UTF-8."),
        ("cat K AE1 T\n".encode("utf-16-le"), "holds zero bytes, as UTF-16 does; save the lexicon as UTF-8."),
        ("cat K AE1 T\n".encode("utf-16"), "line 1 is not UTF-8; save the lexicon as UTF-8."),
        (gzip.compress(SMALL.encode())[:40] + b"damaged" * 9, "name a lexicon, or cmudict."),
        (b"\x1f\x8bnothing", "name a lexicon, or cmudict."),
    ],
)
def test_an_error_names_file_line_and_fact(written, content, fact):
    path = written(content)
    with pytest.raises(LexiconError, match=f"^{re.escape(str(path))}: .*{re.escape(fact)}"):
        lexicon.read(path, ARPABET)


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(LexiconError, match="no such file or directory; name a lexicon, or cmudict"):
        lexicon.load(tmp_path / "none.dict")
    with pytest.raises(LexiconError, match="is a directory"):
        lexicon.read(tmp_path)


def test_words_are_found_in_any_form_of_their_letters(written):
    found = lexicon.read(written("gro\u0308ße g r\nм’ята m j\n"))
    assert found.words() == ["größe", "м'ята"] and found.pronunciations("GR\u00d6\u00dfE") == (("g", "r"),)
    assert "Gro\u0308\u00ad\u00dfe" in found and "м\u02bcята" in found


def test_words_of_english_are_found_without_their_accents_as_in_texts():
    base = lexicon.parse(SMALL.splitlines(), ARPABET, "base")
    both = base.after(lexicon.parse(["Café K AE0 F EY1", "résumé R EH1 Z", "resume R IH0 Z"], ARPABET, "own"))
    assert both.pronunciations("cafe") == both.pronunciations("café") == (("K", "AE0", "F", "EY1"),)
    assert both.pronunciations("resume") == (("R", "IH0", "Z"),)


def test_a_users_own_words_go_before():
    base = lexicon.parse(SMALL.splitlines(), ARPABET, "base")
    own = lexicon.parse(["hello HH AH L OW", "dog D AO1 G"], ARPABET, "own")
    both = base.after(own)
    assert both.pronunciations("hello") == (("HH", "AH1", "L", "OW0"),)
    assert both.pronunciations("cat") == base.pronunciations("cat") and len(both) == 4 and len(base) == 3
    assert both.source == "own, base"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Hello", ("HH AH0 L OW1", "lexicon")),
        ("hello's", ("HH AH0 L OW1 Z", "rule")),
        ("cats", ("K AE1 T S", "rule")),
        ("cat's", ("K AE1 T S", "rule")),
        ("cats'", ("K AE1 T S", "rule")),
        ("fox's", ("F AA1 K S IH0 Z", "rule")),
        ("foxes", ("F AA1 K S IH0 Z", "rule")),
        ("ponies", ("P OW1 N IY0 Z", "rule")),
        ("gas's", ("G AE1 S IH0 Z", "rule")),
        ("gas'", ("G AE1 S", "rule")),
        ("bass", None),
        ("catus", None),
        ("catx", None),
        ("s", None),
        ("'s", None),
        ("", None),
    ],
)
def test_possessives_and_plurals_follow_a_rule(word, expected):
    lines = [*SMALL.splitlines(), "pony P OW1 N IY0", "gas G AE1 S", "bas B AA1", "catu K AE1 T UW0"]
    assert spoken(lexicon.parse(lines, ARPABET, "own").find(word)) == expected


def test_the_rule_is_for_english_only():
    assert lexicon.parse(["ma m a1"], None, "other").find("mas") is None


def test_cmudict_is_whole():
    content = lexicon.cmudict_bytes()
    assert hashlib.sha256(content).hexdigest() == "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"
    # A header without a time and a name, so that the bytes are those of the content.
    assert lexicon.CMUDICT_PATH.read_bytes()[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
    assert "Redistribution and use" in (lexicon.CMUDICT_PATH.parent / "cmudict.LICENSE").read_text()
    found = lexicon.load("cmudict")
    assert len(found) == 126_052 and lexicon.cmudict() is found
    assert found.pronunciations("a") == (("AH0",), ("EY1",))
    assert found.pronunciations("aalborg") == (("AO1", "L", "B", "AO0", "R", "G"), ("AA1", "L", "B", "AO0", "R", "G"))


def test_cmudict_is_split_as_any_lexicon_is():
    quick = lexicon.cmudict()
    whole = lexicon.parse(lexicon.cmudict_bytes().decode().splitlines(), None, "cmudict")
    assert whole.inventory == quick.inventory == ARPABET and whole.words() == quick.words()
    assert all(whole.pronunciations(word) == quick.pronunciations(word) for word in whole.words()[::97])
    assert sum(len(whole.pronunciations(word)) > 1 for word in whole.words()) in range(8_440, 8_448)
