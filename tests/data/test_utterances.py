"""Laws of the pipeline: (seed, epoch, position) determine a batch, and a batch is its utterances, one by one."""

import itertools
from pathlib import Path

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from tfvoice import ctc, keys
from tfvoice.audio import augment, features
from tfvoice.audio.augment import AugmentationConfig
from tfvoice.data import index, records, shards, utterances
from tfvoice.data.config import DataConfig
from tfvoice.data.datasets import Share
from tfvoice.data.index import Index
from tfvoice.data.utterances import UtterancePipeline
from tfvoice.errors import TfvoiceError
from tfvoice.keys import Purpose
from tfvoice.text.alphabet import Alphabet, AlphabetConfig

FEATURES = features.FeatureConfig(bins=12)
EVERYTHING = AugmentationConfig(
    tempo=0.3, vocal_tract=0.2, noise=0.1, frequency_width=4, time_width=20, gain_db=(-6, 8), snr_db=(10, 40)
)
NOTHING = AugmentationConfig(frequency_masks=0, time_masks=0)
BATCH = 4


def halved(frames):
    return (frames + 1) // 2


# Plans, which need no audio.


def listed(count=150, tight=False):
    """An index without audio; `tight` labels need every frame that the network gives."""
    random = np.random.default_rng(0)
    samples = random.integers(5_000, 60_000, count)
    needed = halved(features.frame_count(FEATURES, samples)) if tight else np.full(count, 5)
    labels = [np.arange(length, dtype=np.int32) % 27 for length in needed]
    places, names = np.zeros(count, np.int64), [str(number) for number in range(count)]
    return Index(Path(), "train", 16000, [], *[places] * 3, samples, np.ones(count), *[names] * 3, labels)


def planned(seed=0, augmentation=EVERYTHING, batch_size=BATCH, listing=None, **data):
    return UtterancePipeline(listing or listed(), DataConfig(**data), FEATURES, halved, batch_size, seed, augmentation)


def warped_frames(pipeline, plan):
    return utterances._warped_frames(pipeline.frames, plan.tempo)


KINDS = {
    "augmented": {},
    "sorta_grad": {"sorta_grad": True},
    "one bucket": {"buckets": 1},
    "more buckets than lengths": {"buckets": 500},
    "without tempo": {"augmentation": NOTHING},
    "validation": {"augmentation": None},
    "batch of one": {"batch_size": 1},
    "batch of more than all": {"batch_size": 1000},
    "one utterance": {"listing": listed(1)},
}


