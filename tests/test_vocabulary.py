"""Laws of reading the words of a language model."""

import bz2
import gzip
import lzma

import pytest

from tfvoice import vocabulary
from tfvoice.errors import TfvoiceError
from tfvoice.text import Alphabet, AlphabetConfig

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
    path = tmp_path / f"words.arpa{suffix}"
    path.write_bytes(packed(ARPA.encode()))
    assert list(vocabulary.listed(path)) == ["Hello", "hello", "é€"]


def test_the_words_of_a_binary_stand_at_its_end(tmp_path):
    path = tmp_path / "words.bin"
    path.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0numbers\0<unk>\0ab\0</s>\0ba\0")
    assert list(vocabulary.listed(path)) == ["ab", "ba"]
    path.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0numbers\0")
    with pytest.raises(TfvoiceError, match="holds no list of its words"):
        list(vocabulary.listed(path))


def test_words_are_found_by_their_spelling_and_the_first_counts():
    found = vocabulary.spelled(["Hello", "hello", "don't", "é€", "--"], ALPHABET)
    assert found.words == {"hello": "Hello", "don't": "don't"} and found.unspelled == ["é€", "--"]
