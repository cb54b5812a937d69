import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfvoice.text import phonemes as phonemes_
from tfvoice.text.phonemes import SILENCE
from tfvoice.tts.segmentation import phoneme_lattice

IDS = {SILENCE: 0, "AH": 1, "B": 2, "K": 3}
COUNT = len(IDS)
pronunciations = st.lists(st.sampled_from(["AH0", "AH1", "B", "K"]), min_size=1, max_size=3).map(tuple)
texts = st.lists(st.lists(pronunciations, min_size=1, max_size=2, unique=True), min_size=1, max_size=3)


def labellings(graph):
    """The phonemes of every way through a lattice."""
    lattice = graph.lattice
    ways = [[node] for node in np.flatnonzero(lattice.first)]
    while ways:
        way = ways.pop()
        if lattice.last[way[-1]]:
            yield tuple(graph.phonemes[node] for node in graph.spoken(way))
        ways += [[*way, node] for node, before in enumerate(lattice.predecessors) if way[-1] in before]


def test_between_words_there_is_silence_or_none():
    graph = phoneme_lattice.build([[("AH0", "B")], [("K",)]], IDS)
    assert sorted(labellings(graph)) == [
        (SILENCE, "AH0", "B", "K", SILENCE),
        (SILENCE, "AH0", "B", SILENCE, "K", SILENCE),
    ]
    pairs = {tuple(divmod(int(label), COUNT)) for label in graph.lattice.labels}
    assert pairs == {(0, 1), (1, 2), (2, 3), (2, 0), (0, 3), (3, 0)}
    assert set(graph.lattice.rests) == {COUNT**2}


@settings(max_examples=40, deadline=None)
@given(words=texts)
def test_the_ways_are_all_choices_of_pronunciations_and_silences(words):
    expected = {(SILENCE,)}
    for place, choices in enumerate(words):
        gaps = [(), (SILENCE,)] if place else [()]
        expected = {(*way, *gap, *choice) for way in expected for gap in gaps for choice in choices}
    found = list(labellings(phoneme_lattice.build(words, IDS)))
    assert set(found) == {(*way, SILENCE) for way in expected}


@settings(max_examples=40, deadline=None)
@given(words=texts)
def test_pairs_overlap_and_nodes_stand_in_order(words):
    graph = phoneme_lattice.build(words, IDS)
    for node, before in enumerate(graph.lattice.predecessors):
        for earlier in before[before >= 0]:
            assert earlier < node and graph.pairs[earlier, 1] == graph.pairs[node, 0]
    classes = [IDS[phonemes_.base(phoneme)] for phoneme in graph.phonemes]
    for label, (first, second) in zip(graph.lattice.labels, graph.pairs, strict=True):
        assert label == classes[first] * COUNT + classes[second]


@settings(max_examples=40, deadline=None)
@given(words=texts, data=st.data())
def test_words_of_inverts_the_choice(words, data):
    phonemes, expected = [], []
    for place, choices in enumerate(words):
        if data.draw(st.booleans()):
            phonemes, expected = [*phonemes, SILENCE], [*expected, -1]
        chosen = data.draw(st.sampled_from(choices))
        phonemes, expected = [*phonemes, *chosen], [*expected, *[place] * len(chosen)]
    found = phoneme_lattice.words_of(phonemes, words)
    assert [place < 0 for place in found] == [place < 0 for place in expected]
    # Of several readings of the same phonemes, another one may be found.
    for place, choices in enumerate(words):
        assert tuple(one for one, word in zip(phonemes, found, strict=True) if word == place) in choices


def test_phonemes_of_other_words_are_refused():
    with pytest.raises(ValueError, match="sil K is not a way through the words"):
        phoneme_lattice.words_of([SILENCE, "K"], [[("B",)]])