@pytest.mark.parametrize("epoch", [0, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_utterance_comes_once_in_an_epoch_and_one_batch_at_most_is_not_full(kind, epoch):
    pipeline = planned(**KINDS[kind])
    batches = pipeline.plan(epoch).batches
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(len(pipeline.index)))
    sizes = sorted(len(batch) for batch in batches)
    assert sizes[0] > 0 and sizes[1:] == [pipeline.batch_size] * (len(batches) - 1)
    assert pipeline.steps(epoch) == len(batches) == -(-len(pipeline.index) // pipeline.batch_size)


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_come_from_the_boundaries_and_hold_their_utterances(kind):
    pipeline = planned(**KINDS[kind])
    assert len(pipeline.boundaries) <= pipeline.config.buckets
    for epoch in range(3):
        plan = pipeline.plan(epoch)
        for rows, boundary in zip(plan.batches, plan.boundaries, strict=True):
            assert boundary in pipeline.boundaries
            assert warped_frames(pipeline, plan)[rows].max() <= boundary


def test_buckets_save_padding():
    def padded(buckets):
        pipeline = planned(buckets=buckets)
        plan = pipeline.plan(0)
        return sum(len(rows) * boundary for rows, boundary in zip(plan.batches, plan.boundaries, strict=True))

    assert padded(8) < 0.8 * padded(1)


def order(pipeline, epoch):
    return np.concatenate(pipeline.plan(epoch).batches).tolist()


def test_seed_and_epoch_determine_the_plan():
    one, other = planned(seed=3), planned(seed=3)
    # Asked for in another order, as after a resume.
    for epoch in (5, 0, 1, 5):
        np.testing.assert_array_equal(order(one, epoch), order(other, epoch))
    for epoch in (0, 1, 5):
        for name in ("tempo", "vocal_tract", "boundaries"):
            np.testing.assert_array_equal(getattr(one.plan(epoch), name), getattr(other.plan(epoch), name))
    plans = [order(planned(seed=seed), epoch) for seed in (0, 1, 2) for epoch in (0, 1, 2)]
    assert all(plans[a] != plans[b] for a in range(9) for b in range(a))


GRID = list(itertools.product(range(3), range(3), range(3)))


def test_no_seed_epoch_position_and_purpose_share_a_key():
    """Sums would: seed 1 of epoch 0 had the key of seed 0 of epoch 1."""
    purposes = (Purpose.FEATURE_NOISE, Purpose.SPEC_AUGMENT, Purpose.GAIN, Purpose.NOISE, Purpose.REVERBERATION)
    seen = set()
    for seed, epoch, position in GRID:
        key = planned(seed=seed)._key(tf.constant(epoch, tf.int64), tf.constant(position, tf.int64))
        seen |= {tuple(keys.fold_in(key, purpose).numpy()) for purpose in purposes}
    assert len(seen) == len(GRID) * len(purposes)


def test_no_seed_epoch_and_purpose_share_the_numbers_of_a_plan():
    seen = {
        planned(seed=seed)._generator(epoch, purpose).random()
        for seed, epoch, _ in GRID
        for purpose in (Purpose.SHUFFLE, Purpose.TEMPO, Purpose.VOCAL_TRACT)
    }
    assert len(seen) == 27


def test_tempo_does_not_change_the_vocal_tract_factors_or_the_order():
    plain = AugmentationConfig(vocal_tract=0.2)
    one, other = (planned(augmentation=config, buckets=1).plan(1) for config in (plain, EVERYTHING))
    np.testing.assert_array_equal(one.vocal_tract, other.vocal_tract)
    np.testing.assert_array_equal(np.concatenate(one.batches), np.concatenate(other.batches))


def test_sorta_grad_goes_from_short_to_long_in_the_first_epoch_only():
    pipeline = planned(sorta_grad=True)
    first, second = (warped_frames(pipeline, pipeline.plan(epoch))[order(pipeline, epoch)] for epoch in (0, 1))
    assert (np.diff(first) >= 0).all() and (np.diff(second) < 0).any()
    assert pipeline.plan(0).boundaries == sorted(pipeline.plan(0).boundaries)


def test_validation_is_in_one_order_from_short_to_long_and_not_warped():
    pipeline, other = planned(augmentation=None), planned(augmentation=None, seed=9, sorta_grad=True)
    assert order(pipeline, 0) == order(pipeline, 4) == order(other, 0)
    assert (np.diff(pipeline.frames[order(pipeline, 0)]) >= 0).all()
    assert (pipeline.plan(0).tempo == 1).all() and (pipeline.plan(0).vocal_tract == 1).all()


def test_tempo_never_takes_a_frame_that_the_text_needs():
    pipeline = planned(listing=listed(tight=True))
    needed = [ctc.minimum_frames(labels) for labels in pipeline.index.labels]
    for epoch in range(3):
        plan = pipeline.plan(epoch)
        assert (halved(warped_frames(pipeline, plan)) >= needed).all()
        # Slower speech has frames to spare and stays slow.
        assert (plan.tempo < 1).any() and (plan.tempo == 1).any()


def test_factors_are_within_their_ranges_and_use_them():
    pipeline = planned(listing=listed(2000))
    plan = pipeline.plan(0)
    for factors, spread in ((plan.tempo, 0.3), (plan.vocal_tract, 0.2)):
        assert 1 - spread <= factors.min() < 1 - 0.98 * spread
        assert 1 + 0.98 * spread < factors.max() <= 1 + spread


def test_planned_lengths_are_those_of_the_warp():
    random = np.random.default_rng(0)
    frames = np.tile(np.arange(1, 2001), 4)
    tempo = random.uniform(0.5, 1.5, len(frames)).astype(np.float32)
    tempo[:2000] = np.float32([0.75, 0.8, 1, 1.25])[np.arange(2000) % 4]
    warp = tf.function(augment.warp)
    for part in np.split(np.arange(len(frames)), 8):
        warped = warp(tf.zeros([len(part), 2000, 1]), frames[part], tempo[part], tf.ones([len(part)]), 4001)
        np.testing.assert_array_equal(warped.lengths, utterances._warped_frames(frames[part], tempo[part]))


# Batches of real speech.


@pytest.fixture(scope="module")
def scanned(converted):
    return index.scan(
        shards.read_manifest(converted),
        converted,
        "train",
        DataConfig(),
        FEATURES,
        Alphabet(AlphabetConfig()),
        halved,
    )


def build(scanned, augmentation=EVERYTHING, seed=0, config=FEATURES, statistics=None, **data):
    data = DataConfig(**{"buckets": 3, **data})
    return UtterancePipeline(scanned, data, config, halved, BATCH, seed, augmentation, statistics)


def taken(source, *args, **kwargs):
    return [tf.nest.map_structure(lambda part: part.numpy(), batch) for batch in source.batches(*args, **kwargs)]


def same(one, other):
    return len(one) == len(other) and all(
        all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(*pair, strict=True))
        for pair in zip(one, other, strict=True)
    )


def alone(scanned, row, config=FEATURES, statistics=None):
    audio = records.decode(tf.constant(scanned.read([row])[0]))["audio"]
    return features.compute(config, audio[tf.newaxis], tf.shape(audio), statistics).values[0].numpy()


def assert_plain(scanned, batches, config=FEATURES, statistics=None):
    """Each row is what its utterance gives alone, and everything beyond is zero."""
    seen = []
    for batch in batches:
        assert len(batch.features) == BATCH
        for row, values, length, labels, label_length in zip(*batch[4:5], *batch[:4], strict=True):
            if row < 0:
                assert length == label_length == 0 and not values.any() and not labels.any()
                continue
            expected = alone(scanned, row, config, statistics)
            assert length == len(expected) and not values[length:].any()
            np.testing.assert_allclose(values[:length], expected, atol=1e-4 if config.kind == "log_mel" else 1e-2)
            np.testing.assert_array_equal(labels[:label_length], scanned.labels[row])
            seen.append(row)
        assert batch.samples == scanned.samples[batch.rows[batch.rows >= 0]].sum()
    assert sorted(seen) == list(range(len(scanned)))


def test_a_batch_is_its_utterances(scanned):
    batches = taken(build(scanned, None), epochs=1)
    assert_plain(scanned, batches)
    assert sum((batch.rows < 0).sum() for batch in batches) == -len(scanned) % BATCH > 0


def test_a_batch_of_the_originals_features_is_its_utterances(scanned):
    config = features.FeatureConfig(
        kind="mfcc", window_ms=128, hop_ms=32, bins=128, pad_mode="reflect", normalization="none"
    )
    assert_plain(scanned, taken(build(scanned, None, config=config), epochs=1), config)


def test_a_batch_is_normalised_with_the_statistics_of_the_corpus(scanned):
    config = features.FeatureConfig(bins=12, normalization="corpus")
    statistics = features.FeatureStatistics(np.arange(12.0), np.arange(1.0, 13.0))
    batches = taken(build(scanned, None, config=config, statistics=statistics), epochs=1)
    assert_plain(scanned, batches, config, statistics)


def shared(scanned, index, count, augmentation):
    pipeline = build(scanned, augmentation)
    pipeline.share = Share(index, count)
    return taken(pipeline, epochs=1)


@pytest.mark.parametrize("count", [2, 3])
def test_a_share_of_the_rows_has_its_features_and_all_that_the_loss_counts(scanned, count):
    whole = taken(build(scanned, None), epochs=1)
    for number in range(count):
        for batch, part in zip(whole, shared(scanned, number, count, None), strict=True):
            own = np.arange(BATCH) % count == number
            np.testing.assert_allclose(part.features[own], batch.features[own], atol=1e-4)
            np.testing.assert_array_equal(part.lengths[own], batch.lengths[own])
            for name in ("labels", "label_lengths", "rows", "samples"):
                np.testing.assert_array_equal(getattr(part, name), getattr(batch, name))
            if (batch.rows[own] >= 0).any():
                assert not part.features[~own].any() and not part.lengths[~own].any(), "what is not needed is not made"


def test_shares_are_augmented_with_numbers_of_their_own(scanned):
    loud = AugmentationConfig(frequency_masks=0, time_masks=0, noise=1.0)
    plain = taken(build(scanned, None), epochs=1)
    noises = []
    for number in range(2):
        batches = shared(scanned, number, 2, loud)
        assert same(batches, shared(scanned, number, 2, loud))
        found = {row: values for batch in batches for row, values in zip(batch.rows, batch.features, strict=True)}
        clean = {row: values for batch in plain for row, values in zip(batch.rows, batch.features, strict=True)}
        noises.append(
            [found[row][:5] - clean[row][:5] for batch in batches for row in batch.rows[number::2] if row >= 0]
        )
    assert all(np.abs(one - other).max() > 0.1 for one, other in zip(*noises, strict=False))


def test_no_augmentation_means_none(scanned):
    batches = taken(build(scanned, NOTHING), epochs=1)
    assert_plain(scanned, batches)
    assert not same(batches, taken(build(scanned, None), epochs=1))


def test_validation_is_the_same_in_every_epoch_and_for_every_seed(scanned):
    first, second = (taken(build(scanned, None, seed), seed, epochs=1) for seed in (0, 7))
    assert [batch.epoch for batch in second] == [7] * len(second)
    assert same([batch._replace(epoch=np.int64(0)) for batch in second], first)


def test_seed_and_epoch_determine_every_batch_bit_for_bit(scanned):
    first = taken(build(scanned), epochs=1)
    assert same(first, taken(build(scanned, workers=1), epochs=1))
    assert same(first, taken(build(scanned, workers=4), epochs=1))
    for other in (taken(build(scanned), 1, epochs=1), taken(build(scanned, seed=1), epochs=1)):
        for one, two in zip(first, other, strict=True):
            assert not np.array_equal(one.features, two.features)


@pytest.mark.parametrize("position", [0, 1, 3])
def test_starting_in_the_middle_gives_the_rest_bit_for_bit(scanned, position):
    steps = build(scanned).steps()
    whole = taken(build(scanned), 2, epochs=2)
    rest = taken(build(scanned), 2, position, epochs=2)
    assert same(rest, whole[position:])
    assert [(batch.epoch, batch.position) for batch in rest] == [
        (epoch, number) for epoch in (2, 3) for number in range(position if epoch == 2 else 0, steps)
    ]


def test_batches_continue_without_end(scanned):
    source = build(scanned, sorta_grad=True)
    places = [(int(batch.epoch), int(batch.position)) for batch in source.batches().take(3 * source.steps())]
    assert places == [(epoch, number) for epoch in range(3) for number in range(source.steps())]


def test_augmentation_changes_features_and_by_tempo_their_lengths_and_nothing_else(scanned):
    source = build(scanned, seed=4)
    plan = source.plan(0)
    for batch in taken(source, epochs=1):
        assert batch.features.shape[1] == plan.boundaries[batch.position]
        for row, values, length, labels, label_length in zip(*batch[4:5], *batch[:4], strict=True):
            assert not values[length:].any()
            if row >= 0:
                assert length == warped_frames(source, plan)[row]
                np.testing.assert_array_equal(labels[:label_length], scanned.labels[row])
                assert np.isfinite(values).all() and values[:length].any()


def test_gain_moves_the_level_of_each_utterance_and_noise_fills_its_silence(scanned):
    config = features.FeatureConfig(bins=12, normalization="none", log_offset=1e-12)
    plain = {row: alone(scanned, row, config) for row in range(len(scanned))}

    def shifts(**settings):
        chosen = AugmentationConfig(frequency_masks=0, time_masks=0, **settings)
        for batch in taken(build(scanned, chosen, config=config), epochs=1):
            for row, values, length in zip(batch.rows, batch.features, batch.lengths, strict=True):
                if row >= 0:
                    yield values[:length] - plain[row]

    louder_db = [10 / np.log(10) * shift for shift in shifts(gain_db=(-6, 8))]
    assert all(np.ptp(shift) < 0.1 for shift in louder_db), "one gain for each utterance"
    gains_db = [shift.mean() for shift in louder_db]
    assert -6 <= min(gains_db) < 0 < max(gains_db) <= 8
    for shift in shifts(snr_db=(20, 20)):
        assert shift.max() > 1 and np.quantile(np.abs(shift), 0.2) < 0.5, "what is soft is filled, what is loud stays"


def test_rooms_and_recorded_noise_change_utterances_and_depend_on_the_seed_alone(scanned, clips):
    config = features.FeatureConfig(bins=12, normalization="none")
    plain = {row: alone(scanned, row, config) for row in range(len(scanned))}
    for settings in (
        {"reverb_share": 1.0, "reverb_seconds": (0.2, 0.4)},
        {"snr_db": (0, 10), "noise_folder": str(clips), "noise_share": 1.0},
    ):
        chosen = AugmentationConfig(frequency_masks=0, time_masks=0, **settings)
        first, again = (taken(build(scanned, chosen, config=config), epochs=1) for _ in range(2))
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one.features, other.features)
            for row, values, length in zip(one.rows, one.features, one.lengths, strict=True):
                assert row < 0 or np.abs(values[:length] - plain[row]).mean() > 0.1


