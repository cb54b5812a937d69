"""Laws of transcribing recordings of any length."""

import functools
import io as streams
import itertools
import os
import threading

import numpy as np
import pytest
import tensorflow as tf
from samples import RATE, modulated, wav

from tfvoice import ctc, tasks
from tfvoice.asr import transcribe
from tfvoice.asr.decoders import DecoderConfig
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.transcribe import Transcriber
from tfvoice.audio import features, io
from tfvoice.errors import TfvoiceError
from tfvoice.lengths import Sequence

# Longer recordings than `max_seconds` go through in windows.
SMALL = (
    "model.width=8",
    "model.dilations=[1,2,4]",
    "model.stacks=1",
    "features.bins=10",
    "data.max_seconds=0.4",
    f"features.sample_rate_hz={RATE}",
)
KINDS = {
    "utterance": [],
    "utterance_scalar": ["features.normalization=utterance_scalar"],
    "none": ["features.normalization=none"],
    "corpus": ["features.normalization=corpus"],
    "reflect": ["features.pad_mode=reflect"],
    "stride 3": ["model.stride=3"],
    "stride 1, unmasked": ["model.stride=1", "model.mask_padding=false"],
    "spectrogram": ["features.kind=log_spectrogram", "features.window_ms=20"],
    "mfcc": ["features.kind=mfcc", "features.mfcc_coefficients=10", "features.normalization=none"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory, random_words):
    """Makes a run with random weights."""
    runs = {}

    def run(kind="utterance"):
        if kind not in runs:
            config = tasks.resolve("wavenet_asr", overrides=[*SMALL, *KINDS[kind]])
            channels = features.channels(config.features)
            statistics = features.FeatureStatistics(np.linspace(-9, -3, channels), np.linspace(1, 3, channels))
            runs[kind] = Recognizer.create(tmp_path_factory.mktemp("run"), config, statistics)
            random_words(runs[kind].model)
        return runs[kind]

    return run


@pytest.fixture(scope="module")
def transcriber(run):
    """Makes a transcriber of a run; one for many tests, because each traces its graphs."""
    made = functools.cache(lambda kind, *arguments: Transcriber(run(kind), *arguments))

    def transcriber(kind="utterance", window_seconds=transcribe.WINDOW_SECONDS, **decoder):
        return made(kind, DecoderConfig(**decoder), window_seconds)

    return transcriber


def whole(run, samples):
    """One pass over everything, as in training and evaluation."""
    logits = run.logits(samples[np.newaxis], np.array([len(samples)], np.int32))
    return tf.nn.log_softmax(logits.values[0, : logits.lengths[0]]).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_log_probabilities_do_not_depend_on_the_windows(run, kind):
    source = wav(modulated(31.013))
    expected = Transcriber(run(kind), window_seconds=100).log_probabilities(source)
    for window_seconds in (0.7, 11.0):
        found = Transcriber(run(kind), window_seconds=window_seconds).log_probabilities(source)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind in ("none", "corpus", "mfcc")])
def test_windows_give_the_frames_of_one_pass_where_nothing_is_normalised_by_utterance(run, transcriber, kind):
    samples = modulated(7.013)
    expected = whole(run(kind), samples)
    found = transcriber(kind, 1.0).log_probabilities(wav(samples))
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("kind", ["utterance", "utterance_scalar"])
def test_a_recording_no_longer_than_the_training_clips_takes_one_pass(run, transcriber, kind):
    samples = modulated(0.4)
    found = transcriber(kind, 0.1).log_probabilities(wav(samples))
    np.testing.assert_allclose(found, whole(run(kind), samples), atol=2e-4)


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_the_transcript_does_not_depend_on_the_windows(transcriber, decoder):
    source = wav(modulated(6))
    one, *others = (
        transcriber("utterance", window_seconds, name=decoder, beam_width=10).transcribe(source)
        for window_seconds in (100.0, 0.4, 1.7)
    )
    assert len(one.words) > 3
    for other in others:
        assert (other.text, other.seconds) == (one.text, one.seconds)
        for found, expected in zip(other.words, one.words, strict=True):
            assert found[:3] == expected[:3] and found.confidence == pytest.approx(expected.confidence, abs=1e-3)


