"""Text normalisation and class ids: idempotence, round trips, and the graph equal to Python."""

import functools
import pickle
import subprocess
import sys
import unicodedata
from collections import Counter

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfvoice import config
from tfvoice.text.alphabet import PRESETS, Alphabet, AlphabetConfig

EUROPEAN = " 'abcdefghijklmnopqrstuvwxyzäöüßéèñåâấ가"
MIXED = "-'aAbBcCéÉ.0"  # both cases, no space, punctuation and a digit
LOWER = " 'abcsıiyzßσςοαάเรำา้カガー"  # a dotless i, both sigmas, marks of their own, voiced katakana
UPPER = " 'ABCEIİSẞΣ"
ALPHABETS = [*PRESETS, EUROPEAN, MIXED, LOWER, UPPER]

# Arbitrary Unicode, and the characters that are frequent in transcripts, close together.
LETTERS_AND_SPACES = "abzABZéÉe\u0301a\u0302ßẞıİIi\u0307ſﬁŉσςΣΆΑ가ำｶﾞ\u3099ـ َ \u00ad\u200b\t\n\xa0"
texts = st.text() | st.text(alphabet=LETTERS_AND_SPACES + "'’‘`´\"“”-–—_/.,…!()[]<>&#7½")


@functools.cache
def build(characters: str = "default") -> Alphabet:
    return Alphabet(AlphabetConfig(characters=characters))


@functools.cache
def in_graph(characters: str):
    """One compiled function per alphabet that returns the outputs of all methods."""
    alphabet = build(characters)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def outputs(values):
        ids = alphabet.encode_in_graph(values)
        return (
            alphabet.normalise_in_graph(values),
            alphabet.unknown_in_graph(values),
            ids,
            alphabet.decode_in_graph(ids),
        )

    return outputs


def assert_same(characters: str, batch: list[str]):
    alphabet = build(characters)
    normalised, unknown, ids, decoded = in_graph(characters)(tf.constant(batch, tf.string))
    expected = [alphabet.normalise(text) for text in batch]
    assert [text.decode() for text in normalised.numpy()] == expected
    assert unknown.numpy().tolist() == [sum(alphabet.unknown(text).values()) for text in batch]
    assert ids.to_list() == [alphabet.encode(text) for text in batch]
    assert [text.decode() for text in decoded.numpy()] == expected


@pytest.mark.parametrize("characters", ALPHABETS)
@given(batch=st.lists(texts, max_size=4))
@settings(deadline=None)
def test_the_graph_agrees_with_python(characters, batch):
    assert_same(characters, batch)


@pytest.mark.parametrize("characters", ALPHABETS)
def test_the_graph_agrees_with_python_on_every_code_point_up_to_emoji(characters):
    symbols = [chr(code) for code in range(0x20000) if not 0xD800 <= code < 0xE000]
    alphabet = build(characters)
    normalised, unknown, _, _ = in_graph(characters)(tf.constant([f"b{symbol}c" for symbol in symbols]))
    assert [text.decode() for text in normalised.numpy()] == [alphabet.normalise(f"b{symbol}c") for symbol in symbols]
    assert (unknown.numpy() > 0).tolist() == [bool(alphabet.unknown(symbol)) for symbol in symbols]


@pytest.mark.parametrize("characters", ALPHABETS)
@given(text=texts)
@settings(deadline=None)
def test_normalise_is_idempotent_and_round_trips(characters, text):
    alphabet = build(characters)
    once = alphabet.normalise(text)
    assert alphabet.normalise(once) == once
    assert set(once) <= set(alphabet.characters)
    assert "  " not in once
    assert once == once.strip(" ")
    assert not alphabet.unknown(once)
    assert alphabet.decode(alphabet.encode(once)) == once
    assert alphabet.encode(text) == alphabet.encode(once)


