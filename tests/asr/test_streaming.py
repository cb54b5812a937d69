"""Laws of following speech: however the samples arrive, the result is that of the whole."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import ctc, experiment
from tfvoice.asr import streaming
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.streaming import StreamingTranscriber
from tfvoice.asr.transcribe import Transcriber
from tfvoice.audio import features
from tfvoice.errors import TfvoiceError
from tfvoice.lengths import Sequence

RATE = 8000
SMALL = (
    *("model.units=12", "model.layers=2", "model.convolution_channels=3", "model.bidirectional=false"),
    *("model.lookahead=4", "features.sample_rate_hz=8000", "features.normalization=corpus", "data.max_seconds=0.4"),
)
CELLS = ("lstm", "gru", "rnn")


def reader(folder, cell="lstm"):
    """Makes a run of random weights that write something, in a folder."""
    settings = experiment.resolve("deepspeech2", overrides=[*SMALL, f"model.cell={cell}"])
    channels = features.channels(settings.features)
    statistics = features.Statistics(np.linspace(0, 1, channels), np.linspace(1, 2, channels))
    made = Recognizer.create(folder, settings, statistics)
    random = np.random.default_rng(1)
    for weight in made.model.trainable_variables:
        if len(weight.shape) > 1:
            weight.assign(random.standard_normal(weight.shape) / np.sqrt(np.prod(weight.shape[:-1])) * 2)
    kernel = made.model.output_layer.kernel
    # Four classes take turns: space, two letters, blank.
    kernel.assign(5 * np.array(kernel) * np.isin(np.arange(29), [0, 5, 9, 28]))
    heard = tf.constant(speech(4, seed=5)[np.newaxis])
    inputs = features.compute(settings.features, heard, tf.constant([heard.shape[1]]), statistics)
    # In a graph: outside, the loops over frames run in Python.
    hear = tf.function(lambda: made.model(*inputs, training=True).values)
    for _ in range(30):
        hear()
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Makes an experiment with random weights that write something."""
    made = functools.cache(lambda cell: reader(tmp_path_factory.mktemp("run"), cell))
    return lambda cell="lstm": made(cell)


