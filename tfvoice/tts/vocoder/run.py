"""A run of a vocoder: phonemes with their times and F0 to samples."""

from pathlib import Path
from typing import Any

from tfvoice.data import aligned
from tfvoice.errors import TfvoiceError
from tfvoice.models.deep_voice.vocoder import Vocoder
from tfvoice.run import Run
from tfvoice.training.config import DTYPE_POLICIES
from tfvoice.tts.duration_f0.data import phoneme_labels
from tfvoice.tts.vocoder import data as data_
from tfvoice.tts.vocoder.conditioning import F0Statistics
from tfvoice.tts.vocoder.config import VocoderRunConfig
from tfvoice.tts.vocoder.data import ClipPipeline, ClipSizes, VocoderIndex


class VocoderRun(Run):
    """A run of a vocoder.

    Args:
      run_dir: the folder.
      config: the whole configuration.
      info: what is written beside the configuration; `sample_rate_hz`, `phonemes` and `f0` must be there.
      training: whether the run is to be trained.

    Attributes:
      labels: phonemes without stress, in the order of their classes.
      sample_rate_hz: rate of the audio that it was trained on and that it speaks with.
      statistics: of the F0 of the data that it was trained on.
      sizes: of clips.

    Raises:
      TfvoiceError: `info` lacks one of them.
    """

    config_class = VocoderRunConfig

    def __init__(
        self, run_dir: str | Path, config: VocoderRunConfig, info: dict[str, Any] | None = None, training: bool = False
    ):
        try:
            self.labels = list(info["phonemes"])
            self.sample_rate_hz = int(info["sample_rate_hz"])
            self.statistics = F0Statistics(**info["f0"])
        except (KeyError, TypeError):
            raise TfvoiceError(
                f"{run_dir}: the phonemes, F0 and sample rate of this vocoder are unknown; add info.phonemes, info.f0 "
                "and info.sample_rate_hz to experiment.json, or train it again."
            ) from None
        self.sizes: ClipSizes = data_.sizes(config.data, config.model, self.sample_rate_hz)
        super().__init__(run_dir, config, info, training)

    @classmethod
    def new(
        cls,
        run_dir: str | Path,
        config: VocoderRunConfig,
        data_dir: str | Path,
        info: dict[str, Any],
        source: "VocoderRun | None" = None,
    ):
        """A run that is to be trained on aligned records, of which nothing is on disk yet.

        With the weights of `source` come the statistics that they were trained with.
        """
        statistics = source.statistics if source else VocoderIndex(data_dir, "train").f0_statistics()
        known = {
            "phonemes": phoneme_labels(data_dir),
            "sample_rate_hz": aligned.read_manifest(data_dir).sample_rate_hz,
            "f0": statistics._asdict(),
        }
        return cls(run_dir, config, info | known, training=True)

    @property
    def bases(self) -> dict[str, int]:
        """The class of each phoneme without stress."""
        return {label: number for number, label in enumerate(self.labels)}

    def index(self, data_dir: str | Path, split: str) -> VocoderIndex:
        """Reads a split of aligned records; raises `TfvoiceError` as `VocoderIndex`, or where its rate differs."""
        rate_hz = aligned.read_manifest(data_dir).sample_rate_hz
        if rate_hz != self.sample_rate_hz:
            raise TfvoiceError(
                f"{data_dir}: its audio has {rate_hz} Hz and {self.run_dir} was trained at {self.sample_rate_hz}; "
                f"convert the corpus with --sample_rate_hz={self.sample_rate_hz} and align it again."
            )
        return VocoderIndex(data_dir, split)

    def pipeline(self, index: VocoderIndex, shuffled: bool = False) -> ClipPipeline:
        """The batches of a split: other clips in each epoch for training, otherwise all of every utterance."""
        chosen = self.config
        return ClipPipeline(
            index,
            self.bases,
            self.statistics,
            self.sizes,
            chosen.data,
            chosen.quantization,
            chosen.training.batch_size,
            chosen.training.seed,
            shuffled,
        )

    def _build(self, precision):
        dtype = DTYPE_POLICIES[precision]
        # A class more: where there is no phoneme.
        model = Vocoder(self.config.model, len(self.labels) + 1, self.config.quantization.levels, dtype)
        model.build(None)
        return model