@given(texts)
@settings(deadline=None)
def test_presets_differ_in_case_and_apostrophes_only(text):
    normalised = build("default").normalise(text)
    assert build("deepspeech2").normalise(text) == normalised.upper()
    assert build("wavenet").normalise(text) == normalised.replace("'", "")


@pytest.mark.parametrize("characters", PRESETS)
@given(text=texts)
@settings(deadline=None)
def test_composed_and_decomposed_unicode_are_the_same_text(characters, text):
    normalise = build(characters).normalise
    assert normalise(unicodedata.normalize("NFC", text)) == normalise(unicodedata.normalize("NFD", text))


@given(texts)
@settings(deadline=None)
def test_every_letter_and_digit_is_spelled_or_counted_as_unknown(text):
    alphabet = build()
    for symbol in text:
        if unicodedata.category(symbol)[0] in "LN":
            assert alphabet.normalise(f"b{symbol}b") != "bb" or alphabet.unknown(symbol) or symbol in "ʼʻʹꞌـﾞﾟ"


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("Please call Stella.", "please call stella"),
        ("  two\t words \n", "two words"),
        ("a well-known and/or snake_case — dash", "a well known and or snake case dash"),
        ("No...What? HA,HA! D.N.A.", "no what ha ha d n a"),
        ("It’s O`Neill´s", "it's o'neill's"),
        ("'quoted' `words' ''here'' rock 'n' roll, the dogs'", "quoted words here rock n roll the dogs"),
        ("the 1990's", "the s"),
        ('file(s) "so" «called» [x]', "files so called x"),
        ("a - b", "a b"),
        ("Ångström naïve Straße ﬁne ﬀ Ⅷ ｆｕｌｌ", "angstrom naive strasse fine ff viii full"),
        ("co\u00adoperate a\u200bb a\u00a0b", "cooperate ab a b"),
        ("", ""),
        (" '-' ", ""),
    ],
)
def test_normalise_by_example(text, normalised):
    assert build().normalise(text) == normalised
    assert_same("default", [text])


def test_unknown_symbols_are_dropped_and_counted():
    text = "Press # or * for 2½ % & €5, Bjørn — 日本 2"
    assert build().unknown(text) == Counter("#*2½%&€5ø日本2")
    assert build().normalise(text) == "press or for bjrn"
    assert not build().unknown("All the rest: “well-known” (it's) an É, isn’t it…\n")


def test_characters_of_the_alphabet_are_kept():
    european, mixed = build(EUROPEAN), build(MIXED)
    assert european.normalise("Ä A\u0308 ß É Ñ n\u0303 ñ 가") == "ä ä ß é ñ ñ ñ 가"
    assert european.normalise("Ǟ A\u0308\u0304 Ā") == "ä ä a"
    assert european.normalise("Ấ A\u0302\u0301 ç") == "ấ ấ c"
    assert mixed.normalise("A-b.c D 0 É E\u0301") == "A-b.c0ÉÉ"
    assert mixed.unknown("A-b.c D 0 É") == Counter("D")


