"""Drawing: the logits of teacher forcing, the same sequence in whatever company, and what bounds it."""

import itertools
import re

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from tfvoice import experiment
from tfvoice.audio import io as audio_io
from tfvoice.audio import quantize
from tfvoice.errors import TfvoiceError
from tfvoice.generation import sample, sampling_loop
from tfvoice.generation.generator import Generator
from tfvoice.generation.sample import Draw, Sampler
from tfvoice.training import checkpoints

LEVELS = 32
SHAPES = {
    "three tiers": ("model.frame_sizes=[2,8]",),
    "two tiers": ("model.frame_sizes=[4]",),
    "lstm": ("model.frame_sizes=[2,4,8]", "model.cell=lstm", "model.layers=2"),
    "skips": ("model.frame_sizes=[2,8]", "model.layers=2", "model.skip_connections=true"),
}


def made(folder, *shape):
    small = ("model.units=16", "model.embedding=8", f"quantization.levels={LEVELS}")
    generator = Generator.create(
        folder, experiment.resolve("sample_rnn", None, [*small, *shape]), {"sample_rate_hz": 8000}
    )
    random = np.random.default_rng(0)
    for weight in generator.model.trainable_variables:
        scale = 1.5 / np.sqrt(weight.shape[0]) if len(weight.shape) == 2 else 0.5
        weight.assign(scale * random.standard_normal(weight.shape))
    checkpoints.save(generator.checkpoint("best"), {"weights": generator.model.weights}, {})
    return generator


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of random weights. Read only."""
    return made(tmp_path_factory.mktemp("runs") / "run", *SHAPES["three tiers"])


def prime(seconds=0.05):
    return np.random.default_rng(4).uniform(-0.5, 0.5, round(8000 * seconds)).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("primed", [False, True])
def test_each_level_is_drawn_from_the_logits_of_teacher_forcing(tmp_path, shape, primed):
    generator = made(tmp_path / "run", *shape)
    sampler, how = Sampler(generator), Draw(seed=3)
    given = prime() if primed else None
    count = 4096 + 64
    waves = sampler.collect(2, count, how, given)
    levels = quantize.encode(sampler.quantization, waves).numpy()
    size = sampler.context
    before = np.full(size, LEVELS // 2, np.int32)
    if primed:
        before = np.concatenate([before, quantize.encode(sampler.quantization, given[len(given) % size :])])
    whole = np.concatenate([np.tile(before, (2, 1)), levels], axis=1)
    logits, _ = generator.model(tf.constant(whole, tf.int32))
    logits = logits[:, len(before) - size :]
    block = sampling_loop.block_frames(size) * size
    noise = np.concatenate([sampling_loop.noise(block, 3, range(2), number) for number in range(2)])[:count]
    wanted = sampling_loop.choose(tf.reshape(logits, [2 * count, -1]), tf.constant(noise.T.ravel()))
    # Where a random number falls between two levels to the last bit, rounding decides.
    assert (np.reshape(wanted, levels.shape) == levels).mean() > 0.999


def test_the_same_seed_gives_the_same_sequence_in_any_company(run):
    sampler = Sampler(run)
    six = sampler.collect(6, 500)
    assert len(np.unique(six, axis=0)) == 6
    for count in (1, 3, 5):
        np.testing.assert_array_equal(sampler.collect(count, 500), six[:count])
    np.testing.assert_array_equal(Sampler(run).collect(2, 6000)[:, :500], six[:2])
    assert (sampler.collect(1, 500, Draw(seed=1)) != six[0]).mean() > 0.5


def test_a_long_sequence_comes_in_blocks_and_is_traced_once(run):
    sampler = Sampler(run)
    blocks = [block for _, block in sampler.draw(1, 10_000)]
    assert [block.shape for block in blocks] == [(1, 4096), (1, 4096), (1, 1808)]
    (loop,) = sampler._loops.values()
    assert loop.experimental_get_tracing_count() == 1


def test_weights_that_have_changed_are_used(run, tmp_path):
    generator = made(tmp_path / "run", *SHAPES["three tiers"])
    sampler = Sampler(generator)
    before = sampler.collect(1, 300)
    generator.model.bottom.logits.bias.assign(np.where(np.arange(LEVELS) == 5, 1e4, 0))
    after = sampler.collect(1, 300)
    assert (before != after).any()
    np.testing.assert_array_equal(quantize.encode(sampler.quantization, after), 5)


def test_a_temperature_is_a_number_or_a_line():
    assert Draw((0.7,)).temperatures(0, 3, 3).tolist() == pytest.approx([0.7, 0.7, 0.7])
    line = Draw((1.0, 0.5, 1.5))
    assert line.temperatures(0, 5, 5).tolist() == pytest.approx([1.0, 0.75, 0.5, 1.0, 1.5])
    assert line.temperatures(3, 4, 5).tolist() == pytest.approx([1.0, 1.5, 1.5, 1.5])
    assert line.temperatures(0, 2, 1).tolist() == pytest.approx([1.0, 1.5])


def test_a_low_temperature_takes_the_likeliest(run):
    sampler = Sampler(run)
    cold = sampler.collect(3, 400, Draw((1e-4,)))
    np.testing.assert_array_equal(cold[0], cold[1])
    nucleus = sampler.collect(3, 400, Draw(top_p=1e-6))
    np.testing.assert_array_equal(nucleus, cold)


def test_recordings_are_written_with_a_picture(run, tmp_path):
    paths = sample.sample(run.run_dir, tmp_path / "out", seconds=0.1, count=5, suffix="flac")
    assert [path.name for path in paths] == [f"sample-{number:03d}.flac" for number in range(5)]
    drawn = Sampler(run).collect(5, 800)
    for path, wave in zip(paths, drawn, strict=True):
        np.testing.assert_allclose(audio_io.read(path, 8000), wave, atol=1 / 32768)
    picture = tf.io.decode_png((tmp_path / "out" / "samples.png").read_bytes()).numpy()
    assert picture.shape[1] == 900 and len(np.unique(picture)) > 50
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[-1] == "samples.png"
    before = paths[0].read_bytes()
    with pytest.raises(TfvoiceError, match=r"sample-000\.flac: is already there; use another --output, or --overwrite"):
        sample.sample(run.run_dir, tmp_path / "out", seconds=0.1, suffix="flac")
    sample.sample(run.run_dir, tmp_path / "out", seconds=0.1, count=1, suffix="flac", overwrite=True)
    assert paths[0].read_bytes() == before


@pytest.mark.parametrize(
    "wrong, fact",
    [
        ({"how": Draw((0.0,))}, "--temperature must be a number of at least 0.0001"),
        ({"how": Draw((1.0, float("nan")))}, "--temperature must be a number of at least 0.0001"),
        ({"how": Draw((1.0, 1e-40))}, "--temperature must be a number of at least 0.0001"),
        ({"how": Draw(seed=2**31)}, "--seed=2147483648 must be from 0 to 2147483647."),
        ({"how": Draw(top_p=0.0)}, "--top_p=0 must be above 0 and at most 1."),
        ({"how": Draw(top_p=1.5)}, "--top_p=1.5 must be above 0"),
        ({"seconds": 1e-5}, "--seconds=1e-05 is less than a sample at 8000 Hz"),
        ({"seconds": 0.0}, "--seconds=0 must be a number above 0."),
        ({"seconds": float("inf")}, "--seconds=inf must be a number above 0."),
        ({"seconds": float("nan")}, "--seconds=nan must be a number above 0."),
        ({"seconds": 1e6}, "16.0 GB a recording are more than a wav file can hold; add --format=flac."),
        ({"seconds": 1e12, "suffix": "flac"}, "out: 4 recordings of 16000000.00 GB do not fit, "),
        ({"checkpoint": "last"}, "has no checkpoint last yet; use --checkpoint=best"),
    ],
)
def test_what_cannot_be_drawn_is_told_and_writes_nothing(run, tmp_path, wrong, fact):
    with pytest.raises(TfvoiceError, match=re.escape(fact)):
        sample.sample(run.run_dir, tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_a_prime_that_is_shorter_than_a_frame_is_told(run, tmp_path):
    audio_io.write(tmp_path / "short.wav", prime()[:7], 8000)
    with pytest.raises(TfvoiceError, match="the prime holds 7 samples at 8000 Hz, less than a frame of 8"):
        sample.sample(run.run_dir, tmp_path / "out", 0.1, prime=tmp_path / "short.wav")
    assert not (tmp_path / "out").exists()


def test_a_prime_of_any_rate_and_of_several_windows_goes_on_as_teacher_forcing_does(run, tmp_path):
    wave = np.random.default_rng(6).uniform(-0.5, 0.5, (30_000, 2))
    soundfile.write(tmp_path / "stereo.wav", wave, 16_000)
    (path,) = sample.sample(run.run_dir, tmp_path / "out", 0.01, 1, prime=tmp_path / "stereo.wav")
    given = audio_io.read(tmp_path / "stereo.wav", 8000)
    assert len(given) == 15_000 and len(given) > 2 * sampling_loop.block_frames(8) * 8
    known = quantize.encode(run.config.quantization, given).numpy()
    levels = quantize.encode(run.config.quantization, audio_io.read(path, 8000)).numpy()
    whole = np.concatenate([np.full(8, LEVELS // 2), known, levels])[np.newaxis]
    logits = run.model(tf.constant(whole, tf.int32))[0][0, len(known) :]
    wanted = sampling_loop.choose(logits, sampling_loop.noise(4096, 0, [0], 0)[: len(levels), 0])
    assert (wanted.numpy() == levels).mean() > 0.98


def test_a_prime_is_made_as_loud_as_what_was_learned(tmp_path):
    generator = made(tmp_path / "run", *SHAPES["three tiers"], "quantization.normalization=peak")
    sampler = Sampler(generator)
    loud = prime() / np.abs(prime()).max()
    np.testing.assert_array_equal(sampler.collect(1, 100, prime=loud / 8), sampler.collect(1, 100, prime=loud))


def test_what_was_drawn_before_an_interruption_is_kept(run, tmp_path, monkeypatch):
    plain = Sampler._blocks

    def interrupted(*arguments):
        yield from itertools.islice(plain(*arguments), 5)
        raise KeyboardInterrupt

    monkeypatch.setattr(Sampler, "_blocks", interrupted)
    rows = Sampler(run).rows
    with pytest.raises(KeyboardInterrupt) as told:
        sample.sample(run.run_dir, tmp_path, 10_000 / 8000, rows + 1)
    last = f"sample-{rows:03d}.wav"
    assert str(told.value) == f"{rows} whole recordings are in {tmp_path} and {tmp_path / last} holds its first 1.0 s"
    monkeypatch.undo()
    whole = Sampler(run).collect(rows + 1, 10_000)
    for number, wave in enumerate(whole):
        kept = audio_io.read(tmp_path / f"sample-{number:03d}.wav", 8000)
        assert len(kept) == (10_000 if number < rows else 8192)
        np.testing.assert_allclose(kept, wave[: len(kept)], atol=1 / 32768)
    assert not list(tmp_path.glob(".*"))
