"""Laws of KenLM's binaries: they hold what the ARPA file that they were built from holds."""

import itertools
import math
from pathlib import Path

import pytest

from tfvoice.asr import arpa, kenlm_binary, ngrams
from tfvoice.asr.ngrams import FormatError

DATA = Path(__file__).parents[1] / "data" / "language_model"
KINDS = ("probing", "trie", "quantised", "compressed", "both")


def scores(model, words):
    state, found = ngrams.empty_state(model.table), []
    for word in words:
        state, value = ngrams.next_state(model.table, state, model.words.index(word))
        found.append(value / math.log(10))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_binary_has_the_probabilities_of_its_arpa_file(kind):
    expected, model = arpa.read(DATA / "words.arpa"), kenlm_binary.read(DATA / f"{kind}.bin")
    assert sorted(model.words) == sorted(expected.words) and model.words[0] == "<unk>" and model.has_unknown
    # Eight values or sixteen are enough for these n-grams; two bits of backoff are not.
    tolerance = 0.3 if kind == "quantised" else 1e-5
    for words in itertools.product(("red", "blue", "car", "<unk>", "</s>"), repeat=3):
        sentence = ["<s>", *words]
        assert scores(model, sentence)[1:] == pytest.approx(scores(expected, sentence)[1:], abs=tolerance), sentence


def test_a_binary_is_known_by_its_first_bytes():
    assert kenlm_binary.is_one(DATA / "trie.bin") and not kenlm_binary.is_one(DATA / "words.arpa")


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_binary_is_an_error(tmp_path, kind):
    content = (DATA / f"{kind}.bin").read_bytes()
    path = tmp_path / "a.bin"
    for size in (40, 60, 100, 150, 200, len(content) // 2):
        path.write_bytes(content[:size])
        with pytest.raises(FormatError):
            kenlm_binary.read(path)


def test_what_cannot_be_read_says_how_to_build_it(tmp_path):
    with pytest.raises(FormatError, match="has no list of words, which build_binary writes by default"):
        kenlm_binary.read(DATA / "no_words.bin")
    content = bytearray((DATA / "probing.bin").read_bytes())
    path = tmp_path / "a.bin"
    for position, value, sentence in (
        (50, ord("4"), "not of version 5; build it again"),
        (60, 1, "of another architecture; build it again"),
        (96, 1, "with rest costs cannot be read; build it without -r"),
    ):
        changed = content.copy()
        changed[position] = value
        path.write_bytes(changed)
        with pytest.raises(FormatError, match=sentence):
            kenlm_binary.read(path)
