"""Unicode folding: what is read alike becomes alike, and every character knows where it came from."""

import random
import sys

from tfvoice.text.folding import fold, spelling


def test_ascii_stays_as_it_is():
    text = "".join(map(chr, range(32, 127))).replace("`", "")
    folded = fold(text)
    assert folded.text == text
    assert list(folded.starts) == list(range(len(text)))
    assert list(folded.ends) == list(range(1, len(text) + 1))


def test_what_is_read_alike_becomes_alike():
    assert fold("café cafe\u0301 ﬁn Ｆｕｌｌ Straße Ærø naïve").text == "cafe cafe fin Full Strasse AEro naive"
    assert fold("“a” ‘b’ «c»").text == '"a" \'b\' "c"'
    assert fold("٣४５").text == "345"
    assert fold("1…2").text == "1...2"
    assert fold("a\u00adb\u200bc\ufeff").text == "abc"


def test_what_would_change_its_meaning_stays():
    assert fold("3½ m² 10⁶ – — − ™ © Привет").text == "3½ m² 10⁶ – — − ™ © Привет"
    assert fold("и\u0306").text == "й"


def test_a_spacing_accent_is_no_blank():
    assert not fold("a¨b").text.isspace()
    assert " " not in fold("a¨b").text


def test_places_lead_back_to_the_text():
    assert fold("cafe\u0301!").starts == [0, 1, 2, 3, 5]
    assert fold("cafe\u0301!").ends == [1, 2, 3, 5, 6]
    numbers = random.Random(0)
    for _ in range(300):
        text = "".join(chr(numbers.randrange(sys.maxunicode)) for _ in range(20)) + "x"
        folded = fold(text)
        assert len(folded.text) == len(folded.starts) == len(folded.ends)
        assert list(folded.starts) == sorted(folded.starts)
        assert all(0 <= start < end <= len(text) for start, end in zip(folded.starts, folded.ends, strict=True))


def test_a_word_has_one_spelling():
    assert spelling("ÄRZTE") == spelling("a\u0308rzte") == spelling("är\u00adzte") == "ärzte"
    assert spelling("М’ята") == spelling("м\u02bcята") == "м'ята" and spelling("Don't") == "don't"
