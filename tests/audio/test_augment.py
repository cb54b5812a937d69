"""Augmentation: a function of the key, of each row alone, and never of the padding, which stays as it is."""

import logging

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.audio import augment, io
from tfvoice.errors import TfvoiceError

KEY = np.array([7, 3], np.int32)
FRAMES = np.array([120, 0, 1, 57, 90], np.int32)
SAMPLES = np.array([16000, 0, 1, 777, 15999], np.int32)


def spec_augment(values, lengths, key=KEY):
    return augment.spec_augment(values, lengths, key, 2, 15, 2, 30, 0.2)


def gain(samples, lengths, key=KEY):
    return augment.gain(samples, lengths, key, -12.0, 6.0)


def noise(samples, lengths, key=KEY):
    return augment.noise(samples, lengths, key, 5.0, 20.0)


RECORDINGS = tf.ragged.constant([np.random.default_rng(5).uniform(-1, 1, n).tolist() for n in (3000, 70, 40000)])


def recorded_noise(samples, lengths, key=KEY):
    return augment.noise(samples, lengths, key, 5.0, 20.0, recordings=RECORDINGS)


def reverberation(samples, lengths, key=KEY):
    return augment.reverberation(samples, lengths, key, 16000, 0.05, 0.2)


def warp(values, lengths, key=KEY):
    factors = tf.random.stateless_uniform([tf.shape(values)[0], 2], key, 0.8, 1.25)
    return augment.warp(values, lengths, factors[:, 0], factors[:, 1], 160).values


def padded_batch(shape, lengths, padding):
    values = np.random.default_rng(1).uniform(0.1, 1, shape).astype(np.float32)
    for row, length in zip(values, lengths, strict=True):
        row[length:] = padding
    return values


def features(padding=0.0, time=130):
    return padded_batch([5, 130, 40], FRAMES, padding)[:, :time], FRAMES


def waves(padding=0.0, time=16500):
    return padded_batch([5, 16500], SAMPLES, padding)[:, :time], SAMPLES


every_function = pytest.mark.parametrize(
    ("function", "batch"),
    [
        *((spec_augment, features), (warp, features), (gain, waves), (noise, waves)),
        *((recorded_noise, waves), (reverberation, waves)),
    ],
)


@every_function
def test_the_key_decides(function, batch):
    values, lengths = batch()
    first = function(values, lengths)
    np.testing.assert_array_equal(first, function(values, lengths))
    other = function(values, lengths, KEY + np.array([0, 1], np.int32))
    for row in (0, 3, 4):
        assert not np.array_equal(first[row], other[row])


@every_function
def test_eager_graph_and_dataset_agree(function, batch):
    values, lengths = batch()
    expected = function(values, lengths)
    dynamic = [tf.TensorSpec([None] * values.ndim), tf.TensorSpec([None], tf.int32), tf.TensorSpec([2], tf.int32)]
    np.testing.assert_allclose(tf.function(function, dynamic)(values, lengths, KEY), expected, atol=1e-6)
    dataset = tf.data.Dataset.from_tensors((values, lengths, KEY)).map(function)
    np.testing.assert_allclose(next(iter(dataset)), expected, atol=1e-6)


@every_function
def test_a_row_does_not_depend_on_the_other_rows(function, batch):
    values, lengths = batch()
    expected = function(values, lengths)
    changed, changed_lengths = values.copy(), lengths.copy()
    changed[0], changed_lengths[0], changed[4] = -1, 30, changed[4, ::-1]
    result = function(changed, changed_lengths)
    np.testing.assert_allclose(result[1:4], expected[1:4], atol=1e-6)
    np.testing.assert_allclose(function(values[:1], lengths[:1])[0], expected[0], atol=1e-6)


@every_function
def test_a_row_does_not_depend_on_its_padding(function, batch):
    values, lengths = batch()
    expected = function(values, lengths)
    within = expected.shape[1] if function is warp else max(lengths)
    for other, _ in (batch(padding=np.nan), batch(time=max(lengths) + 1)):
        result = function(other, lengths)
        for row, length in enumerate(lengths if function is not warp else [within] * len(lengths)):
            np.testing.assert_allclose(result[row, :length], expected[row, :length], atol=1e-6)


