"""What a voice says about itself."""

import json

from tfvoice import tasks
from tfvoice.tts.voice.task import VOICE


def test_the_card_and_the_description_name_rate_and_phonemes(voice_run):
    facts = VOICE.card(voice_run).facts
    assert facts["sample rate"] == "16000 Hz" and facts["phonemes"].startswith("40: ") and facts["lexicon"] == "cmudict"
    known = VOICE.describe(voice_run)
    assert json.dumps(known) and known["frame_samples"] == 64 and known["speaking"]["temperature"] == 1.0
    assert "AH0" in known["symbols"] and "AH" in known["phonemes"]


def test_its_run_is_found_by_its_model(voice_run):
    assert tasks.of_run(voice_run.run_dir, "tfvoice_speak") is VOICE
