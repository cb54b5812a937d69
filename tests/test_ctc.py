"""CTC against the enumeration of all paths, which small cases allow."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfvoice import ctc
from tfvoice.lengths import Sequence

CLASSES = 3
BLANK = CLASSES - 1
quick = settings(max_examples=40, deadline=None)
labellings = st.lists(st.integers(0, BLANK - 1), max_size=4)
seeds = st.integers(0, 10**6)


def random_logits(*shape, seed=0, scale=2.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def log_softmax(logits):
    return tf.nn.log_softmax(tf.cast(logits, tf.float64)).numpy()


def collapse(path):
    return tuple(label for label, _ in itertools.groupby(path) if label != BLANK)


def all_paths(logits):
    """Yields every path through logits [frames, classes] with its log probability."""
    scores = log_softmax(logits)
    for path in itertools.product(range(CLASSES), repeat=len(scores)):
        yield path, sum(frame[label] for frame, label in zip(scores, path, strict=True))


def all_labellings(logits):
    """Probability of every labelling that logits [frames, classes] can give."""
    totals = {}
    for path, score in all_paths(logits):
        totals[collapse(path)] = totals.get(collapse(path), 0.0) + np.exp(score)
    return totals


def batch(logits, lengths=None):
    lengths = [logits.shape[1]] * logits.shape[0] if lengths is None else lengths
    return Sequence(tf.constant(logits), tf.constant(lengths, tf.int32))


def padded(rows, filler=0):
    width = max((len(row) for row in rows), default=0)
    labels = [list(row) + [filler] * (width - len(row)) for row in rows]
    return tf.constant(labels, tf.int32, shape=[len(rows), width]), tf.constant([len(r) for r in rows], tf.int32)


def loss_and_gradient(sequence, labels, label_lengths):
    with tf.GradientTape() as tape:
        tape.watch(sequence.values)
        loss = ctc.loss(sequence, labels, label_lengths)
        total = tf.reduce_sum(loss)
    return loss.numpy(), tape.gradient(total, sequence.values).numpy()


# Loss


@pytest.mark.parametrize("compiled", [False, True])
def test_loss_is_the_sum_over_all_paths(compiled):
    logits = random_logits(5, CLASSES)
    totals = all_labellings(logits)
    rows = list(totals)
    assert {(), (0, 0), (1, 1, 1), (0, 1, 0, 1, 0)} <= set(rows)
    loss = tf.function(ctc.loss) if compiled else ctc.loss
    found = loss(batch(np.repeat(logits[np.newaxis], len(rows), axis=0)), *padded(rows, filler=77))
    np.testing.assert_allclose(found, [-np.log(totals[row]) for row in rows], rtol=1e-5, atol=1e-5)
    assert np.exp(-found.numpy()).sum() == pytest.approx(1.0, abs=1e-5)


def test_loss_and_gradient_equal_the_dense_form_of_tensorflow():
    logits, classes = random_logits(4, 30, 7), 7
    rows = [[1, 1, 2], [0, 5, 5, 5, 3, 4], [3], [2, 4, 2, 4]]
    frames = tf.constant([30, 21, 9, 8])
    labels, label_lengths = padded(rows)
    sequence = batch(logits, frames)
    found, gradient = loss_and_gradient(sequence, labels, label_lengths)
    with tf.GradientTape() as tape:
        tape.watch(sequence.values)
        dense = tf.nn.ctc_loss(
            labels, sequence.values, label_lengths, frames, logits_time_major=False, blank_index=classes - 1
        )
    np.testing.assert_allclose(found, dense, rtol=1e-4)
    np.testing.assert_allclose(gradient, tape.gradient(dense, sequence.values), atol=1e-4)


def reference_loss(sequence, labels, label_lengths):
    """TensorFlow's C++ kernel, told to give rows without a path a loss of 0."""
    counted = tf.sequence_mask(label_lengths, tf.shape(labels)[1])
    cost, _ = tf.raw_ops.CTCLoss(
        inputs=tf.transpose(sequence.values, [1, 0, 2]),
        labels_indices=tf.where(counted),
        labels_values=tf.boolean_mask(labels, counted),
        sequence_length=sequence.lengths,
        ignore_longer_outputs_than_inputs=True,
    )
    return cost


