"""Speech to files and pipes: the same samples in each form, bounded blocks, what is left after an error."""

import numpy as np
import pytest
import soundfile

from tfvoice.errors import TfvoiceError
from tfvoice.tts.voice import speech_output
from tfvoice.tts.voice.speaker import Speaker, SpeechOptions
from tfvoice.tts.voice.speech_output import Source, Target

OPTIONS = SpeechOptions(speed=3.0, seed=1)


def spoken(voice_run, source, target, options=OPTIONS):
    return speech_output.speak(voice_run.run_dir, source, target, options)


def test_a_text_is_its_sentences_with_pauses_between_them(voice_run, tmp_path):
    done = spoken(voice_run, Source("A cat. The dog \U0001f600."), Target(f"{tmp_path}/a.wav"))
    samples, rate_hz = soundfile.read(tmp_path / "a.wav", dtype="float32")
    speaker = Speaker(voice_run)
    parts = [speaker.speak(speaker.plan(text, OPTIONS), OPTIONS) for text in ("A cat.", "The dog \U0001f600.")]
    expected = np.concatenate([parts[0], speaker.pause(OPTIONS), parts[1]])
    np.testing.assert_allclose(samples, expected, atol=1 / 32768)
    assert rate_hz == 16000 and done.seconds == len(samples) / 16000
    assert [(word.word, word.start) for word in done.unspoken] == [("\U0001f600", 15)]


def test_a_sentence_of_which_nothing_is_spoken_is_reported_with_its_place(voice_run, tmp_path):
    done = spoken(voice_run, Source("A cat. \U0001f600! The dog."), Target(f"{tmp_path}/a.wav"))
    assert [(word.word, word.start) for word in done.unspoken] == [("\U0001f600!", 7)]


def test_files_and_pipes_hold_the_same_samples(voice_run, tmp_path, capsysbinary):
    text = tmp_path / "text.txt"
    text.write_text("A cat.\nThe dog.\n")
    spoken(voice_run, Source(str(text), is_file=True), Target(f"{tmp_path}/a.flac"))
    expected, _ = soundfile.read(tmp_path / "a.flac", dtype="int16")
    spoken(voice_run, Source("A cat. The dog."), Target("-", "raw"))
    np.testing.assert_array_equal(np.frombuffer(capsysbinary.readouterr().out, "<i2"), expected)
    spoken(voice_run, Source("A cat. The dog."), Target("-"))
    wav = capsysbinary.readouterr().out
    assert wav[:4] == b"RIFF"
    np.testing.assert_array_equal(np.frombuffer(wav[44:], "<i2"), expected)
    spoken(voice_run, Source("A cat. The dog."), Target(f"{tmp_path}/a.pcm", "raw"))
    np.testing.assert_array_equal(np.fromfile(tmp_path / "a.pcm", "<i2"), expected)


def test_the_figure_has_phonemes_over_the_spectrogram(voice_run, tmp_path):
    spoken(voice_run, Source("A cat. The dog."), Target(f"{tmp_path}/a.wav", figure=f"{tmp_path}/a.png"))
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_phonemes_are_spoken(voice_run, tmp_path):
    done = spoken(voice_run, Source("K AE1 T", phonemes=True), Target(f"{tmp_path}/a.wav"))
    assert done.seconds > 0 and not done.unspoken


@pytest.mark.parametrize(
    ("source", "target", "sentence"),
    [
        (Source(""), Target("a.wav"), "The text is empty"),
        (Source("Привет. Пока."), Target("a.wav"), "Nothing in the text can be spoken by this voice, the first is 'Пр"),
        (Source("gone.txt", is_file=True), Target("a.wav"), "gone.txt: no such file"),
        (Source("HH XX", phonemes=True), Target("a.wav"), "'XX' is no phoneme"),
        (Source("A cat."), Target("there.wav"), "there.wav: already exists; name another file"),
        (Source("A cat."), Target("a.flac", "wav"), "--output=a.flac --format=wav: end the name in .wav"),
        (Source("A cat."), Target("-", "flac"), "a pipe takes wav or raw"),
        (Source("A cat."), Target("a.doc"), "a.doc: cannot tell a format from this name"),
        (Source("A cat.", copy="gone.wav"), Target("a.wav"), "gone.wav"),
    ],
)
def test_what_cannot_be_done_gets_a_sentence_and_leaves_no_file(
    voice_run, tmp_path, monkeypatch, source, target, sentence
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.wav").write_bytes(b"")
    with pytest.raises(TfvoiceError) as error:
        spoken(voice_run, source, target)
    assert sentence in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["there.wav"]


def test_an_interruption_keeps_what_was_spoken(voice_run, tmp_path, monkeypatch):
    whole = Speaker.stream
    calls = []

    def stream(self, sentence, options):
        if calls:
            raise KeyboardInterrupt
        calls.append(sentence)
        yield from whole(self, sentence, options)

    monkeypatch.setattr(Speaker, "stream", stream)
    with pytest.raises(KeyboardInterrupt, match=r"a.wav holds the first \d.\d s."):
        spoken(voice_run, Source("A cat. The dog."), Target(f"{tmp_path}/a.wav"))
    assert len(soundfile.read(tmp_path / "a.wav")[0]) > 1000