@pytest.mark.parametrize(
    ("function", "batch"),
    [(spec_augment, features), (gain, waves), (noise, waves), (recorded_noise, waves), (reverberation, waves)],
)
def test_padding_stays_as_it_is(function, batch):
    values, lengths = batch(padding=-5.0)
    result = function(values, lengths).numpy()
    for row, length in zip(result, lengths, strict=True):
        assert (row[length:] == -5).all()


@every_function
def test_empty_batches_and_empty_rows(function, batch):
    values, _ = batch()
    assert function(values[:0], np.zeros(0, np.int32)).shape[0] == 0
    assert np.isfinite(function(values[:, :0], np.zeros(5, np.int32))).all()


def runs(masked):
    """Lengths of the runs of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], masked.astype(int), [0]])))
    return edges[1::2] - edges[::2]


def test_masks_stay_within_their_maximum_widths_and_the_length():
    lengths = np.array([200, 37, 100, 4], np.int32)
    values = np.ones([4, 200, 40], np.float32)
    widest_band, widest_time = 0, np.zeros(4, int)
    for seed in range(300):
        result = augment.spec_augment(values, lengths, [seed, 0], 1, 15, 1, 30, 0.2).numpy()
        assert set(np.unique(result)) <= {0, 1}
        for row, length in enumerate(lengths):
            bands, times = runs(~result[row, :length].any(axis=0)), runs(~result[row, :length].any(axis=1))
            assert len(bands) <= 1 and len(times) <= 1
            widest_band = max(widest_band, *bands, 0)
            widest_time[row] = max(widest_time[row], *times, 0)
            assert result[row, length:].all()
    assert widest_band == 15
    # A fifth of the length, and at most 30.
    np.testing.assert_array_equal(widest_time, [30, 7, 20, 0])


def test_masks_reach_every_channel_and_every_frame():
    values = np.ones([64, 25, 12], np.float32)
    masked = np.zeros([25, 12], bool)
    for seed in range(20):
        result = augment.spec_augment(values, np.full(64, 25), [seed, 1], 1, 3, 1, 3, 1.0).numpy()
        masked |= (result == 0).any(axis=0)
        assert result.any(axis=(1, 2)).all()
    assert masked.all()


def test_zero_masks_or_widths_change_nothing():
    values, lengths = features()
    for masks in ((0, 9, 0, 9), (2, 0, 2, 0)):
        np.testing.assert_array_equal(augment.spec_augment(values, lengths, KEY, *masks, 0.5), values)


def test_warp_by_one_changes_only_the_padded_size():
    values, lengths = features()
    ones = np.ones(5, np.float32)
    for time in (100, 130, 150):
        result, result_lengths = augment.warp(values, lengths, ones, ones, time)
        expected = np.pad(values, [[0, 0], [0, 20], [0, 0]])[:, :time]
        np.testing.assert_array_equal(result, expected)
        np.testing.assert_array_equal(result_lengths, np.minimum(lengths, time))


def test_tempo_scales_the_time_axis():
    ramp = np.tile(np.arange(50, dtype=np.float32)[np.newaxis, :, np.newaxis], [3, 1, 2])
    tempo = np.array([0.5, 1.25, 2], np.float32)
    result, lengths = augment.warp(ramp, np.array([50, 50, 33]), tempo, np.ones(3, np.float32), 120)
    np.testing.assert_array_equal(lengths, [100, 40, 17])
    for row, length, last, factor in zip(result.numpy(), lengths.numpy(), [49, 49, 32], tempo, strict=True):
        expected = np.minimum(np.arange(length) * factor, last)
        np.testing.assert_allclose(row[:length], np.stack([expected, expected], axis=1), atol=1e-5)
        assert not row[length:].any()


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.1, 1.3])
def test_frequency_warp_scales_channels_and_keeps_both_ends(factor):
    ramp = np.broadcast_to(np.arange(80, dtype=np.float32), [1, 3, 80])
    ones = np.ones(1, np.float32)
    result = augment.warp(ramp, np.array([3]), ones, ones * factor, 3).values.numpy()[0, 0]
    assert result[0] == 0 and result[79] == 79
    assert (np.diff(result) > 0).all()
    np.testing.assert_allclose(result[:40], np.arange(40) * np.float32(factor), atol=1e-4)


def test_gain_lies_within_its_range_and_differs_by_row():
    samples = np.full([200, 10], 0.5, np.float32)
    gain_db = 20 * np.log10(augment.gain(samples, np.full(200, 10), KEY, -12.0, 6.0).numpy() / 0.5)
    assert (np.ptp(gain_db, axis=1) < 1e-4).all()
    assert -12 <= gain_db.min() < -11 and 5 < gain_db.max() <= 6


def test_noise_has_the_stated_ratio_and_is_white():
    samples = np.random.default_rng(0).uniform(-1, 1, [40, 20000]).astype(np.float32)
    samples[7] = 0
    lengths = np.full(40, 20000)
    lengths[3] = 10000
    added = augment.noise(samples, lengths, KEY, 5.0, 20.0).numpy() - samples
    assert not added[7].any() and not added[3, 10000:].any()
    loud = [row for row in range(40) if row != 7]
    ratio_db = [
        10 * np.log10(np.mean(samples[row, : lengths[row]] ** 2) / np.mean(added[row, : lengths[row]] ** 2))
        for row in loud
    ]
    assert 4.8 < min(ratio_db) < 6.5 and 18.5 < max(ratio_db) < 20.2
    spectrum = np.abs(np.fft.rfft(added[0])) ** 2
    assert abs(np.mean(spectrum[:5000]) / np.mean(spectrum[5000:]) - 1) < 0.1
    assert abs(np.corrcoef(added[loud[:8]])[np.triu_indices(8, 1)]).max() < 0.05


def test_recorded_noise_has_the_stated_ratio_and_is_looped():
    samples = np.random.default_rng(0).uniform(-1, 1, [40, 5000]).astype(np.float32)
    lengths = np.full(40, 5000)
    added = recorded_noise(samples, lengths).numpy() - samples
    ratio_db = 10 * np.log10(np.mean(samples**2, axis=1) / np.mean(added**2, axis=1))
    assert 4.9 < ratio_db.min() < 7 and 18 < ratio_db.max() < 20.1
    periods = []
    for row in added:
        period = next((n for n in (70, 3000) if np.allclose(row[n:], row[:-n], atol=1e-5)), 40000)
        recording = RECORDINGS[(3000, 70, 40000).index(period)].numpy()
        start = np.flatnonzero(np.isclose(match(row, recording), 1, atol=1e-3))
        assert len(start) == 1
        periods.append(period)
    assert set(periods) == {70, 3000, 40000}


def match(row, recording):
    """Correlation of the first samples of a row with each offset in a looped recording."""
    first = row[:60] / np.linalg.norm(row[:60])
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([recording, recording[:59]]), 60)
    return windows @ first / np.linalg.norm(windows, axis=1)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_the_stated_share_of_the_rows_is_augmented(share):
    samples = np.random.default_rng(0).uniform(-1, 1, [400, 50]).astype(np.float32)
    lengths = np.full(400, 50)
    for changed in (
        augment.noise(samples, lengths, KEY, 0.0, 5.0, share, RECORDINGS),
        augment.noise(samples, lengths, KEY, 0.0, 5.0, share),
        augment.reverberation(samples, lengths, KEY, 1000, 0.05, 0.2, share),
    ):
        rows = (changed.numpy() != samples).any(axis=1)
        assert abs(rows.mean() - share) < 0.08
    both = [augment.noise(samples, lengths, KEY, 0.0, 5.0, 0.5).numpy() != samples for _ in range(2)]
    np.testing.assert_array_equal(*both)


def test_functions_are_independent_given_the_same_key():
    samples = np.random.default_rng(0).uniform(-1, 1, [400, 50]).astype(np.float32)
    lengths = np.full(400, 50)
    noisy = augment.noise(samples, lengths, KEY, 0.0, 5.0, 0.5).numpy()
    reverberant = augment.reverberation(samples, lengths, KEY, 1000, 0.05, 0.2, 0.5).numpy()
    selected = [(changed != samples).any(axis=1) for changed in (noisy, reverberant)]
    snr = np.mean(np.square(samples), axis=1) / np.mean(np.square(recorded_noise(samples, lengths) - samples), axis=1)
    amplification = augment.gain(samples, lengths, KEY, 0.0, 6.0).numpy()[:, 0] / samples[:, 0]
    quantities = [*map(np.ravel, selected), np.log(snr), np.log(amplification)]
    correlations = np.corrcoef(quantities)[np.triu_indices(len(quantities), 1)]
    assert abs(correlations).max() < 0.2


def test_reverberation_decays_in_its_reverberation_time_and_keeps_the_power():
    clicks = np.zeros([30, 16000], np.float32)
    clicks[:, 0] = 1
    lengths = np.full(30, 16000)
    result = augment.reverberation(clicks, lengths, KEY, 16000, 0.4, 0.4).numpy()
    np.testing.assert_allclose(np.sum(result**2, axis=1), 1, rtol=1e-3)
    # Schroeder's backward integral, from 5 to 35 dB below the start of the tail.
    decay = np.cumsum(result[:, :0:-1] ** 2, axis=1)[:, ::-1]
    level_db = 10 * np.log10(np.mean(decay / decay[:, :1], axis=0) + 1e-12)
    start, end = np.argmax(level_db < -5), np.argmax(level_db < -35)
    assert 2 * (end - start) / 16000 == pytest.approx(0.4, rel=0.1)
    weaker_db = 10 * np.log10(result[:, 0] ** 2 / np.sum(result[:, 1:] ** 2, axis=1))
    assert -0.2 < weaker_db.min() < 2 and 10 < weaker_db.max() < 12.2


def test_reverberation_is_a_convolution():
    samples, lengths = waves()
    click = np.zeros_like(samples)
    click[0, 0] = 1
    response = reverberation(click, lengths).numpy()[0]
    expected = np.convolve(samples[0, :16000].astype(np.float64), response[:16000])[:16000]
    result = reverberation(samples, lengths).numpy()[0, :16000]
    expected *= np.linalg.norm(samples[0, :16000]) / np.linalg.norm(expected)
    np.testing.assert_allclose(result, expected, atol=1e-4)


def write(path, seconds, level=0.1, rate_hz=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write(
        path, (level * np.random.default_rng(0).standard_normal(round(seconds * rate_hz))).astype(np.float32), rate_hz
    )


def test_noise_recordings_are_resampled_and_sorted_by_path(tmp_path):
    write(tmp_path / "b.wav", 0.5)
    write(tmp_path / "a" / "short.flac", 0.01, rate_hz=16000)
    result = augment.load_noise(str(tmp_path), 8000)
    assert result.row_lengths().numpy().tolist() == [80, 4000]
    np.testing.assert_allclose(result[1], io.read(tmp_path / "b.wav", 8000))


def test_unreadable_and_silent_noise_is_skipped_with_a_warning(tmp_path, caplog):
    write(tmp_path / "a.wav", 0.1)
    write(tmp_path / "b.wav", 0.1, level=0.0)
    (tmp_path / "c.wav").write_bytes(b"nothing")
    (tmp_path / "notes.txt").write_text("no audio")
    with caplog.at_level(logging.WARNING):
        assert augment.load_noise(str(tmp_path), 8000).nrows() == 1
    assert "b.wav: is silent." in caplog.text and "c.wav: " in caplog.text and "notes" not in caplog.text


def test_noise_is_limited_to_an_hour(tmp_path, monkeypatch, caplog):
    for name in "abc":
        write(tmp_path / f"{name}.wav", 1)
    monkeypatch.setattr(augment, "_MAX_NOISE_SECONDS", 1.5)
    assert augment.load_noise(str(tmp_path), 8000).row_lengths().numpy().tolist() == [8000, 4000]
    assert "only the first hour" in caplog.text


def test_a_long_noise_recording_is_decoded_only_up_to_the_limit(tmp_path, monkeypatch):
    write(tmp_path / "a.wav", 30)
    decoded, read_blocks = [], io.read_blocks
    monkeypatch.setattr(io, "read_blocks", lambda *args: (decoded.append(len(b)) or b for b in read_blocks(*args)))
    monkeypatch.setattr(augment, "_MAX_NOISE_SECONDS", 1.5)
    monkeypatch.setattr(augment, "_BLOCK_SECONDS", 1.0)
    assert augment.load_noise(str(tmp_path), 8000).row_lengths().numpy().tolist() == [12000]
    assert decoded == [8000, 8000]


def test_a_folder_without_usable_noise_is_an_error(tmp_path):
    with pytest.raises(TfvoiceError, match=r"^augmentation.noise_folder=nowhere: there is no such folder\.$"):
        augment.load_noise("nowhere", 8000)
    with pytest.raises(TfvoiceError, match=r": holds no audio file\.$"):
        augment.load_noise(str(tmp_path), 8000)
    (tmp_path / "c.wav").write_bytes(b"nothing")
    with pytest.raises(TfvoiceError, match=r"none of its 1 audio files can be used: .*c.wav: "):
        augment.load_noise(str(tmp_path), 8000)
