"""Laws of the signatures of an exported recogniser."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from samples import RATE, modulated, recognizer, speech, streaming_run, wav

from tfvoice.asr import signatures
from tfvoice.asr.streaming import StreamingTranscriber
from tfvoice.asr.transcribe import Transcriber
from tfvoice.audio import level

SMALL = (
    *("model.width=8", "model.dilations=[1,2,4]", "model.stacks=1", "features.bins=10"),
    *("data.max_seconds=0.4", f"features.sample_rate_hz={RATE}"),
)


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory):
    """A run with random weights that write text, trained on clips of 0.4 s."""
    return recognizer(tmp_path_factory.mktemp("run"), "wavenet_asr", SMALL)


@pytest.fixture(scope="module", params=["lstm", "gru"])
def run(request, tmp_path_factory):
    """A run that streams, with random weights that write text."""
    return streaming_run(tmp_path_factory.mktemp("run"), f"model.cell={request.param}")


@pytest.fixture(scope="module")
def words(run):
    """The words of a stream of chunks."""
    return StreamingTranscriber(run).words


@pytest.fixture(scope="module")
def stream(run):
    """Transcribes a stream of chunks with the signatures; returns the new characters of each."""
    made = signatures.signatures(run)
    step = made["stream"].get_concrete_function()

    def stream(chunks):
        state, texts = made["stream_start"](), []
        for number, chunk in enumerate(chunks):
            final = tf.constant(number == len(chunks) - 1)
            state = step(chunk=tf.constant(chunk, tf.float32), final=final, **state)
            texts.append(state.pop("text").numpy().decode())
        return texts

    return stream


def cut(samples, sizes):
    places = list(itertools.accumulate(itertools.islice(itertools.cycle(sizes), 1000)))
    return np.split(samples, [place for place in places if place < len(samples)])


def test_a_run_that_cannot_stream_has_no_signatures_of_a_stream(recogniser, run):
    batch = {"serving_default", "wav", "waveform", "log_probs"}
    assert signatures.signatures(recogniser).keys() == batch
    assert signatures.signatures(run).keys() == batch | {"stream_start", "stream"}


def test_wav_files_and_waveforms_of_any_length_have_the_transcript_of_their_recording(recogniser):
    made, transcriber = signatures.signatures(recogniser, 0.9), Transcriber(recogniser, window_seconds=0.9)
    files = [wav(modulated(seconds), subtype="PCM_16") for seconds in (0.3, 3.0, 1.1)]
    expected = [transcriber.transcribe(file) for file in files]
    found = made["wav"](wav=tf.constant(files))
    assert [text.decode() for text in found["text"].numpy()] == [transcript.text for transcript in expected]
    counts = found["word_count"].numpy().tolist()
    assert counts == [len(transcript.words) for transcript in expected] and max(counts) > 3
    columns = ("word_start_seconds", "word_end_seconds", "word_confidence")
    for row, transcript in enumerate(expected):
        numbers = np.stack([found[name][row, : counts[row]] for name in columns], axis=1)
        np.testing.assert_allclose(numbers, [word[1:] for word in transcript.words], atol=1e-3)
    samples = modulated(3.0)
    found = made["log_probs"](waveform=tf.constant(samples[np.newaxis]), samples=tf.constant([len(samples)]))
    expected = transcriber.log_probabilities(wav(samples))
    np.testing.assert_allclose(found["log_probs"][0], expected, atol=1e-4)
    assert found["frames"].numpy().tolist() == [len(expected)]


@pytest.mark.parametrize("length", [0, 1, 159, 1600, 8000, 30011])
@pytest.mark.parametrize("sizes", [(800,), (30011,), (1, 4000, 77)], ids=str)
def test_the_text_of_a_stream_is_that_of_the_whole(words, stream, length, sizes):
    samples = speech(4)[:length]
    expected = " ".join(word.text for word in words([samples]))
    chunks = cut(samples, sizes) if length else [samples]
    found = stream(chunks)
    assert " ".join("".join(found).split()) == expected
    if length == 30011:
        assert len(expected) > 20 and (len(chunks) == 1 or any(found[: len(found) // 2]))


def test_an_end_without_audio_completes_the_text(stream):
    samples = speech(2)
    assert "".join(stream([samples, np.zeros(0)])) == "".join(stream([samples]))


@pytest.mark.parametrize("factor", [0.97, 1.03])
@pytest.mark.parametrize("size", [77, 5000])
def test_silence_does_not_depend_on_the_chunks(words, stream, factor, size):
    samples = speech(2)
    samples *= np.float32(factor * level.SILENCE) / level.update(level.start(), samples, False, RATE).peak.numpy()
    expected = " ".join(word.text for word in words([samples]))
    assert bool(expected) == (factor > 1)
    assert " ".join("".join(stream(cut(samples, (size,)))).split()) == expected


def test_dither_has_no_text_until_speech_follows(stream):
    assert "".join(stream([1e-6 * speech(1), 1e-6 * speech(1, 3)])) == ""
    quiet = stream([np.zeros(4000), speech(2), np.zeros(0)])
    assert quiet[0] == "" and "".join(quiet)


def test_the_signature_for_tflite_gives_log_probabilities(recogniser):
    samples = modulated(0.4)
    found = signatures.tflite_function(recogniser)(waveform=samples[np.newaxis])["log_probs"]
    expected = Transcriber(recogniser).log_probabilities(wav(samples))
    np.testing.assert_allclose(found[0], expected, atol=1e-4)
