"""A voice: the folder of a Deep Voice, whose parts are runs in it.

`experiment.json` has the configuration of all parts and where the data came from. `segmentation/`, `duration_f0/` and
`vocoder/` are runs, `aligned/` the records that the latter two were trained on, which speaking does not need. A lexicon
and a G2P model of the user's own are copied into the folder: it is whole, wherever it is copied to.
"""

import functools
from pathlib import Path
from typing import Any

from tfvoice import config as config_
from tfvoice import storage
from tfvoice.errors import TfvoiceError
from tfvoice.run import DESCRIPTION, Run, RunFolder, model_name, portable_info, read_description
from tfvoice.text import lexicon
from tfvoice.tts.duration_f0.run import DurationF0Run
from tfvoice.tts.g2p.run import G2pRun
from tfvoice.tts.pronunciation import PronunciationConfig, PronunciationSources
from tfvoice.tts.segmentation.run import SegmentationRun
from tfvoice.tts.vocoder.run import VocoderRun
from tfvoice.tts.voice.config import VoiceRunConfig

# The voice that comes with the package.
PACKAGED_VOICE = Path(__file__).parents[1] / "data" / "voice"
# The aligned records in the folder of a voice.
ALIGNED = "aligned"
# The packed voice beside the SavedModel of an exported one.
EXPORTED_VOICE = "voice"
# Names of the copies of a user's own files in the folder of a voice, by the keys of `PronunciationConfig`.
COPIES = {"lexicon": "lexicon.dict", "own_lexicon": "own_lexicon.dict", "g2p": "g2p"}
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
    def models(self) -> tuple:
        """The Keras models that speak."""
        return self.duration_f0.model, self.vocoder.model

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the speech."""
        return self.vocoder.sample_rate_hz

    @property
    def own_data(self) -> str | None:
        """The aligned records in the folder, wherever it was copied to; None where they are not there."""
        found = self.run_dir / ALIGNED
        return str(found) if found.is_dir() else None

    def pack(self, folder: str | Path, copying: bool = True) -> Path:
        """Writes a copy to be given to others: weights in float16, a lexicon and G2P model of the user's own included.

        Nothing in it names a path of this machine. It has no aligned records and cannot be trained.

        Args:
          folder: of the copy.
          copying: whether the part that only `tfvoice_speak --copy` needs is in it, where the voice has one.

        Returns:
          The folder.

        Raises:
          TfvoiceError: a part is not trained, or a file of the pronunciation cannot be read.
        """
        folder = Path(folder)
        segmentation = self.config.segmentation
        packed = {"pronunciation": self._pack_pronunciation(folder)}
        config = self.config.model_copy(update={"segmentation": segmentation.model_copy(update=packed)})
        VoiceRun(folder, config, portable_info(self.info)).write()
        for name in PARTS:
            if name == "segmentation" and not (copying and self._has(name)):
                continue
            part = self._part(name)
            if name == "segmentation":
                part.config = part.config.model_copy(update=packed)
            part.pack(folder / name)
        return folder

    def _pack_pronunciation(self, folder: Path) -> PronunciationConfig:
        """Copies the user's own files of the pronunciation; returns the configuration with their new places."""
        chosen, paths = self.config.segmentation.pronunciation, {}
        for name, path in chosen.files().items():
            target, source = folder / COPIES[name], self.run_dir / "segmentation" / path
            if name == "g2p":
                G2pRun.load(source).pack(target)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                storage.write(target, lexicon.read_bytes(source))
            paths[name] = f"../{target.name}"
        return chosen.model_copy(update=paths)

    def _has(self, name: str) -> bool:
        return (self.run_dir / name / DESCRIPTION).is_file()

    def _part(self, name: str) -> Run:
        if not self._has(name):
            data = self.info.get("data", "DIR")
            raise TfvoiceError(
                f"{self.run_dir}: this voice is only half trained, it has no {name} yet; resume it with "
                f"tfvoice_train --model=deep_voice --data={data} --run={self.run_dir}."
            )
        return PARTS[name].load(self.run_dir / name, self.loaded)
