"""The task of a voice: what commands, reports and exports ask of it. Its parts have tasks of their own."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tfvoice.errors import TfvoiceError
from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES
from tfvoice.training.task import ModelCard, UndecodedTask
from tfvoice.tts.voice.run import EXPORTED_VOICE, VoiceRun


class VoiceTask(UndecodedTask):
    """Text to speech; see `tfvoice.training.task.Task`.

    A voice is no network that the trainer could train: `tfvoice.tts.voice.train` trains its parts. What only an
    evaluation or an export needs is imported by their methods.
    """

    name = "voice"
    summary = "a voice"
    commands = ("tfvoice_speak",)
    run = VoiceRun
    no_decoder = "speaks, so that there is no text to decode; leave --decoder out, and name a --recognizer."

    @staticmethod
    def evaluation() -> ModuleType:
        """The module `evaluate`."""
        from tfvoice.tts.voice import evaluate

        return evaluate

    def evaluate(self, run_dir, data_dir, split, checkpoint, compare, decoder, recognizer=None):
        """Calls `evaluate_run` of the module; `recognizer` is the folder of a run that transcribes what is spoken."""
        if decoder:
            raise TfvoiceError(f"{run_dir}: {self.no_decoder}")
        return self.evaluation().evaluate_run(run_dir, data_dir, split, checkpoint, compare, recognizer)

    def card(self, run: VoiceRun) -> ModelCard:
        """Sample rate, pitch, phonemes and where they come from."""
        labels = run.duration_f0.labels
        pronunciation = run.config.segmentation.pronunciation
        return ModelCard(
            "Speaks texts with the voice of its training data. It is made by a machine, and is to be called so where "
            "it is heard; do not let it say what its speaker would not want to say. It does not understand the text: "
            "words are stressed as the lexicon says, and sentences end alike.",
            {
                "sample rate": f"{run.sample_rate_hz} Hz",
                "levels": f"{run.vocoder.config.quantization.levels}, {run.vocoder.config.quantization.kind}",
                "mean F0": f"{np.exp(run.vocoder.statistics.log_f0_mean):.0f} Hz",
                "phonemes": f"{len(labels)}: {' '.join(labels)}",
                "lexicon": pronunciation.described(),
                "temperature": f"{run.config.speaking.temperature:g}",
            },
        )

    def describe(self, run: VoiceRun) -> dict[str, Any]:
        """Sample rate, frames, levels, phonemes, and how it speaks where nothing else is asked for."""
        return {
            "sample_rate_hz": run.sample_rate_hz,
            "frame_samples": FRAME_SAMPLES,
            "levels": run.vocoder.config.quantization.levels,
            "phonemes": run.duration_f0.labels,
            "symbols": list(run.sources.lexicon.inventory.symbols),
            "f0_values": run.duration_f0.config.model.f0_values,
            "f0": run.vocoder.statistics._asdict(),
            "speaking": run.config.speaking.model_dump(mode="json"),
        }

    def signatures(self, run: VoiceRun) -> dict[str, Callable]:
        """Phonemes to prosody, conditioning and levels to the next level, and phonemes to a waveform."""
        from tfvoice.tts.voice import signatures

        return signatures.signatures(run)

    def write_assets(self, run: VoiceRun, folder: Path) -> None:
        """The voice itself, packed, for servers with tfvoice: `tfvoice_serve` speaks faster than the graph."""
        run.pack(folder / EXPORTED_VOICE)


VOICE = VoiceTask()
