"""Audio that is in memory as an array, as `soundfile.read`, `librosa.load` or a microphone give it."""

import numpy as np

from tfvoice.audio import io
from tfvoice.audio.stream import AudioError, Stream


def to_samples(values: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Converts an array to what `io.read` gives for a file of it.

    Args:
      values: float in -1..1, or int16; `[samples]`, or `[samples, channels]`, whose channels are averaged.
      from_hz: sample rate of the array.
      to_hz: sample rate of the result.

    Returns:
      float32 `[samples]`.

    Raises:
      AudioError: another type or shape, a sample that is not finite or far beyond full scale, or channels that cancel.
    """
    values = np.asarray(values)
    if from_hz is None or not from_hz > 0:
        raise AudioError(f"an array needs the sample rate of its samples, and sample_rate_hz is {from_hz}.", "no_rate")
    if values.dtype == np.int16:
        values = io.from_pcm16(values)
    elif not np.issubdtype(values.dtype, np.floating):
        raise AudioError(f"the array holds {values.dtype}; pass float samples in -1..1, or int16.", "not_audio")
    if values.ndim not in (1, 2) or (values.ndim == 2 and not 0 < values.shape[1] <= max(values.shape[0], 1)):
        shape = "x".join(map(str, values.shape))
        raise AudioError(
            f"the array is {shape}; pass [samples], or [samples, channels] (`samples.T` of one with channels first).",
            "not_audio",
        )
    if not np.isfinite(values).all():
        raise AudioError("the array holds samples that are NaN or infinite.", "non_finite")
    if not len(values):
        return np.zeros(0, np.float32)
    block = values.astype(np.float32).reshape(len(values), -1)
    return np.concatenate(list(io.mono_blocks(Stream("the array", from_hz, len(block), iter([block])), to_hz)))