@pytest.mark.parametrize("seed", range(3))
def test_loss_and_gradient_equal_the_kernel_that_ignores_rows_without_a_path(seed):
    random = np.random.default_rng(seed)
    logits = random_logits(12, 40, 6, seed=seed)
    frames = random.integers(0, 41, 12)
    frames[:2] = 0, 3
    rows = [random.integers(0, 5, random.integers(1, 25)).tolist() for _ in frames]
    labels, label_lengths = padded(rows)
    possible = [bool(ctc.feasible(count, row)) for count, row in zip(frames, rows, strict=True)]
    assert any(possible) and not all(possible)
    found, gradient = loss_and_gradient(batch(logits, frames), labels, label_lengths)
    sequence = batch(logits, frames)
    with tf.GradientTape() as tape:
        tape.watch(sequence.values)
        expected = reference_loss(sequence, labels, label_lengths)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, tape.gradient(expected, sequence.values), atol=1e-6)
    assert [bool(loss) for loss in found] == possible


def test_loss_is_the_public_op_that_has_a_gpu_kernel():
    """`tf.nn.ctc_loss` puts both kernels into a graph, and TensorFlow picks by the device."""
    sequence, (labels, lengths) = batch(random_logits(2, 5, CLASSES)), padded([[0, 1], [1]])
    graph = tf.function(lambda: ctc.loss(sequence, labels, lengths)).get_concrete_function().graph.as_graph_def()
    kernels = {node.op for function in graph.library.function for node in function.node_def}
    assert {"CTCLoss", "CTCLossV2"} <= kernels


@pytest.mark.parametrize("row", [[0, 1], [1, 1], []])
def test_gradient_is_the_slope(row):
    logits = random_logits(1, 4, CLASSES)
    labels, lengths = padded([row])
    _, gradient = loss_and_gradient(batch(logits, [3]), labels, lengths)
    step = 1e-2
    for frame, label in itertools.product(range(4), range(CLASSES)):
        up, down = logits.copy(), logits.copy()
        up[0, frame, label] += step
        down[0, frame, label] -= step
        rise = ctc.loss(batch(up, [3]), labels, lengths) - ctc.loss(batch(down, [3]), labels, lengths)
        assert gradient[0, frame, label] == pytest.approx(float(rise[0]) / (2 * step), abs=1e-3)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_row_without_a_path_has_no_loss_and_does_not_change_the_others(compiled):
    rows = [[0, 1], [0, 0], [1, 0, 1], [1], [], [], [0]]
    frames = [4, 2, 2, 0, 0, 3, 1]
    logits = random_logits(len(rows), 4, CLASSES)
    run = tf.function(ctc.loss) if compiled else ctc.loss
    values = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(values)
        loss = run(Sequence(values, tf.constant(frames)), *padded(rows, filler=-1))
    gradient = tape.gradient(loss, values).numpy()
    bad = [1, 2, 3, 4]
    assert not loss.numpy()[bad].any() and not gradient[bad].any()
    for row in {0, 5, 6}:
        expected = -np.log(all_labellings(logits[row, : frames[row]])[tuple(rows[row])])
        assert float(loss[row]) == pytest.approx(expected, abs=1e-5)
        assert gradient[row, : frames[row]].any() and not gradient[row, frames[row] :].any()


def test_frames_and_labels_past_their_lengths_change_nothing():
    logits, rows, frames = random_logits(3, 6, CLASSES), [[0, 1, 1], [1], []], [6, 4, 5]
    labels, lengths = padded(rows)
    loss, gradient = loss_and_gradient(batch(logits, frames), labels, lengths)
    longer = np.concatenate([logits, np.full([3, 5, CLASSES], np.nan, np.float32)], axis=1)
    for row, count in enumerate(frames):
        longer[row, count:] = np.nan
    wider = np.concatenate([labels, np.full([3, 2], 99)], axis=1)
    again, gradient_again = loss_and_gradient(batch(longer, frames), tf.constant(wider), lengths)
    np.testing.assert_allclose(loss, again, rtol=1e-6)
    np.testing.assert_allclose(gradient, gradient_again[:, :6], atol=1e-6)
    assert not gradient_again[:, 6:].any()


