"""CTC whose labelling is a lattice: a choice among several labellings, such as silence or none between two words.

A lattice is a directed graph of labels. A labelling is the labels on a way through it, from a node that may be first
to one that may be last; the probability of the lattice is the sum over all paths of all of its labellings. With a
single way through it, that is CTC as in `tfvoice.ctc` (Graves et al., "Connectionist Temporal Classification", ICML
2006, equations 5 to 14): in the recursions of its forward and backward variables, the predecessors of a state are here
those of the graph.

The states of a path are the nodes, and a rest after each of them and before all. In CTC the class of every rest is
blank; here each rest has a class of its own.
"""

import math
from concurrent import futures
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfvoice import hardware
from tfvoice.compiled import compiled
from tfvoice.lengths import Sequence


class Lattice(NamedTuple):
    """A graph of labels whose nodes stand in topological order.

    Attributes:
      labels: int32 `[nodes]`, a class each.
      rests: int32 `[nodes + 1]`, the class of the frames after each node and before the next one; the last is that of
        the frames before all.
      predecessors: int32 `[nodes, most]`, nodes that may come before each, all of a lower number; padded with -1.
      first, last: bool `[nodes]`, where a labelling may start and end.
    """

    labels: np.ndarray
    rests: np.ndarray
    predecessors: np.ndarray
    first: np.ndarray
    last: np.ndarray


class LatticeBatch(NamedTuple):
    """Lattices of a batch, padded: tensors or arrays with a row for each; `nodes`, int32 `[batch]`, says how many."""

    labels: np.ndarray
    rests: np.ndarray
    predecessors: np.ndarray
    first: np.ndarray
    last: np.ndarray
    nodes: np.ndarray


class BestPath(NamedTuple):
    """The most probable path of a lattice.

    Attributes:
      nodes: those on its way through the lattice, in order.
      spans: (first frame, frame after the last one) of each of them.
      log_probability: of the whole path, blanks included, nats; -inf where there is none.
    """

    nodes: list[int]
    spans: list[tuple[int, int]]
    log_probability: float


def chain(labels, blank: int) -> Lattice:
    """The lattice of a single labelling, all of whose rests are blank."""
    places = np.arange(len(labels), dtype=np.int32)
    rests = np.full(len(labels) + 1, blank, np.int32)
    return Lattice(
        np.asarray(labels, np.int32), rests, places[:, np.newaxis] - 1, places == 0, places == len(labels) - 1
    )


def batched(lattices: list[Lattice]) -> LatticeBatch:
    """Pads lattices to the largest of them."""
    nodes = max((len(lattice.labels) for lattice in lattices), default=0)
    most = max((lattice.predecessors.shape[1] for lattice in lattices), default=1)
    batch = LatticeBatch(
        np.zeros((len(lattices), nodes), np.int32),
        np.zeros((len(lattices), nodes + 1), np.int32),
        np.full((len(lattices), nodes, most), -1, np.int32),
        np.zeros((len(lattices), nodes), bool),
        np.zeros((len(lattices), nodes), bool),
        np.array([len(lattice.labels) for lattice in lattices], np.int32),
    )
    for row, lattice in enumerate(lattices):
        count = len(lattice.labels)
        batch.labels[row, :count] = lattice.labels
        batch.rests[row, : count + 1] = lattice.rests
        batch.predecessors[row, :count, : lattice.predecessors.shape[1]] = lattice.predecessors
        batch.first[row, :count] = lattice.first
        batch.last[row, :count] = lattice.last
    return batch


def minimum_frames(lattice: Lattice) -> int:
    """Frames that the shortest labelling needs: one per label, and one blank between two equal neighbours."""
    needed = np.full(len(lattice.labels), np.iinfo(np.int32).max - 2, np.int64)
    for node, label in enumerate(lattice.labels):
        if lattice.first[node]:
            needed[node] = 1
        for before in lattice.predecessors[node]:
            if before >= 0:
                needed[node] = min(needed[node], needed[before] + 1 + (lattice.labels[before] == label))
    return int(needed[lattice.last].min()) if len(lattice.labels) else 0


