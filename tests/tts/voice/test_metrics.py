"""What a recogniser understands of waves, and how fast they were made."""

import numpy as np

from tfvoice.asr.recognizer import Recognizer
from tfvoice.tts.voice import metrics
from tfvoice.tts.voice.metrics import Listener, Timing


def test_waves_of_any_rate_are_transcribed_in_their_order(words_run):
    listener = Listener(Recognizer.load(words_run.run_dir))
    random = np.random.default_rng(0)
    waves = [random.uniform(-0.5, 0.5, size).astype(np.float32) for size in (8000, 4000)]
    texts = listener.transcribe([waves[0], np.zeros(0, np.float32), waves[1]], 16000)
    assert texts[1] == "" and texts[0] and texts[::2] == listener.transcribe(waves, 16000)
    assert listener.transcribe([waves[0]], 8000) != [texts[0]], "twice as long"


def test_references_are_spelled_as_the_recogniser_spells(words_run):
    listener = Listener(Recognizer.load(words_run.run_dir))
    rates = listener.error_rates(["Please, CALL Stella."], ["please call stela"])
    assert rates["cer"]["deletions"] == 1 and rates["wer"]["rate"] == 1 / 3
    assert rates["cer"]["reference_units"] == len("please call stella")


def test_the_speed_is_that_of_all_sentences():
    found = metrics.speed([Timing(2.0, 1.0, 0.1), Timing(4.0, 1.0, 0.3)])
    assert found == {"times_real_time": 3.0, "first_sound_seconds": 0.2}
    assert metrics.speed([]) == {"times_real_time": 0.0, "first_sound_seconds": 0.0}
