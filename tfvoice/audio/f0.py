"""The fundamental frequency of a voice (F0): one value for each conditioning frame, 0 where the voice has none.

Frame k covers the samples `k * frame_samples` to `(k + 1) * frame_samples`, and its value is that of its middle. Both
methods search on a grid of their own, whose values are interpolated in log F0 between two voiced points; elsewhere the
nearer point decides, about voicing too.

`pyin` is probabilistic YIN (Mauch and Dixon, ICASSP 2014) as librosa computes it: 0.1 semitones, and a window of three
periods of the lowest F0 each 8 ms. An hour of speech takes 6 minutes of one core. Against a grid of 4 ms (12 minutes),
97 % of the frames keep their voicing, and F0 moves by 0.02 Hz; bins of 0.2 semitones (2 minutes) move it by 0.5 Hz.

`world` is DIO, refined by StoneMask (Morise et al., "WORLD", IEICE Transactions 2016): 20 times as fast, after
`pip install 'tfvoice[pyworld]'`, and finds more voice in noise. `docs/deep_voice.md` has more measurements.
"""

import math
import time
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pydantic

from tfvoice.config import Config
from tfvoice.errors import TfvoiceError

_PYIN_HOP_SECONDS = 0.008
_PYIN_PERIODS = 3
# Frames whose samples differ by less than six steps of 16 bits hold dither at most. Constant samples have every period.
_SILENCE = 2e-4


class F0Config(Config):
    """How F0 is estimated.

    Attributes:
      method: `pyin`, or `world` for speed.
      min_hz, max_hz: range of the voice.
      frame_samples: samples of a conditioning frame.
    """

    method: Literal["pyin", "world"] = "pyin"
    min_hz: float = pydantic.Field(60.0, ge=20)
    max_hz: float = pydantic.Field(500.0, le=2000)
    frame_samples: int = pydantic.Field(64, ge=1)

    @pydantic.model_validator(mode="after")
    def _an_octave_is_left(self):
        if self.max_hz < 2 * self.min_hz:
            raise ValueError(f"max_hz={self.max_hz:g} must be at least twice min_hz={self.min_hz:g}")
        return self


