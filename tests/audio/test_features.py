"""Features: the values of librosa, independent of padding, of other rows and of how they are executed."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import config as configs
from tfvoice.audio import features
from tfvoice.audio.features import FeatureConfig
from tfvoice.compiled import load_librosa
from tfvoice.errors import TfvoiceError

librosa = load_librosa()

# speech-to-text-wavenet's MFCC, DeepSpeech2's spectrogram in both of librosa's paddings, and log-mel variants.
WAVENET = FeatureConfig(kind="mfcc", window_ms=128, hop_ms=32, bins=128, pad_mode="reflect", normalization="none")
DEEPSPEECH = FeatureConfig(
    kind="log_spectrogram", window_ms=20, fft_size=320, window="hamming", normalization="utterance_scalar"
)
CONFIGS = {
    "default": FeatureConfig(),
    "wavenet": WAVENET,
    "deepspeech": DEEPSPEECH,
    "deepspeech_reflect": DEEPSPEECH.model_copy(update={"pad_mode": "reflect"}),
    "band": FeatureConfig(bins=40, low_hz=60, high_hz=7000, fft_size=400, pad_mode="reflect"),
    "22050": FeatureConfig(sample_rate_hz=22050, hop_ms=1000 * 256 / 22050, window_ms=1000 * 1023 / 22050, bins=64),
    "short_window": FeatureConfig(window_ms=8, hop_ms=10, bins=10, pad_mode="reflect"),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def raw(config):
    return config.model_copy(update={"normalization": "none"})


def voice(samples, seed=0):
    """A gliding harmonic tone with pauses in noise of 60 dB less."""
    time = np.arange(samples) / 16000
    pitch_hz = 140 + 60 * np.sin(2 * np.pi * 1.3 * time + seed)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / 16000
    tone = sum(np.sin(k * phase) / k for k in range(1, 30)) * np.maximum(0, np.sin(2 * np.pi * 2.1 * time + seed))
    noise = np.random.default_rng(seed).standard_normal(samples)
    return (0.1 * tone + 1e-4 * noise).astype(np.float32)


def single(config, samples, statistics=None):
    values, lengths = features.compute(config, samples[np.newaxis], [len(samples)], statistics)
    assert int(lengths[0]) == values.shape[1] == features.frame_count(config, len(samples))
    return values[0].numpy()


def librosa_features(config, samples):
    stft = {
        "n_fft": config.transform_samples,
        "hop_length": config.hop_samples,
        "win_length": config.window_samples,
        "window": config.window,
        "pad_mode": config.pad_mode,
    }
    if config.kind == "log_spectrogram":
        return np.log1p(np.abs(librosa.stft(samples, **stft))).T
    mel = {"n_mels": config.bins, "fmin": config.low_hz, "fmax": config.high_hz, "sr": config.sample_rate_hz}
    if config.kind == "mfcc":
        return librosa.feature.mfcc(y=samples, n_mfcc=config.mfcc_coefficients, **mel, **stft).T
    return np.log(librosa.feature.melspectrogram(y=samples, **mel, **stft).T + config.log_offset)


@every_config
@pytest.mark.parametrize("samples", [4000, 16000, 20477])
def test_features_equal_librosa(config, samples):
    clip = voice(samples)
    expected = librosa_features(config, clip)
    assert expected.shape == (features.frame_count(config, samples), features.channels(config))
    np.testing.assert_allclose(single(raw(config), clip), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("transform_samples", [512, 353])
def test_mel_filters_equal_librosa(transform_samples):
    expected = librosa.filters.mel(sr=11025, n_fft=transform_samples, n_mels=20, fmin=50, fmax=5000).T
    filters = features.mel_filters(11025, transform_samples, 20, 50, 5000)
    np.testing.assert_allclose(filters, expected, rtol=1e-6, atol=1e-9)


def test_wavenet_features_are_the_librosa_defaults_with_reflection():
    clip = voice(16000)
    expected = librosa.feature.mfcc(y=clip, sr=16000, pad_mode="reflect").T
    assert expected.shape == (32, 20)
    np.testing.assert_allclose(single(WAVENET, clip), expected, rtol=0, atol=1e-3)


def test_top_db_limits_the_dynamic_range():
    clip = np.concatenate([voice(8000), np.zeros(16000, np.float32)])
    np.testing.assert_allclose(single(WAVENET, clip), librosa_features(WAVENET, clip), rtol=0, atol=1e-3)


def test_frame_count_is_the_same_for_integers_arrays_and_tensors():
    samples = np.arange(0, 1000, 7, dtype=np.int32)
    expected = [1 + int(n) // 160 for n in samples]
    assert [features.frame_count(FeatureConfig(), int(n)) for n in samples] == expected
    np.testing.assert_array_equal(features.frame_count(FeatureConfig(), samples), expected)
    counted = features.frame_count(FeatureConfig(), tf.constant(samples))
    assert counted.dtype == tf.int32
    np.testing.assert_array_equal(counted, expected)


@every_config
@pytest.mark.parametrize("normalization", ["none", "utterance", "utterance_scalar", "corpus"])
def test_a_row_alone_equals_the_row_in_a_padded_batch(config, normalization):
    config = config.model_copy(update={"normalization": normalization})
    size = features.channels(config)
    statistics = features.FeatureStatistics(np.linspace(-5, 5, size), np.linspace(0.5, 3, size))
    clips = [voice(n, seed) for seed, n in enumerate([9000, 0, 1, 2, 37, 160, 401, 1600, 8937])]
    clips += [np.zeros(5000, np.float32), 1e-3 * voice(6000, 20)]
    # NaN in the padding would propagate through any operation that uses it.
    batch = np.full([len(clips), 10123], np.nan, np.float32)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    values, lengths = features.compute(config, batch, [len(clip) for clip in clips], statistics)
    assert values.shape == (len(clips), features.frame_count(config, 10123), size)
    # Cepstra are sums of levels of -100 dB, the first of them down to -1131; their last bits depend on how the
    # hardware blocks a matrix product.
    tolerance = np.full(size, 2e-4 if config.kind == "mfcc" else 1e-5)
    tolerance[0] = 5e-3 if config.kind == "mfcc" else 1e-5
    for row, length, clip in zip(values.numpy(), lengths.numpy(), clips, strict=True):
        alone = single(config, clip, statistics)
        assert len(alone) == length
        assert np.isfinite(alone).all()
        assert (np.abs(row[:length] - alone) <= tolerance).all()
        assert not row[length:].any()


@pytest.mark.parametrize("samples", [1, 2, 3, 50, 159, 161, 700])
def test_short_clips_are_reflected_as_by_numpy(samples):
    config = raw(CONFIGS["deepspeech_reflect"])
    clip = voice(samples, seed=3)
    padded = np.pad(clip, 160, mode="reflect")
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(320) / 320)
    frames = [padded[start : start + 320] * window for start in range(0, samples + 1, 160)]
    np.testing.assert_allclose(single(config, clip), np.log1p(np.abs(np.fft.rfft(frames))), rtol=0, atol=1e-5)


@every_config
def test_silence_is_finite_and_flat(config):
    for normalization in ("none", "utterance", "utterance_scalar"):
        values = single(config.model_copy(update={"normalization": normalization}), np.zeros(3000, np.float32))
        assert np.isfinite(values).all()
        np.testing.assert_allclose(values, np.broadcast_to(values[0], values.shape), atol=1e-4)
        if normalization == "utterance":
            np.testing.assert_allclose(values, 0, atol=1e-4)


def test_an_empty_row_has_one_silent_frame():
    values, lengths = features.compute(FeatureConfig(pad_mode="reflect"), np.zeros([3, 0], np.float32), [0, 0, 0])
    assert values.shape == (3, 1, 80)
    np.testing.assert_array_equal(lengths, [1, 1, 1])
    assert np.isfinite(values).all()


def test_utterance_normalization_gives_each_channel_mean_0_and_deviation_1():
    values = single(FeatureConfig(), voice(30000) + 0.01 * np.random.default_rng(1).standard_normal(30000))
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(values.std(axis=0, ddof=1), 1, atol=1e-4)


def test_scalar_normalization_equals_deepspeech():
    clip = voice(20000)
    expected = librosa_features(DEEPSPEECH, clip)
    expected = (expected - expected.mean()) / expected.std(ddof=1)
    np.testing.assert_allclose(single(DEEPSPEECH, clip), expected, rtol=0, atol=1e-4)


def test_corpus_statistics_equal_those_of_all_frames_at_once():
    generator = np.random.default_rng(0)
    parts = [generator.normal(1000, generator.uniform(1, 3, 5), [n, 5]).astype(np.float32) for n in (1, 70, 0, 13, 2)]
    together = np.concatenate(parts).astype(np.float64)
    statistics = features.statistics(iter(parts))
    np.testing.assert_allclose(statistics.mean, together.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(statistics.deviation, together.std(axis=0, ddof=1), rtol=1e-9)
    restored = features.FeatureStatistics.from_json(statistics.to_json())
    np.testing.assert_array_equal(restored.mean, statistics.mean)
    np.testing.assert_array_equal(restored.deviation, statistics.deviation)


def test_corpus_normalization_gives_the_corpus_mean_0_and_deviation_1():
    config = FeatureConfig(normalization="corpus")
    clips = [voice(9000, seed) for seed in range(3)]
    statistics = features.statistics(single(raw(config), clip) for clip in clips)
    values = np.concatenate([single(config, clip, statistics) for clip in clips])
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(values.std(axis=0, ddof=1), 1, atol=1e-3)


@every_config
def test_eager_graph_dataset_and_saved_model_agree(config, tmp_path):
    batch = np.stack([voice(7000, 1), voice(7000, 2)])
    lengths = np.array([7000, 5321], np.int32)
    eager = features.compute(config, batch, lengths)
    dynamic = [tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.int32)]
    module = tf.Module()
    module.compute = tf.function(lambda samples, lengths: features.compute(config, samples, lengths), dynamic)
    assert module.compute.get_concrete_function().structured_outputs[0].shape[2] == features.channels(config)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    dataset = tf.data.Dataset.from_tensors((batch, lengths)).map(lambda *row: features.compute(config, *row))
    for other in (module.compute(batch, lengths), loaded.compute(batch, lengths), next(iter(dataset))):
        np.testing.assert_allclose(other[0], eager.values, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(other[1], eager.lengths)


def test_missing_statistics_and_a_wrong_number_of_channels_are_errors():
    config = FeatureConfig(normalization="corpus")
    with pytest.raises(TfvoiceError, match="80 channels, and they are absent; train on this data first"):
        single(config, voice(1000))
    with pytest.raises(TfvoiceError, match="80 channels, and they have 3 channels"):
        single(config, voice(1000), features.FeatureStatistics(np.zeros(3), np.ones(3)))
    with pytest.raises(TfvoiceError, match="no frame"):
        features.statistics([])


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"sample_rate_hz": 22050}, r"hop_ms=10 is 220.5 samples .* set hop_ms=9.97732"),
        ({"hop_ms": 1e-3}, "is 0.016 samples .* set hop_ms=0.0625"),
        ({"fft_size": 256}, "fft_size=256 must be even and hold the window of 400 samples; set fft_size=512"),
        ({"fft_size": 401}, "must be even"),
        ({"high_hz": 9000}, "at most 8000 Hz, half of sample_rate_hz; set high_hz=8000"),
        ({"low_hz": 500, "high_hz": 400}, "must be in this order"),
        ({"kind": "mfcc", "bins": 13}, "mfcc_coefficients=20 is more than bins=13; set bins=20"),
        ({"bins": 200}, "bins=200 leaves .* mel bands that no frequency of fft_size=512 falls into"),
        ({"normalisation": "none"}, "did you mean normalization"),
    ],
)
def test_inconsistent_settings_are_errors_with_advice(values, sentence):
    with pytest.raises(configs.ConfigError, match=sentence):
        configs.build(FeatureConfig, values)
