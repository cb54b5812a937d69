import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfvoice import ctc_lattice
from tfvoice.tts.segmentation import pair_beam

PHONEMES = 3
BLANK = PHONEMES**2


def random_log_probabilities(frames, seed, scale=2.0, phonemes=PHONEMES):
    logits = scale * np.random.default_rng(seed).standard_normal((frames, phonemes**2 + 1))
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def log_probability(log_probabilities, pairs):
    chain = ctc_lattice.chain(pairs, BLANK)
    return -ctc_lattice.posteriors_of(ctc_lattice.emissions_of(log_probabilities, chain), chain)[1]


@settings(max_examples=60, deadline=None)
@given(frames=st.integers(0, 5), seed=st.integers(0, 10**6))
def test_a_wide_beam_finds_the_best_of_all_sequences(frames, seed):
    log_probabilities = random_log_probabilities(frames, seed, scale=1.0)
    sequences = [
        pair_beam.pairs_of((0, *phonemes), PHONEMES)
        for count in range(frames + 1)
        for phonemes in itertools.product(range(PHONEMES), repeat=count)
    ]
    scores = [log_probability(log_probabilities, pairs) for pairs in sequences]
    found, _ = pair_beam.search(log_probabilities, PHONEMES, beam_width=1000)
    np.testing.assert_allclose(log_probability(log_probabilities, found), max(scores), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(frames=st.integers(0, 30), seed=st.integers(0, 10**6), width=st.integers(1, 20), phonemes=st.integers(1, 6))
def test_neighbours_always_share_a_phoneme_and_the_first_is_silence(frames, seed, width, phonemes):
    log_probabilities = random_log_probabilities(frames, seed, 4.0, phonemes)
    pairs, spans = pair_beam.search(log_probabilities, phonemes, beam_width=width)
    found = pair_beam.phonemes_of(pairs, phonemes)
    assert pair_beam.pairs_of(found, phonemes) == pairs and found[:1] in ([], [0])
    assert all(
        before <= start < end for before, (start, end) in zip([0, *(end for _, end in spans)], spans, strict=False)
    )
    assert len(spans) == len(pairs)


@given(phonemes=st.lists(st.integers(0, 39), min_size=2))
def test_pairs_and_phonemes_invert_each_other(phonemes):
    assert pair_beam.phonemes_of(pair_beam.pairs_of(phonemes, 40), 40) == phonemes


def test_pairs_that_do_not_overlap_are_refused():
    with pytest.raises(ValueError, match="pairs 1 and 2 do not share a phoneme"):
        pair_beam.phonemes_of([1, 2], 40)


def test_positions_are_those_of_the_peaks():
    phonemes = [0, 2, 1, 0]
    log_probabilities = np.full((20, BLANK + 1), -9.0)
    log_probabilities[:, BLANK] = -0.01
    places = (3, 9, 15)
    for place, pair in zip(places, pair_beam.pairs_of(phonemes, PHONEMES), strict=True):
        log_probabilities[place, [pair, BLANK]] = -0.01, -9.0
    for search in (pair_beam.search, pair_beam.greedy):
        pairs, spans = search(log_probabilities, PHONEMES)
        assert pair_beam.phonemes_of(pairs, PHONEMES) == phonemes
        assert spans == [(place, place + 1) for place in places]


def test_the_constraint_decides_where_the_best_classes_do_not_overlap():
    log_probabilities = np.full((3, BLANK + 1), -9.0)
    log_probabilities[0, 0 * PHONEMES + 1] = -0.1
    log_probabilities[1, 2 * PHONEMES + 0] = -0.6
    log_probabilities[1, 1 * PHONEMES + 0] = -0.9
    log_probabilities[2, BLANK] = -0.1
    assert pair_beam.greedy(log_probabilities, PHONEMES)[0] == [1, 6]
    assert pair_beam.search(log_probabilities, PHONEMES)[0] == [1, 3]
