"""Data augmentation in the graph: stateless, determined by a key alone.

Every function takes a padded batch and the key of that batch, int32 `[2]`, augments each row on its own and leaves the
padding as it is. What a row becomes depends on the key, its index in the batch, its length and its values, never on its
padding or on the other rows. Each function folds a purpose of its own into the key, so that one key serves them all.

Functions of waveforms: `gain`, `noise`, `reverberation`. Functions of features: `warp`, `spec_augment`.
"""

import logging
import math
import os

import numpy as np
import pydantic
import tensorflow as tf

from tfvoice import keys
from tfvoice.audio import decoding, io
from tfvoice.config import Config
from tfvoice.errors import TfvoiceError
from tfvoice.keys import Purpose
from tfvoice.lengths import Sequence, mask

# CPU time for 16 x 4 s: spec_augment 1.2 ms, warp 3.5 ms, gain 2.7 ms, noise 6 ms, beside 16 ms for log-mel.

# Up to this fraction of the channels a frequency warp is linear through zero; from this knee it leads to the last
# channel, which stays in place.
_KNEE = 0.8
_LOWEST_REVERB_DB = -12.0
_LN_1000 = math.log(1000.0)
# Offset between the rows of a batch in their common stream of white noise, in samples.
_ROW_OFFSET = 1009
# Noise recordings in memory: an hour at 16 kHz is 230 MB.
_MAX_NOISE_SECONDS = 3600.0
_BLOCK_SECONDS = 10.0


class AugmentationConfig(Config):
    """Augmentation of audio and features in training; validation and evaluation use none.

    Attributes:
      frequency_masks, frequency_width: SpecAugment's masks over channels (Park et al., arXiv 1904.08779).
      time_masks, time_width: its masks over time, in frames.
      time_fraction: largest fraction of an utterance that one time mask covers.
      tempo: speed perturbation, uniform from 1 - tempo to 1 + tempo; the pitch stays.
      vocal_tract: vocal tract length perturbation: the mel axis is warped by 1 - vocal_tract to 1 + vocal_tract.
      noise: standard deviation of Gaussian noise added to normalised features.
      gain_db: lowest and highest gain. Features that are normalised by utterance hardly change with it.
      snr_db: lowest and highest signal-to-noise ratio of noise added to the waveform; None: no noise.
      noise_folder: folder of noise recordings, of any length, used instead of white noise.
      noise_share: fraction of the utterances that get noise.
      reverb_share: fraction of the utterances that get reverberation.
      reverb_seconds: shortest and longest reverberation time (RT60).
    """

    frequency_masks: int = pydantic.Field(2, ge=0)
    frequency_width: int = pydantic.Field(15, ge=0)
    time_masks: int = pydantic.Field(2, ge=0)
    time_width: int = pydantic.Field(40, ge=0)
    time_fraction: float = pydantic.Field(0.2, ge=0, le=1)
    tempo: float = pydantic.Field(0.0, ge=0, lt=1)
    vocal_tract: float = pydantic.Field(0.0, ge=0, lt=1)
    noise: float = pydantic.Field(0.0, ge=0)
    gain_db: tuple[float, float] = (0.0, 0.0)
    snr_db: tuple[float, float] | None = None
    noise_folder: str | None = None
    noise_share: float = pydantic.Field(1.0, ge=0, le=1)
    reverb_share: float = pydantic.Field(0.0, ge=0, le=1)
    reverb_seconds: tuple[pydantic.PositiveFloat, pydantic.PositiveFloat] = (0.1, 0.6)

    @pydantic.field_validator("gain_db", "snr_db", "reverb_seconds")
    @classmethod
    def _in_order(cls, value):
        if value is not None and value[0] > value[1]:
            raise ValueError("the least comes first, as in [-6, 8]")
        return value

    @pydantic.model_validator(mode="after")
    def _noise_has_a_level(self):
        if self.noise_folder and self.snr_db is None:
            raise ValueError("noise_folder needs snr_db, such as snr_db=[0, 20]")
        return self


