"""Connectionist temporal classification: loss, decoding and alignment.

Graves et al., "Connectionist Temporal Classification", ICML 2006. A network gives a distribution over classes for
every frame. A path is one class per frame; its labelling is what remains when runs of one class are merged and
blanks are then dropped. The probability of a labelling is the sum over all its paths (equation 3).

**Blank is the last class**: with `n` classes, labels are `0 .. n - 2` and blank is `n - 1`. This module alone knows it.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfvoice.errors import TfvoiceError
from tfvoice.lengths import Sequence


class CtcError(TfvoiceError):
    """A labelling that has no path through the frames."""


class Emissions(NamedTuple):
    """The labels of the best path, and the frames in which it emits each of them.

    Attributes:
      ids: ragged int32 `[batch, (labels)]`, classes.
      starts: ragged int32 `[batch, (labels)]`, first frame of the label.
      ends: ragged int32 `[batch, (labels)]`, the frame after its last one.
      confidences: ragged float32 `[batch, (labels)]`, the highest probability of the label in those frames.
    """

    ids: tf.RaggedTensor
    starts: tf.RaggedTensor
    ends: tf.RaggedTensor
    confidences: tf.RaggedTensor


class Hypotheses(NamedTuple):
    """The best labelling of each row in a beam search.

    Attributes:
      ids: ragged int32 `[batch, (labels)]`, classes.
      log_probabilities: float32 `[batch]`, nats; a sum over the paths that stayed in the beam.
    """

    ids: tf.RaggedTensor
    log_probabilities: tf.Tensor


class Alignment(NamedTuple):
    """The most probable path of a labelling (forced alignment).

    Attributes:
      spans: (first frame, frame after the last one) of each label.
      confidences: the highest probability of each label in its span.
      log_probability: of the whole path, blanks included, nats.
    """

    spans: list[tuple[int, int]]
    confidences: list[float]
    log_probability: float


def blank(logits) -> int:
    """The class that means "no label": the last one."""
    return logits.shape[-1] - 1


def minimum_frames(labels, lengths=None):
    """Frames that a labelling needs: one per label, and one blank between two equal neighbours.

    Args:
      labels: one list of classes, or an integer array or tensor `[..., labels]` padded with anything.
      lengths: number of labels, `[...]`; all of them when absent.

    Returns:
      A count, or counts `[...]`: a tensor for a tensor, otherwise NumPy.
    """
    if tf.is_tensor(labels):
        lengths = tf.shape(labels)[-1] if lengths is None else tf.cast(lengths, tf.int32)
        counted = tf.sequence_mask(lengths, tf.shape(labels)[-1])[..., 1:]
        doubled = tf.equal(labels[..., 1:], labels[..., :-1]) & counted
        return lengths + tf.reduce_sum(tf.cast(doubled, tf.int32), axis=-1)
    labels = np.asarray(labels, np.int32)
    lengths = np.int32(labels.shape[-1]) if lengths is None else np.asarray(lengths, np.int32)
    counted = np.arange(1, labels.shape[-1]) < lengths[..., np.newaxis]
    doubled = (labels[..., 1:] == labels[..., :-1]) & counted
    return lengths + doubled.sum(axis=-1, dtype=np.int32)


def feasible(frames, labels, lengths=None):
    """Whether `frames` frames are enough for a labelling; arguments as in `minimum_frames`."""
    return frames >= minimum_frames(labels, lengths)


def loss(logits: Sequence, labels: tf.Tensor, label_lengths: tf.Tensor) -> tf.Tensor:
    """Negative log probability of each row's labelling.

    A row that has too few frames for its labels, or no frames at all, has loss 0 and gradient 0, so that one bad row
    never spoils a step; `feasible` says which. A row with frames and no labels costs every frame that is not blank.

    Args:
      logits: unnormalised, `[batch, frames, classes]`.
      labels: int32 `[batch, labels]`, padded with anything.
      label_lengths: int32 `[batch]`.

    Returns:
      float32 `[batch]`, nats.

    Raises:
      tf.errors.InvalidArgumentError: a label is negative or not below the blank class.
    """
    labels, label_lengths = tf.cast(labels, tf.int32), tf.cast(label_lengths, tf.int32)
    values, frames = tf.cast(logits.values, tf.float32), tf.cast(logits.lengths, tf.int32)
    empty = label_lengths == 0
    usable = feasible(frames, labels, label_lengths) & ~empty
    return _labelled(values, frames, labels, label_lengths, usable) + _all_blank(values, tf.where(empty, frames, 0))


def _labelled(values, frames, labels, label_lengths, usable):
    """`tf.nn.ctc_loss` of the rows that are `usable`, and 0 for the others.

    Sparse labels: TensorFlow then takes cuDNN's kernel on a GPU, and its C++ kernel on a CPU, where 16 rows of 200
    frames and 60 labels take a tenth of the time of its form for dense labels. Both kernels refuse a row that has no
    path. Such a row gets one frame and one label, and is masked out of the loss.
    """
    batch, width = tf.shape(values)[0], tf.shape(labels)[1]
    present = tf.sequence_mask(tf.where(usable, label_lengths, 0), width)
    # The kernels do not check: the one for the CPU drops a last label that is blank or above it.
    labels = tf.where(present, labels, 0)
    tf.debugging.assert_non_negative(labels, "A label is negative.")
    tf.debugging.assert_less(labels, blank(values), "A label is not below the blank class.")
    # Masked, because a non-finite number in the padding would reach the gradient: 0 * nan is nan.
    values = tf.where(tf.sequence_mask(tf.where(usable, frames, 0), tf.shape(values)[1])[..., tf.newaxis], values, 0.0)
    values, frames, row = _not_empty(values, tf.where(usable, frames, 1))
    labels = tf.pad(labels, [[0, row], [0, 1]])
    counted = tf.sequence_mask(tf.pad(tf.where(usable, label_lengths, 1), [[0, row]], constant_values=1), width + 1)
    sparse = tf.SparseTensor(tf.where(counted), tf.boolean_mask(labels, counted), tf.shape(labels, out_type=tf.int64))
    cost = tf.nn.ctc_loss(sparse, values, None, frames, logits_time_major=False, blank_index=-1)
    return tf.where(usable, cost[:batch], 0.0)


def _not_empty(values, frames):
    """Adds a row of one frame to a batch of no rows, and a frame to rows of none: TensorFlow's kernels refuse those."""
    row, frame = tf.cast(tf.shape(values)[0] == 0, tf.int32), tf.cast(tf.shape(values)[1] == 0, tf.int32)
    return tf.pad(values, [[0, row], [0, frame], [0, 0]]), tf.pad(frames, [[0, row]], constant_values=1), row


