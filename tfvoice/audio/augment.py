"""Random distortions of training examples: stateless, in the graph, decided by a seed alone.

Every function takes a padded batch and an int32 `[2]` seed, gives each row its own draw, and leaves the padding as it
is. What a row gets depends on the seed, its place in the batch, its own length and its own values, never on its
padding or on the other rows; the functions draw independently of one another from the same seed.
"""

import math

import pydantic
import tensorflow as tf

from tfvoice.config import Config
from tfvoice.lengths import Sequence, mask

# CPU time for 16 x 4 s: spec_augment 1.2 ms, warp 3.5 ms, gain 2.7 ms, noise 6 ms, beside 16 ms for log-mel.

# Up to this part of the channels a frequency warp is a plain stretch; above it bends so that the last stays last.
_STRAIGHT = 0.8
_WEAKEST_DB = 12.0
_LN_1000 = math.log(1000.0)
# Rows of a batch read one stream of noise, each this many samples further on.
_NOISE_STEP = 1009


class AugmentationConfig(Config):
    """What training does to audio and features; validation never does.

    Attributes:
      frequency_masks, frequency_width: SpecAugment's masks over channels (Park et al., arXiv 1904.08779).
      time_masks, time_width: its masks over time, in frames.
      time_fraction: most that one time mask may cover of an utterance.
      tempo: speed is drawn from 1 - tempo to 1 + tempo; pitch is kept.
      vocal_tract: the mel axis is stretched by 1 - vocal_tract to 1 + vocal_tract, like another speaker's voice.
      noise: deviation of the normal noise added to normalised features.
      gain_db: least and greatest change of loudness. Features that are normalised by utterance hardly notice.
      snr_db: least and greatest ratio of speech to noise that is added to the audio; None: none is.
      noise_folder: of recordings of noise, of any length, that is added instead of white noise.
      noise_share: of the utterances that noise is added to.
      reverb_share: of the utterances that are put into a simulated room.
      reverb_seconds: least and greatest reverberation time of these rooms.
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


def spec_augment(
    values: tf.Tensor,
    lengths: tf.Tensor,
    seed: tf.Tensor,
    frequency_masks: int,
    frequency_width: int,
    time_masks: int,
    time_width: int,
    time_fraction: float,
) -> tf.Tensor:
    """Blanks random bands and stretches of time with zero, the mean of normalised features.

    Frequency and time masking of SpecAugment (Park et al., 2019, arXiv 1904.08779, section 2), without its time
    warp. Widths are uniform from 0 to the greatest, places uniform over what the row holds.

    Args:
      values: float32 `[batch, time, channels]`.
      lengths: int32 `[batch]`; time masks lie within them.
      seed: int32 `[2]`.
      frequency_masks: bands to blank in each row; they may overlap.
      frequency_width: greatest width of a band, in channels.
      time_masks: stretches to blank in each row; they may overlap.
      time_width: greatest width of a stretch, in frames.
      time_fraction: greatest width of one stretch as a fraction of the row's length.

    Returns:
      The masked values, of the same shape.
    """
    batch, time, channels = tf.unstack(tf.shape(values))
    draws = tf.random.stateless_uniform([batch, 2 * (frequency_masks + time_masks)], _stream(seed, 0), alg="philox")
    widths, places = tf.split(draws, 2, axis=1)
    lengths = tf.cast(lengths, tf.int32)
    longest = tf.minimum(tf.cast(time_fraction * tf.cast(lengths, tf.float32), tf.int32), time_width)
    bands = _blanked(
        widths[:, :frequency_masks],
        places[:, :frequency_masks],
        tf.fill([batch], tf.minimum(frequency_width, channels)),
        tf.fill([batch], channels),
        channels,
    )
    stretches = _blanked(widths[:, frequency_masks:], places[:, frequency_masks:], longest, lengths, time)
    blank = stretches[:, :, tf.newaxis] | bands[:, tf.newaxis, :]
    # Padding is none of ours, whatever it holds.
    blank &= mask(lengths, time, tf.bool)
    return tf.where(blank, tf.zeros([], values.dtype), values)


def warp(
    values: tf.Tensor, lengths: tf.Tensor, tempo: tf.Tensor, frequency: tf.Tensor, time: tf.Tensor | int
) -> Sequence:
    """Plays features faster or slower, and as if by a shorter or longer vocal tract, by linear interpolation.

    Frame t of the result is read at `t * tempo`. Channel c is read at `c * frequency` in the lower part of the axis,
    and then on a straight line to the last channel, as in vocal tract length perturbation (Jaitly and Hinton, 2013),
    here on the axis that the features have (mel, for log-mel). Both factors 1 change nothing.

    Args:
      values: float32 `[batch, time, channels]`.
      lengths: int32 `[batch]`.
      tempo: float32 `[batch]`, greater than 0; 1.1 is 10 % faster.
      frequency: float32 `[batch]`, greater than 0; 1.1 moves what is at channel 11 down to channel 10.
      time: frames of the result; longer rows are cut there.

    Returns:
      `[batch, time, channels]` with zeros past each new length, and the lengths `ceil(length / tempo)`.
    """
    lengths = tf.cast(lengths, tf.int32)
    positions = tf.range(time, dtype=tf.float32) * tempo[:, tf.newaxis]
    new_lengths = tf.cast(tf.math.ceil(tf.cast(lengths, tf.float32) / tempo), tf.int32)
    new_lengths = tf.minimum(new_lengths, time)

    # An empty row, or a batch without frames, still needs a frame to point at.
    values = tf.pad(values, [[0, 0], [0, 1], [0, 0]])
    last = tf.maximum(lengths - 1, 0)[:, tf.newaxis]
    before = tf.minimum(tf.cast(positions, tf.int32), last)
    after = tf.minimum(before + 1, last)
    share = (positions - tf.floor(positions))[:, :, tf.newaxis]
    earlier, later = (tf.gather(values, index, axis=1, batch_dims=1) for index in (before, after))
    stretched = earlier + (later - earlier) * share

    warped = tf.matmul(stretched, _frequency_matrix(frequency, tf.shape(values)[2]))
    return Sequence(tf.where(mask(new_lengths, time, tf.bool), warped, 0.0), new_lengths)


def gain(samples: tf.Tensor, lengths: tf.Tensor, seed: tf.Tensor, low_db: float, high_db: float) -> tf.Tensor:
    """Makes each row louder by a uniform number of decibels from `low_db` to `high_db`; nothing is clipped.

    Args:
      samples: float32 `[batch, samples]`.
      lengths: int32 `[batch]`, in samples.
      seed: int32 `[2]`.
      low_db: least gain.
      high_db: greatest gain.

    Returns:
      The samples, of the same shape.
    """
    batch, longest = tf.unstack(tf.shape(samples))
    gain_db = tf.random.stateless_uniform([batch, 1], _stream(seed, 1), low_db, high_db, alg="philox")
    return tf.where(tf.sequence_mask(lengths, longest), samples * _amplitude(gain_db), samples)


def noise(
    samples: tf.Tensor,
    lengths: tf.Tensor,
    seed: tf.Tensor,
    low_db: float,
    high_db: float,
    share: float = 1.0,
    recordings: tf.RaggedTensor | None = None,
) -> tf.Tensor:
    """Adds noise at a uniform signal-to-noise ratio from `low_db` to `high_db`.

    The ratio is of mean powers over the row's own samples, so that silence stays silence.

    Args:
      samples: float32 `[batch, samples]`.
      lengths: int32 `[batch]`, in samples.
      seed: int32 `[2]`.
      low_db: least ratio, the loudest noise.
      high_db: greatest ratio.
      share: of the rows that get noise.
      recordings: float32 `[recordings, (samples)]`; a row gets one of them from a random place on, repeated where it is
        shorter than the row. None: white Gaussian noise.

    Returns:
      The samples, of the same shape.
    """
    batch, longest = tf.unstack(tf.shape(samples))
    within = tf.sequence_mask(lengths, longest)
    ratio_db = tf.random.stateless_uniform([batch, 1], _stream(seed, 2), low_db, high_db, alg="philox")
    if recordings is None:
        added, power = _noise_rows(_stream(seed, 3), batch, longest), 1.0
    else:
        added = _cut(recordings, _stream(seed, 3), batch, longest)
        power = _power(added, within)
    chosen = tf.random.stateless_uniform([batch, 1], _stream(seed, 4), alg="philox") < share
    level = tf.sqrt(tf.math.divide_no_nan(_power(samples, within), power)) * _amplitude(-ratio_db)
    return tf.where(within & chosen, samples + level * added, samples)


def reverberation(
    samples: tf.Tensor,
    lengths: tf.Tensor,
    seed: tf.Tensor,
    sample_rate_hz: int,
    shortest_seconds: float,
    longest_seconds: float,
    share: float = 1.0,
) -> tf.Tensor:
    """Puts rows into rooms: each is convolved with an impulse response of its own.

    A response is the direct sound, and Gaussian noise that dies away by 60 dB in the reverberation time (Polack's model
    of a diffuse field), 0 to 12 dB weaker than the direct sound in all. What comes later than the row ends is cut off,
    and the row keeps its power.

    Args:
      samples: float32 `[batch, samples]`.
      lengths: int32 `[batch]`, in samples.
      seed: int32 `[2]`.
      sample_rate_hz: of the samples.
      shortest_seconds: least reverberation time.
      longest_seconds: greatest.
      share: of the rows that are changed.

    Returns:
      The samples, of the same shape.
    """
    batch, longest = tf.unstack(tf.shape(samples))
    within = tf.sequence_mask(lengths, longest)
    seconds, weaker_db, drawn = (
        tf.random.stateless_uniform([batch, 1], _stream(seed, number), low, high, alg="philox")
        for number, low, high in ((5, shortest_seconds, longest_seconds), (6, 0.0, _WEAKEST_DB), (7, 0.0, 1.0))
    )
    taps = max(2, round(longest_seconds * sample_rate_hz))
    time = tf.range(1, taps, dtype=tf.float32) / sample_rate_hz
    tail = tf.random.stateless_normal([batch, taps - 1], _stream(seed, 8), alg="philox")
    tail *= tf.exp(-_LN_1000 * time / seconds)
    tail *= _amplitude(-weaker_db) / tf.norm(tail, axis=1, keepdims=True)
    response = tf.concat([tf.ones([batch, 1]), tail], axis=1)
    # A power of two: the transform of other lengths takes several times as long.
    size = 2 ** tf.cast(tf.math.ceil(tf.math.log(tf.cast(longest + taps, tf.float32)) / math.log(2.0)), tf.int32)
    dry = tf.pad(tf.where(within, samples, 0.0), [[0, 0], [0, size - longest]])
    spectrum = tf.signal.rfft(dry) * tf.signal.rfft(tf.pad(response, [[0, 0], [0, size - taps]]))
    wet = tf.signal.irfft(spectrum)[:, :longest]
    wet *= tf.sqrt(tf.math.divide_no_nan(_power(samples, within), _power(wet, within)))
    return tf.where(within & (drawn < share), wet, samples)


def _power(samples: tf.Tensor, within: tf.Tensor) -> tf.Tensor:
    """Mean square of each row's own samples, `[batch, 1]`."""
    squares = tf.reduce_sum(tf.where(within, tf.square(samples), 0.0), axis=1, keepdims=True)
    return tf.math.divide_no_nan(squares, tf.reduce_sum(tf.cast(within, tf.float32), axis=1, keepdims=True))