def load_noise(folder: str, sample_rate_hz: int) -> tf.RaggedTensor:
    """Loads the noise recordings in a folder and its subfolders, sorted by path, up to one hour in total.

    Args:
      folder: the folder.
      sample_rate_hz: rate of the result.

    Returns:
      float32 `[recordings, (samples)]`. Unreadable and silent files are skipped, each with a warning in the log.

    Raises:
      TfvoiceError: no recording can be used.
    """
    if not os.path.isdir(folder):
        raise TfvoiceError(f"augmentation.noise_folder={folder}: there is no such folder.")
    recordings, skipped, remaining = [], [], round(_MAX_NOISE_SECONDS * sample_rate_hz)
    for path in sorted(decoding.find_audio(folder)):
        if remaining <= 0:
            logging.warning("%s: only the first hour of its noise is used", folder)
            break
        try:
            samples = _read_start(path, sample_rate_hz, remaining)
        except io.AudioError as error:
            skipped.append(str(error))
            continue
        if not samples.any():
            skipped.append(f"{path}: is silent.")
            continue
        recordings.append(samples)
        remaining -= len(samples)
    if not recordings:
        if not skipped:
            raise TfvoiceError(f"augmentation.noise_folder={folder}: holds no audio file.")
        raise TfvoiceError(
            f"augmentation.noise_folder={folder}: none of its {len(skipped)} audio files can be used: {skipped[0]}"
        )
    for message in skipped:
        logging.warning("noise skipped: %s", message)
    lengths = [len(samples) for samples in recordings]
    return tf.RaggedTensor.from_row_lengths(np.concatenate(recordings), lengths, validate=False)


def _read_start(path: str, sample_rate_hz: int, max_samples: int) -> np.ndarray:
    """Reads the start of a recording without decoding the rest."""
    blocks, count = [], 0
    for block in io.read_blocks(path, sample_rate_hz, _BLOCK_SECONDS):
        blocks.append(block[: max_samples - count])
        count += len(blocks[-1])
        if count >= max_samples:
            break
    return np.concatenate(blocks)


def gain(samples: tf.Tensor, lengths: tf.Tensor, key: tf.Tensor, low_db: float, high_db: float) -> tf.Tensor:
    """Amplifies each row by a uniform gain from `low_db` to `high_db`; nothing is clipped.

    Args:
      samples: float32 `[batch, samples]`.
      lengths: int32 `[batch]`, in samples.
      key: int32 `[2]`.
      low_db: lowest gain.
      high_db: highest gain.

    Returns:
      The samples, of the same shape.
    """
    batch, padded = tf.unstack(tf.shape(samples))
    gain_db = tf.random.stateless_uniform([batch, 1], keys.fold_in(key, Purpose.GAIN), low_db, high_db, alg="philox")
    return tf.where(tf.sequence_mask(lengths, padded), samples * _amplitude(gain_db), samples)


def noise(
    samples: tf.Tensor,
    lengths: tf.Tensor,
    key: tf.Tensor,
    low_db: float,
    high_db: float,
    share: float = 1.0,
    recordings: tf.RaggedTensor | None = None,
) -> tf.Tensor:
    """Adds noise at a uniform signal-to-noise ratio from `low_db` to `high_db`.

    The ratio is one of mean powers over the row without its padding, so that silence stays silence.

    Args:
      samples: float32 `[batch, samples]`.
      lengths: int32 `[batch]`, in samples.
      key: int32 `[2]`.
      low_db: lowest ratio, the loudest noise.
      high_db: highest ratio.
      share: fraction of the rows that get noise.
      recordings: float32 `[recordings, (samples)]`; each row gets one of them from a random offset, looped where it is
        shorter than the row. None: white Gaussian noise.

    Returns:
      The samples, of the same shape.
    """
    batch, padded = tf.unstack(tf.shape(samples))
    within = tf.sequence_mask(lengths, padded)
    ratio_key, noise_key, share_key = _split(keys.fold_in(key, Purpose.NOISE), 3)
    ratio_db = tf.random.stateless_uniform([batch, 1], ratio_key, low_db, high_db, alg="philox")
    if recordings is None:
        added, power = _white_noise(noise_key, batch, padded), 1.0
    else:
        added = _random_crops(recordings, noise_key, batch, padded)
        power = _power(added, within)
    selected = tf.random.stateless_uniform([batch, 1], share_key, alg="philox") < share
    scale = tf.sqrt(tf.math.divide_no_nan(_power(samples, within), power)) * _amplitude(-ratio_db)
    return tf.where(within & selected, samples + scale * added, samples)


