"""Voices of small random parts for tests: they know English, and what they say is noise."""

import numpy as np
from segmentations import segmentation_run

from tfvoice import checkpoints, config
from tfvoice.text.phonemes import ARPABET
from tfvoice.tts.voice.config import VoiceRunConfig
from tfvoice.tts.voice.run import PARTS, VoiceRun

SMALL = (
    "segmentation.model.units=6", "segmentation.model.layers=1", "segmentation.model.convolution_channels=2",
    "segmentation.pronunciation.g2p=", "duration_f0.model.dense=12", "duration_f0.model.recurrent=6",
    "duration_f0.model.f0_values=5", "vocoder.model.layers=4", "vocoder.model.residual=8", "vocoder.model.skip=12",
    "vocoder.model.conditioner=6",
)  # fmt: skip
_INFO = {
    "duration_f0": {
        "phonemes": list(ARPABET.bases),
        "statistics": {
            "seconds_mean": 0.08, "seconds_deviation": 0.02, "f0_mean_hz": 180.0, "f0_deviation_hz": 10.0
        },
    },
    "vocoder": {
        "phonemes": list(ARPABET.bases),
        "sample_rate_hz": 16000,
        "f0": {"log_f0_mean": 5.2, "log_f0_deviation": 0.1},
    },
}  # fmt: skip


def settings(overrides=()) -> VoiceRunConfig:
    """A configuration of small parts."""
    values = config.merge(*(config.parse_override(text) for text in (*SMALL, *overrides)))
    return config.build(VoiceRunConfig, values, "test")


def voice_run(folder, data_dir, overrides=()) -> VoiceRun:
    """Makes a voice in a folder, whose parts have a checkpoint `best` of random weights."""
    chosen = settings(overrides)
    VoiceRun(folder, chosen, {"data": str(data_dir), "sample_rate_hz": 16000}).write()
    words = [f"{name}={getattr(chosen.segmentation.pronunciation, name)}" for name in ("own_lexicon", "lexicon")]
    segmentation_run(folder / "segmentation", data_dir, [f"pronunciation.{word}" for word in words])
    for name, info in _INFO.items():
        made = PARTS[name].create(folder / name, getattr(chosen, name), info)
        for number, weight in enumerate(made.model.trainable_variables):
            if len(weight.shape) > 1:
                weight.assign(0.3 * np.random.default_rng(number).standard_normal(weight.shape))
        checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {"epoch": 1})
    return VoiceRun.load(folder)