def speech(seconds, seed=0):
    random = np.random.default_rng(seed)
    level = np.repeat(random.random(int(seconds * 10) + 1), RATE // 10)[: round(seconds * RATE)]
    return (0.2 * level * random.standard_normal(len(level))).astype(np.float32)


def whole(run, samples):
    """One pass over everything, as in training and evaluation."""
    logits = run.logits(samples[np.newaxis], np.array([len(samples)], np.int32))
    return tf.nn.log_softmax(logits.values[0, : logits.lengths[0]]).numpy()


def cut(samples, size):
    return [samples[start : start + size] for start in range(0, len(samples), size)]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("length", [0, 1, 79, 160, 1599, 1600, 8000, 24000, 24001, 30011])
def test_frames_are_those_of_one_pass(run, cell, length):
    samples = speech(4)[:length]
    found = np.concatenate(list(StreamingTranscriber(run(cell)).log_probabilities(cut(samples, 800))))
    expected = whole(run(cell), samples)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("seconds", [0.02, 0.1, 1.0, 7.0, 0.0371])
def test_words_do_not_depend_on_the_chunks(run, seconds):
    samples = speech(9)
    words = list(StreamingTranscriber(run()).words(cut(samples, round(seconds * RATE))))
    assert len(words) > 5 and words == list(StreamingTranscriber(run()).words([samples]))
    as_file = np.concatenate(list(StreamingTranscriber(run(), 1.3).log_probabilities([samples])))
    assert [word.text for word in words] == decoded(run(), as_file)


def decoded(run, values):
    ids = ctc.greedy(Sequence(values[np.newaxis], np.array([len(values)], np.int32))).ids[0]
    return run.alphabet.decode(ids.numpy()).split()


def test_a_file_is_read_as_a_stream_is(run, tmp_path):
    from tfvoice.audio import io

    io.write(tmp_path / "a.wav", speech(9), RATE)
    samples = io.read(tmp_path / "a.wav", RATE)
    words = list(StreamingTranscriber(run()).words(cut(samples, 160)))
    found = Transcriber(run(), window_seconds=2.0).transcribe(tmp_path / "a.wav")
    assert found.text == " ".join(word.text for word in words)
    for one, other in zip(found.words, words, strict=True):
        assert one[:3] == other[:3] and one.end <= 9.0
        assert one.confidence == pytest.approx(other.confidence, abs=1e-3)


def test_what_is_no_louder_than_dither_has_no_words_however_it_arrives(run):
    quiet = speech(6) * 1e-4
    assert ctc_text(run(), quiet)
    assert not list(StreamingTranscriber(run()).words(cut(quiet, 160)))
    # Words that the network read in it are worth something where it is the beginning of speech.
    both = np.concatenate([quiet, speech(3, seed=3)])
    words = list(StreamingTranscriber(run()).words(cut(both, 160)))
    assert [word.text for word in words] == ctc_text(run(), both)


def ctc_text(run, samples):
    return decoded(run, whole(run, samples))


@pytest.mark.parametrize("size", [1, 799, 800, 2500])
def test_a_meter_does_not_depend_on_the_pieces(size):
    samples = speech(1.05)
    samples[-200:] = 0.9 * np.sign(samples[-200:])
    meter = streaming.Meter(RATE)
    for piece in cut(samples, size):
        assert meter.add(piece) is piece
    tenths = [part.std() for part in cut(samples, RATE // 10)]
    assert meter.loudest == pytest.approx(max(tenths[:-1]), rel=1e-6) and meter.seconds == len(samples) / RATE
    meter.end()
    assert meter.loudest == pytest.approx(max(tenths), rel=1e-6) and max(tenths) == tenths[-1]


def test_a_word_comes_when_its_space_can_be_known(run):
    """Not a frame later than the look-ahead, the convolutions and a block ask for."""
    used, samples = run(), speech(9)
    heard = []

    def chunks():
        for number, chunk in enumerate(cut(samples, 160), 1):
            heard[:] = [number * 160 / RATE]
            yield chunk

    words = [(word, heard[0]) for word in StreamingTranscriber(used).words(chunks())]
    frames = used.seconds_per_frame()
    wait = streaming.BLOCK_SECONDS + (3 + used.config.model.convolution_reach + 1) * frames + 0.02
    for (word, time), (following, _) in itertools.pairwise(words):
        assert word.end <= time <= max(following.start, word.end + frames) + wait or time == heard[0]


def test_no_more_than_a_block_is_looked_at_at_once(run, monkeypatch):
    lengths = []
    compute = features.compute
    monkeypatch.setattr(features, "compute", lambda c, samples, *rest: lengths.append(1) or compute(c, samples, *rest))
    transcriber = StreamingTranscriber(run())
    sizes = []
    inner = transcriber._convolved
    transcriber._convolved = lambda samples: sizes.append(samples.shape[1]) or inner(samples)
    list(transcriber.words(cut(speech(20), 4000)))
    context = 8 + 1
    assert max(sizes) <= RATE * streaming.BLOCK_SECONDS + 2 * context * 160 + 160 and len(lengths) <= 4


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.bidirectional=true"], "its network reads what comes after; train deepspeech2 with --config=deeps"),
        (["features.normalization=utterance"], "--set features.normalization=corpus"),
        (["features.kind=mfcc", "features.window_ms=20"], "--set features.kind=log_mel"),
        (["features.pad_mode=reflect"], "--set features.pad_mode=constant"),
    ],
)
def test_what_needs_the_end_first_is_refused(tmp_path, overrides, words):
    settings = experiment.resolve("deepspeech2", overrides=[*SMALL, *overrides])
    statistics = features.Statistics(*np.ones([2, features.channels(settings.features)]))
    with pytest.raises(TfvoiceError, match=f"cannot follow speech as it is spoken: .*{words}"):
        StreamingTranscriber(Recognizer(tmp_path, settings, statistics))