@pytest.mark.parametrize(
    ("characters", "text", "normalised"),
    [
        # Turkish: where the alphabet has a dotless i, and only there.
        (LOWER, "ISIZ İzci I\u0307z i\u0307z ıiIİ Îyi", "ısız izci iz iz ıiıi iyi"),
        (LOWER, "ＩŞ", "is"),
        (UPPER, "ısı iSi i\u0307 İ I\u0307", "ISI İSİ İ İ İ"),
        (" abi", "ISI İz", "ii i"),
        # German: the sharp s.
        (LOWER, "Aß AẞA aSS", "aß aßa ass"),
        (UPPER, "aß aẞ ass", "Aẞ Aẞ ASS"),
        ("deepspeech2", "Straße", "STRASSE"),
        # Greek: a final sigma at the ends of words, and there only.
        (LOWER, "ΑΣ, ας! Σας σοσ’ ασ'ας; Σ ς σ'", "ας ας σας σος ασ'ας σ σ σ"),
        (LOWER, "ΆΣ Α\u0301σ", "άς άς"),
        (LOWER, "α\u03f2α\u03f2", "ασας"),
        (" αοσ", "ΟΣΟΣ ας", "οσοσ ασ"),
        (UPPER, "ας", "Σ"),
        ("σς", "ασ ας", "σς"),
        # Arabic and Hebrew: points are marks, the tatweel is silent, presentation forms are letters.
        (" ابتكل", "كِتَابٌ كتـــاب ﻛﺘﺎب ﻻ", "كتاب كتاب كتاب لا"),
        (" اأبت", "أبَت إبت", "أبت ابت"),
        (" אבגשׁ", "שׁ א\u05b7ב", "שׁ אב"),
        (" בש", "שָׁב שׁב", "שב שב"),
        # Japanese: half-width katakana and their voicing marks; Thai: the vowel am stays one character.
        (LOWER, "ｶﾞｰ カ\u3099 ｶ ガ", "ガー ガ カ ガ"),
        (LOWER, "เรำ เรา้", "เรำ เรา้"),
        # Hindi: letters whose dot is a character of its own are written with it.
        (" कनम\u093c", "\u0958 \u0929 क\u093c म", "क\u093c न\u093c क\u093c म"),
        # Tibetan: what separates syllables is a space. Hawaiian: the letter itself is kept at the edges of words.
        (" བོདཡིག", "བོད་ཡིག", "བོད ཡིག"),
        (" aeilowʻō", "ʻŌlelo Awaiʻi ’a", "ʻōlelo awaiʻi a"),
        # Digits of any script are unknown; Chinese zero is a letter where the alphabet has it.
        (" ab〇", "a1b ٣ ३ ３ 二〇b", "ab 〇b"),
    ],
)  # fmt: skip
def test_case_marks_and_forms_of_other_languages(characters, text, normalised):
    assert build(characters).normalise(text) == normalised
    assert_same(characters, [text, normalised, unicodedata.normalize("NFD", text)])


def test_changes_are_letters_that_are_spelled_otherwise_or_dropped():
    texts = ["Die Tür, u\u0308ber Straße ﬁn ＦＩ", "Ǆ øre É 12 „x“ ＃ It’s İs ısı ـ", "क\u093cा"]
    assert build().changes(texts) == {
        ("ü", "u"): 2, ("ß", "ss"): 1, ("é", "e"): 1, ("ı", "i"): 2, ("ǆ", "dz"): 1, ("ø", ""): 1,
        ("क", ""): 1, ("\u093c", ""): 1, ("ा", ""): 1,
    }  # fmt: skip
    assert build("deepspeech2").changes(["Über naïve words"]) == {("ü", "U"): 1, ("ï", "I"): 1}
    assert not build(LOWER).changes(["ISI İz ıß ΑΣ ας αά ｶﾞ ガ เรำ"])
    assert not build(UPPER).changes(["ısi İẞ ß Σ ς"])
    assert not build(" कन\u093c").changes(["\u0929 \u0958"]), "another canonical form is no change"


def test_class_ids_are_indices_without_the_blank():
    assert build().size == 28
    assert build().encode("a b'c") == [2, 0, 3, 1, 4]
    assert build("wavenet").encode("it's") == build("wavenet").encode("its")
    assert build("deepspeech2").encode("az' a'") == [1, 26, 27, 1]
    assert build("deepspeech2").decode([0, 1, 26, 27]) == "'AZ "
    for blank in (28, -1):
        with pytest.raises(ValueError, match=r"class id -?\d+ is not in 0..27: drop blanks and padding first"):
            build().decode([0, blank])


def test_dense_ids_are_decoded_up_to_their_lengths():
    ids = tf.constant([[2, 3, 28], [0, -1, -1], [4, 4, 4]])
    assert build().decode_in_graph(ids, tf.constant([2, 0, 3])).numpy().tolist() == [b"ab", b"", b"ccc"]
    with pytest.raises(tf.errors.InvalidArgumentError):
        build().decode_in_graph(ids)


