"""Laws of streaming recognition: however the samples arrive, the result is that of the whole."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf
from samples import RATE, SMALL, THAI, speech, streaming_run, wav

from tfvoice import ctc, tasks
from tfvoice.asr import streaming, words
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.streaming import StreamingTranscriber
from tfvoice.asr.transcribe import Transcriber
from tfvoice.audio import features
from tfvoice.errors import TfvoiceError
from tfvoice.lengths import Sequence

CELLS = ("lstm", "gru", "rnn")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Makes a run with random weights that write text."""
    runs = functools.cache(lambda cell: streaming_run(tmp_path_factory.mktemp("run"), f"model.cell={cell}"))
    return lambda cell="lstm": runs(cell)


@pytest.fixture(scope="module")
def transcriber(run):
    """Makes a transcriber of a run; one for many tests, because each traces its step."""
    made = functools.cache(lambda cell, *arguments: StreamingTranscriber(run(cell), *arguments))
    return lambda cell="lstm", *arguments: made(cell, *arguments)


def whole(run, samples):
    """One pass over everything, as in training and evaluation."""
    logits = run.logits(samples[np.newaxis], np.array([len(samples)], np.int32))
    return tf.nn.log_softmax(logits.values[0, : logits.lengths[0]]).numpy()


def uneven(samples, sizes):
    places = list(itertools.accumulate(itertools.islice(itertools.cycle(sizes), 1000)))
    return np.split(samples, [place for place in places if place < len(samples)])


def cut(samples, size):
    return [samples[start : start + size] for start in range(0, len(samples), size)]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("length", [0, 1, 79, 160, 1599, 1600, 8000, 24000, 24001, 30011])
def test_frames_are_those_of_one_pass(run, transcriber, cell, length):
    samples = speech(4)[:length]
    found = np.concatenate(list(transcriber(cell).log_probabilities(cut(samples, 800))))
    expected = whole(run(cell), samples)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("seconds", [0.02, 0.1, 1.0, 7.0, 0.0371])
def test_words_do_not_depend_on_the_chunks(run, transcriber, seconds):
    samples = speech(9)
    found = list(transcriber().words(cut(samples, round(seconds * RATE))))
    assert len(found) > 5 and found == list(transcriber().words([samples]))
    as_file = np.concatenate(list(transcriber("lstm", 1.3).log_probabilities([samples])))
    assert [word.text for word in found] == decoded(run(), as_file)


def decoded(run, values):
    ids = ctc.greedy(Sequence(values[np.newaxis], np.array([len(values)], np.int32))).ids[0]
    return run.alphabet.decode(ids.numpy()).split()


def test_a_file_has_the_words_of_its_stream(run, transcriber, tmp_path):
    from tfvoice.audio import io

    io.write(tmp_path / "a.wav", speech(9), RATE)
    samples = io.read(tmp_path / "a.wav", RATE)
    streamed = list(transcriber().words(cut(samples, 160)))
    found = Transcriber(run(), window_seconds=2.0).transcribe(tmp_path / "a.wav")
    assert found.text == " ".join(word.text for word in streamed)
    for one, other in zip(found.words, streamed, strict=True):
        assert one[:3] == other[:3] and one.end <= 9.0
        assert one.confidence == pytest.approx(other.confidence, abs=1e-3)


def test_dither_has_no_words_and_counts_where_speech_follows(run, transcriber):
    quiet = speech(6) * 1e-4
    assert ctc_text(run(), quiet)
    assert not list(transcriber().words(cut(quiet, 160)))
    # Words that the network gives for it count where speech follows.
    both = np.concatenate([quiet, speech(3, seed=3)])
    found = list(transcriber().words(cut(both, 160)))
    assert [word.text for word in found] == ctc_text(run(), both)


def ctc_text(run, samples):
    return decoded(run, whole(run, samples))


def test_a_word_comes_when_its_space_is_final(run, transcriber):
    """Not a frame later than the look-ahead, the convolutions and a block ask for."""
    used, samples = run(), speech(9)
    arrived = []

    def chunks():
        for number, chunk in enumerate(cut(samples, 160), 1):
            arrived[:] = [number * 160 / RATE]
            yield chunk

    timed = [(word, arrived[0]) for word in transcriber().words(chunks())]
    frames = used.seconds_per_frame()
    wait = streaming.BLOCK_SECONDS + (3 + used.config.model.convolution_reach + 1) * frames + 0.02
    for (word, time), (next_word, _) in itertools.pairwise(timed):
        assert word.end <= time <= max(next_word.start, word.end + frames) + wait or time == arrived[0]


