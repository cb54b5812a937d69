"""Sampling: from the logits of teacher forcing, batch-invariant, and its options and files."""

import itertools
import re

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from tfvoice import checkpoints, hardware, tasks
from tfvoice.audio import io as audio_io
from tfvoice.audio import quantize
from tfvoice.errors import TfvoiceError
from tfvoice.generation import sample, sampling_loop
from tfvoice.generation.generator import Generator
from tfvoice.generation.sample import Sampler, SamplingOptions

LEVELS = 32
SHAPES = {
    "three tiers": ("model.frame_sizes=[2,8]",),
    "two tiers": ("model.frame_sizes=[4]",),
    "lstm": ("model.frame_sizes=[2,4,8]", "model.cell=lstm", "model.layers=2"),
    "skips": ("model.frame_sizes=[2,8]", "model.layers=2", "model.skip_connections=true"),
}


def create_run(folder, *shape):
    small = ("model.units=16", "model.embedding=8", f"quantization.levels={LEVELS}")
    generator = Generator.create(folder, tasks.resolve("sample_rnn", None, [*small, *shape]), {"sample_rate_hz": 8000})
    random = np.random.default_rng(0)
    for weight in generator.model.trainable_variables:
        scale = 1.5 / np.sqrt(weight.shape[0]) if len(weight.shape) == 2 else 0.5
        weight.assign(scale * random.standard_normal(weight.shape))
    checkpoints.save(generator.checkpoint("best"), {"weights": generator.model.weights}, {})
    return generator


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of random weights. Read only."""
    return create_run(tmp_path_factory.mktemp("runs") / "run", *SHAPES["three tiers"])


@pytest.fixture(scope="module")
def sampler(run):
    """Of the run; one for many tests, because each compiles its loop."""
    return Sampler(run)


def prime(seconds=0.05):
    return np.random.default_rng(4).uniform(-0.5, 0.5, round(8000 * seconds)).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_levels_are_sampled_from_the_logits_of_teacher_forcing(tmp_path, shape):
    generator = create_run(tmp_path / "run", *shape)
    sampler, count = Sampler(generator), 4096 + 64
    size = sampler.context
    block = sampling_loop.block_frames(size) * size
    noise = np.concatenate([sampling_loop.uniform_noise(block, 3, range(2), number) for number in range(2)])[:count]
    for primer in (None, prime()):
        levels = quantize.encode(
            sampler.quantization, sampler.sample(2, count, SamplingOptions(seed=3), primer)
        ).numpy()
        before = np.full(size, LEVELS // 2, np.int32)
        if primer is not None:
            before = np.concatenate([before, quantize.encode(sampler.quantization, primer[len(primer) % size :])])
        whole = np.concatenate([np.tile(before, (2, 1)), levels], axis=1)
        logits, _ = generator.model(tf.constant(whole, tf.int32))
        logits = tf.reshape(logits[:, len(before) - size :], [2 * count, -1])
        expected = sampling_loop.sample_categorical(logits, tf.constant(noise.T.ravel()))
        # A random number that is equal to a cumulative probability but for rounding gives either level.
        assert (np.reshape(expected, levels.shape) == levels).mean() > 0.999


def test_a_sequence_depends_on_seed_and_index_but_not_on_its_batch(sampler):
    six = sampler.sample(6, 500)
    assert len(np.unique(six, axis=0)) == 6
    for count in (1, 3, 5):
        np.testing.assert_array_equal(sampler.sample(count, 500), six[:count])
    np.testing.assert_array_equal(sampler.sample(2, 6000)[:, :500], six[:2])
    assert (sampler.sample(1, 500, SamplingOptions(seed=1)) != six[0]).mean() > 0.5


def test_a_long_sequence_is_yielded_in_blocks(sampler):
    blocks = [block for _, block in sampler.blocks(1, 10_000)]
    assert [block.shape for block in blocks] == [(1, 4096), (1, 4096), (1, 1808)]


@pytest.mark.parametrize("cores", [1, 3])
def test_sequences_do_not_depend_on_the_number_of_cores(run, sampler, monkeypatch, cores):
    expected = sampler.sample(20, 100)
    monkeypatch.setattr(hardware, "cores", lambda: cores)
    np.testing.assert_array_equal(Sampler(run).sample(20, 100), expected)


def test_more_sequences_than_a_batch_are_sampled_batch_by_batch(sampler):
    size = sampler.batch_size
    firsts = [(first, len(block)) for first, block in sampler.blocks(size + 1, 100)]
    assert firsts == [(0, size), (size, 1)]


def test_changed_weights_are_used(run, tmp_path):
    generator = create_run(tmp_path / "run", *SHAPES["three tiers"])
    sampler = Sampler(generator)
    before = sampler.sample(1, 300)
    generator.model.bottom.logits.bias.assign(np.where(np.arange(LEVELS) == 5, 1e4, 0))
    after = sampler.sample(1, 300)
    assert (before != after).any()
    np.testing.assert_array_equal(quantize.encode(sampler.quantization, after), 5)


def test_a_low_temperature_and_a_small_nucleus_give_the_likeliest_levels(sampler):
    cold = sampler.sample(3, 400, SamplingOptions((1e-4,)))
    np.testing.assert_array_equal(cold[0], cold[1])
    nucleus = sampler.sample(3, 400, SamplingOptions(top_p=1e-6))
    np.testing.assert_array_equal(nucleus, cold)


def test_recordings_are_written_with_a_figure(run, sampler, tmp_path):
    paths = sample.sample(run.run_dir, tmp_path / "out", seconds=0.1, count=5, suffix="flac")
    assert [path.name for path in paths] == [f"sample-{number:03d}.flac" for number in range(5)]
    waves = sampler.sample(5, 800)
    for path, wave in zip(paths, waves, strict=True):
        np.testing.assert_allclose(audio_io.read(path, 8000), wave, atol=1 / 32768)
    picture = tf.io.decode_png((tmp_path / "out" / "samples.png").read_bytes()).numpy()
    assert picture.shape[1] == 900 and len(np.unique(picture)) > 50
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[-1] == "samples.png"
    before = paths[0].read_bytes()
    with pytest.raises(TfvoiceError, match=r"sample-000\.flac: already exists; use another --output, or --overwrite"):
        sample.sample(run.run_dir, tmp_path / "out", seconds=0.1, suffix="flac")
    sample.sample(run.run_dir, tmp_path / "out", seconds=0.1, count=1, suffix="flac", overwrite=True)
    assert paths[0].read_bytes() == before


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"options": SamplingOptions((0.0,))}, "--temperature must be a number of at least 0.0001"),
        ({"options": SamplingOptions((1.0, float("nan")))}, "--temperature must be a number of at least 0.0001"),
        ({"options": SamplingOptions((1.0, 1e-40))}, "--temperature must be a number of at least 0.0001"),
        ({"options": SamplingOptions(seed=2**31)}, "--seed=2147483648 must be from 0 to 2147483647."),
        ({"options": SamplingOptions(top_p=0.0)}, "--top_p=0 must be above 0 and at most 1."),
        ({"options": SamplingOptions(top_p=1.5)}, "--top_p=1.5 must be above 0"),
        ({"seconds": 1e-5}, "--seconds=1e-05 is less than a sample at 8000 Hz"),
        ({"seconds": 0.0}, "--seconds=0 must be a number above 0."),
        ({"seconds": float("inf")}, "--seconds=inf must be a number above 0."),
        ({"seconds": float("nan")}, "--seconds=nan must be a number above 0."),
        ({"seconds": 1e6}, "16.0 GB a recording are more than a wav file can hold; add --format=flac."),
        ({"seconds": 1e12, "suffix": "flac"}, "out: 4 recordings of 16000000.00 GB do not fit, "),
        ({"checkpoint": "last"}, "has no checkpoint last yet; use --checkpoint=best"),
    ],
)
def test_invalid_arguments_are_errors_and_write_nothing(run, tmp_path, arguments, message):
    with pytest.raises(TfvoiceError, match=re.escape(message)):
        sample.sample(run.run_dir, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_a_prime_shorter_than_a_frame_is_an_error(run, tmp_path):
    audio_io.write(tmp_path / "short.wav", prime()[:7], 8000)
    with pytest.raises(TfvoiceError, match="the prime holds 7 samples at 8000 Hz, less than a frame of 8"):
        sample.sample(run.run_dir, tmp_path / "out", 0.1, prime=tmp_path / "short.wav")
    assert not (tmp_path / "out").exists()


def test_a_resampled_prime_of_several_windows_is_continued_as_by_teacher_forcing(run, tmp_path):
    wave = np.random.default_rng(6).uniform(-0.5, 0.5, (30_000, 2))
    soundfile.write(tmp_path / "stereo.wav", wave, 16_000)
    (path,) = sample.sample(run.run_dir, tmp_path / "out", 0.01, 1, prime=tmp_path / "stereo.wav")
    primer = audio_io.read(tmp_path / "stereo.wav", 8000)
    assert len(primer) == 15_000 and len(primer) > 2 * sampling_loop.block_frames(8) * 8
    before = quantize.encode(run.config.quantization, primer).numpy()
    levels = quantize.encode(run.config.quantization, audio_io.read(path, 8000)).numpy()
    whole = np.concatenate([np.full(8, LEVELS // 2), before, levels])[np.newaxis]
    logits = run.model(tf.constant(whole, tf.int32))[0][0, len(before) :]
    noise = sampling_loop.uniform_noise(4096, 0, [0], 0)[: len(levels), 0]
    assert (sampling_loop.sample_categorical(logits, noise).numpy() == levels).mean() > 0.98


def test_a_prime_is_normalised_like_the_training_data(tmp_path):
    generator = create_run(tmp_path / "run", *SHAPES["three tiers"], "quantization.normalization=peak")
    sampler = Sampler(generator)
    loud = prime() / np.abs(prime()).max()
    np.testing.assert_array_equal(sampler.sample(1, 100, prime=loud / 8), sampler.sample(1, 100, prime=loud))


def test_partial_recordings_are_kept_after_an_interruption(run, sampler, tmp_path, monkeypatch):
    blocks = Sampler._blocks

    def interrupted(*arguments):
        yield from itertools.islice(blocks(*arguments), 5)
        raise KeyboardInterrupt

    monkeypatch.setattr(Sampler, "_blocks", interrupted)
    rows = sampler.batch_size
    with pytest.raises(KeyboardInterrupt) as interrupt:
        sample.sample(run.run_dir, tmp_path, 10_000 / 8000, rows + 1)
    partial = tmp_path / f"sample-{rows:03d}.wav"
    message = f"{rows} complete recordings are in {tmp_path} and {partial} holds its first 1.0 s"
    assert str(interrupt.value) == message
    monkeypatch.undo()
    for number, wave in enumerate(sampler.sample(rows + 1, 10_000)):
        kept = audio_io.read(tmp_path / f"sample-{number:03d}.wav", 8000)
        assert len(kept) == (10_000 if number < rows else 8192)
        np.testing.assert_allclose(kept, wave[: len(kept)], atol=1 / 32768)
    assert not list(tmp_path.glob(".*"))


def test_the_kept_length_is_right_after_an_interruption_during_a_write(run, tmp_path, monkeypatch):
    write = audio_io.Writer.write

    def interrupted(self, samples):
        write(self, samples)
        if self.written > 8000:
            raise KeyboardInterrupt

    monkeypatch.setattr(audio_io.Writer, "write", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"sample-000\.wav holds its first 1\.0 s$"):
        sample.sample(run.run_dir, tmp_path, 10_000 / 8000, 1)
    assert len(audio_io.read(tmp_path / "sample-000.wav", 8000)) == 8192
