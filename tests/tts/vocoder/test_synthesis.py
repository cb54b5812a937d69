"""Laws of synthesis: the same samples for a seed, what comes before the end alone, levels of the quantisation."""

import numpy as np
import pytest

from tfvoice import hardware
from tfvoice.models.deep_voice.vocoder import Vocoder, VocoderConfig
from tfvoice.tts.vocoder import synthesis
from tfvoice.tts.vocoder.synthesis import Synthesizer


@pytest.fixture(scope="module")
def frames(vocoder_run, aligned_records):
    return vocoder_run.pipeline(vocoder_run.index(aligned_records, "test")).conditioning[0].part(0, 62 + 20)


def test_an_utterance_is_determined_by_its_seed(vocoder_run, frames):
    one, again, other = (Synthesizer(vocoder_run).speak(frames, seed=seed) for seed in (1, 1, 2))
    assert one.shape == (20 * 64,) and one.dtype == np.float32 and np.abs(one).max() <= 1
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_a_low_temperature_takes_the_likeliest_level(vocoder_run, frames):
    one, other = (Synthesizer(vocoder_run).speak(frames, 1e-4, seed) for seed in (1, 2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("block_frames", [1, 7, 1000])
def test_a_stream_gives_the_same_samples_in_any_blocks(vocoder_run, frames, block_frames):
    synthesizer = Synthesizer(vocoder_run)
    blocks = list(synthesizer.stream(frames, 0.9, 3, block_frames))
    assert {len(block) for block in blocks[:-1]} <= {64 * block_frames}
    np.testing.assert_array_equal(np.concatenate(blocks), synthesizer.speak(frames, 0.9, 3))


def test_the_samples_do_not_depend_on_the_threads(vocoder_run, frames):
    one, two = (Synthesizer(vocoder_run, threads).speak(frames) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 2), (64, 2)])
def test_two_threads_are_used_where_there_are_cores(vocoder_run, frames, monkeypatch, cores, threads):
    used, advance = set(), synthesis.advance
    monkeypatch.setattr(hardware, "cores", lambda: cores)
    monkeypatch.setattr(synthesis, "advance", lambda count, *rest: used.add(count) or advance(1, *rest))
    Synthesizer(vocoder_run).speak(frames)
    assert used == {threads}


def test_both_threads_read_as_many_weights():
    def share(layers, residual, skip):
        model = Vocoder(VocoderConfig(layers=layers, residual=residual, skip=skip), 5, 256)
        model.build(None)
        return synthesis.leader_share(synthesis.weights(model))

    assert (share(20, 32, 128), share(20, 64, 128), share(10, 64, 32)) == (20, 11, 3)


def test_the_first_block_of_a_stream_is_short():
    assert list(synthesis.block_bounds(62, 400, 125)) == [(62, 87), (87, 212), (212, 337), (337, 400)]
    assert list(synthesis.block_bounds(62, 62, 125)) == []


def test_silence_beyond_the_receptive_field_has_no_effect(vocoder_run, frames, monkeypatch):
    expected = Synthesizer(vocoder_run).speak(frames)
    assert vocoder_run.sizes.lead < vocoder_run.sizes.silence
    monkeypatch.setattr(vocoder_run, "sizes", vocoder_run.sizes._replace(lead=vocoder_run.sizes.silence))
    np.testing.assert_array_equal(Synthesizer(vocoder_run).speak(frames), expected)


def test_random_numbers_are_those_of_seed_and_sample():
    long = synthesis.uniform_noise(3, 0, 10_000)
    for start, end in ((0, 5000), (4096, 4097), (3000, 9000)):
        np.testing.assert_array_equal(synthesis.uniform_noise(3, start, end), long[start:end])
    assert (synthesis.uniform_noise(4, 0, 100) != long[:100]).all() and long.min() >= 0 and long.max() < 1
    assert abs(long.mean() - 0.5) < 0.02
