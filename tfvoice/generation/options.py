"""Options of the sampling."""

from typing import NamedTuple

import numpy as np

from tfvoice.errors import TfvoiceError

# Logits divided by a lower temperature are no longer finite; this one already gives the likeliest level alone.
_MIN_TEMPERATURE = 1e-4
_MAX_SEED = 2**31 - 1


class SamplingOptions(NamedTuple):
    """Options of the sampling.

    Attributes:
      temperature: divisor of the logits: a number, or several that are interpolated linearly over the length, evenly
        spaced.
      top_p: nucleus sampling: sample from the likeliest levels whose probabilities sum to this; 1: from all levels
        (Holtzman et al., arXiv 1904.09751).
      seed: of the random numbers, 0 to 2**31 - 1.
    """

    temperature: tuple[float, ...] = (1.0,)
    top_p: float = 1.0
    seed: int = 0

    def check(self) -> None:
        """Raises `TfvoiceError` where an option is out of range."""
        if not self.temperature or not all(_MIN_TEMPERATURE <= value < float("inf") for value in self.temperature):
            raise TfvoiceError(
                f"--temperature must be a number of at least {_MIN_TEMPERATURE:g}, or several with commas between them."
            )
        if not 0 < self.top_p <= 1:
            raise TfvoiceError(f"--top_p={self.top_p:g} must be above 0 and at most 1.")
        if not 0 <= self.seed <= _MAX_SEED:
            raise TfvoiceError(f"--seed={self.seed} must be from 0 to {_MAX_SEED}.")

    def temperatures(self, start: int, count: int, steps: int) -> np.ndarray:
        """Temperatures of `count` steps from `start` on, float32; steps past the last get its temperature."""
        points = np.linspace(0, 1, len(self.temperature))
        positions = np.arange(start, start + count) / max(1, steps - 1)
        return np.interp(positions, points, self.temperature).astype(np.float32)


DEFAULT_OPTIONS = SamplingOptions()
