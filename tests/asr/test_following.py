"""Following speech in a graph: whatever the chunks, the text is that of the whole."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from test_streaming import reader, speech

from tfvoice.asr.streaming import SILENCE, Meter, StreamingTranscriber
from tfvoice.export import export
from tfvoice.training import checkpoints


@pytest.fixture(scope="module", params=["lstm", "gru"])
def run(request, tmp_path_factory):
    """A run of random weights that write something. Read only."""
    made = reader(tmp_path_factory.mktemp("runs") / "run", request.param)
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    return made


@pytest.fixture(scope="module")
def signatures(run, tmp_path_factory):
    """Of the exported model."""
    return tf.saved_model.load(str(export.export(run.run_dir, tmp_path_factory.mktemp("models") / "1"))).signatures


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


@pytest.mark.parametrize("factor", [0.97, 1.03])
@pytest.mark.parametrize("size", [77, 5000])
def test_how_loud_it_is_does_not_depend_on_the_chunks(run, signatures, factor, size):
    meter, samples = Meter(8000), speech(2)
    meter.add(samples)
    samples *= np.float32(factor * SILENCE / meter.loudest)
    wanted = " ".join(word.text for word in StreamingTranscriber(run).words([samples]))
    assert bool(wanted) == (factor > 1)
    assert " ".join("".join(follow(signatures, cut(samples, (size,)))).split()) == wanted


def test_dither_is_no_speech(signatures):
    assert "".join(follow(signatures, [1e-6 * speech(1), 1e-6 * speech(1, 3)])) == ""
    quiet = follow(signatures, [np.zeros(4000), speech(2), np.zeros(0)])
    assert quiet[0] == "" and "".join(quiet)
