"""A folder of recorded noise, held in memory to be added to speech."""

import logging
import os

import numpy as np
import tensorflow as tf

from tfvoice.audio import files, io
from tfvoice.errors import TfvoiceError

# What is held: an hour at 16 kHz is 230 MB.
_MOST_SECONDS = 3600.0
_BLOCK_SECONDS = 10.0


def load(folder: str, sample_rate_hz: int) -> tf.RaggedTensor:
    """Reads the recordings in a folder and below, sorted by path, as far as an hour of them.

    Args:
      folder: the folder.
      sample_rate_hz: rate of the result.

    Returns:
      float32 `[recordings, (samples)]`. What cannot be read or is silent is left out, with a line in the log.

    Raises:
      TfvoiceError: there is no recording that can be used.
    """
    if not os.path.isdir(folder):
        raise TfvoiceError(f"augmentation.noise_folder={folder}: there is no such folder.")
    recordings, left_out, left = [], [], round(_MOST_SECONDS * sample_rate_hz)
    for path in sorted(files.below(folder)):
        if left <= 0:
            logging.warning("%s: only the first hour of its noise is used", folder)
            break
        try:
            samples = _beginning(path, sample_rate_hz, left)
        except io.AudioError as error:
            left_out.append(str(error))
            continue
        if not samples.any():
            left_out.append(f"{path}: is silent.")
            continue
        recordings.append(samples)
        left -= len(samples)
    if not recordings:
        fact = (
            f"none of its {len(left_out)} audio files can be used: {left_out[0]}"
            if left_out
            else "holds no audio file."
        )
        raise TfvoiceError(f"augmentation.noise_folder={folder}: {fact}")
    for sentence in left_out:
        logging.warning("noise left out: %s", sentence)
    lengths = [len(samples) for samples in recordings]
    return tf.RaggedTensor.from_row_lengths(np.concatenate(recordings), lengths, validate=False)


def _beginning(path: str, sample_rate_hz: int, most: int) -> np.ndarray:
    """Reads at most so many samples."""
    parts, count = [], 0
    for block in io.read_blocks(path, sample_rate_hz, _BLOCK_SECONDS):
        parts.append(block[: most - count])
        count += len(parts[-1])
        if count >= most:
            break
    return np.concatenate(parts)
