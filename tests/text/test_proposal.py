"""Alphabets from texts: the letters of each kind of script, what is left out, and the notice before training."""

import unicodedata

import pytest

from tfvoice import config, tasks
from tfvoice.errors import TfvoiceError
from tfvoice.text import proposal
from tfvoice.text.alphabet import PRESETS, Alphabet, AlphabetConfig

GERMAN = ["Die Tür ist groß.", "Später schläft er; geht’s?", "Das ist Straße Nr. 12!"]
ENGLISH = "The quick brown fox jumps over the lazy dog, doesn't it? "


def characters_of(*texts):
    return proposal.characters_of(texts, "x.txt")


def alphabet_of(*texts):
    return Alphabet(AlphabetConfig(characters=characters_of(*texts)))


@pytest.mark.parametrize(
    ("texts", "characters"),
    [
        (GERMAN, " 'acdefghilnoprstßäü"),
        (["Это дом, ещё ЁЖ."], " дежмотщэё"),
        (["М’ята та об'єкт є"], " 'абкмотяє"),
        (["ISPARTA, İzmir ılık"], " aiklmprstzı"),
        (["Ο ΔΡΟΜΟΣ είναι μακρύς"], " ίαδεικμνορςσύ"),
        (["今天天气很好，我们去公园。", "二〇二四年 2024", "ＯＫ？"], "k〇o二今们公去四园天好年很我气"),
        (["而 对 楼市 成交 抑制"], " 交制对市成抑楼而"),
        (["東京ﾀﾜｰへ行く々ｶﾞ"], "々くへガタワー京東行"),
        (["ㅋㅋ 한국어 공부"], " 공국부어한"),
        (["น้ำใจ ทำงาน"], " งจทนาำใ้"),
        (["हिन्दी है"], " दनहिी्ै"),
        (["\u0958\u0929नक"], " कन\u093c"),
        (["كتـــاب ﻛﺘﺎب ٣"], " ابتك"),
        (["ẹ́ ọ́ e\u0301", "ọ̀ ẹ"], " éẹọ\u0300\u0301"),
        (["ẹ\u0301 ọ\u0301 e\u0301 e", "ọ\u0300"], " eẹọ\u0300\u0301"),
        (["ﬁn ＦＩ №"], " fino"),
        (["one", "two"], " enotw"),
        (["བོད་ཡིག"], " བོདཡིག"),
        (["Tiếng Việt ❤\ufe0f ŉ"], " gintvếệ"),
    ],
)  # fmt: skip
def test_the_letters_of_a_language(texts, characters):
    assert characters_of(*texts) == "".join(sorted(characters))
    assert characters_of(*(unicodedata.normalize("NFD", text) for text in texts)) == "".join(sorted(characters))
    # Nothing that makes up the words changes, apart from Korean letters that are no syllables.
    assert not {pair for pair in alphabet_of(*texts).changes(texts) if pair[0] != "ㅋ"}


def test_fully_pointed_text_has_points_and_sparsely_pointed_text_has_none():
    pointed = "كِتَابٌ "
    assert {"ِ", "َ", "ٌ"} <= set(characters_of(pointed))
    assert characters_of(pointed + "كتاب " * 9) == " ابتك"
    assert characters_of("שָׁלוֹם עוֹלָם") == " \u05b8\u05b9\u05c1ולםעש"
    assert characters_of("שָלום " + "שלום עולם " * 9) == " ולםעש"


def test_rare_letters_are_left_out_unless_there_are_many():
    many = ENGLISH * 1000
    assert "".join(sorted(characters_of(many + "café Łódź naïve"))) == "".join(sorted(PRESETS["default"]))
    assert "é" in characters_of(ENGLISH * 100 + "café"), "too little text to call it rare"
    assert set("é") <= set(characters_of(many + "é" * 10))
    han = "".join(chr(0x4E00 + number) for number in range(3000))
    common = "的一是" * 20_000
    assert set(han) <= set(characters_of(common + han)), "thousands of rare letters are part of the text"
    assert not set(han[100:110]) & set(characters_of(common + han[100:110])) - set(common)