@pytest.mark.parametrize("shape", [(0, 4, CLASSES), (2, 0, CLASSES), (0, 0, CLASSES)])
@pytest.mark.parametrize("width", [0, 2])
def test_empty_batches_have_empty_results(shape, width):
    logits = batch(np.zeros(shape, np.float32))
    labels, lengths = tf.zeros([shape[0], width], tf.int32), tf.fill([shape[0]], width)
    loss, gradient = loss_and_gradient(logits, labels, lengths)
    assert loss.tolist() == [0.0] * shape[0] and gradient.shape == shape
    assert ctc.greedy(logits).ids.to_list() == ctc.beam(logits).ids.to_list() == [[]] * shape[0]


def test_loss_in_half_precision_is_computed_in_single_precision():
    sequence = batch(random_logits(1, 40, CLASSES).astype(np.float16))
    labels, lengths = padded([[0, 1, 1, 0]])
    loss, gradient = loss_and_gradient(sequence, labels, lengths)
    exact = ctc.loss(Sequence(tf.cast(sequence.values, tf.float32), sequence.lengths), labels, lengths)
    assert loss.dtype == np.float32 and gradient.dtype == np.float16
    np.testing.assert_array_equal(loss, exact)


def test_loss_in_a_replica_is_the_same():
    sequence, (labels, lengths) = batch(random_logits(2, 5, CLASSES)), padded([[0, 1], []])
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])

    @tf.function
    def step(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            loss = ctc.loss(Sequence(values, sequence.lengths), labels, lengths)
        return loss, tape.gradient(loss, values)

    found = strategy.run(step, [sequence.values])
    for one, other in zip(found, loss_and_gradient(sequence, labels, lengths), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("row", [[0, BLANK], [0, CLASSES], [BLANK, 0], [0, -1]])
def test_a_label_out_of_range_is_refused(row):
    with pytest.raises(tf.errors.InvalidArgumentError, match="label"):
        ctc.loss(batch(random_logits(1, 5, CLASSES)), *padded([row]))


# Feasibility


@given(labellings)
@quick
def test_minimum_frames_is_the_shortest_that_has_a_path(row):
    shortest = 0
    while not any(collapse(path) == tuple(row) for path in itertools.product(range(CLASSES), repeat=shortest)):
        shortest += 1
    assert ctc.minimum_frames(row) == shortest
    assert ctc.feasible(shortest, row) and not ctc.feasible(shortest - 1, row)


@given(st.lists(labellings, min_size=1, max_size=5), st.sampled_from([-1, 0, 1]))
@quick
def test_minimum_frames_is_the_same_for_lists_arrays_and_tensors(rows, filler):
    labels, lengths = padded(rows, filler)
    expected = [int(ctc.minimum_frames(row)) for row in rows]
    assert ctc.minimum_frames(labels.numpy(), lengths.numpy()).tolist() == expected
    assert ctc.minimum_frames(labels, lengths).numpy().tolist() == expected
    assert tf.function(ctc.feasible)(2, labels, lengths).numpy().tolist() == [count <= 2 for count in expected]
    assert int(ctc.minimum_frames(tf.constant(rows[0], tf.int32))) == expected[0]


# Decoding


@given(seeds)
@quick
def test_greedy_is_the_collapsed_best_path(seed):
    frames = [6, 3, 0]
    logits = random_logits(3, 6, CLASSES, seed=seed, scale=1.0)
    found = ctc.greedy(batch(logits, frames))
    for row, count in enumerate(frames):
        path = logits[row, :count].argmax(axis=-1)
        probability = np.exp(log_softmax(logits[row, :count]).max(axis=-1))
        assert found.ids[row].numpy().tolist() == list(collapse(path))
        expected, frame = [], 0
        for label, run in itertools.groupby(path):
            start, frame = frame, frame + len(list(run))
            if label != BLANK:
                expected.append((label, start, frame, pytest.approx(probability[start:frame].max(), abs=1e-5)))
        assert list(zip(*(part[row].numpy().tolist() for part in found), strict=True)) == expected


def test_decoders_in_a_graph_of_unknown_shape():
    signature = [tf.TensorSpec([None, None, CLASSES]), tf.TensorSpec([None], tf.int32)]
    for decoder in (ctc.greedy, ctc.beam):
        compiled = tf.function(lambda *parts, decoder=decoder: decoder(Sequence(*parts)), input_signature=signature)
        for rows, frames in ((1, 9), (3, 4)):
            sequence = batch(random_logits(rows, frames, CLASSES))
            assert compiled(*sequence).ids.to_list() == decoder(sequence).ids.to_list()


@pytest.mark.parametrize("frames", [0, 1, 40])
def test_the_best_path_of_a_row_is_its_greedy_one(frames):
    logits = random_logits(frames, 6)
    ids, spans, confidences = ctc.best_path(logits)
    found = ctc.greedy(batch(logits[np.newaxis]))
    assert (ids, confidences) == (found.ids[0].numpy().tolist(), found.confidences[0].numpy().tolist())
    assert spans == list(zip(found.starts[0].numpy(), found.ends[0].numpy(), strict=True))


@given(seeds, st.sampled_from([0.0, 100.0, -100.0]))
@quick
def test_a_beam_wide_enough_finds_the_best_labelling(seed, shift):
    frames = [5, 2, 0, 4]
    logits = random_logits(4, 5, CLASSES, seed=seed) + np.float32(shift)
    found = ctc.beam(batch(logits, frames), beam_width=200)
    for row, count in enumerate(frames):
        totals = all_labellings(logits[row, :count])
        best = max(totals, key=totals.get)
        assert tuple(found.ids[row].numpy()) == best
        assert float(found.log_probabilities[row]) == pytest.approx(np.log(totals[best]), abs=1e-4)


def test_beam_keeps_doubled_labels():
    path = [0, BLANK, 0, 1, BLANK, 1, 1]
    logits = 9.0 * np.eye(CLASSES, dtype=np.float32)[np.newaxis, path]
    assert ctc.beam(batch(logits)).ids.to_list() == ctc.greedy(batch(logits)).ids.to_list() == [[0, 0, 1, 1]]


# Alignment


@given(seeds, labellings)
@quick
def test_alignment_is_the_best_of_all_paths(seed, row):
    logits = random_logits(6, CLASSES, seed=seed)
    if not ctc.feasible(6, row):
        with pytest.raises(ctc.CtcError):
            ctc.align(log_softmax(logits), row)
        return
    path, score = max(((p, s) for p, s in all_paths(logits) if collapse(p) == tuple(row)), key=lambda pair: pair[1])
    found = ctc.align(log_softmax(logits), row)
    assert found.log_probability == pytest.approx(score)
    labelling = [BLANK] * 6
    for label, (start, end) in zip(row, found.spans, strict=True):
        labelling[start:end] = [label] * (end - start)
    assert tuple(labelling) == path


@given(seeds)
@quick
def test_alignment_of_the_greedy_labels_has_their_spans(seed):
    logits = random_logits(1, 25, 5, seed=seed)
    decoded = ctc.greedy(batch(logits))
    labels, starts, ends, confidences = (part[0].numpy().tolist() for part in decoded)
    found = ctc.align(log_softmax(logits[0]), labels)
    assert found.spans == list(zip(starts, ends, strict=True))
    np.testing.assert_allclose(found.confidences, confidences, rtol=1e-5)


def test_alignment_of_no_labels_is_all_blank():
    scores = log_softmax(random_logits(4, CLASSES))
    assert ctc.align(scores, []) == ([], [], pytest.approx(scores[:, BLANK].sum()))
    assert ctc.align(scores[:0], []) == ([], [], 0.0)


def test_alignment_without_a_path_says_why():
    scores = log_softmax(random_logits(4, CLASSES))
    with pytest.raises(ctc.CtcError, match=r"3 labels need 5 frames to be aligned and there are 4: check that"):
        ctc.align(scores, [0, 0, 0])
    scores[:, 1] = -np.inf
    with pytest.raises(ctc.CtcError, match=r"No path through the 4 frames gives these 2 labels"):
        ctc.align(scores, [0, 1])
