"""CTC over lattices against TensorFlow's CTC, and against the enumeration of all paths, which small cases allow."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfvoice import ctc_lattice
from tfvoice.ctc_lattice import Lattice
from tfvoice.lengths import Sequence

CLASSES = 4
BLANK = CLASSES - 1
quick = settings(max_examples=60, deadline=None)


@st.composite
def lattices(draw, most_nodes=4):
    """A lattice with at least one way through it; in half of the cases each rest has a class of its own."""
    count = draw(st.integers(1, most_nodes))
    labels = draw(st.lists(st.integers(0, BLANK - 1), min_size=count, max_size=count))
    predecessors = [draw(st.sets(st.integers(0, n - 1), max_size=2)) if n else set() for n in range(count)]
    flags = st.lists(st.booleans(), min_size=count, max_size=count)
    first, last = np.array(draw(flags)), np.array(draw(flags))
    first[0] = last[-1] = True
    if not predecessors[-1]:
        first[-1] = True
    rests = [BLANK] * (count + 1)
    if draw(st.booleans()):
        rests = draw(st.lists(st.integers(0, BLANK), min_size=count + 1, max_size=count + 1))
    table = np.full((count, 3), -1, np.int32)
    for node, before in enumerate(predecessors):
        table[node, : len(before)] = sorted(before)
    return Lattice(np.array(labels, np.int32), np.array(rests, np.int32), table, first, last)


def random_log_probabilities(frames, seed=0, rows=None):
    shape = (frames, CLASSES) if rows is None else (rows, frames, CLASSES)
    logits = 2 * np.random.default_rng(seed).standard_normal(shape)
    return np.asarray(tf.nn.log_softmax(logits))


def labellings(lattice):
    """Every way through a lattice, as nodes."""
    ways = [[node] for node in np.flatnonzero(lattice.first)]
    while ways:
        way = ways.pop()
        if lattice.last[way[-1]]:
            yield way
        ways += [[*way, node] for node, before in enumerate(lattice.predecessors) if way[-1] in before]


def paths(lattice, frames):
    """Every path: the state of each frame, a node, or ("rest", node) with -1 for the rest before all."""
    for way in labellings(lattice):
        states = [("rest", -1)]
        for node in way:
            states += [("node", node), ("rest", node)]
        for choice in itertools.combinations_with_replacement(range(len(states)), frames):
            skipped = np.diff(choice)
            starts, ends = choice[0] <= 1, choice[-1] >= len(states) - 2
            if not starts or not ends or (skipped > 2).any():
                continue
            # What is skipped is a rest, and it stands between two different labels.
            if any(
                step == 2
                and (before % 2 == 0 or lattice.labels[way[before // 2]] == lattice.labels[way[before // 2 + 1]])
                for before, step in zip(choice, skipped, strict=False)
            ):
                continue
            yield [states[place] for place in choice]


def score(path, log_probabilities, lattice):
    classes = [lattice.labels[node] if kind == "node" else lattice.rests[node] for kind, node in path]
    return log_probabilities[np.arange(len(path)), classes].sum()


def loss_and_gradient(logits, lengths, batch):
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = ctc_lattice.loss(Sequence(logits, tf.constant(lengths)), batch)
    return loss.numpy(), tape.gradient(loss, logits).numpy()


@quick
@given(lattice=lattices(), frames=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_the_loss_is_the_sum_over_all_paths(lattice, frames, seed):
    log_probabilities = random_log_probabilities(frames, seed)
    scores = [score(path, log_probabilities, lattice) for path in paths(lattice, frames)]
    expected = -np.logaddexp.reduce(scores) if scores else np.inf
    posteriors, cost = ctc_lattice.posteriors_of(ctc_lattice.emissions_of(log_probabilities, lattice), lattice)
    np.testing.assert_allclose(cost, expected, atol=1e-9)
    np.testing.assert_allclose(posteriors.sum(axis=1), 1.0 if scores else 0.0, atol=1e-9)
    assert bool(scores) == (ctc_lattice.minimum_frames(lattice) <= frames)


@quick
@given(lattice=lattices(), frames=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_posteriors_are_shares_of_paths(lattice, frames, seed):
    log_probabilities = random_log_probabilities(frames, seed)
    count = len(lattice.labels)
    shares = np.zeros((frames, 2 * count + 1))
    found = list(paths(lattice, frames))
    for path in found:
        for frame, (kind, node) in enumerate(path):
            column = node if kind == "node" else count + node if node >= 0 else 2 * count
            shares[frame, column] += np.exp(score(path, log_probabilities, lattice))
    if found:
        shares /= shares[0].sum()
    posteriors, _ = ctc_lattice.posteriors_of(ctc_lattice.emissions_of(log_probabilities, lattice), lattice)
    np.testing.assert_allclose(posteriors, shares, atol=1e-9)


@quick
@given(lattice=lattices(), frames=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_the_best_path_is_the_best_of_all_paths(lattice, frames, seed):
    log_probabilities = random_log_probabilities(frames, seed)
    best = ctc_lattice.best_path(ctc_lattice.emissions_of(log_probabilities, lattice), lattice)
    found = list(paths(lattice, frames))
    if not found:
        assert best == ([], [], -np.inf)
        return
    path = max(found, key=lambda path: score(path, log_probabilities, lattice))
    np.testing.assert_allclose(best.log_probability, score(path, log_probabilities, lattice), atol=1e-9)
    own = [("rest", -1)] * frames
    for node, (start, end) in zip(best.nodes, best.spans, strict=True):
        own[start:end] = [("node", node)] * (end - start)
        own[end:] = [("rest", node)] * (frames - end)
    np.testing.assert_allclose(score(own, log_probabilities, lattice), best.log_probability, atol=1e-9)
    assert best.nodes in list(labellings(lattice))


def test_a_single_labelling_is_ctc():
    random = np.random.default_rng(1)
    rows, frames, classes = 6, 40, 30
    logits = tf.constant(random.standard_normal((rows, frames, classes)), tf.float32)
    lengths = np.array([40, 30, 12, 40, 25, 33], np.int32)
    labels = [random.integers(0, classes - 1, count) for count in (10, 3, 6, 12, 1, 8)]
    labels[0][4] = labels[0][3]
    batch = ctc_lattice.batched([ctc_lattice.chain(row, classes - 1) for row in labels])
    loss, gradient = loss_and_gradient(logits, lengths, batch)
    indices = [(row, place) for row, values in enumerate(labels) for place in range(len(values))]
    sparse = tf.SparseTensor(indices, np.concatenate(labels).astype(np.int32), (rows, 12))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        expected = tf.nn.ctc_loss(sparse, logits, None, lengths, logits_time_major=False, blank_index=-1)
    np.testing.assert_allclose(loss, expected, atol=1e-4)
    np.testing.assert_allclose(gradient, tape.gradient(expected, logits), atol=1e-4)


def test_the_loss_of_two_labellings_is_that_of_either():
    logits = tf.constant(random_log_probabilities(8, rows=1), tf.float32)
    either = Lattice(
        np.array([0, 1, 2, 0], np.int32),
        np.full(5, BLANK, np.int32),
        np.array([[-1], [0], [-1], [2]], np.int32),
        np.array([True, False, True, False]),
        np.array([False, True, False, True]),
    )
    chains = [ctc_lattice.chain(labels, BLANK) for labels in ([0, 1], [2, 0])]
    (loss,), gradient = loss_and_gradient(logits, [8], ctc_lattice.batched([either]))
    one, other = (loss_and_gradient(logits, [8], ctc_lattice.batched([chain])) for chain in chains)
    np.testing.assert_allclose(loss, -np.logaddexp(-one[0][0], -other[0][0]), rtol=1e-5)
    share = np.exp(loss - one[0][0])
    np.testing.assert_allclose(gradient, share * one[1] + (1 - share) * other[1], atol=1e-5)


def test_padding_changes_nothing_and_has_no_gradient():
    logits = random_log_probabilities(9, rows=2).astype(np.float32)
    logits[1, 5:] = np.nan
    chains = [ctc_lattice.chain(labels, BLANK) for labels in ([0, 1, 0, 2], [1])]
    batch = ctc_lattice.batched(chains)
    loss, gradient = loss_and_gradient(tf.constant(logits), [9, 5], batch)
    (alone,), of_alone = loss_and_gradient(tf.constant(logits[1:, :5]), [5], ctc_lattice.batched(chains[1:]))
    np.testing.assert_allclose(loss[1], alone, rtol=1e-6)
    np.testing.assert_allclose(gradient[1, :5], of_alone[0], atol=1e-6)
    assert not gradient[1, 5:].any()


def test_logits_that_are_not_finite_make_the_loss_so():
    """A loss of 0 would pass for a row without a path, and the step would not be skipped."""
    logits = random_log_probabilities(6, rows=2).astype(np.float32)
    logits[0, 3, 1] = np.nan
    batch = ctc_lattice.batched([ctc_lattice.chain([0, 1], BLANK)] * 2)
    loss, _ = loss_and_gradient(tf.constant(logits), [6, 6], batch)
    np.testing.assert_array_equal(np.isfinite(loss), [False, True])


def test_rows_without_a_path_have_neither_loss_nor_gradient():
    chains = [ctc_lattice.chain(labels, BLANK) for labels in ([0, 0], [], [1])]
    logits = tf.constant(random_log_probabilities(2, rows=3), tf.float32)
    loss, gradient = loss_and_gradient(logits, [2, 0, 0], ctc_lattice.batched(chains))
    assert not loss.any() and not gradient.any()


def test_no_labels_cost_what_is_not_blank():
    logits = random_log_probabilities(3, rows=1)
    loss, _ = loss_and_gradient(
        tf.constant(logits, tf.float32), [3], ctc_lattice.batched([ctc_lattice.chain([], BLANK)])
    )
    np.testing.assert_allclose(loss, -logits[0, :, BLANK].sum(), rtol=1e-5)


def test_a_bias_moves_a_label():
    logits = tf.zeros([1, 6, CLASSES])
    batch = ctc_lattice.batched([ctc_lattice.chain([1], BLANK)])
    bias = np.zeros((1, 6, 1), np.float32)
    bias[0, :4] = -50
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = ctc_lattice.loss(Sequence(logits, tf.constant([6])), batch, tf.constant(bias))
    emitted = -tape.gradient(loss, logits).numpy()[0, :, 1]
    assert (emitted[:4] < 0).all() and (emitted[4:] > 0).all()


def test_it_runs_in_a_graph():
    batch = ctc_lattice.batched([ctc_lattice.chain([0, 2], BLANK)])
    logits = tf.constant(random_log_probabilities(5, rows=1), tf.float32)
    expected, _ = loss_and_gradient(logits, [5], batch)
    loss = tf.function(lambda values: ctc_lattice.loss(Sequence(values, tf.constant([5])), batch))
    np.testing.assert_allclose(loss(logits), expected, rtol=1e-5)


@pytest.mark.parametrize(("labels", "frames"), [([], 0), ([0], 1), ([0, 1, 0], 3), ([0, 0, 1, 1], 6)])
def test_minimum_frames_of_a_chain(labels, frames):
    assert ctc_lattice.minimum_frames(ctc_lattice.chain(labels, BLANK)) == frames