def test_a_foreign_script_is_left_out():
    assert characters_of("привет мир " * 100 + "iPhone") == " веимпрт"
    assert set("iphone") <= set(characters_of("привет мир " * 5 + "iPhone"))
    assert "\u0301" not in characters_of("привет мир " * 50 + "за\u0301мок"), "stress marks of one word"


def test_the_output_is_a_configuration(tmp_path):
    path = tmp_path / "alphabet.toml"
    proposed = proposal.propose([*GERMAN, '"Café" ' + "äß" * 20], "x.txt")
    path.write_text(proposed.as_toml(), encoding="utf-8")
    settings = tasks.resolve("wavenet_asr", str(path))
    assert settings.alphabet.characters == proposed.characters == characters_of(*GERMAN, "é", "äß")
    assert config.read_toml(path) == {"alphabet": {"characters": proposed.characters}}


def test_the_counts_are_listed():
    text = proposal.propose(["ÄÄ äß " * 9 + "b7%", ENGLISH * 1000 + "é"], "x.txt").as_toml()
    assert text.startswith("# 2 texts, 55056 characters of 30 kinds:\n#   1")
    assert "  27 'ä'  " in text
    assert "\n# Rare, hardly to be learned from fewer than 10 examples:\n#   9 'ß'\n" in text
    assert "\n# Spelled otherwise:\n#   1 'é' as 'e'\n" in text
    assert "\n# Dropped (write numbers and symbols as words):\n#   1 '7'  1 '%'\n[alphabet]\n" in text
    assert max(map(len, text.splitlines())) < 120
    assert "#   1 'ِ'" in proposal.propose(["كِتاب " + "كتاب " * 9], "x.txt").as_toml(), "dropped marks are listed, too"
    clean = proposal.propose(["ab " * 20], "x.txt").as_toml()
    lines = ["# 1 texts, 59 characters of 3 kinds:", "#   20 'a'  20 'b'  19 ' '", "[alphabet]", 'characters = " ab"']
    assert clean.splitlines() == lines


@pytest.mark.parametrize("texts", [[], [""], ["123 !"], ["\u0301"], ["的", "的"]])
def test_texts_without_letters_are_refused(texts):
    expected = "x.txt: its texts have fewer than two letters, too few for an alphabet; look at them."
    with pytest.raises(TfvoiceError) as caught:
        proposal.propose(texts, "x.txt")
    assert str(caught.value) == expected


ADVICE = (
    "; --set alphabet.characters=auto keeps the letters of the data, and tfvoice_text --alphabet --data=DIR lists them."
)


def test_the_notice_names_the_letters_that_change_or_vanish():
    def notice(*texts, characters="default"):
        return proposal.notice(Alphabet(AlphabetConfig(characters=characters)), list(texts))

    assert notice(*GERMAN) == "the alphabet changes 2 'ß' to 'ss', 2 'ä' to 'a', 1 'ü' to 'u'" + ADVICE
    assert notice("smørrebrød på Ærø") == "the alphabet changes 1 'å' to 'a' and drops 3 'ø', 1 'æ'" + ADVICE
    assert notice("абвгдежзийк") == (
        "the alphabet drops 1 'а', 1 'б', 1 'в', 1 'г', 1 'д', 1 'е', 1 'ж', 1 'з', 1 'и', 1 'й' and 1 more" + ADVICE
    )
    assert notice(*GERMAN, characters=characters_of(*GERMAN)) == ""
    assert notice("Plain English, 12 & 'more' ﬁn.") == ""
    assert notice(ENGLISH * 1000 + "café") == "the alphabet changes 1 'é' to 'e'.", "auto would not keep it, either"
    assert notice("\u0301 7") == "the alphabet drops 1 '\u0301'."