def _all_blank(values, frames):
    """Negative log probability of blank in every frame."""
    counted = tf.sequence_mask(frames, tf.shape(values)[1])
    # Masked first, because a non-finite number in the padding would reach the gradient through the sum.
    values = tf.where(counted[..., tf.newaxis], values, 0.0)
    cost = tf.reduce_logsumexp(values, axis=-1) - values[..., blank(values)]
    return tf.reduce_sum(tf.where(counted, cost, 0.0), axis=1)


def greedy(logits: Sequence) -> Emissions:
    """The labels on the single most probable path: the best class of each frame, runs merged, blanks dropped.

    Args:
      logits: `[batch, frames, classes]`.

    Returns:
      The labels of each row, with the frames and the probability of each.
    """
    values, lengths = tf.cast(logits.values, tf.float32), logits.lengths
    best = tf.argmax(values, axis=-1, output_type=tf.int32)
    probability = tf.exp(tf.reduce_max(values, axis=-1) - tf.reduce_logsumexp(values, axis=-1))
    frame = tf.broadcast_to(tf.range(tf.shape(best)[1])[tf.newaxis], tf.shape(best))
    label = (best != blank(values)) & tf.sequence_mask(lengths, tf.shape(best)[1])
    changed = tf.concat([tf.ones_like(best[:, :1], tf.bool), best[:, 1:] != best[:, :-1]], axis=1)
    first = label & changed
    run = tf.cumsum(tf.cast(tf.boolean_mask(first, label), tf.int32)) - 1
    counts = tf.reduce_sum(tf.cast(first, tf.int32), axis=1)

    def ragged(flat):
        return tf.RaggedTensor.from_row_lengths(flat, counts, validate=False)

    return Emissions(
        ids=ragged(tf.boolean_mask(best, first)),
        starts=ragged(tf.boolean_mask(frame, first)),
        ends=ragged(tf.math.segment_max(tf.boolean_mask(frame, label), run) + 1),
        confidences=ragged(tf.math.segment_max(tf.boolean_mask(probability, label), run)),
    )


