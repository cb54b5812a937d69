import numpy as np
import pytest
import tensorflow as tf
from segmentations import segmentation_run

from tfvoice import ctc_lattice
from tfvoice.tts.segmentation import scoring


@pytest.fixture(scope="module")
def run(converted, tmp_path_factory):
    return segmentation_run(tmp_path_factory.mktemp("runs") / "segmentation", converted)


def level(levels, lengths):
    values = np.zeros((len(levels), max(map(len, levels)), 20), np.float32)
    for row, (each, length) in enumerate(zip(levels, lengths, strict=True)):
        values[row, :length, 0] = each[:length]
    return tf.constant(values), tf.constant(lengths)


def test_edge_silence_is_what_is_quiet():
    loud = [-3.0] * 5 + [2.0, 1.0, -3.0, 2.0] + [-2.9] * 4
    silence = scoring.edge_silence(*level([loud, loud, [2.0, -3.0, 2.0]], [13, 9, 3]))
    np.testing.assert_array_equal(silence, [[5, 4], [5, 0], [0, 0]])


def test_the_bias_keeps_the_first_and_last_pairs_to_the_edges_of_speech():
    batch = ctc_lattice.batched([ctc_lattice.chain([0, 1, 2], 9), ctc_lattice.chain([4], 9), ctc_lattice.chain([1], 9)])
    silence, lengths = tf.constant([[6, 7], [0, 0], [-1, -1]]), tf.constant([20, 5, 20])
    bias = scoring.edge_bias(silence, lengths, tf.constant(20), batch)
    expected = np.full((3, 20, 3), -8.0)
    expected[0, 1:7, 0] = expected[0, 11:18, 2] = expected[0, :, 1] = 0
    # The only pair is both the first and the last one.
    expected[1, :, 1:] = 0
    expected[1, :, 0] = [-8 * ((place > 0) + (place < 3 or place > 9)) for place in range(20)]
    expected[2] = 0
    np.testing.assert_array_equal(bias, expected)


def test_every_utterance_is_scored_in_any_batch(run, converted):
    scanned = run.scan(converted, "valid", filtered=False)
    results = scoring.Scorer(run, scanned).score()
    assert sorted(result.row for result in results) == list(range(len(scanned.index)))
    for result in results:
        audio = scanned.index.audio(result.row)
        values = run.log_probabilities(audio[np.newaxis], [len(audio)]).values[0].numpy()
        lattice = scanned.lattices[result.row].lattice
        _, loss = ctc_lattice.posteriors_of(ctc_lattice.emissions_of(values, lattice), lattice)
        assert result.loss == pytest.approx(loss, rel=1e-3)
        assert result.alignment.ends[-1] == len(audio) and result.score <= 1e-6
        assert result.pair_errors.reference_units > result.phoneme_errors.reference_units > 0


def test_pairs_and_phonemes_that_are_recognised_exactly_are_no_errors(run, converted):
    scanned = run.scan(converted, "valid", filtered=False)
    scorer = scoring.Scorer(run, scanned)
    graph = scanned.lattices[0]
    path = [int(node) for node in np.flatnonzero(graph.lattice.first)]
    while not graph.lattice.last[path[-1]]:
        path.append(int(np.flatnonzero((graph.lattice.predecessors == path[-1]).any(axis=1))[0]))
    values = np.full((4 * len(path), len(run.class_labels())), -20.0)
    values[:, -1] = 0
    for place, node in enumerate(path):
        values[4 * place + 2, [graph.lattice.labels[node], -1]] = 0, -20
    for beam in (True, False):
        result = scorer._scored(0, values, beam)
        assert result.pair_errors.total == result.phoneme_errors.total == 0
        assert result.pair_errors.reference_units == len(path)
        assert result.score == pytest.approx(0, abs=1e-6)
