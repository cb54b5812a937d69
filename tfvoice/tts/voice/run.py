"""A voice: the folder of a Deep Voice, whose parts are runs in it.

`experiment.json` has the configuration of all parts and where the data came from. `segmentation/`, `duration_f0/` and
`vocoder/` are runs, `aligned/` the records that the latter two were trained on, which speaking does not need. A lexicon
and a G2P model of the user's own are copied into the folder: it is whole, wherever it is copied to.
"""

import functools
from pathlib import Path
from typing import Any

from tfvoice import config as config_
from tfvoice.errors import TfvoiceError
from tfvoice.run import DESCRIPTION, Run, RunFolder, model_name, read_description
from tfvoice.tts.duration_f0.run import DurationF0Run
from tfvoice.tts.pronunciation import PronunciationSources
from tfvoice.tts.segmentation.run import SegmentationRun
from tfvoice.tts.vocoder.run import VocoderRun
from tfvoice.tts.voice.config import VoiceRunConfig

# The voice that comes with the package.
PACKAGED_VOICE = Path(__file__).parents[1] / "data" / "voice"
# The aligned records in the folder of a voice.
ALIGNED = "aligned"
# The parts in the order in which they are trained.
PARTS: dict[str, type[Run]] = {"segmentation": SegmentationRun, "duration_f0": DurationF0Run, "vocoder": VocoderRun}


class VoiceRun(RunFolder):
    """A voice.

    Args:
      run_dir: the folder.
      config: the whole configuration.
      info: what is written beside it, such as where the data came from.
      checkpoint: of the parts, `best` or `last`.

    Attributes:
      sources: lexicon, G2P model and normaliser.
    """

    config_class = VoiceRunConfig

    def __init__(
        self, run_dir: str | Path, config: VoiceRunConfig, info: dict[str, Any] | None = None, checkpoint: str = "best"
    ):
        super().__init__(run_dir, config, info)
        self.loaded = checkpoint
        # A path in the configuration of a part starts from that part.
        self.sources = PronunciationSources(config.segmentation.pronunciation, self.run_dir / "segmentation")

    @classmethod
    def open(cls, run_dir: str | Path, checkpoint: str = "best") -> "VoiceRun":
        """Opens the folder of a voice, whose parts may not be trained yet; raises as `load`."""
        content = read_description(run_dir)
        if model_name(content) != "deep_voice":
            raise TfvoiceError(f"{run_dir}: is a run of {model_name(content)}, not a voice of deep_voice.")
        config = config_.build(VoiceRunConfig, content["config"], str(Path(run_dir) / DESCRIPTION))
        return cls(run_dir, config, content.get("info"), checkpoint)

    @classmethod
    def load(cls, run_dir: str | Path, checkpoint: str = "best") -> "VoiceRun":
        """Opens a voice to speak with it.

        Args:
          run_dir: the folder.
          checkpoint: of its parts, `best` (by validation) or `last`.

        Raises:
          TfvoiceError: the folder is no voice, another version wrote it, or a part is not trained.
        """
        voice = cls.open(run_dir, checkpoint)
        # Of a voice that is only half trained, the error comes before anything is spoken.
        voice.duration_f0, voice.vocoder  # noqa: B018
        return voice

    @functools.cached_property
    def segmentation(self) -> SegmentationRun:
        """The part that aligns; only training and copying need it."""
        return self._part("segmentation")

    @functools.cached_property
    def duration_f0(self) -> DurationF0Run:
        """The part that predicts durations and F0."""
        return self._part("duration_f0")

    @functools.cached_property
    def vocoder(self) -> VocoderRun:
        """The part that makes samples."""
        return self._part("vocoder")

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the speech."""
        return self.vocoder.sample_rate_hz

    @property
    def own_data(self) -> str | None:
        """The aligned records in the folder, wherever it was copied to; None where they are not there."""
        found = self.run_dir / ALIGNED
        return str(found) if found.is_dir() else None

    def _part(self, name: str) -> Run:
        folder = self.run_dir / name
        if not (folder / DESCRIPTION).is_file():
            data = self.info.get("data", "DIR")
            raise TfvoiceError(
                f"{self.run_dir}: this voice is only half trained, it has no {name} yet; resume it with "
                f"tfvoice_train --model=deep_voice --data={data} --run={self.run_dir}."
            )
        return PARTS[name].load(folder, self.loaded)
