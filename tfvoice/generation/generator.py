"""A run of a generator of audio: levels to logits over the next level."""

import functools
from pathlib import Path
from typing import Any

from tfvoice.data import index, shards, windows
from tfvoice.data.windows import WindowPipeline
from tfvoice.errors import TfvoiceError
from tfvoice.generation.config import GeneratorConfig
from tfvoice.models.sample_rnn import SampleRnn
from tfvoice.run import Run
from tfvoice.training.config import DTYPE_POLICIES


class Generator(Run):
    """A run of a generator.

    Args:
      run_dir: the folder.
      config: the whole configuration.
      info: what is written beside the configuration; its `sample_rate_hz`, that of the audio, must be there.
      training: whether the run is to be trained, in the precision of its configuration; otherwise it is float32.

    Raises:
      TfvoiceError: `info` has no `sample_rate_hz`.
    """

    config_class = GeneratorConfig

    def __init__(
        self, run_dir: str | Path, config: GeneratorConfig, info: dict[str, Any] | None = None, training: bool = False
    ):
        if "sample_rate_hz" not in (info or {}):
            raise TfvoiceError(
                f"{run_dir}: the sample rate of this generator is unknown; add info.sample_rate_hz to experiment.json, "
                "or pass info={'sample_rate_hz': 16000}."
            )
        super().__init__(run_dir, config, info, training)

    @classmethod
    def new(
        cls,
        run_dir: str | Path,
        config: GeneratorConfig,
        data_dir: str | Path,
        info: dict[str, Any] | None = None,
        source: "Generator | None" = None,
    ):
        """A run that is to be trained on `data_dir`, of which nothing is on disk yet; `source` gives only weights."""
        rate_hz = shards.read_manifest(data_dir).sample_rate_hz
        return cls(run_dir, config, (info or {}) | {"sample_rate_hz": rate_hz}, training=True)

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the audio that it was trained on and that it generates."""
        return int(self.info["sample_rate_hz"])

    def scan(self, data_dir: str | Path, split: str, filtered: bool = True) -> index.Index:
        """The clips of a split of converted data.

        Args:
          data_dir: folder of the shards.
          split: name of the split.
          filtered: whether to drop clips that are shorter than a window, as in training.

        Raises:
          TfvoiceError: as `index.scan_clips`, or the sample rate differs.
        """
        manifest = shards.read_manifest(data_dir)
        if manifest.sample_rate_hz != self.sample_rate_hz:
            raise TfvoiceError(
                f"{data_dir}: its audio has {manifest.sample_rate_hz} Hz and {self.run_dir} was trained at "
                f"{self.sample_rate_hz}; convert it with --sample_rate_hz={self.sample_rate_hz}."
            )
        shortest = self.config.data.sequence_samples if filtered else 1
        return index.scan_clips(manifest, data_dir, split, shortest)

    def pipeline(self, scanned: index.Index, shuffled: bool = False) -> WindowPipeline:
        """The batches of a split: shuffled in each epoch for training, whole clips otherwise."""
        chosen = self.config
        peaks = self._peaks(scanned.directory) if chosen.quantization.normalization == "peak" else None
        return WindowPipeline(
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

    def _build(self, precision):
        model = SampleRnn(self.config.model, self.config.quantization.levels, dtype=DTYPE_POLICIES[precision])
        model.build(None)
        return model
