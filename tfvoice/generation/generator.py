"""A run of a model that generates audio: levels to logits over the next level."""

import functools
from pathlib import Path
from typing import Any

from tfvoice import models
from tfvoice.data import index, shards, windows
from tfvoice.data.windows import ClipPipeline
from tfvoice.errors import TfvoiceError
from tfvoice.experiment import Experiment, GeneratorConfig


class Generator(Experiment):
    """A run of a generator.

    Args:
      run_dir: the folder.
      config: the whole configuration.
      info: what is written beside the configuration; its `sample_rate_hz` is that of the audio.
      training: whether it is to be trained, so that products have the type that the configuration gives them.
    """

    task = "generation"

    def __init__(
        self, run_dir: str | Path, config: GeneratorConfig, info: dict[str, Any] | None = None, training: bool = False
    ):
        super().__init__(run_dir, config, info, training)

    @classmethod
    def new(cls, run_dir: str | Path, config: GeneratorConfig, data_dir: str | Path, info: dict[str, Any]):
        """A run that is to be trained on `data_dir`; nothing of it is on disk yet."""
        rate_hz = shards.read_manifest(data_dir).sample_rate_hz
        return cls(run_dir, config, info | {"sample_rate_hz": rate_hz}, training=True)

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the audio that it was trained on and that it generates."""
        return int(self.info["sample_rate_hz"])

    def scan(self, data_dir: str | Path, split: str) -> index.Index:
        """Looks through a split of converted data; raises as `index.scan_clips`, or where the sample rate differs."""
        manifest = shards.read_manifest(data_dir)
        if manifest.sample_rate_hz != self.sample_rate_hz:
            raise TfvoiceError(
                f"{data_dir}: its audio has {manifest.sample_rate_hz} Hz and {self.run_dir} was trained at "
                f"{self.sample_rate_hz}; convert it with --sample_rate_hz={self.sample_rate_hz}."
            )
        return index.scan_clips(manifest, data_dir, split, self.config.data.sequence_samples)

    def pipeline(self, scanned: index.Index, shuffled: bool = False) -> ClipPipeline:
        """Makes the batches of a split: mixed anew in each epoch for training, whole clips otherwise."""
        chosen = self.config
        peaks = self._peaks(scanned.directory) if chosen.quantization.normalization == "peak" else None
        return ClipPipeline(
            scanned,
            chosen.data,
            chosen.quantization,
            chosen.model.context,
            chosen.training.batch_size,
            chosen.training.seed,
            shuffled,
            peaks,
        )

    @functools.lru_cache(1)  # noqa: B019 - a run lives as long as its process
    def _peaks(self, data_dir: Path) -> dict[str, float]:
        manifest = shards.read_manifest(data_dir)
        return windows.peaks(index.scan_clips(manifest, data_dir, split, 1) for split in manifest.splits)

    def _build(self, product_dtype):
        model = models.build(self.config.model, self.config.quantization.levels, product_dtype)
        model.build(None)
        return model
