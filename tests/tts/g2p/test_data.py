"""Laws of splits and of batches of words."""

import itertools

import numpy as np
import pytest

from tfvoice.errors import TfvoiceError
from tfvoice.text import lexicon
from tfvoice.text.phonemes import ARPABET
from tfvoice.tts.g2p import data as data_
from tfvoice.tts.g2p.data import WordIndex, WordPipeline


@pytest.fixture(scope="module")
def index(lexicon_file):
    return WordIndex(lexicon.read(lexicon_file), "train")


@pytest.fixture
def pipeline(index):
    inventory = lexicon.parse(["a AA1 B K D EH0 S"], None, "all").inventory
    return lambda **options: WordPipeline(index, "abcde", inventory, **({"batch_size": 32} | options))


def rows(batches):
    """The pronunciations in batches, as letters and phonemes."""
    for batch in batches:
        for letters, length, phonemes, count in zip(
            batch.letters, batch.lengths, batch.phonemes, batch.phoneme_lengths, strict=True
        ):
            yield tuple(letters[:length].tolist()), tuple(phonemes[:count].tolist())
            assert not letters[length:].any() and not phonemes[count:].any()


def test_the_splits_of_cmudict_are_those_that_results_are_published_for():
    dictionary = lexicon.cmudict()
    indices = {split: WordIndex(dictionary, split) for split in data_.SPLITS}
    assert {split: len(index) for split, index in indices.items()} == {"train": 113_514, "valid": 6_293, "test": 6_245}
    # Of 121,703 entries two are written twice.
    assert sum(map(len, indices["train"].pronunciations)) == 121_701
    assert indices["test"].describe() == "test: 6245 words, 6715 pronunciations"
    assert data_.letters_of(dictionary) == "'-.abcdefghijklmnopqrstuvwxyz"
    assert data_.split_of("hello") == "train" and data_.split_of("abandon") in data_.SPLITS


def test_a_split_that_is_not_there_is_an_error(lexicon_file):
    with pytest.raises(TfvoiceError, match="there is no split tests; did you mean test"):
        WordIndex(lexicon.read(lexicon_file), "tests")
    with pytest.raises(TfvoiceError, match=r"none of its 1 words falls into the split .*; use a lexicon of some"):
        for split in data_.SPLITS:
            WordIndex(lexicon.parse(["hello HH AH0 L OW1"], None, "small.dict"), split)


def test_an_epoch_has_every_pronunciation_once_in_batches_of_one_length(index, pipeline):
    shuffled = pipeline(shuffled=True)
    batches = list(shuffled.batches(epochs=1))
    count = sum(map(len, index.pronunciations))
    assert len(batches) == shuffled.steps() == -(-count // 32)
    assert sum(int(batch.samples) for batch in batches) == count
    expected = [
        (tuple("abcde".index(letter) for letter in word), tuple(data_.encode(shuffled_inventory(), one)))
        for word, each in zip(index.words, index.pronunciations, strict=True)
        for one in each
    ]
    assert sorted(rows(batches)) == sorted(expected)
    assert sum(len(set(batch.lengths)) > 1 for batch in batches) <= 4
    assert [batch.letters.shape[1] % 2 for batch in batches] == [0] * len(batches)


def shuffled_inventory():
    return lexicon.parse(["a AA1 B K D EH0 S"], None, "all").inventory


def test_the_order_is_of_seed_and_epoch_and_starts_anywhere(pipeline):
    both = list(pipeline(shuffled=True).batches(epochs=2))
    steps = len(both) // 2
    resumed = list(pipeline(shuffled=True).batches(epoch=1, position=3, epochs=1))
    assert len(resumed) == steps - 3
    for one, other in zip(both[steps + 3 :], resumed, strict=True):
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left, right)
    epochs = [list(rows(part)) for part in (both[:steps], both[steps:])]
    assert epochs[0] != epochs[1] and sorted(epochs[0]) == sorted(epochs[1])
    assert list(rows(pipeline(shuffled=True, seed=1).batches(epochs=1))) != epochs[0]
    plain = [list(rows(pipeline().batches(epoch=epoch, epochs=1))) for epoch in (0, 5)]
    assert plain[0] == plain[1]


def test_epochs_without_end(pipeline):
    batches = pipeline(batch_size=100_000).batches()
    assert [int(batch.epoch) for batch in itertools.islice(batches, 3)] == [0, 1, 2]


def test_classes_are_inverted():
    pronunciation = ("HH", "AH0", "L", "OW1")
    classes = data_.encode(ARPABET, pronunciation)
    assert 0 not in classes and data_.decode(ARPABET, [0, *classes, 0, 0]) == pronunciation


def test_letters_that_the_network_does_not_know_are_an_error(index):
    inventory = lexicon.parse(["a AA1 B K D EH0 S"], None, "all").inventory
    with pytest.raises(
        TfvoiceError, match="the split train has letters that the network does not know, such as 'e'; train"
    ):
        WordPipeline(index, "abcd", inventory, 32)