@pytest.mark.parametrize("kind", ["utterance", "none"])
@pytest.mark.parametrize("seconds", [0.0, 0.3, 6.0])
def test_samples_in_memory_have_the_transcript_of_their_file(transcriber, kind, seconds):
    samples = modulated(6)[: round(seconds * RATE)]
    used = transcriber(kind, 1.7)
    found = used.transcribe_samples(samples)
    if seconds:
        assert found == used.transcribe(wav(samples))
    else:
        assert (found.seconds, found.text, found.confidence, found.words) == (0.0, "", None, [])
    assert len(found.words) > 3 or seconds < 6


@pytest.mark.parametrize("kind", ["utterance", "none"])
def test_an_array_of_any_rate_has_the_transcript_of_its_file(transcriber, kind):
    used, samples = transcriber(kind, 1.7), modulated(3)
    for values in (samples, np.stack([samples, samples], axis=1)):
        found = used.transcribe(values, RATE)
        assert found == used.transcribe(wav(samples)) and len(found.words) > 1
    double = np.interp(np.arange(2 * len(samples)) / 2, np.arange(len(samples)), samples)
    assert used.transcribe(double, 2 * RATE).seconds == pytest.approx(3.0, abs=1e-3)
    np.testing.assert_allclose(used.log_probabilities(samples, RATE), used.log_probabilities(wav(samples)), atol=2e-4)
    with pytest.raises(TfvoiceError, match="an array needs the sample rate"):
        used.transcribe(samples)


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
@pytest.mark.parametrize("kind", ["utterance", "none"])
def test_a_batch_has_the_transcripts_of_its_clips(transcriber, kind, decoder):
    used = transcriber(kind, 1.0, name=decoder, beam_width=5)
    whole = modulated(9)
    clips = [whole[: round(seconds * RATE)] for seconds in (0.35, 9.0, 0.2, 0.0, 0.4, 0.3)]
    clips.append(np.zeros(3000, np.float32))
    found = used.transcribe_batch([*clips, wav(whole[:5000])], RATE, batch_size=3)
    expected = [used.transcribe(clip, RATE) for clip in clips] + [used.transcribe(wav(whole[:5000]))]
    assert [one.text for one in found] == [one.text for one in expected]
    assert [one.seconds for one in found] == [one.seconds for one in expected]
    assert used.transcribe_batch([]) == []


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_words_lie_in_order_within_the_recording(transcriber, decoder):
    found = transcriber("utterance", 1.0, name=decoder, beam_width=5).transcribe(wav(modulated(6)))
    assert found.seconds == 6.0 and found.text == " ".join(word.text for word in found.words)
    assert all(0 <= word.start < word.end <= 6.0 and 0 < word.confidence <= 1 for word in found.words)
    assert all(one.end <= two.start + 1e-9 for one, two in itertools.pairwise(found.words))
    assert found.confidence == pytest.approx(np.mean([word.confidence for word in found.words]))


def test_the_text_is_that_of_the_decoder_with_single_spaces(run, transcriber):
    values = transcriber().log_probabilities(wav(modulated(6)))
    ids = ctc.greedy(Sequence(values[np.newaxis], np.array([len(values)], np.int32))).ids[0]
    expected = " ".join(run().alphabet.decode(ids.numpy()).split())
    assert transcriber().transcribe(wav(modulated(6))).text == expected


def test_pieces_for_the_beam_are_short_and_cut_at_certain_blanks():
    values = np.random.default_rng(0).normal(-5, 1, [1000, 4]).astype(np.float32)
    values[70::100, 3] = 0.0
    pieces = list(transcribe._pieces(values, 100, 3))
    assert [start for start, _ in pieces] == [0, *(end for _, end in pieces[:-1])] and pieces[-1][1] == 1000
    assert all(0 < end - start <= 100 for start, end in pieces)
    assert all(values[end - 1, 3] == 0.0 for _, end in pieces[:-1])
    assert list(transcribe._pieces(values[:100], 100, 3)) == [(0, 100)]


DITHER = 2.0**-15 * np.random.default_rng(0).standard_normal(40000)


@pytest.mark.parametrize("samples", [np.zeros(40000), np.full(40000, 0.1), DITHER], ids=["zeros", "offset", "dither"])
@pytest.mark.parametrize("window_seconds", [1.0, 60.0])
def test_silence_has_an_empty_text(transcriber, samples, window_seconds):
    found = transcriber("utterance", window_seconds).transcribe(wav(samples.astype(np.float32)))
    assert (found.seconds, found.text, found.confidence, found.words) == (5.0, "", None, [])


