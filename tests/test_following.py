"""Following speech in a graph: whatever the chunks, the text is that of the whole."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import checkpoints, experiment, exporting
from tfvoice.audio import features
from tfvoice.recognizer import Recognizer
from tfvoice.streaming import StreamingTranscriber

SMALL = (
    *("model.units=12", "model.layers=2", "model.convolution_channels=3", "model.bidirectional=false"),
    *("model.lookahead=4", "features.sample_rate_hz=8000", "features.normalization=corpus"),
)


@pytest.fixture(scope="module", params=["lstm", "gru"])
def run(request, tmp_path_factory):
    """A run of random weights that write something. Read only."""
    settings = experiment.resolve("deepspeech2", overrides=[*SMALL, f"model.cell={request.param}"])
    channels = features.channels(settings.features)
    statistics = features.Statistics(np.linspace(0, 1, channels), np.linspace(1, 2, channels))
    made = Recognizer.create(tmp_path_factory.mktemp("runs") / "run", settings, statistics)
    random = np.random.default_rng(1)
    for weight in made.model.trainable_variables:
        if len(weight.shape) > 1:
            weight.assign(random.standard_normal(weight.shape) / np.sqrt(np.prod(weight.shape[:-1])) * 2)
    # Four classes take turns: space, two letters, blank.
    kernel = made.model.output_layer.kernel
    kernel.assign(5 * np.array(kernel) * np.isin(np.arange(29), [0, 5, 9, 28]))
    heard = tf.constant(speech(4, seed=5)[np.newaxis])
    inputs = features.compute(settings.features, heard, tf.constant([heard.shape[1]]), statistics)
    for _ in range(30):
        made.model(*inputs, training=True)
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    return made


@pytest.fixture(scope="module")
def signatures(run, tmp_path_factory):
    """Of the exported model."""
    return tf.saved_model.load(str(exporting.export(run.run_dir, tmp_path_factory.mktemp("models") / "1"))).signatures


def speech(seconds, seed=0):
    random = np.random.default_rng(seed)
    level = np.repeat(random.random(int(seconds * 10) + 1), 800)[: round(seconds * 8000)]
    return (0.2 * level * random.standard_normal(len(level))).astype(np.float32)


def follow(signatures, chunks):
    state, texts = signatures["stream_start"](), []
    for number, chunk in enumerate(chunks):
        final = tf.constant(number == len(chunks) - 1)
        state = signatures["stream"](chunk=tf.constant(chunk, tf.float32), final=final, **state)
        texts.append(state.pop("text").numpy().decode())
    return texts


def cut(samples, sizes):
    places = list(itertools.accumulate(itertools.islice(itertools.cycle(sizes), 1000)))
    return np.split(samples, [place for place in places if place < len(samples)])


@pytest.mark.parametrize("length", [0, 1, 159, 1600, 8000, 30011])
@pytest.mark.parametrize("sizes", [(800,), (30011,), (1, 4000, 77)], ids=str)
def test_the_text_is_that_of_the_whole(run, signatures, length, sizes):
    samples = speech(4)[:length]
    wanted = " ".join(word.text for word in StreamingTranscriber(run).words([samples]))
    chunks = cut(samples, sizes) if length else [samples]
    found = follow(signatures, chunks)
    assert " ".join("".join(found).split()) == wanted
    if length == 30011:
        assert len(wanted) > 20 and (len(chunks) == 1 or any(found[: len(found) // 2]))


def test_an_end_without_audio_brings_what_was_waiting(run, signatures):
    samples = speech(2)
    whole = follow(signatures, [samples])
    assert "".join(follow(signatures, [samples, np.zeros(0)])) == "".join(whole)


def test_dither_is_no_speech(signatures):
    assert "".join(follow(signatures, [1e-6 * speech(1), 1e-6 * speech(1, 3)])) == ""
    quiet = follow(signatures, [np.zeros(4000), speech(2), np.zeros(0)])
    assert quiet[0] == "" and "".join(quiet)
