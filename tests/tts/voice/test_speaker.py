"""Laws of speaking: each sentence alone, the same samples for a seed, speed and pitch, what cannot be spoken."""

import numpy as np
import pytest

from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.errors import TfvoiceError
from tfvoice.text.phonemes import PhonemeError
from tfvoice.tts.voice import speaker as speaker_
from tfvoice.tts.voice.speaker import Speaker, SpeechOptions, SpokenSentence


@pytest.fixture(scope="module")
def speaker(voice_run):
    return Speaker(voice_run)


def test_a_sentence_has_silence_at_its_ends_and_at_its_pauses(speaker):
    planned = speaker.plan("The cat, the dog.")
    expected = "sil DH AH0 K AE1 T sil DH AH0 D AO1 G sil"
    assert planned.alignment.phonemes == expected.split() and not planned.unspoken
    ends = planned.alignment.ends
    assert (np.diff(ends, prepend=0) > 0).all() and ends[-1] % 64 == 0
    assert len(planned.alignment.f0_hz) == ends[-1] // 64
    assert len(speaker.speak(planned)) == ends[-1]


def test_what_cannot_be_spoken_is_listed_with_its_place(speaker):
    planned = speaker.plan("A cat \U0001f600 zzyzx.")
    assert [(word.word, word.start) for word in planned.unspoken] == [("\U0001f600", 6), ("zzyzx", 8)]
    assert planned.alignment.phonemes[:2] == ["sil", "AH0"]


def test_the_same_seed_gives_the_same_samples_and_streams_are_whole(speaker):
    planned = speaker.plan("A cat.")
    one, again, other = (speaker.speak(planned, SpeechOptions(seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any() and one.dtype == np.float32 and np.abs(one).max() <= 1
    np.testing.assert_array_equal(np.concatenate(list(speaker.stream(planned, SpeechOptions(seed=1)))), one)


def test_a_sentence_of_a_long_text_is_spoken_as_alone(speaker):
    options = SpeechOptions(seed=3)
    first, second = speaker.sentences(["A cat.\n", "The dog", " sat.\n"], options)
    assert (first.text, second.text, second.start) == ("A cat.", "The dog sat.", 7)
    np.testing.assert_array_equal(
        speaker.speak(second, options), speaker.speak(speaker.plan("The dog sat.", options), options)
    )


def test_a_sentence_without_words_is_an_error_among_the_others(speaker):
    found = list(speaker.sentences("A cat. \U0001f600! The dog.", SpeechOptions()))
    assert [isinstance(each, SpokenSentence) for each in found] == [True, False, True]
    with pytest.raises(PhonemeError, match="'XX' is no phoneme"):
        list(speaker.sentences("A cat. {XX} there.", SpeechOptions()))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The text is empty; give some words."),
        (" \n\t ", "The text is empty"),
        ("...", "Nothing in the text can be spoken by this voice"),
        ("Привет", "Nothing in the text can be spoken by this voice, the first is 'Привет' at character 1"),
        ("\x07\x00", "Nothing in the text can be spoken by this voice"),
    ],
)
def test_a_text_without_words_gets_a_sentence(speaker, text, sentence):
    with pytest.raises(TfvoiceError, match=sentence.replace(".", r"\.")):
        speaker.plan(text)


def test_phonemes_are_spoken_as_they_are(speaker):
    planned = speaker.plan_phonemes("hh ah0 l ow1 sil W ER1 L D")
    assert planned.alignment.phonemes == ["sil", "HH", "AH0", "L", "OW1", "sil", "W", "ER1", "L", "D", "sil"]
    assert speaker.plan("{HH AH0 L OW1}").alignment.phonemes == ["sil", "HH", "AH0", "L", "OW1", "sil"]
    for text, sentence in (("HH QQ1", "'QQ1' is no phoneme"), ("sil sil", "no phonemes to speak"), ("", "no phonemes")):
        with pytest.raises(PhonemeError, match=sentence):
            speaker.plan_phonemes(text)


def test_speed_and_pitch_change_durations_and_f0():
    alignment = PhonemeAlignment(["sil", "AA1"], np.array([6400, 12800]), np.repeat([0, 200.0], 100), 64)
    fast = speaker_.retimed(alignment, SpeechOptions(speed=2.0, pitch=12.0))
    assert fast.ends.tolist() == [3200, 6400]
    np.testing.assert_allclose(fast.f0_hz, np.repeat([0, 400.0], 50))
    slow = speaker_.retimed(alignment, SpeechOptions(speed=0.5))
    assert slow.ends.tolist() == [12800, 25600]
    np.testing.assert_allclose(slow.f0_hz, np.repeat([0, 200.0], 200))
    crowded = speaker_.retimed(PhonemeAlignment(["S"] * 3, np.array([1, 2, 3]), np.zeros(1), 64), SpeechOptions(4.0))
    assert crowded.ends.tolist() == [1, 2, 64]


@pytest.mark.parametrize("option", [{"speed": 0.1}, {"pitch": 13.0}, {"temperature": 0.0}, {"speed": float("nan")}])
def test_options_out_of_range_get_a_sentence(option):
    with pytest.raises(TfvoiceError, match=rf"^{next(iter(option))}=.* is out of range; choose "):
        speaker_.check(SpeechOptions(**option))


def test_a_copy_takes_the_durations_and_the_f0_of_a_recording(speaker, monkeypatch):
    seconds = np.arange(32000) / 16000
    hum = (0.3 * np.sign(np.sin(2 * np.pi * 150 * seconds))).astype(np.float32)
    monkeypatch.setattr(speaker_.align, "_LEAST_RECOGNISED", 0.0)
    planned = speaker.plan_copy(hum, "A cat.", "hum.wav")
    assert abs(int(planned.alignment.ends[-1]) - 32000) < 64
    assert [each for each in planned.alignment.phonemes if each != "sil"] == ["AH0", "K", "AE1", "T"]
    assert np.median(planned.alignment.f0_hz[planned.alignment.f0_hz > 0]) == pytest.approx(150, abs=1)
    with pytest.raises(TfvoiceError, match=r"hiss.wav: has no speech, no F0 was found in it"):
        speaker.plan_copy(np.zeros(32000, np.float32), "A cat.", "hiss.wav")
    monkeypatch.setattr(speaker_.align, "_LEAST_RECOGNISED", 1.1)
    with pytest.raises(TfvoiceError, match=r"hum.wav: has no speech that is its text"):
        speaker.plan_copy(hum, "A cat.", "hum.wav")
    with pytest.raises(TfvoiceError, match=r"hum.wav: cannot be aligned with its text: its phonemes need"):
        speaker.plan_copy(hum[:320], "A cat.", "hum.wav")