def test_a_single_word_is_not_silence(transcriber):
    samples = DITHER.astype(np.float32)
    samples[39700:] = modulated(1)[:300]
    assert transcriber().transcribe(wav(samples)).text


def test_the_transcript_does_not_depend_on_format_and_channels(transcriber, tmp_path):
    samples = modulated(4)
    path = tmp_path / "a.wav"
    path.write_bytes(wav(samples))
    used = transcriber("utterance", 1.0)
    expected = used.transcribe(path)
    stereo = wav(np.stack([1.5 * samples, 0.5 * samples], axis=1))
    for source in (str(path), wav(samples), stereo, streams.BytesIO(wav(samples, container="AIFF"))):
        assert used.transcribe(source) == expected
    faster = used.transcribe(wav(np.repeat(samples, 2), 2 * RATE))
    assert faster.seconds == 4.0 and faster.words


def test_a_pipe_is_transcribed_by_name_and_as_a_stream(transcriber, tmp_path):
    content = wav(modulated(4))
    used = transcriber("utterance", 1.0)
    expected = used.transcribe(content)
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[content])
    writer.start()
    assert used.transcribe(tmp_path / "pipe") == expected
    writer.join()
    reading, writing = os.pipe()
    writer = threading.Thread(target=lambda: os.fdopen(writing, "wb").write(content))
    writer.start()
    with os.fdopen(reading, "rb") as stream:
        assert used.transcribe(stream) == expected
    writer.join()


def test_an_open_file_can_be_transcribed_twice(transcriber):
    stream = streams.BytesIO(wav(modulated(4)))
    used = transcriber("utterance", 1.0)
    assert used.transcribe(stream) == used.transcribe(stream)


def test_a_truncated_recording_is_an_error_with_its_name(transcriber, tmp_path):
    path = tmp_path / "broken.flac"
    path.write_bytes(wav(modulated(30), subtype="PCM_16", container="FLAC")[:-150000])
    with pytest.raises(io.AudioError, match=r"broken\.flac"):
        transcriber("utterance", 1.0).transcribe(path)
    with pytest.raises(io.AudioError, match=r"none\.wav: there is no such file"):
        transcriber().transcribe(tmp_path / "none.wav")
    with pytest.raises(io.AudioError, match="folder"):
        transcriber().transcribe(tmp_path)


def test_a_window_without_a_length_is_refused(run):
    for seconds in (0.0, float("inf"), float("nan")):
        with pytest.raises(TfvoiceError, match=f"--window_seconds={seconds:g}: must be a number above 0"):
            Transcriber(run(), window_seconds=seconds)


@pytest.mark.parametrize("lexicon", [True, False])
def test_a_language_model_decodes_long_recordings(run, monkeypatch, tmp_path, lexicon):
    words = {"the": -1.0, "ox": -1.0, "</s>": -1.0, "<s>": -99, "<unk>": -1.5}
    lines = ["\\data\\", f"ngram 1={len(words)}", "ngram 2=1", "", "\\1-grams:"]
    lines += [f"{value}\t{word}\t0" for word, value in words.items()]
    (tmp_path / "a.arpa").write_text("\n".join([*lines, "", "\\2-grams:", "-0.1\tthe ox", "", "\\end\\", ""]))
    monkeypatch.setattr(transcribe, "_SEARCH_SECONDS", 2.0)
    decoder = DecoderConfig(name="lm", lm=str(tmp_path / "a.arpa"), beam_width=20, lexicon=lexicon, word_score=5.0)
    decoder = decoder.model_copy(update={"nbest": 3})
    found = Transcriber(run(), decoder, 1.0).transcribe(wav(modulated(9)))
    scores = [alternative.score for alternative in found.alternatives]
    assert len(set(found.alternatives)) == 3 and scores == sorted(scores, reverse=True)
    assert found.alternatives[0].text == found.text
    assert len(found.words) > 5 and (not lexicon or {word.text for word in found.words} <= {"the", "ox"})
    assert all(0 <= word.start < word.end <= 9.0 and 0 < word.confidence <= 1 for word in found.words)
    assert all(one.end <= two.start + 1e-9 for one, two in itertools.pairwise(found.words))
