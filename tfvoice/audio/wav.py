"""WAV files in the graph, for exported models; `audio.io` decodes all other formats."""

from collections.abc import Callable

import tensorflow as tf

from tfvoice.audio.resample import resample
from tfvoice.audio.stream import MAX_AMPLITUDE

_LOWEST_HZ, _HIGHEST_HZ = 4000, 192000
# A file with more is not a recording.
_MAX_CHANNELS = 16
# A file of millions of empty chunks would keep the loop busy for minutes.
_MAX_CHUNKS = 1000
# Codes of formats: integers, floats, and that the code follows as the first two bytes of a GUID.
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
# Offsets in the chunk `fmt `.
_CODE, _CHANNELS, _RATE_HZ, _FRAME_BYTES, _GUID = 0, 2, 4, 12, 24


def decode(data: tf.Tensor, sample_rate_hz: int) -> tf.Tensor:
    """Decodes the bytes of a WAV file to float32 `[samples]`, resampled to `sample_rate_hz`; channels are averaged.

    Integers of 8 to 32 bits and floats of 32 or 64, with ordinary and EXTENSIBLE headers. Unlike `tf.audio.decode_wav`
    it skips chunks that it does not need, and reads to the end of the file where the header gives no length (0 or 2^32
    - 1, as pipes and recorders that crashed leave it) or one beyond the end.

    Args:
      data: string scalar.
      sample_rate_hz: rate of the result.

    Raises:
      tf.errors.InvalidArgumentError: the bytes are no such file, have a rate below 4 or above 192 kHz or more than 16
        channels, or hold a sample that is not finite or beyond `stream.MAX_AMPLITUDE`.
    """
    data = tf.convert_to_tensor(data, tf.string)
    magic, kind = _text(data, 0, 4), _text(data, 8, 4)
    is_wav = ((magic == b"RIFF") | (magic == b"RF64")) & (kind == b"WAVE")
    header, sound, size = _find_chunks(data)
    with tf.control_dependencies(
        [_check(is_wav & (header > 0) & (sound > 0), "This is no WAV file, or it is damaged.")]
    ):
        code, channels = _integer(data, header + _CODE, 2), _integer(data, header + _CHANNELS, 2)
    from_hz, frame = _integer(data, header + _RATE_HZ, 4), _integer(data, header + _FRAME_BYTES, 2)
    code = tf.where(code == _EXTENSIBLE, _integer(data, header + _GUID, 2), code)
    supported = (from_hz >= _LOWEST_HZ) & (from_hz <= _HIGHEST_HZ)
    checks = [
        _check(supported, f"The sample rate must be {_LOWEST_HZ} to {_HIGHEST_HZ} Hz, not:", from_hz),
        _check((channels > 0) & (channels <= _MAX_CHANNELS), f"Channels must be 1 to {_MAX_CHANNELS}, not:", channels),
    ]
    with tf.control_dependencies(checks):
        channels = tf.identity(channels)
    values = _samples(_text(data, sound, size // tf.maximum(frame, 1) * frame), code, frame // channels)
    mono = tf.reduce_mean(tf.reshape(values, tf.stack([-1, channels])), axis=1)
    peak = tf.reduce_max(tf.abs(values))
    checks = [
        _check(tf.reduce_all(tf.math.is_finite(mono)), "A sample is not finite."),
        _check(peak <= MAX_AMPLITUDE, "Full scale is 1, and the samples reach:", peak),
    ]
    with tf.control_dependencies(checks):
        return resample(mono, tf.cast(from_hz, tf.int32), sample_rate_hz)


def _find_chunks(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Positions of the contents of `fmt ` and of `data`, 0 where there is none, and the bytes of `data`."""
    end = tf.cast(tf.strings.length(data), tf.int64)

    def next_chunk(count, position, header, sound, size):
        name, length = _text(data, position, 4), _integer(data, position + 4, 4)
        position += 8
        header = tf.where(name == b"fmt ", position, header)
        is_sound, rest = name == b"data", end - position
        sound = tf.where(is_sound, position, sound)
        size = tf.where(is_sound, tf.where(length == 0, rest, tf.minimum(length, rest)), size)
        # Chunks start at even positions.
        return count + 1, position + length + length % 2, header, sound, size

    none = tf.constant(0, tf.int64)
    _, _, header, sound, size = tf.while_loop(
        lambda count, position, header, sound, size: (sound == 0) & (position + 8 <= end) & (count < _MAX_CHUNKS),
        next_chunk,
        (0, none + 12, none, none, none),
        parallel_iterations=1,
    )
    return header, sound, size


def _samples(data: tf.Tensor, code: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Float32 samples of all channels in turn, from `width` bytes each."""

    def integers(kind: tf.DType) -> Callable[[], tf.Tensor]:
        return lambda: tf.cast(tf.io.decode_raw(data, kind), tf.float32) / -float(kind.min)

    def unsigned() -> tf.Tensor:
        return (tf.cast(tf.io.decode_raw(data, tf.uint8), tf.float32) - 128) / 128

    def three_bytes() -> tf.Tensor:
        low, middle, high = tf.unstack(tf.cast(tf.reshape(tf.io.decode_raw(data, tf.uint8), [-1, 3]), tf.int32), axis=1)
        high = tf.where(high < 128, high, high - 256)
        return tf.cast(low + 256 * middle + 65536 * high, tf.float32) / 2.0**23

    def floats(kind: tf.DType) -> Callable[[], tf.Tensor]:
        return lambda: tf.cast(tf.io.decode_raw(data, kind), tf.float32)

    branches = {
        (_PCM, 1): unsigned,
        (_PCM, 2): integers(tf.int16),
        (_PCM, 3): three_bytes,
        (_PCM, 4): integers(tf.int32),
        (_FLOAT, 4): floats(tf.float32),
        (_FLOAT, 8): floats(tf.float64),
    }
    known = tf.stack([(code == format_code) & (width == count) for format_code, count in branches])
    message = (
        "Samples must be integers of 8 to 32 bits or floats; this format code and number of bytes are not supported:"
    )
    with tf.control_dependencies([_check(tf.reduce_any(known), message, code, width)]):
        branch = tf.argmax(known, output_type=tf.int32)
    return tf.switch_case(branch, list(branches.values()))


def _text(data: tf.Tensor, position, count) -> tf.Tensor:
    """`count` bytes from a position on, fewer at the end."""
    end = tf.cast(tf.strings.length(data), tf.int64)
    return tf.strings.substr(data, tf.minimum(tf.cast(position, tf.int64), end), tf.cast(count, tf.int64))


def _integer(data: tf.Tensor, position, count: int) -> tf.Tensor:
    """An unsigned little-endian integer of `count` bytes, as int64; bytes beyond the end are 0."""
    content = tf.strings.substr(_text(data, position, count) + bytes(count), 0, count)
    digits = tf.reshape(tf.cast(tf.io.decode_raw(content, tf.uint8), tf.int64), [count])
    return tf.reduce_sum(digits * [256**place for place in range(count)])


def _check(condition: tf.Tensor, message: str, *values: tf.Tensor) -> tf.Operation:
    return tf.debugging.Assert(condition, [message, *values])
