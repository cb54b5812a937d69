"""The task of a vocoder: its training, and what commands, reports and exports ask of it."""

import functools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tfvoice.audio import io as audio_io
from tfvoice.generation.scoring import bits_per_sample
from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES
from tfvoice.report import samples as samples_
from tfvoice.training.task import ModelCard, UndecodedTask, Validation
from tfvoice.tts.vocoder.objective import NextLevelObjective
from tfvoice.tts.vocoder.run import VocoderRun
from tfvoice.tts.vocoder.scoring import LikelihoodScorer
from tfvoice.tts.vocoder.synthesis import Synthesizer


class VocoderTraining:
    """The training of a vocoder; see `tfvoice.training.task.TrainingJob`.

    Args:
      run: made for training.
      data_dir: folder of aligned records.
    """

    def __init__(self, run: VocoderRun, data_dir: str | Path):
        train_index, valid_index = (run.index(data_dir, split) for split in ("train", "valid"))
        self.train_data = run.pipeline(train_index, shuffled=True)
        self.valid_data = run.pipeline(valid_index)
        self.objective = NextLevelObjective(run.model, self.train_data)
        self._run, self._synthesizer = run, Synthesizer(run)
        self._scorer = LikelihoodScorer(self.objective, self.valid_data)

    def validate(self) -> Validation:
        """Scores the split `valid`, and speaks some of it; the best weights are those of the fewest bits per sample."""
        bits = bits_per_sample(self._scorer.score())
        spoken = self._speak()
        return Validation(bits, bits, {}, f"{bits:.4f} bits per sample", functools.partial(self._log, spoken))

    def _speak(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Recording and copy synthesis of the first utterances of `valid`, with the weights as they are."""
        config, pairs = self._run.config.sampling, []
        frames = round(config.seconds * self._run.sample_rate_hz / FRAME_SAMPLES)
        for row in range(min(config.count, len(self.valid_data.index))):
            part = self.valid_data.conditioning[row].part(0, self._run.sizes.silence + frames)
            copy = self._synthesizer.speak(part, config.temperature, self._run.config.training.seed)
            pairs.append((self.valid_data.index.clips.audio(row)[: len(copy)], copy))
        return pairs

    def _log(self, spoken: list[tuple[np.ndarray, np.ndarray]], epoch: int) -> None:
        """Writes recordings and copies to TensorBoard, and as files into the folder of the run."""
        if not spoken:
            return
        run_dir, rate_hz, pictured = self._run.run_dir, self._run.sample_rate_hz, {}
        for number, (recording, copy) in enumerate(spoken):
            pictured |= {f"recording {number}": recording, f"copy {number}": copy[: len(recording)]}
        samples_.write(run_dir, [copy for _, copy in spoken], pictured, rate_hz, epoch)
        for number, (recording, _) in enumerate(spoken):
            audio_io.write(run_dir / "samples" / f"recording-{number}.wav", recording, rate_hz)


class VocoderTask(UndecodedTask):
    """Phonemes with their times and F0 to samples; see `tfvoice.training.task.Task`.

    What only an evaluation or an export needs is imported by their methods: training starts without it.
    """

    name = "vocoder"
    summary = "a vocoder"
    commands = ()
    run = VocoderRun
    no_decoder = "predicts no text that could be decoded; leave --decoder out."

    @staticmethod
    def evaluation() -> ModuleType:
        """The module `evaluate`."""
        from tfvoice.tts.vocoder import evaluate

        return evaluate

    def training(self, run: VocoderRun, data_dir: str | Path) -> VocoderTraining:
        """Clips, the likelihood of the next level, and validation by bits per sample."""
        return VocoderTraining(run, data_dir)

    def card(self, run: VocoderRun) -> ModelCard:
        """Sample rate, levels, phonemes."""
        quantization = run.config.quantization
        return ModelCard(
            "Makes speech of phonemes with their durations and F0: one part of a text-to-speech system, with the voice "
            "of its training data. Do not let it say what its speaker would not want to say.",
            {
                "sample rate": f"{run.sample_rate_hz} Hz",
                "levels": f"{quantization.levels}, {quantization.kind}",
                "phonemes": f"{len(run.labels)}: {' '.join(run.labels)}",
                "mean F0": f"{np.exp(run.statistics.log_f0_mean):.0f} Hz",
            },
        )

    def describe(self, run: VocoderRun) -> dict[str, Any]:
        """Sample rate, levels, frames and phonemes."""
        return {
            "sample_rate_hz": run.sample_rate_hz,
            "levels": run.config.quantization.levels,
            "frame_samples": FRAME_SAMPLES,
            "phonemes": run.labels,
            "f0": run.statistics._asdict(),
        }

    def signatures(self, run: VocoderRun) -> dict[str, Callable]:
        """`logits`, under the names `serving_default` and `logits`: levels and conditioning to the next level."""
        from tfvoice.tts.vocoder import signatures

        return signatures.signatures(run)


VOCODER = VocoderTask()
