"""Laws of reading recordings of any length."""

import io as streams
import itertools
import os
import threading

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from tfvoice import ctc, experiment
from tfvoice.asr import transcribe
from tfvoice.asr.decoders import DecoderConfig
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.transcribe import Transcriber
from tfvoice.audio import cmvn, features, io
from tfvoice.errors import TfvoiceError
from tfvoice.lengths import Sequence

RATE = 8000
# What is longer than `max_seconds` goes through in windows.
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
def run(tmp_path_factory, talkative):
    """Makes an experiment with random weights."""
    made = {}

    def run(kind="utterance"):
        if kind not in made:
            settings = experiment.resolve("wavenet_asr", overrides=[*SMALL, *KINDS[kind]])
            channels = features.channels(settings.features)
            statistics = features.Statistics(np.linspace(-9, -3, channels), np.linspace(1, 3, channels))
            made[kind] = Recognizer.create(tmp_path_factory.mktemp("run"), settings, statistics)
            talkative(made[kind].model)
        return made[kind]

    return run


def speech(seconds, seed=0):
    """Noise whose level and colour change ten times a second."""
    random = np.random.default_rng(seed)
    samples = random.standard_normal(round(seconds * RATE))
    smooth = np.convolve(samples, np.ones(8) / 8, "same")
    share, level = (np.repeat(random.random(int(seconds * 10) + 1), RATE // 10)[: len(samples)] for _ in range(2))
    return (0.2 * level * (share * samples + (1 - share) * 2 * smooth)).astype(np.float32)


def wav(samples, rate=RATE, subtype="FLOAT", container="WAV"):
    file = streams.BytesIO()
    soundfile.write(file, samples, rate, subtype=subtype, format=container)
    return file.getvalue()


def whole(run, samples):
    """One pass over everything, as in training and evaluation."""
    logits = run.logits(samples[np.newaxis], np.array([len(samples)], np.int32))
    return tf.nn.log_softmax(logits.values[0, : logits.lengths[0]]).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_the_windows_do_not_matter(run, kind):
    source = wav(speech(31.013))
    expected = Transcriber(run(kind), window_seconds=100).log_probabilities(source)
    for window_seconds in (0.7, 3.0, 11.0):
        found = Transcriber(run(kind), window_seconds=window_seconds).log_probabilities(source)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind in ("none", "corpus", "mfcc")])
def test_windows_give_the_frames_of_one_pass_where_nothing_is_normalised_by_utterance(run, kind):
    samples = speech(7.013)
    expected = whole(run(kind), samples)
    found = Transcriber(run(kind), window_seconds=1.0).log_probabilities(wav(samples))
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("kind", ["utterance", "utterance_scalar"])
def test_what_training_could_have_seen_is_read_in_one_piece(run, kind):
    samples = speech(0.4)
    found = Transcriber(run(kind), window_seconds=0.1).log_probabilities(wav(samples))
    np.testing.assert_allclose(found, whole(run(kind), samples), atol=2e-4)


@pytest.mark.parametrize("length", [1, 79, 80, 3199, 3200, 3201, 8000, 8079, 8080, 16000, 16159, 16160, 16161, 23999])
def test_windows_give_as_many_frames_as_one_pass(run, length):
    samples = speech(4)[:length]
    assert len(Transcriber(run(), window_seconds=0.4).log_probabilities(wav(samples))) == len(whole(run(), samples))


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_the_transcript_does_not_depend_on_the_windows(run, decoder):
    source = wav(speech(6))
    one, *others = (
        Transcriber(run(), DecoderConfig(name=decoder, beam_width=10), window_seconds).transcribe(source)
        for window_seconds in (100, 0.4, 1.7)
    )
    assert len(one.words) > 3
    for other in others:
        assert (other.text, other.seconds) == (one.text, one.seconds)
        for found, expected in zip(other.words, one.words, strict=True):
            assert found[:3] == expected[:3] and found.confidence == pytest.approx(expected.confidence, abs=1e-3)


def test_no_frame_sees_further_than_the_reach(run):
    samples = speech(3)
    reach = transcribe.reach_samples(run("none").config)
    place = 10000
    disturbed = samples.copy()
    disturbed[place] += 1
    difference = np.abs(whole(run("none"), samples) - whole(run("none"), disturbed)).max(axis=1)
    touched = np.flatnonzero(difference > 1e-6) * run("none").seconds_per_frame() * RATE
    assert touched.min() >= place - reach and touched.max() <= place + reach
    # And not much less far, or the windows would overlap for nothing.
    assert touched.max() - touched.min() > 2 * reach - 4 * 512


def test_the_default_model_sees_279_frames_to_either_side():
    config = experiment.resolve("wavenet_asr")
    assert transcribe.reach_samples(config) == (279 * 2 + 2) * 160 + 512


