import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvoice import ctc_lattice, tasks
from tfvoice.models.deep_voice.segmentation import Segmentation, SegmentationConfig

PHONEMES = 5
SMALL = {"convolution_channels": 2, "units": 4, "layers": 2}
LENGTHS = [11, 7, 0]


def network(phonemes=PHONEMES, channels=20, **changes):
    model = Segmentation(SegmentationConfig(**{**SMALL, **changes}), phonemes)
    model.build((None, None, channels))
    return model


def batch(seed=0):
    values = np.random.default_rng(seed).standard_normal((len(LENGTHS), max(LENGTHS), 20)).astype(np.float32)
    for row, length in zip(values, LENGTHS, strict=True):
        row[length:] = 0
    return tf.constant(values), tf.constant(LENGTHS)


# Worked out by hand. Convolutions: 5 x 9 taps and biases. A GRU of n units with m inputs: 3 n (m + n + 2) weights for
# each direction. Output: weights and biases of 40 x 40 pairs and blank, or of 40 first and 40 second phonemes and
# blank.
COUNTS = {
    "segmentation_faithful": (
        (45 * 32 + 32)
        + (45 * 32 * 32 + 32)
        + 2 * 3 * 512 * (20 * 32 + 512 + 2)
        + 2 * (2 * 3 * 512 * (1024 + 512 + 2))
        + (1024 + 1) * 1601,
        14_683_169,
    ),
    None: (
        (45 * 16 + 16)
        + (45 * 16 * 16 + 16)
        + 2 * 3 * 128 * (20 * 16 + 128 + 2)
        + 2 * 3 * 128 * (256 + 128 + 2)
        + (256 + 1) * 81,
        675_137,
    ),
}


@pytest.mark.parametrize("config", COUNTS, ids=str)
def test_parameter_counts(config):
    by_hand, count = COUNTS[config]
    settings = tasks.resolve("segmentation", config)
    # In a graph, variables have a shape and no memory.
    with tf.Graph().as_default():
        model = Segmentation(settings.model, 40)
        model.build((None, None, 20))
        assert model.count_params() == by_hand == count


@pytest.mark.parametrize("output", ["pairs", "factored"])
def test_padding_changes_nothing(output):
    model, (values, lengths) = network(output=output), batch()
    logits = model(values, lengths)
    assert logits.values.shape == (3, 11, PHONEMES**2 + 1)
    np.testing.assert_array_equal(logits.lengths, LENGTHS)
    for row, length in enumerate(LENGTHS[:2]):
        alone = model(values[row : row + 1, :length], tf.constant([length])).values
        np.testing.assert_allclose(logits.values[row, :length], alone[0], atol=1e-5)


def test_without_lengths_all_frames_count():
    model, (values, _) = network(), batch()
    np.testing.assert_allclose(model(values).values, model(values, tf.constant([11] * 3)).values, atol=1e-6)
    np.testing.assert_allclose(model((values, tf.constant(LENGTHS))).values, model(values, tf.constant(LENGTHS)).values)


def test_a_factored_pair_is_the_sum_of_its_phonemes():
    model, (values, lengths) = network(), batch()
    logits = model(values, lengths).values[..., :-1].numpy().reshape(3, 11, PHONEMES, PHONEMES)
    # Differences between second phonemes do not depend on the first.
    np.testing.assert_allclose(
        logits[..., 1:] - logits[..., :1], (logits[..., 1:] - logits[..., :1])[:, :, [0] * 5], atol=1e-5
    )


def test_the_second_layer_hears_both_directions():
    model, (values, lengths) = network(), batch()
    changed = values.numpy()
    changed[0, -1] += 5
    difference = np.abs(model(values, lengths).values - model(tf.constant(changed), lengths).values)
    assert difference[0, 0].max() > 1e-7 and not difference[1:].any()


def test_dropout_depends_on_the_seed_alone():
    model, (values, lengths) = network(), batch()
    one, same, other = (
        model(values, lengths, training=True, seed=tf.constant(seed)).values for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0


def test_configuration_round_trip(tmp_path):
    model, (values, lengths) = network(output="pairs"), batch()
    model(values, lengths)
    model.save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras")
    assert loaded.config == model.config and loaded.phonemes == PHONEMES
    np.testing.assert_allclose(loaded(values, lengths).values, model(values, lengths).values, atol=1e-6)


def test_it_learns_which_phonemes_follow_each_other():
    """Each phoneme is a value of the first channel."""
    keras.utils.set_random_seed(0)
    model = network(units=16, layers=1, recurrent_dropout=0.0, convolution_dropout=0.0)
    random = np.random.default_rng(0)
    optimizer = keras.optimizers.Adam(0.02)
    optimizer.build(model.trainable_variables)

    def example():
        phonemes = [0, *random.choice([1, 2, 3], 2, replace=False), 0]
        ends = np.cumsum(random.integers(4, 8, len(phonemes)))
        values = np.zeros((32, 20), np.float32)
        values[: ends[-1], 0] = np.repeat(phonemes, np.diff(ends, prepend=0))
        values[: ends[-1], 1:] = np.eye(19, dtype=np.float32)[values[: ends[-1], 0].astype(int)] * 2
        return values, ends, [first * PHONEMES + second for first, second in itertools.pairwise(phonemes)]

    @tf.function(reduce_retracing=True)
    def step(values, lengths, lattices):
        with tf.GradientTape() as tape:
            logits = model(values, lengths, training=True, seed=tf.constant([0, 0]))
            loss = tf.reduce_mean(ctc_lattice.loss(logits, lattices))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )
        return loss

    for _ in range(200):
        values, ends, labels = zip(*(example() for _ in range(8)), strict=True)
        lattices = ctc_lattice.batched([ctc_lattice.chain(row, PHONEMES**2) for row in labels])
        lattices = ctc_lattice.LatticeBatch(*map(tf.constant, lattices))
        loss = step(tf.constant(np.stack(values)), tf.constant([each[-1] for each in ends], tf.int32), lattices)
    assert loss < 6
