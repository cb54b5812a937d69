"""The exported signature of a generator: the sampler's audio, from core TensorFlow operations alone."""

import io

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from tfvoice.export import export
from tfvoice.generation.sample import Sampler, SamplingOptions


@pytest.fixture(scope="module")
def generate(generator_run, tmp_path_factory):
    """The signature of the exported run."""
    path = export.export(generator_run.run_dir, tmp_path_factory.mktemp("model") / "1")
    loaded = tf.saved_model.load(str(path))
    assert sorted(loaded.signatures) == ["generate", "serving_default"]
    return loaded.signatures["generate"]


def tensors(**values):
    return {name: tf.constant(value) for name, value in values.items()}


def test_waveforms_and_wav_files_equal_the_sampler(generate, generator_run):
    outputs = generate(**tensors(count=2, samples=300, temperature=0.9, seed=4))
    waves = Sampler(generator_run).sample(2, 300, SamplingOptions((0.9,), seed=4))
    np.testing.assert_allclose(outputs["waveform"], waves, atol=1e-6)
    for data, wave in zip(outputs["wav_bytes"].numpy(), waves, strict=True):
        samples, rate_hz = soundfile.read(io.BytesIO(data))
        assert rate_hz == 8000
        np.testing.assert_allclose(samples, wave, atol=2 / 2**15)


def test_a_sequence_depends_on_seed_and_index_but_not_on_its_batch(generate):
    three = generate(**tensors(count=3, samples=50, temperature=1.0, seed=1))["waveform"].numpy()
    alone = generate(**tensors(count=1, samples=50, temperature=1.0, seed=1))["waveform"].numpy()
    other_seed = generate(**tensors(count=1, samples=50, temperature=1.0, seed=2))["waveform"].numpy()
    np.testing.assert_allclose(alone[0], three[0], atol=1e-6)
    assert len(np.unique(np.concatenate([three, other_seed]).round(4), axis=0)) == 4


@pytest.mark.parametrize("invalid", [{"count": 0}, {"samples": -1}, {"temperature": 0.0}])
def test_invalid_inputs_are_errors_of_the_client(generate, invalid):
    inputs = {"count": 2, "samples": 3, "temperature": 1.0, "seed": 4} | invalid
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be above 0"):
        generate(**tensors(**inputs))


def test_the_graph_runs_on_any_server(generate):
    """Neither functions that must be compiled by XLA, nor kernels of one device, nor Python functions."""
    definition = generate.graph.as_graph_def()
    functions = definition.library.function
    for function in functions:
        assert not any(part.attr["_XlaMustCompile"].b for part in (function, *function.node_def))
    operations = {node.op for nodes in (definition.node, *(f.node_def for f in functions)) for node in nodes}
    assert not {name for name in operations if "Cudnn" in name or "PyFunc" in name or name.startswith("IO>")}