def loss(logits: Sequence, lattices: LatticeBatch, bias: tf.Tensor | None = None) -> tf.Tensor:
    """Negative log probability of each row's lattice.

    The posterior of each class is computed by Numba outside the graph. It is also the gradient, and the logits weighted
    by it, less the log of their sum, have that gradient: no op with a gradient of its own is needed.

    Args:
      logits: unnormalised, `[batch, frames, classes]`.
      lattices: of the rows; one that has no path, because it has too few frames, has loss 0 and gradient 0.
      bias: added to the log probabilities of the nodes, `[batch, frames, nodes]`; it passes no gradient.

    Returns:
      float32 `[batch]`, nats.
    """
    values, lengths = tf.cast(logits.values, tf.float32), tf.cast(logits.lengths, tf.int32)
    within = tf.sequence_mask(lengths, tf.shape(values)[1])
    # Masked, because a non-finite number in the padding would reach the gradient: 0 * nan is nan.
    values = tf.where(within[..., tf.newaxis], values, 0.0)
    totals = tf.reduce_logsumexp(values, axis=2)
    if bias is None:
        bias = tf.zeros([tf.shape(values)[0], tf.shape(values)[1], tf.shape(lattices.labels)[1]])
    arguments = [values, totals, bias, lengths, *lattices]
    posteriors, costs = tf.numpy_function(_posteriors_of_batch, arguments, [tf.float32, tf.float32], stateful=False)
    posteriors = tf.stop_gradient(tf.ensure_shape(posteriors, values.shape))
    costs = tf.stop_gradient(tf.ensure_shape(costs, [None]))
    usable = tf.cast(within & (tf.reduce_max(posteriors, axis=[1, 2]) > 0)[:, tf.newaxis], tf.float32)
    # Where the posterior is 0 a logit may be -inf.
    weighted = tf.reduce_sum(tf.math.multiply_no_nan(values, posteriors), axis=2)
    surrogate = tf.reduce_sum(usable * totals - weighted, axis=1)
    return surrogate + tf.stop_gradient(costs - surrogate)


def _posteriors_of_batch(values, totals, bias, frames, labels, rests, predecessors, first, last, nodes):
    """The posterior of each class, `[batch, frames, classes]`, zeros for a row without a path; and the costs."""
    posteriors, costs = np.zeros(values.shape, np.float32), np.zeros(len(values), np.float32)

    def compute(row: int) -> None:
        count, length = nodes[row], frames[row]
        of_row = (each[row, :count] for each in (predecessors, first, last))
        lattice = Lattice(labels[row, :count], rests[row, : count + 1], *of_row)
        emissions = emissions_of(values[row, :length], lattice) - totals[row, :length, np.newaxis]
        emissions[:, :count] += bias[row, :length, :count]
        found, cost = posteriors_of(emissions, lattice)
        if math.isfinite(cost):
            _add_by_class(posteriors[row], found, np.concatenate([lattice.labels, lattice.rests]))
            costs[row] = cost

    # What Numba compiles runs without Python's lock.
    with futures.ThreadPoolExecutor(hardware.cores()) as pool:
        list(pool.map(compute, range(len(values))))
    return posteriors, costs


def emissions_of(log_probabilities: np.ndarray, lattice: Lattice) -> np.ndarray:
    """The log probability of the class of each state, `[frames, 2 * nodes + 1]`: of the nodes, then of the rests.

    Args:
      log_probabilities: of classes, `[frames, classes]`.
      lattice: the lattice.
    """
    return log_probabilities[:, np.concatenate([lattice.labels, lattice.rests])]


def posteriors_of(emissions: np.ndarray, lattice: Lattice) -> tuple[np.ndarray, float]:
    """The probability that a path of the lattice is in a state, for each frame.

    Args:
      emissions: from `emissions_of`, nats.
      lattice: the lattice.

    Returns:
      float64 `[frames, 2 * nodes + 1]`, whose rows sum to 1, and the negative log probability of the lattice; zeros and
      infinity where there is no path.
    """
    if not len(emissions):
        # There is a path where there are no labels.
        return np.zeros(emissions.shape), math.inf if len(lattice.labels) else 0.0
    if not len(lattice.labels):
        return np.ones(emissions.shape), -float(emissions.sum())
    return _posteriors(emissions.astype(np.float64), lattice.labels, *lattice[2:])


def best_path(emissions: np.ndarray, lattice: Lattice) -> BestPath:
    """The most probable path, by Viterbi; arguments as for `posteriors_of`."""
    if not len(emissions) or not len(lattice.labels):
        return BestPath([], [], -math.inf if len(lattice.labels) else float(emissions.sum()))
    states, score = _best_states(emissions.astype(np.float64), lattice.labels, *lattice[2:])
    if not math.isfinite(score):
        return BestPath([], [], -math.inf)
    # A node is on the path in frames that follow each other.
    changes = np.flatnonzero(np.diff(states, prepend=-2))
    ends = [*changes[1:], len(states)]
    kept = [(int(states[start]), (int(start), int(end))) for start, end in zip(changes, ends, strict=True)]
    kept = [(node, span) for node, span in kept if node >= 0]
    return BestPath([node for node, _ in kept], [span for _, span in kept], float(score))


@compiled
def _add_by_class(posteriors, found, classes):
    """Adds the posteriors of states to those of their classes."""
    for t in range(len(found)):
        for state in range(len(classes)):
            posteriors[t, classes[state]] += found[t, state]