def estimate(samples: np.ndarray, sample_rate_hz: int, config: F0Config = F0Config()) -> np.ndarray:  # noqa: B008 - frozen
    """Estimates the F0 of a clip.

    Args:
      samples: float32 `[samples]` in [-1, 1]; any number of them, none included.
      sample_rate_hz: their rate; more than twice `config.max_hz`.
      config: method, range and frames.

    Returns:
      float32 `[frames]`, in Hz, 0 where unvoiced; the last frame may be partly beyond the end.

    Raises:
      TfvoiceError: a sample is not finite, or as `check`.
    """
    check(sample_rate_hz, config)
    if not np.isfinite(samples).all():
        raise TfvoiceError("The audio holds samples that are not finite; convert it again.")
    count = -(-len(samples) // config.frame_samples)
    if not count:
        return np.zeros(0, np.float32)
    # Between two pulses of the lowest voice there may be silence.
    reach = math.ceil(sample_rate_hz / config.min_hz / config.frame_samples)
    audible = _audible(samples, count, config.frame_samples, reach)
    if not audible.any():
        return np.zeros(count, np.float32)
    grid, hop_samples = {"pyin": _pyin, "world": _world}[config.method](samples, sample_rate_hz, config)
    return np.where(audible, _at_middles(grid, hop_samples, count, config.frame_samples), np.float32(0))


def check(sample_rate_hz: int, config: F0Config) -> None:
    """Raises `TfvoiceError` where the rate is too low, or the method is not installed."""
    if sample_rate_hz <= 2 * config.max_hz:
        raise TfvoiceError(f"max_hz={config.max_hz:g} is too high for audio of {sample_rate_hz} Hz; set it lower.")
    {"pyin": _librosa, "world": _pyworld}[config.method]()


def pace(clips: Sequence[np.ndarray], sample_rate_hz: int, config: F0Config) -> float:
    """The seconds that `estimate` takes for a second of audio, measured on clips; what is done once does not count."""
    estimate(clips[0], sample_rate_hz, config)
    began = time.monotonic()
    for samples in clips:
        estimate(samples, sample_rate_hz, config)
    return (time.monotonic() - began) * sample_rate_hz / sum(map(len, clips))


def interpolate(f0_hz: np.ndarray) -> np.ndarray:
    """Fills unvoiced frames: linearly in log F0 between voiced ones, with the nearest voiced one at the ends.

    Args:
      f0_hz: float32 `[frames]`, 0 where unvoiced.

    Returns:
      float32 `[frames]`; voiced frames as they are. Zeros where no frame is voiced.
    """
    voiced = np.flatnonzero(f0_hz > 0)
    if not len(voiced):
        return np.zeros(len(f0_hz), np.float32)
    filled = np.exp(np.interp(np.arange(len(f0_hz)), voiced, np.log(f0_hz[voiced]))).astype(np.float32)
    return np.where(f0_hz > 0, f0_hz, filled).astype(np.float32)


def _pyin(samples: np.ndarray, sample_rate_hz: int, config: F0Config) -> tuple[np.ndarray, int]:
    """F0 around each multiple of a hop, 0 where unvoiced, and the hop in samples."""
    hop_samples = max(1, round(_PYIN_HOP_SECONDS * sample_rate_hz))
    window_samples = 2 * math.ceil(_PYIN_PERIODS * sample_rate_hz / config.min_hz / 2)
    f0_hz, _, _ = _librosa().pyin(
        samples.astype(np.float32),
        sr=sample_rate_hz,
        fmin=config.min_hz,
        fmax=config.max_hz,
        frame_length=window_samples,
        hop_length=hop_samples,
        fill_na=0.0,
    )
    return f0_hz, hop_samples


def _world(samples: np.ndarray, sample_rate_hz: int, config: F0Config) -> tuple[np.ndarray, int]:
    """As `_pyin`."""
    pyworld = _pyworld()
    hop_samples = max(1, config.frame_samples // 2)
    options = {"f0_floor": config.min_hz, "f0_ceil": config.max_hz, "frame_period": 1000 * hop_samples / sample_rate_hz}
    wave = samples.astype(np.float64)
    coarse, seconds = pyworld.dio(wave, sample_rate_hz, **options)
    f0_hz = pyworld.stonemask(wave, coarse, seconds, sample_rate_hz)
    # The refinement can leave the range.
    return np.where((f0_hz >= config.min_hz) & (f0_hz <= config.max_hz), f0_hz, 0.0), hop_samples


def _librosa():
    # Takes a second.
    from tfvoice import compiled

    return compiled.load_librosa()


def _pyworld():
    try:
        import pyworld
    except ImportError:
        raise TfvoiceError("method=world needs pyworld; install it with pip install 'tfvoice[pyworld]'.") from None
    return pyworld


def _audible(samples: np.ndarray, count: int, frame_samples: int, reach: int) -> np.ndarray:
    """Whether a frame, or one up to `reach` frames away, holds more than a constant and dither; bool `[frames]`."""
    padded = np.pad(samples, (0, count * frame_samples - len(samples)), mode="edge")
    loud = np.ptp(padded.reshape(count, frame_samples), axis=1) > _SILENCE
    return np.convolve(loud, np.ones(2 * reach + 1))[reach : reach + count] > 0.5


def _at_middles(grid_hz: np.ndarray, hop_samples: int, count: int, frame_samples: int) -> np.ndarray:
    """Values in the middles of frames, of values at the multiples of a hop."""
    place = (np.arange(count) + 0.5) * frame_samples / hop_samples
    before = np.minimum(place.astype(int), len(grid_hz) - 1)
    after = np.minimum(before + 1, len(grid_hz) - 1)
    share = np.clip(place - before, 0.0, 1.0)
    one, other = grid_hz[before], grid_hz[after]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.exp((1 - share) * np.log(one) + share * np.log(other))
    nearer = np.where(share < 0.5, one, other)
    return np.where((one > 0) & (other > 0), between, nearer).astype(np.float32)