def best_path(log_probabilities: np.ndarray) -> tuple[list[int], list[tuple[int, int]], list[float]]:
    """`greedy` for one row, `[frames, classes]`: labels, (first frame, frame after the last one), confidences."""
    rows = tf.constant(log_probabilities[np.newaxis])
    ids, starts, ends, confidences = (
        ragged[0].numpy().tolist() for ragged in greedy(Sequence(rows, tf.constant([len(log_probabilities)])))
    )
    return ids, list(zip(starts, ends, strict=True)), confidences


def beam(logits: Sequence, beam_width: int = 100) -> Hypotheses:
    """The most probable labelling that TensorFlow's prefix beam search finds.

    Graves, "Sequence Transduction with Recurrent Neural Networks", 2012, algorithm 1. Unlike `greedy` it sums over
    the paths of a labelling; width 1 is not the same as `greedy`.

    Args:
      logits: `[batch, frames, classes]`.
      beam_width: prefixes kept after each frame.

    Returns:
      The best labelling of each row and its log probability.
    """
    batch = tf.shape(logits.values)[0]
    values, frames, _ = _not_empty(tf.cast(logits.values, tf.float32), tf.cast(logits.lengths, tf.int32))
    (ids,), log_probabilities = tf.nn.ctc_beam_search_decoder(
        tf.transpose(values, [1, 0, 2]), frames, beam_width=beam_width, top_paths=1
    )
    ragged = tf.RaggedTensor.from_value_rowids(ids.values, ids.indices[:, 0], ids.dense_shape[0], validate=False)
    return Hypotheses(tf.cast(ragged, tf.int32)[:batch], log_probabilities[:batch, 0])


def align(log_probabilities: np.ndarray, labels: list[int]) -> Alignment:
    """Forced alignment: the most probable path of `labels`, by Viterbi over the CTC lattice.

    The states are the labels with a blank before, between and after them. From one frame to the next a path stays,
    advances by one state, or skips a blank between two different labels.

    Args:
      log_probabilities: `[frames, classes]`, nats; the log softmax of the logits of one row.
      labels: the classes to align.

    Returns:
      The frames of each label, with its confidence.

    Raises:
      CtcError: there are too few frames, or each path has probability 0.
    """
    frames, needed = len(log_probabilities), int(minimum_frames(labels))
    if frames < needed:
        raise CtcError(
            f"{len(labels)} labels need {needed} frames to be aligned and there are {frames}: "
            "check that the text belongs to the audio."
        )
    states = np.full(2 * len(labels) + 1, blank(log_probabilities), np.intp)
    states[1::2] = labels
    path, score = _viterbi(np.asarray(log_probabilities, np.float64)[:, states], states)
    if not np.isfinite(score):
        raise CtcError(f"No path through the {frames} frames gives these {len(labels)} labels a probability above 0.")
    label_states = 2 * np.arange(len(labels)) + 1
    starts, ends = np.searchsorted(path, label_states, "left"), np.searchsorted(path, label_states, "right")
    spans = list(zip(starts.tolist(), ends.tolist(), strict=True))
    peaks = [log_probabilities[start:end, label].max() for (start, end), label in zip(spans, labels, strict=True)]
    return Alignment(spans, np.exp(peaks).tolist(), score)


def _viterbi(emissions: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the state of the best path in each frame, and its score; `emissions` is `[frames, states]`."""
    frames, count = emissions.shape
    skip = np.full(count, -np.inf)
    skip[1:2] = 0.0
    skip[3::2] = np.where(states[3::2] == states[1:-2:2], -np.inf, 0.0)
    # Two columns in front, so that the first states need no special case; the second is the state before all frames.
    best = np.full((frames + 1, count + 2), -np.inf)
    best[0, 1] = 0.0
    for before, after, emission in zip(best, best[1:], emissions, strict=False):
        reached = after[2:]
        np.add(before[:-2], skip, out=reached)
        np.maximum(reached, before[1:-1], out=reached)
        np.maximum(reached, before[2:], out=reached)
        reached += emission
    path = np.empty(frames, np.intp)
    state = count - 1 if best[-1, -1] >= best[-1, -2] else count - 2
    score = float(best[-1, state + 2])
    for frame in range(frames - 1, -1, -1):
        path[frame] = state
        before = best[frame]
        back = (before[state + 2], before[state + 1], before[state] + skip[state])
        state -= back.index(max(back))
    return path, score
