"""Windows of clips: every sample once, in order within its clip, and the same for the same (seed, epoch)."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.audio import quantize
from tfvoice.audio.quantize import QuantizationConfig
from tfvoice.data import index, records, shards, windows
from tfvoice.data.config import WindowConfig
from tfvoice.data.datasets import Share
from tfvoice.data.windows import WindowPipeline
from tfvoice.errors import TfvoiceError

WINDOW, CONTEXT, BATCH = 4000, 16, 3


@pytest.fixture(scope="module")
def scanned(converted):
    return index.scan_clips(shards.read_manifest(converted), converted, "train", WINDOW)


@pytest.fixture
def build(scanned):
    def build(shuffled=True, seed=5, **quantization):
        config = WindowConfig(sequence_samples=WINDOW)
        return WindowPipeline(scanned, config, QuantizationConfig(**quantization), CONTEXT, BATCH, seed, shuffled)

    return build


def numbers(batches):
    return [type(batch)(*(np.asarray(part) for part in batch)) for batch in batches]


def joined(batches, count):
    """The pieces of each clip, row by row, with the row of each."""
    pieces = [[] for _ in range(count)]
    for row in range(BATCH):
        for batch in batches:
            if batch.clips[row] >= 0:
                pieces[batch.clips[row]].append((row, batch.levels[row, CONTEXT:][: batch.lengths[row]]))
    return pieces


@pytest.mark.parametrize("shuffled", [False, True])
def test_every_sample_is_seen_once_and_in_order(build, scanned, shuffled):
    pipeline = build(shuffled)
    batches = numbers(pipeline.batches(epochs=1))
    assert len(batches) == pipeline.steps()
    for clip, pieces in enumerate(joined(batches, len(scanned))):
        audio = records.decode(scanned.read([clip])[0])["audio"]
        expected = quantize.encode(pipeline.quantization, audio).numpy()
        rows = [row for row, _ in pieces]
        assert shuffled or len(set(rows)) == 1, "a clip that is scored is never split"
        # A clip starts in the row above the one in which it ends.
        np.testing.assert_array_equal(np.concatenate([piece for _, piece in pieces]), expected)
    assert sum(int(batch.samples) for batch in batches) == scanned.samples.sum()


def test_a_clip_starts_after_silence_and_continues_after_its_previous_window(build):
    batches = numbers(build().batches(epochs=1))
    for before, batch in zip([None, *batches], batches, strict=False):
        for row in range(BATCH):
            if batch.clips[row] < 0:
                assert batch.lengths[row] == 0
            elif before is None:
                assert batch.reset[row], "every row starts with a reset"
            elif batch.reset[row]:
                assert (batch.levels[row, :CONTEXT] == 128).all()
            else:
                assert batch.clips[row] == before.clips[row]
                np.testing.assert_array_equal(batch.levels[row, :CONTEXT], before.levels[row, -CONTEXT:])


def test_seed_and_epoch_determine_the_order_and_batches_can_start_anywhere(build):
    pipeline = build()
    orders = [pipeline.plan(epoch).clips.tolist() for epoch in (0, 1)]
    assert orders[0] != orders[1] and build().plan(1).clips.tolist() == orders[1]
    assert build(seed=6).plan(0).clips.tolist() != orders[0]
    steps = pipeline.steps()
    assert {pipeline.steps(epoch) for epoch in range(5)} == {steps}
    whole = numbers(pipeline.batches(epochs=2))
    late = numbers(build().batches(0, steps - 1, epochs=2))
    assert len(late) == steps + 1
    for one, other in zip(late, whole[steps - 1 :], strict=True):
        for part, expected in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, expected)


def test_loudness_can_be_normalised(build, scanned):
    samples = records.decode(scanned.read([0])[0])["audio"].numpy()
    linear = {"kind": "linear", "levels": 256}
    stretched = build(normalization="min_max", **linear).levels(0)
    assert (stretched.min(), stretched.max()) == (0, 255)
    peak = build(normalization="peak", **linear).levels(0)
    assert peak[np.abs(samples).argmax()] in (0, 255) and abs(int(np.median(peak)) - 128) <= 3
    np.testing.assert_array_equal(build().levels(0), quantize.encode(QuantizationConfig(), samples))


def test_a_peak_is_that_of_all_clips_of_a_recording_in_all_splits(scanned):
    count = len(scanned)
    names = [f"song@{number:09.3f}" for number in range(count)]
    first, second = (
        dataclasses.replace(scanned, ids=names[rows], shard=scanned.shard[rows], offset=scanned.offset[rows],
                            size=scanned.size[rows], samples=scanned.samples[rows], peak=scanned.peak[rows])
        for rows in (slice(0, 1), slice(1, count))
    )  # fmt: skip
    heights = [float(np.abs(scanned.audio(row)).max()) for row in range(count)]
    peaks = windows.peaks([first, second])
    assert peaks == {"song": pytest.approx(max(heights))} and heights[0] < max(heights)
    config = QuantizationConfig(normalization="peak", kind="linear", levels=257)
    pipeline = WindowPipeline(first, WindowConfig(sequence_samples=WINDOW), config, CONTEXT, BATCH, peaks=peaks)
    expected = quantize.encode(config, scanned.audio(0) / np.float32(max(heights)))
    np.testing.assert_array_equal(pipeline.levels(0), expected)


def test_batches_have_one_shape(build):
    pipeline = build()
    for batch in pipeline.batches(epochs=1):
        for part, spec in zip(batch, pipeline.signature, strict=True):
            assert part.shape == spec.shape and part.dtype == spec.dtype
    assert pipeline.signature.levels == tf.TensorSpec([BATCH, CONTEXT + WINDOW], tf.int32)


def test_clips_that_are_shorter_than_a_window_are_skipped(converted):
    manifest = shards.read_manifest(converted)
    every = index.scan_clips(manifest, converted, "train", 1)
    middle = int(np.sort(every.samples)[len(every) // 2])
    some = index.scan_clips(manifest, converted, "train", middle)
    assert (some.samples >= middle).all() and len(some) + some.dropped.total() == len(every)
    fact = f"skipped: {len(every)} shorter than a window of 999999 samples. The longest clip has {every.samples.max()}"
    with pytest.raises(TfvoiceError, match=fact):
        index.scan_clips(manifest, converted, "train", 999999)
    with pytest.raises(TfvoiceError, match="there is no split tset; did you mean test"):
        index.scan_clips(manifest, converted, "tset", 1)


def test_a_share_of_the_rows_has_its_levels_and_all_that_the_loss_counts(build):
    pipeline, part = build(), build()
    part.share = Share(1, 2)
    for whole, given in zip(numbers(pipeline.batches(epochs=1)), numbers(part.batches(epochs=1)), strict=True):
        np.testing.assert_array_equal(given.levels[1::2], whole.levels[1::2])
        assert (given.levels[::2] == part.quantization.silence).all()
        for name in ("lengths", "reset", "clips", "samples"):
            np.testing.assert_array_equal(getattr(given, name), getattr(whole, name))
