"""The section `data` of a configuration: which utterances are used, and how they are batched."""

import pydantic

from tfvoice.config import Config


class FilterConfig(Config):
    """Which utterances are trained on.

    Attributes:
      min_seconds: shorter ones are skipped.
      max_seconds: longer ones are skipped; the memory of a step grows with the longest.
    """

    min_seconds: float = pydantic.Field(0.2, ge=0)
    max_seconds: float = pydantic.Field(20.0, gt=0)

    @pydantic.model_validator(mode="after")
    def _some_lengths_are_left(self):
        if self.min_seconds > self.max_seconds:
            raise ValueError(f"min_seconds={self.min_seconds:g} is above max_seconds={self.max_seconds:g}")
        return self


class DataConfig(FilterConfig):
    """How utterances are selected and batched.

    Attributes:
      buckets: number of lengths that batches are padded to. Fewer waste time on padding, more cost compilations.
      sorta_grad: sort the first epoch from short to long (Amodei et al., arXiv 1512.02595, section 3.2).
      workers: batches that are prepared in parallel.
    """

    buckets: int = pydantic.Field(8, ge=1)
    sorta_grad: bool = False
    workers: int = pydantic.Field(2, ge=1)


class WindowConfig(Config):
    """How clips are cut into windows.

    Attributes:
      sequence_samples: length of a window, which is how far gradients reach back (truncated back-propagation through
        time). Shorter clips are skipped.
    """

    sequence_samples: int = pydantic.Field(512, ge=1)