@pytest.mark.parametrize("kind", ["utterance", "none"])
def test_no_more_than_a_window_is_looked_at_at_once(run, monkeypatch, kind):
    widths = []
    compute = features.compute

    def counted(config, samples, *rest):
        widths.append(samples.shape[1])
        return compute(config, samples, *rest)

    monkeypatch.setattr(features, "compute", counted)
    monkeypatch.setattr(run(kind), "logits", lambda samples, lengths: run(kind)._compute(samples, lengths))
    transcriber = Transcriber(run(kind), window_seconds=1.0)
    assert len(transcriber.log_probabilities(wav(speech(60)))) == 60 * 50 + 1
    config = run(kind).config
    context = transcribe.reach_samples(config)
    context += cmvn.reach_samples(config.features) if kind == "utterance" else 0
    assert len(widths) > 40 and max(widths) <= RATE + 2 * context + 4 * 160


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_words_lie_in_order_within_the_recording(run, decoder):
    found = Transcriber(run(), DecoderConfig(name=decoder, beam_width=5), 1.0).transcribe(wav(speech(6)))
    assert found.seconds == 6.0 and found.text == " ".join(word.text for word in found.words)
    assert all(0 <= word.start < word.end <= 6.0 and 0 < word.confidence <= 1 for word in found.words)
    assert all(one.end <= two.start + 1e-9 for one, two in itertools.pairwise(found.words))
    assert found.confidence == pytest.approx(np.mean([word.confidence for word in found.words]))


def test_the_text_is_that_of_the_decoder_without_needless_spaces(run):
    values = Transcriber(run()).log_probabilities(wav(speech(6)))
    ids = ctc.greedy(Sequence(values[np.newaxis], np.array([len(values)], np.int32))).ids[0]
    expected = " ".join(run().alphabet.decode(ids.numpy()).split())
    assert Transcriber(run()).transcribe(wav(speech(6))).text == expected


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
def test_silence_is_an_empty_text(run, samples, window_seconds):
    found = Transcriber(run(), window_seconds=window_seconds).transcribe(wav(samples.astype(np.float32)))
    assert (found.seconds, found.text, found.confidence, found.words) == (5.0, "", None, [])


def test_a_single_word_is_enough_not_to_be_silence(run):
    samples = DITHER.astype(np.float32)
    samples[39700:] = speech(1)[:300]
    assert Transcriber(run()).transcribe(wav(samples)).text


def test_format_rate_and_channels_do_not_matter(run, tmp_path):
    samples = speech(4)
    path = tmp_path / "a.wav"
    path.write_bytes(wav(samples))
    transcriber = Transcriber(run(), window_seconds=1.0)
    expected = transcriber.transcribe(path)
    stereo = wav(np.stack([2 * samples, 0 * samples], axis=1))
    for source in (str(path), wav(samples), stereo, streams.BytesIO(wav(samples, container="AIFF"))):
        assert transcriber.transcribe(source) == expected
    faster = transcriber.transcribe(wav(np.repeat(samples, 2), 2 * RATE))
    assert faster.seconds == 4.0 and faster.words


def test_a_pipe_is_read_by_name_and_as_a_stream(run, tmp_path):
    content = wav(speech(4))
    transcriber = Transcriber(run(), window_seconds=1.0)
    expected = transcriber.transcribe(content)
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[content])
    writer.start()
    assert transcriber.transcribe(tmp_path / "pipe") == expected
    writer.join()
    reading, writing = os.pipe()
    writer = threading.Thread(target=lambda: os.fdopen(writing, "wb").write(content))
    writer.start()
    with os.fdopen(reading, "rb") as stream:
        assert transcriber.transcribe(stream) == expected
    writer.join()


def test_an_open_file_can_be_read_again_afterwards(run):
    stream = streams.BytesIO(wav(speech(4)))
    transcriber = Transcriber(run(), window_seconds=1.0)
    assert transcriber.transcribe(stream) == transcriber.transcribe(stream)


def test_a_recording_that_breaks_off_is_an_error_with_its_name(run, tmp_path):
    path = tmp_path / "broken.flac"
    path.write_bytes(wav(speech(30), subtype="PCM_16", container="FLAC")[:-150000])
    with pytest.raises(io.AudioError, match=r"broken\.flac"):
        Transcriber(run(), window_seconds=1.0).transcribe(path)
    with pytest.raises(io.AudioError, match=r"none\.wav: there is no such file"):
        Transcriber(run()).transcribe(tmp_path / "none.wav")
    with pytest.raises(io.AudioError, match="folder"):
        Transcriber(run()).transcribe(tmp_path)


def test_a_window_without_length_is_refused(run):
    with pytest.raises(TfvoiceError, match="--window_seconds=0"):
        Transcriber(run(), window_seconds=0.0)


@pytest.mark.parametrize("lexicon", [True, False])
def test_a_language_model_reads_long_recordings_word_by_word(run, monkeypatch, tmp_path, lexicon):
    pytest.importorskip("kenlm")
    pytest.importorskip("flashlight.lib.text.decoder")
    words = {"the": -1.0, "ox": -1.0, "</s>": -1.0, "<s>": -99, "<unk>": -1.5}
    lines = ["\\data\\", f"ngram 1={len(words)}", "ngram 2=1", "", "\\1-grams:"]
    lines += [f"{value}\t{word}\t0" for word, value in words.items()]
    (tmp_path / "a.arpa").write_text("\n".join([*lines, "", "\\2-grams:", "-0.1\tthe ox", "", "\\end\\", ""]))
    monkeypatch.setattr(transcribe, "_SEARCH_SECONDS", 2.0)
    decoder = DecoderConfig(name="lm", lm=str(tmp_path / "a.arpa"), beam_width=20, lexicon=lexicon, word_score=5.0)
    found = Transcriber(run(), decoder, 1.0).transcribe(wav(speech(9)))
    assert len(found.words) > 5 and (not lexicon or {word.text for word in found.words} <= {"the", "ox"})
    assert all(0 <= word.start < word.end <= 9.0 and 0 < word.confidence <= 1 for word in found.words)
    assert all(one.end <= two.start + 1e-9 for one, two in itertools.pairwise(found.words))