def reverberation(
    samples: tf.Tensor,
    lengths: tf.Tensor,
    key: tf.Tensor,
    sample_rate_hz: int,
    shortest_seconds: float,
    longest_seconds: float,
    share: float = 1.0,
) -> tf.Tensor:
    """Convolves each row with a simulated room impulse response of its own.

    A response is the direct sound followed by Gaussian noise that decays by 60 dB in the reverberation time (Polack's
    model of a diffuse field), 0 to 12 dB weaker than the direct sound in all. The reverberation after the end of the
    row is cut off, and the row keeps its power.

    Args:
      samples: float32 `[batch, samples]`.
      lengths: int32 `[batch]`, in samples.
      key: int32 `[2]`.
      sample_rate_hz: of the samples.
      shortest_seconds: shortest reverberation time.
      longest_seconds: longest reverberation time.
      share: fraction of the rows that get reverberation.

    Returns:
      The samples, of the same shape.
    """
    batch, padded = tf.unstack(tf.shape(samples))
    within = tf.sequence_mask(lengths, padded)
    time_key, level_key, tail_key, share_key = _split(keys.fold_in(key, Purpose.REVERBERATION), 4)
    seconds = tf.random.stateless_uniform([batch, 1], time_key, shortest_seconds, longest_seconds, alg="philox")
    level_db = tf.random.stateless_uniform([batch, 1], level_key, _LOWEST_REVERB_DB, 0.0, alg="philox")
    taps = max(2, round(longest_seconds * sample_rate_hz))
    time = tf.range(1, taps, dtype=tf.float32) / sample_rate_hz
    tail = tf.random.stateless_normal([batch, taps - 1], tail_key, alg="philox")
    tail *= tf.exp(-_LN_1000 * time / seconds)
    tail *= _amplitude(level_db) / tf.norm(tail, axis=1, keepdims=True)
    response = tf.concat([tf.ones([batch, 1]), tail], axis=1)
    # A power of two: the transform of other lengths takes several times as long.
    size = 2 ** tf.cast(tf.math.ceil(tf.math.log(tf.cast(padded + taps, tf.float32)) / math.log(2.0)), tf.int32)
    dry = tf.pad(tf.where(within, samples, 0.0), [[0, 0], [0, size - padded]])
    spectrum = tf.signal.rfft(dry) * tf.signal.rfft(tf.pad(response, [[0, 0], [0, size - taps]]))
    wet = tf.signal.irfft(spectrum)[:, :padded]
    wet *= tf.sqrt(tf.math.divide_no_nan(_power(samples, within), _power(wet, within)))
    selected = tf.random.stateless_uniform([batch, 1], share_key, alg="philox") < share
    return tf.where(within & selected, wet, samples)


def warp(
    values: tf.Tensor, lengths: tf.Tensor, tempo: tf.Tensor, frequency: tf.Tensor, time: tf.Tensor | int
) -> Sequence:
    """Changes tempo and vocal tract length of features by linear interpolation.

    Frame t of the result is interpolated at `t * tempo`. Channel c is interpolated at `c * frequency` in the lower part
    of the axis, and above a knee on a straight line to the last channel, as in vocal tract length perturbation (Jaitly
    and Hinton, 2013), here on the axis of the features (mel, for log-mel). Two factors of 1 change nothing.

    Args:
      values: float32 `[batch, time, channels]`.
      lengths: int32 `[batch]`.
      tempo: float32 `[batch]`, greater than 0; 1.1 is 10 % faster.
      frequency: float32 `[batch]`, greater than 0; 1.1 moves channel 11 down to channel 10.
      time: frames of the result; longer rows are truncated.

    Returns:
      `[batch, time, channels]` with zeros past each new length, and the lengths `ceil(length / tempo)`.
    """
    lengths = tf.cast(lengths, tf.int32)
    positions = tf.range(time, dtype=tf.float32) * tempo[:, tf.newaxis]
    new_lengths = tf.cast(tf.math.ceil(tf.cast(lengths, tf.float32) / tempo), tf.int32)
    new_lengths = tf.minimum(new_lengths, time)

    # An empty row, or a batch without frames, still needs a frame to gather.
    values = tf.pad(values, [[0, 0], [0, 1], [0, 0]])
    last = tf.maximum(lengths - 1, 0)[:, tf.newaxis]
    before = tf.minimum(tf.cast(positions, tf.int32), last)
    after = tf.minimum(before + 1, last)
    fraction = (positions - tf.floor(positions))[:, :, tf.newaxis]
    earlier, later = (tf.gather(values, index, axis=1, batch_dims=1) for index in (before, after))
    stretched = earlier + (later - earlier) * fraction

    warped = tf.matmul(stretched, _frequency_matrix(frequency, tf.shape(values)[2]))
    return Sequence(tf.where(mask(new_lengths, time, tf.bool), warped, 0.0), new_lengths)