def test_a_step_is_traced_once_and_its_state_does_not_grow(transcriber):
    """Whatever the chunks: 20 s in pieces of half a second keep no more audio than the context."""
    used = transcriber()
    state, samples = used.start(), speech(20)
    context = 8 + 1
    for chunk in cut(samples, 4000):
        _, _, state = used.step(chunk, False, state)
        assert tf.size(state["held"]) <= 2 * context * 160 + 160
        assert tf.shape(state["waiting"])[0] < 4 and tf.size(state["ids"]) < 100
    assert used.step.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("sizes", [(800,), (30011,), (1, 4000, 77)], ids=str)
def test_the_new_characters_of_all_steps_are_the_text(run, transcriber, sizes):
    samples = speech(4)[:30011]
    texts, found = [], []
    state, chunks = transcriber().start(), uneven(samples, sizes)
    for number, chunk in enumerate(chunks):
        text, new, state = transcriber().step(chunk, number == len(chunks) - 1, state)
        texts.append(text.numpy().decode())
        found += words.to_list(new)[0]
    assert "".join(texts).split() == ctc_text(run(), samples)
    expected = list(transcriber().words([samples]))
    assert [word[:3] for word in found] == [word[:3] for word in expected] and len(found) > 3
    assert [word.confidence for word in found] == pytest.approx([word.confidence for word in expected], abs=1e-4)


def test_words_of_a_stream_are_those_of_its_whole_best_path(run, transcriber):
    """A label whose frames lie on both sides of a seam stays one, with the highest of their probabilities."""
    samples = speech(9)
    values = np.concatenate(list(transcriber().log_probabilities([samples])))
    emissions = ctc.greedy(Sequence(values[np.newaxis], np.array([len(values)], np.int32)))
    joined = words.join(emissions, run().alphabet, run().seconds_per_frame(), tf.constant([9.0], tf.float64))
    (expected,) = words.to_list(joined)
    found = list(transcriber().words(cut(samples, 160)))
    assert [word[:3] for word in found] == [word[:3] for word in expected]
    assert [word.confidence for word in found] == pytest.approx([word.confidence for word in expected], abs=1e-4)


def test_without_a_space_in_the_alphabet_each_character_comes_when_the_next_begins(tmp_path):
    run, samples = streaming_run(tmp_path, f"alphabet.characters={THAI}"), speech(9)
    expected = Transcriber(run, window_seconds=2.0).transcribe(wav(samples))
    assert len(expected.words) > 20 and expected.text == "".join(word.text for word in expected.words)
    assert any(len(word.text) > 1 for word in expected.words), "a character with its mark"
    transcriber, found, text = StreamingTranscriber(run), [], ""
    state = transcriber.start()
    for chunk in cut(samples, 1600):
        characters, new, state = transcriber.step(chunk, False, state)
        text += characters.numpy().decode()
        found += words.to_list(new)[0]
        # All but the last character with its marks is final.
        pending = run.alphabet.decode(state["ids"].numpy())
        assert "".join(word.text for word in found) + pending == text and len(pending.replace("ี", "")) <= 1
    found += words.to_list(transcriber.step(np.zeros(0, np.float32), True, state)[1])[0]
    assert [word[:3] for word in found] == [word[:3] for word in expected.words]


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            ["model.bidirectional=true"],
            "its network depends on what comes after; train deepspeech2 with --config=",
        ),
        (["features.normalization=utterance"], "--set features.normalization=corpus"),
        (["features.kind=mfcc", "features.window_ms=20"], "--set features.kind=log_mel"),
        (["features.pad_mode=reflect"], "--set features.pad_mode=constant"),
    ],
)
def test_a_run_that_needs_the_end_first_is_refused(tmp_path, overrides, reason):
    config = tasks.resolve("deepspeech2", overrides=[*SMALL, *overrides])
    statistics = features.FeatureStatistics(*np.ones([2, features.channels(config.features)]))
    with pytest.raises(TfvoiceError, match=f"cannot transcribe a stream: .*{reason}"):
        StreamingTranscriber(Recognizer(tmp_path, config, statistics))