def test_a_folder_of_noise_needs_a_level_and_audio(scanned, tmp_path):
    with pytest.raises(pydantic.ValidationError, match=r"noise_folder needs snr_db, such as snr_db=\[0, 20\]"):
        AugmentationConfig(noise_folder="x")
    with pytest.raises(TfvoiceError, match=r"augmentation.noise_folder=.*: holds no audio file"):
        build(scanned, AugmentationConfig(noise_folder=str(tmp_path), snr_db=(0, 10)))


@pytest.mark.parametrize("key", ["gain_db", "snr_db"])
def test_a_range_starts_with_its_minimum(key):
    with pytest.raises(pydantic.ValidationError, match=r"the least comes first, as in \[-6, 8\]"):
        AugmentationConfig(**{key: (8, -6)})


def test_the_signature_is_that_of_the_dataset_and_a_step_is_traced_once(scanned):
    expected = utterances.signature(features.channels(FEATURES))
    source = build(scanned)
    for name, spec in source.batches().element_spec._asdict().items():
        assert spec.is_subtype_of(getattr(expected, name)), name
    traces = []

    @tf.function(input_signature=[expected])
    def step(batch):
        traces.append(batch.features.shape)
        return tf.shape(batch.features)[1]

    shapes = {int(step(batch)) for batch in source.batches(epochs=2)}
    assert len(shapes) > 1 and shapes <= set(source.boundaries.tolist())
    assert len(traces) == 1
