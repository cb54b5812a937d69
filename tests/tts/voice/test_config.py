"""The configuration of a voice: defaults of its parts, nested keys."""

import pytest
import voices

from tfvoice.config import ConfigError
from tfvoice.tts.vocoder.config import VocoderRunConfig
from tfvoice.tts.voice.config import VoiceRunConfig


def test_parts_have_their_own_defaults():
    assert VoiceRunConfig().vocoder == VocoderRunConfig()
    assert voices.settings(["vocoder.training.epochs=3"]).vocoder.training.epochs == 3


def test_an_unknown_key_is_named():
    with pytest.raises(
        ConfigError, match=r"a voice has several parts; name one, as in --set vocoder.training.epochs=30\."
    ):
        voices.settings(["training.epochs=3"])
