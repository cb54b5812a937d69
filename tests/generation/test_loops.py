"""Both loops sample the same levels, whatever the number of loops and of sequences."""

import numpy as np
import pytest

from tfvoice import hardware, tasks
from tfvoice.generation.generator import Generator
from tfvoice.generation.loops import GraphLoops, KernelLoops, Start
from tfvoice.generation.options import SamplingOptions

LEVELS = 32


@pytest.fixture(scope="module")
def model():
    small = ("model.units=16", "model.frame_sizes=[2,8]", "model.embedding=8", f"quantization.levels={LEVELS}")
    generator = Generator("unused", tasks.resolve("sample_rnn", None, small), {"sample_rate_hz": 8000})
    random = np.random.default_rng(0)
    for weight in generator.model.trainable_variables:
        scale = 1.5 / np.sqrt(weight.shape[0]) if len(weight.shape) == 2 else 0.5
        weight.assign(scale * random.standard_normal(weight.shape))
    return generator.model


def sampled(group, model, sequences, samples=600, options=SamplingOptions(seed=3)):  # noqa: B008 - a tuple
    start = Start(np.full(8, LEVELS // 2, np.int32), model.initial_state(1))
    return np.concatenate(list(group.blocks(group.weights(), sequences, samples, options, start)), axis=1)


@pytest.mark.parametrize("cores", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 4, 5, 7])
def test_sequences_are_shared_among_as_many_loops_as_there_are_cores(model, monkeypatch, cores, count):
    monkeypatch.setattr(hardware, "cores", lambda: cores)
    groups = KernelLoops(model).groups(range(10, 10 + count))
    assert [number for group in groups for number in group] == list(range(10, 10 + count))
    sizes = list(map(len, groups))
    assert len(groups) == min(cores, count) and max(sizes) - min(sizes) <= 1
    assert GraphLoops(model).groups(range(3, 9)) == [range(3, 9)]


@pytest.mark.parametrize(
    "options", [SamplingOptions(seed=3), SamplingOptions((0.7, 1.2), 0.9, 4)], ids=["default", "all options"]
)
def test_kernel_and_graph_sample_the_same_levels(model, options):
    by_kernel = sampled(KernelLoops(model), model, range(2, 5), 6000, options)
    by_graph = sampled(GraphLoops(model), model, range(2, 5), 6000, options)
    assert by_kernel.shape == by_graph.shape == (3, 6000)
    # A random number that is equal to a cumulative probability but for rounding gives either level, and the sequences
    # diverge from there.
    assert (by_kernel == by_graph)[:, :500].all() and len(np.unique(by_kernel)) > 8


@pytest.mark.parametrize("kind", [KernelLoops, GraphLoops])
def test_a_sequence_has_the_same_bits_in_any_group(model, kind):
    group = kind(model)
    together = sampled(group, model, range(9))
    assert len(np.unique(together, axis=0)) == 9
    for sequences in (range(1), range(3, 5), range(8, 9), range(1, 7)):
        part = sampled(group, model, sequences)
        np.testing.assert_array_equal(part, together[sequences.start : sequences.stop])


@pytest.mark.parametrize("kind", [KernelLoops, GraphLoops])
def test_a_longer_sequence_starts_like_a_shorter_one(model, kind):
    group = kind(model)
    assert group.block_samples == 4096
    np.testing.assert_array_equal(
        sampled(group, model, range(1), 5000)[:, :4103], sampled(group, model, range(1), 4103)
    )


def test_sizes_are_padded_by_zeros(model):
    weights = KernelLoops(model).weights()
    assert weights.sizes.tolist() == [8, 2, 1] and weights.half == LEVELS / 2
    slowest, fastest = weights.tiers
    assert slowest.expand.shape[0] == slowest.entries.shape[0] == fastest.shortcuts.shape[0] == 0
    assert fastest.expand.shape == (1, 1, 32, 32) and fastest.upsample.shape == (1, 2, 32, 32)
    assert not fastest.upsample[:, :, 16:].any() and not fastest.upsample[..., 16:].any()
    assert fastest.upsample[:, :, :16, :16].all()