def _cut(recordings: tf.RaggedTensor, seed: tf.Tensor, batch: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
    """Pieces `[batch, samples]` of recordings, each of one, which begins again where it ends."""
    which, where = tf.split(tf.random.stateless_uniform([batch, 2], seed, alg="philox"), 2, axis=1)
    which = tf.cast(which * tf.cast(recordings.nrows(), tf.float32), tf.int64)
    size, first = tf.gather(recordings.row_lengths(), which), tf.gather(recordings.row_starts(), which)
    start = tf.cast(tf.cast(where, tf.float64) * tf.cast(size, tf.float64), tf.int64)
    return tf.gather(recordings.values, first + (start + tf.range(samples, dtype=tf.int64)) % size)


def _stream(seed: tf.Tensor, number: int) -> tf.Tensor:
    """A seed of its own for each purpose, so that one seed serves every function."""
    return tf.random.experimental.stateless_fold_in(seed, number)


def _amplitude(level_db: tf.Tensor) -> tf.Tensor:
    return tf.pow(10.0, level_db / 20)


def _blanked(widths, places, widest: tf.Tensor, room: tf.Tensor, size) -> tf.Tensor:
    """Marks in bool `[batch, size]` the union of intervals, from draws `[batch, masks]` of width and place in 0..1."""
    widest, room = widest[:, tf.newaxis], room[:, tf.newaxis]
    width = tf.cast(widths * tf.cast(widest + 1, tf.float32), tf.int32)
    start = tf.cast(places * tf.cast(room - width + 1, tf.float32), tf.int32)
    index = tf.range(size)
    inside = (index >= start[:, :, tf.newaxis]) & (index < (start + width)[:, :, tf.newaxis])
    return tf.reduce_any(inside, axis=1)


def _frequency_matrix(factor: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
    """Interpolation along the channels as a matrix `[batch, channels in, channels out]`."""
    factor = factor[:, tf.newaxis]
    last = tf.cast(channels - 1, tf.float32)
    channel = tf.range(channels, dtype=tf.float32)
    reached = _STRAIGHT * last * tf.minimum(factor, 1.0)
    bend = reached / factor
    above = last - tf.math.divide_no_nan(last - reached, last - bend) * (last - channel)
    position = tf.where(channel <= bend, channel * factor, above)
    return tf.maximum(1 - tf.abs(position[:, tf.newaxis, :] - channel[:, tf.newaxis]), 0.0)


def _noise_rows(seed: tf.Tensor, batch: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
    """White noise `[batch, samples]`: row i is one stream of noise from sample `i * _NOISE_STEP` on.

    A batch of independent noise costs as much as the features, and would change with the padding. Repeating the
    stream and cutting it into pieces longer than itself moves each row on without an index for every sample.
    """
    period = samples + batch * _NOISE_STEP
    stream = tf.random.stateless_normal([period], seed, alg="philox")
    row = period + _NOISE_STEP
    return tf.reshape(tf.tile(stream, [batch + 1])[: batch * row], [batch, row])[:, :samples]
