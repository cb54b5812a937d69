"""A run of a model of duration and F0: phonemes to their prosody."""

from pathlib import Path
from typing import Any

from tfvoice.errors import TfvoiceError
from tfvoice.models.deep_voice.duration_f0 import STRESS_CLASSES, DurationF0
from tfvoice.run import Run
from tfvoice.tts.duration_f0 import data as data_
from tfvoice.tts.duration_f0.config import DurationF0RunConfig
from tfvoice.tts.duration_f0.data import ProsodyIndex, ProsodyPipeline, ProsodyStatistics


class DurationF0Run(Run):
    """A run of a model of duration and F0.

    Args:
      run_dir: the folder.
      config: the whole configuration.
      info: what is written beside the configuration; `phonemes` and `statistics` must be there.
      training: whether the run is to be trained.

    Attributes:
      labels: phonemes without stress, in the order of their classes.
      statistics: of the data that the run was trained on.

    Raises:
      TfvoiceError: `info` lacks phonemes or statistics.
    """

    config_class = DurationF0RunConfig

    def __init__(
        self,
        run_dir: str | Path,
        config: DurationF0RunConfig,
        info: dict[str, Any] | None = None,
        training: bool = False,
    ):
        try:
            self.labels = list(info["phonemes"])
            self.statistics = ProsodyStatistics(**info["statistics"])
        except (KeyError, TypeError):
            raise TfvoiceError(
                f"{run_dir}: the phonemes and statistics of this model are unknown; add info.phonemes and "
                "info.statistics to experiment.json, or train it again."
            ) from None
        super().__init__(run_dir, config, info, training)

    @classmethod
    def new(
        cls,
        run_dir: str | Path,
        config: DurationF0RunConfig,
        data_dir: str | Path,
        info: dict[str, Any],
        source: "DurationF0Run | None" = None,
    ):
        """A run that is to be trained on aligned records, of which nothing is on disk yet.

        With the weights of `source` come the statistics that they were trained with.
        """
        labels = data_.phoneme_labels(data_dir)
        statistics = source.statistics if source else cls.index(config, data_dir, "train").statistics()
        return cls(run_dir, config, info | {"phonemes": labels, "statistics": statistics._asdict()}, training=True)

    @staticmethod
    def index(config: DurationF0RunConfig, data_dir: str | Path, split: str) -> ProsodyIndex:
        """Reads a split of aligned records; errors as for `ProsodyIndex`."""
        return ProsodyIndex(data_dir, split, config.model.f0_values)

    def class_labels(self) -> list[str]:
        """The phonemes without stress, and the stresses, which are inputs too."""
        return [*self.labels, *(f"stress {number}" for number in range(STRESS_CLASSES))]

    def class_axes(self) -> dict[str, int]:
        """The axis of the classes in each tensor of the model that has one, by the path of its variable."""
        return self.model.class_axes()

    def pipeline(self, index: ProsodyIndex, shuffled: bool = False) -> ProsodyPipeline:
        """The batches of a split: shuffled in each epoch for training; errors as for `ProsodyPipeline`."""
        settings = self.config.training
        try:
            return ProsodyPipeline(index, self.labels, self.statistics, settings.batch_size, settings.seed, shuffled)
        except TfvoiceError as error:
            raise TfvoiceError(f"{self.run_dir}: does not know these records. {error}") from None

    def _build(self, precision):
        # Recurrent layers are float32 in any precision, and the others are small.
        model = DurationF0(self.config.model, len(self.labels))
        model.build(None)
        return model
