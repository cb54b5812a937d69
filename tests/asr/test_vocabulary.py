"""Laws of reading the words of a language model."""

import bz2
import gzip
import lzma

import pytest

from tfvoice.asr import vocabulary
from tfvoice.errors import TfvoiceError
from tfvoice.text.alphabet import Alphabet, AlphabetConfig

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
ALPHABET = Alphabet(AlphabetConfig())


@pytest.mark.parametrize(
    ("suffix", "packed"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_the_words_of_an_arpa_file_are_its_unigrams(tmp_path, suffix, packed):
    for name in (f"words.arpa{suffix}", "words.lm"):
        (tmp_path / name).write_bytes(packed(ARPA.encode()))
        assert list(vocabulary.listed(tmp_path / name)) == ["Hello", "hello", "é€"]


def test_words_end_where_kenlm_ends_them(tmp_path):
    path = tmp_path / "words.arpa"
    path.write_text(ARPA.replace("Hello", "new\u00a0york").replace("-1.0\thello", "-1.0 one\u2028two\t-0.3"))
    assert list(vocabulary.listed(path)) == ["new\u00a0york", "one\u2028two", "é€"]


def test_the_words_of_a_binary_stand_at_its_end(tmp_path):
    path = tmp_path / "words.bin"
    # Before the list are numbers, the last byte of which can be anything.
    path.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0numbers\x9d<unk>\0ab\0</s>\0ba\0")
    assert list(vocabulary.listed(path)) == ["ab", "ba"]
    path.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0numbers\0")
    with pytest.raises(TfvoiceError, match="holds no list of its words"):
        list(vocabulary.listed(path))


def test_words_are_found_by_their_spelling_and_the_first_counts():
    found = vocabulary.spelled(["Hello", "hello", "don't", "é€", "--"], ALPHABET)
    assert found.words == {"hello": "Hello", "don't": "don't"} and found.unspelled == ["é€", "--"]