@compiled
def log_add(a, b):
    """The log of a sum of two probabilities, of their logs."""
    if a < b:
        a, b = b, a
    # Below what a double can tell; in a trained network most are.
    return a if b == -np.inf or b < a - 40.0 else a + np.log1p(np.exp(b - a))


@compiled
def _posteriors(emissions, labels, predecessors, first, last):
    """Forward and backward variables in log space; returns posteriors and the negative log probability."""
    time, count = len(emissions), len(labels)
    # Columns: the nodes, the rests after them, the rest before all.
    forward = np.full((time, 2 * count + 1), -np.inf)
    for n in range(count):
        if first[n]:
            forward[0, n] = emissions[0, n]
    forward[0, 2 * count] = emissions[0, 2 * count]
    for t in range(1, time):
        _advance(forward[t - 1], forward[t], emissions[t], labels, predecessors, first)
    score = -np.inf
    for n in range(count):
        if last[n]:
            score = log_add(score, log_add(forward[time - 1, n], forward[time - 1, count + n]))
    if score == -np.inf:
        return np.zeros(emissions.shape), np.inf
    # The log probability of the frames after t, from each state.
    after, backward = np.full(2 * count + 1, -np.inf), np.full(2 * count + 1, -np.inf)
    for n in range(count):
        if last[n]:
            backward[n] = backward[count + n] = 0.0
    posteriors = np.zeros(emissions.shape)
    for t in range(time - 1, -1, -1):
        for state in range(2 * count + 1):
            posteriors[t, state] = np.exp(forward[t, state] + backward[state] - score)
        if t:
            _retreat(backward, after, emissions[t], labels, predecessors, first)
            after, backward = backward, after
    return posteriors, -score


@compiled
def _advance(before, after, emissions, labels, predecessors, first):
    """One step of the forward variables."""
    count = len(labels)
    after[2 * count] = before[2 * count] + emissions[2 * count]
    for n in range(count):
        total = before[n]
        if first[n]:
            total = log_add(total, before[2 * count])
        for earlier in predecessors[n]:
            if earlier >= 0:
                total = log_add(total, before[count + earlier])
                if labels[earlier] != labels[n]:
                    total = log_add(total, before[earlier])
        after[n] = total + emissions[n]
        after[count + n] = log_add(before[count + n], before[n]) + emissions[count + n]


@compiled
def _retreat(after, before, emissions, labels, predecessors, first):
    """One step of the backward variables; `emissions` are those of the later frame."""
    count = len(labels)
    before[:] = -np.inf
    before[2 * count] = after[2 * count] + emissions[2 * count]
    for n in range(count):
        rest, enter = after[count + n] + emissions[count + n], after[n] + emissions[n]
        before[count + n] = log_add(before[count + n], rest)
        before[n] = log_add(before[n], log_add(rest, enter))
        if first[n]:
            before[2 * count] = log_add(before[2 * count], enter)
        for earlier in predecessors[n]:
            if earlier >= 0:
                before[count + earlier] = log_add(before[count + earlier], enter)
                if labels[earlier] != labels[n]:
                    before[earlier] = log_add(before[earlier], enter)


@compiled
def _best_states(emissions, labels, predecessors, first, last):
    """Viterbi; returns the node of each frame, -1 for a rest, and the score."""
    time, count = len(emissions), len(labels)
    best, after = np.full(2 * count + 1, -np.inf), np.full(2 * count + 1, -np.inf)
    back = np.full((time, 2 * count + 1), 2 * count, np.int32)
    for n in range(count):
        if first[n]:
            best[n] = emissions[0, n]
    best[2 * count] = emissions[0, 2 * count]
    for t in range(1, time):
        after[2 * count] = best[2 * count] + emissions[t, 2 * count]
        for n in range(count):
            score, source = best[n], n
            if first[n] and best[2 * count] > score:
                score, source = best[2 * count], 2 * count
            for earlier in predecessors[n]:
                if earlier >= 0:
                    if best[count + earlier] > score:
                        score, source = best[count + earlier], count + earlier
                    if labels[earlier] != labels[n] and best[earlier] > score:
                        score, source = best[earlier], earlier
            after[n], back[t, n] = score + emissions[t, n], source
            stays = best[count + n] >= best[n]
            after[count + n] = (best[count + n] if stays else best[n]) + emissions[t, count + n]
            back[t, count + n] = count + n if stays else n
        best, after = after, best
    score, state = -np.inf, 0
    for n in range(count):
        if last[n]:
            for candidate in (n, count + n):
                if best[candidate] > score:
                    score, state = best[candidate], candidate
    states = np.full(time, -1, np.int32)
    for t in range(time - 1, -1, -1):
        states[t] = state if state < count else -1
        state = back[t, state]
    return states, score