def spec_augment(
    values: tf.Tensor,
    lengths: tf.Tensor,
    key: tf.Tensor,
    frequency_masks: int,
    frequency_width: int,
    time_masks: int,
    time_width: int,
    time_fraction: float,
) -> tf.Tensor:
    """Masks random bands and time intervals with zero, the mean of normalised features.

    Frequency and time masking of SpecAugment (Park et al., 2019, arXiv 1904.08779, section 2), without its time
    warping. Widths are uniform from 0 to the maximum, positions uniform over the row without its padding.

    Args:
      values: float32 `[batch, time, channels]`.
      lengths: int32 `[batch]`; time masks lie within them.
      key: int32 `[2]`.
      frequency_masks: frequency masks of each row; they may overlap.
      frequency_width: maximum width of a frequency mask, in channels.
      time_masks: time masks of each row; they may overlap.
      time_width: maximum width of a time mask, in frames.
      time_fraction: maximum width of a time mask as a fraction of the row's length.

    Returns:
      The masked values, of the same shape.
    """
    batch, time, channels = tf.unstack(tf.shape(values))
    lengths = tf.cast(lengths, tf.int32)
    uniform = tf.random.stateless_uniform(
        [batch, 2 * (frequency_masks + time_masks)], keys.fold_in(key, Purpose.SPEC_AUGMENT), alg="philox"
    )
    widths, positions = tf.split(uniform, 2, axis=1)
    max_frames = tf.minimum(tf.cast(time_fraction * tf.cast(lengths, tf.float32), tf.int32), time_width)
    bands = _intervals(
        widths[:, :frequency_masks],
        positions[:, :frequency_masks],
        tf.fill([batch], tf.minimum(frequency_width, channels)),
        tf.fill([batch], channels),
        channels,
    )
    times = _intervals(widths[:, frequency_masks:], positions[:, frequency_masks:], max_frames, lengths, time)
    masked = times[:, :, tf.newaxis] | bands[:, tf.newaxis, :]
    masked &= mask(lengths, time, tf.bool)
    return tf.where(masked, tf.zeros([], values.dtype), values)


def _split(key: tf.Tensor, count: int) -> list[tf.Tensor]:
    return [keys.fold_in(key, number) for number in range(count)]


def _amplitude(level_db: tf.Tensor) -> tf.Tensor:
    return tf.pow(10.0, level_db / 20)


def _power(samples: tf.Tensor, within: tf.Tensor) -> tf.Tensor:
    """Mean square of each row without its padding, `[batch, 1]`."""
    squares = tf.reduce_sum(tf.where(within, tf.square(samples), 0.0), axis=1, keepdims=True)
    return tf.math.divide_no_nan(squares, tf.reduce_sum(tf.cast(within, tf.float32), axis=1, keepdims=True))


def _white_noise(key: tf.Tensor, batch: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
    """White noise `[batch, samples]`: row i is a common stream of noise from sample `i * _ROW_OFFSET` on.

    A batch of independent noise costs as much as the features, and would change with the padding. Repeating the
    stream and cutting it into pieces longer than itself offsets each row without an index for every sample.
    """
    period = samples + batch * _ROW_OFFSET
    stream = tf.random.stateless_normal([period], key, alg="philox")
    row = period + _ROW_OFFSET
    return tf.reshape(tf.tile(stream, [batch + 1])[: batch * row], [batch, row])[:, :samples]


def _random_crops(recordings: tf.RaggedTensor, key: tf.Tensor, batch: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
    """Crops `[batch, samples]`, each of one recording, which is looped."""
    uniform = tf.random.stateless_uniform([batch, 2], key, alg="philox")
    row, position = tf.split(uniform, 2, axis=1)
    row = tf.cast(row * tf.cast(recordings.nrows(), tf.float32), tf.int64)
    size, first = tf.gather(recordings.row_lengths(), row), tf.gather(recordings.row_starts(), row)
    start = tf.cast(tf.cast(position, tf.float64) * tf.cast(size, tf.float64), tf.int64)
    return tf.gather(recordings.values, first + (start + tf.range(samples, dtype=tf.int64)) % size)


def _frequency_matrix(factor: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
    """Interpolation along the channels as a matrix `[batch, channels in, channels out]`."""
    factor = factor[:, tf.newaxis]
    last = tf.cast(channels - 1, tf.float32)
    channel = tf.range(channels, dtype=tf.float32)
    knee_in = _KNEE * last * tf.minimum(factor, 1.0)
    knee_out = knee_in / factor
    above = last - tf.math.divide_no_nan(last - knee_in, last - knee_out) * (last - channel)
    position = tf.where(channel <= knee_out, channel * factor, above)
    return tf.maximum(1 - tf.abs(position[:, tf.newaxis, :] - channel[:, tf.newaxis]), 0.0)


def _intervals(widths, positions, max_width: tf.Tensor, lengths: tf.Tensor, size) -> tf.Tensor:
    """Union of random intervals, bool `[batch, size]`.

    Args:
      widths, positions: `[batch, intervals]`, 0 to 1, relative to the possible ones.
      max_width: int32 `[batch]`.
      lengths: int32 `[batch]`; intervals lie within them.
      size: of the result.
    """
    max_width, lengths = max_width[:, tf.newaxis], lengths[:, tf.newaxis]
    width = tf.cast(widths * tf.cast(max_width + 1, tf.float32), tf.int32)
    start = tf.cast(positions * tf.cast(lengths - width + 1, tf.float32), tf.int32)
    index = tf.range(size)
    inside = (index >= start[:, :, tf.newaxis]) & (index < (start + width)[:, :, tf.newaxis])
    return tf.reduce_any(inside, axis=1)
