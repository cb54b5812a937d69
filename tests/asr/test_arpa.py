"""Laws of ARPA files."""

import bz2
import gzip
import lzma
import math

import pytest

from tfvoice.asr import arpa, ngrams

ARPA = """\\data\\
ngram 1=5
ngram 2=1

\\1-grams:
-1.0\t<s>\t-0.3
-1.0\tHello\t-0.3
-1.0\thello
-1.0\té€
-1.0\t</s>

\\2-grams:
-0.5\t<s> Hello

\\end\\
"""


def read(folder, text):
    (folder / "words.arpa").write_bytes(text.encode() if isinstance(text, str) else text)
    return arpa.read(folder / "words.arpa")


def score(model, *words):
    """log10 of the probability of the last of the words."""
    state = ngrams.empty_state(model.table)
    for word in words:
        state, value = ngrams.next_state(model.table, state, model.words.index(word))
    return value / math.log(10)


@pytest.mark.parametrize("packed", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_are_known_by_their_content(tmp_path, packed):
    model = read(tmp_path, packed(ARPA.encode()))
    assert model.words == ["<unk>", "<s>", "Hello", "hello", "é€", "</s>"] and not model.has_unknown
    assert score(model, "<s>", "Hello") == pytest.approx(-0.5) and score(model, "<unk>") == pytest.approx(-100)


def test_fields_end_at_the_white_space_of_the_format_only(tmp_path):
    text = ARPA.replace("Hello", "new\u00a0york").replace("-1.0\thello", "-1.0 one\u2028two\t-0.3\r")
    assert read(tmp_path, text).words[2:4] == ["new\u00a0york", "one\u2028two"]


def test_unknown_words_may_be_written_in_capitals(tmp_path):
    model = read(tmp_path, ARPA.replace("-1.0\thello", "-2.5\t<UNK>"))
    assert model.has_unknown and score(model, "<unk>") == pytest.approx(-2.5)


def test_a_pruned_model_backs_off_to_what_it_lacks(tmp_path):
    # "b c" was pruned and "a b c" was not.
    rows = ["-99\t<s>", "-1\t</s>", "-1\ta\t-0.5", "-1.5\tb\t-0.25", "-2\tc\t-0.1"]
    lines = ["\\data\\", "ngram 1=5", "ngram 2=1", "ngram 3=1", "\\1-grams:", *rows, "\\2-grams:", "-0.7\ta b\t-0.3"]
    model = read(tmp_path, "\n".join([*lines, "\\3-grams:", "-0.2\ta b c", "\\end\\", ""]))
    assert score(model, "a", "b", "c") == pytest.approx(-0.2)
    assert score(model, "<s>", "b", "c") == pytest.approx(-2 - 0.25)
    assert score(model, "a", "b", "a") == pytest.approx(-1 - 0.3 - 0.25)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (ARPA, "", "the file ends too early"),
        (ARPA, "hello\n", r"line 1 should be \\data\\, but is 'hello'"),
        (ARPA[60:], "", "the file ends too early"),
        ("-1.0\thello", "x\thello", "line 8 should be one of 5 1-grams: .* but is 'x hello'"),
        ("-1.0\thello", "0.5\thello", "line 8 should be one of 5 1-grams"),
        ("-1.0\thello", "nan\thello", "line 8 should be one of 5 1-grams"),
        ("ngram 1=5", "ngram 1=4", r"line 10 should be \\2-grams:, but is '-1.0"),
        ("ngram 1=5", "ngram 1=6", "line 12 should be one of 6 1-grams"),
        ("<s> Hello", "<s> Hallo", "line 13 has 'Hallo', which is not among the 1-grams"),
        ("</s>", "<//s>", "it has no </s> among its words"),
        ("\\end\\", "", "the file ends too early"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_the_line(tmp_path, old, new, reason):
    with pytest.raises(ngrams.FormatError, match=reason):
        read(tmp_path, ARPA.replace(old, new, 1))


@pytest.mark.parametrize("packed", [gzip.compress, bz2.compress, lzma.compress])
def test_a_truncated_compressed_file_is_an_error(tmp_path, packed):
    with pytest.raises(ngrams.FormatError):
        read(tmp_path, packed(ARPA.encode())[:60])


def test_damaged_compressed_data_are_an_error(tmp_path):
    packed = bytearray(gzip.compress(ARPA.encode()))
    # The type of the first block: there is no third one.
    packed[10] |= 0b110
    with pytest.raises(ngrams.FormatError, match="invalid block type"):
        read(tmp_path, bytes(packed))