def test_scalars_and_empty_batches():
    assert build().normalise_in_graph(tf.constant("A-b")).numpy() == b"a b"
    assert build().encode_in_graph(tf.constant("Ab")).numpy().tolist() == [2, 3]
    assert build().unknown_in_graph(tf.constant("4 2")).numpy() == 2
    assert_same("default", [])
    assert_same("default", [""])


def test_bytes_that_are_not_utf8_are_unknown():
    broken = tf.constant([b"a\xff\xfeb", b"\xe2\x82"])
    assert build().normalise_in_graph(broken).numpy().tolist() == [b"ab", b""]
    assert all(build().unknown_in_graph(broken).numpy() > 0)


def test_tf_data_and_saved_model(tmp_path):
    sentences = ["It’s well-known.", "½ a sixpence", "", "Ça va?"]
    expected = [build().encode(sentence) for sentence in sentences]
    data = tf.data.Dataset.from_tensor_slices(sentences).map(build().encode_in_graph)
    assert [ids.tolist() for ids in data.as_numpy_iterator()] == expected

    module = tf.Module()
    module.round_trip = tf.function(
        lambda values: build().decode_in_graph(build().encode_in_graph(values)),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    assert loaded.round_trip(tf.constant(sentences)).numpy().tolist() == [
        build().normalise(sentence).encode() for sentence in sentences
    ]


def test_an_alphabet_can_be_pickled():
    copy = pickle.loads(pickle.dumps(build(EUROPEAN)))
    assert copy.config == build(EUROPEAN).config
    assert copy.normalise("Ä 7 b") == "ä b"


def test_an_alphabet_that_is_still_to_be_taken_from_data_is_refused():
    assert AlphabetConfig(characters="auto").characters == "auto"
    with pytest.raises(config.ConfigError, match=r"alphabet\.characters is auto: name the characters, or train with"):
        build("auto")


def test_presets_and_defaults():
    assert AlphabetConfig().characters == PRESETS["default"]
    assert AlphabetConfig().unknown == "drop"
    assert AlphabetConfig(characters="wavenet").characters == PRESETS["wavenet"]
    assert (len(PRESETS["wavenet"]), len(PRESETS["deepspeech2"])) == (27, 28)
    assert config.from_json(AlphabetConfig, config.to_json(AlphabetConfig(characters=EUROPEAN))).characters == EUROPEAN


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"characters": "a"}, "x.toml: characters: an alphabet needs at least 2 characters, or the name of a preset: "
         "default, wavenet, deepspeech2 (it is 'a')."),
        ({"characters": "aba"}, "x.toml: characters: 'a' occurs 2 times; write each character once (it is 'aba')."),
        ({"characters": "ab\t"}, "x.toml: characters: '\\t' is a control character or white space; the only space "
         "allowed is the ordinary one (it is 'ab\\t')."),
        ({"characters": "ab\xa0"}, "x.toml: characters: '\\xa0' is a control character or white space; the only space "
         "allowed is the ordinary one (it is 'ab\\xa0')."),
        ({"characters": "aä\u0308"}, "x.toml: characters: 'ä' and all its parts occur, so it has two spellings; "
         "remove one (it is 'aä\u0308')."),
        ({"unknown": "ignore"}, "x.toml: unknown: Input should be 'drop' or 'skip' (it is 'ignore')."),
    ],
)  # fmt: skip
def test_errors_are_sentences(values, message):
    with pytest.raises(config.ConfigError) as caught:
        config.build(AlphabetConfig, values, "x.toml")
    assert str(caught.value) == message


def test_importing_does_not_load_tensorflow():
    use = "import sys, tfvoice.text.alphabet as text; text.Alphabet(text.AlphabetConfig()).encode('a')"
    code = f"{use}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
