"""Phonemes to samples in core TensorFlow operations: what `Speaker` does, in one graph for an export.

The functions are those of `Speaker`, `prosody` and `conditioning` of the same purpose, with the same results.
"""

from typing import NamedTuple

import tensorflow as tf

from tfvoice.audio import quantize
from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES, WINDOW
from tfvoice.tts.duration_f0 import predict
from tfvoice.tts.vocoder import sampling_loop
from tfvoice.tts.vocoder.run import VocoderRun
from tfvoice.tts.voice.run import VoiceRun


class GraphAlignment(NamedTuple):
    """Phonemes of an utterance with their times, as tensors.

    Attributes:
      ends: int32 `[phonemes]`, in samples; the last one is that of a frame.
      f0_hz: float32 `[frames]`, 0 where there is no voice.
    """

    ends: tf.Tensor
    f0_hz: tf.Tensor


def align(voice: VoiceRun, phonemes, stresses, speed, pitch) -> GraphAlignment:
    """Predicts durations and F0; see `Speaker.plan`.

    Args:
      voice: with its weights.
      phonemes, stresses: int32 `[phonemes]`, classes as of `prosody.symbol_classes`.
      speed: float scalar, factor of the speed.
      pitch: float scalar, semitones to move F0 by.
    """
    rows = (phonemes[tf.newaxis], stresses[tf.newaxis], tf.shape(phonemes))
    predicted = [values[0] for values in predict.predict(voice.duration_f0, *rows)]
    seconds, voiced, values_hz = (tf.cast(values, tf.float64) for values in predicted)
    ends = tf.round(tf.cumsum(seconds) * voice.sample_rate_hz)
    contour = _frame_f0(ends, values_hz)
    contour = tf.where(tf.gather(voiced, _frame_phonemes(ends)) >= 0.5, contour, 0)
    return _retimed(ends, contour, tf.cast(speed, tf.float64), tf.cast(pitch, tf.float64))


def sample(voice: VoiceRun, phonemes, stresses, alignment: GraphAlignment, temperature, seed) -> tf.Tensor:
    """Samples a waveform, float32 `[samples]`; see `Speaker.speak`.

    Args:
      voice: with its weights.
      phonemes, stresses: int32 `[phonemes]`, the first of which is silence.
      alignment: of the phonemes.
      temperature: float32 scalar, divisor of the logits.
      seed: int32 scalar.
    """
    run = voice.vocoder
    frames = condition_frames(run, phonemes, stresses, alignment)
    count = tf.shape(frames[0])[:1]
    biases = run.model.condition(*(values[tf.newaxis] for values in frames), count)[0]
    sizes, quantization = run.sizes, run.config.quantization
    first = sizes.silence - sizes.lead
    levels = sampling_loop.sample_levels(
        run.model.wavenet, quantization.silence, biases, first, sizes.silence, temperature, seed
    )
    # A table, as in `Synthesizer`: decoded in bulk, the last bit depends on the place in memory.
    return tf.gather(quantize.decode(quantization, tf.range(quantization.levels)), levels)


def condition_frames(run: VocoderRun, phonemes, stresses, alignment: GraphAlignment) -> tuple[tf.Tensor, ...]:
    """The conditioning of an utterance behind its silence, of which each part is `[frames, ...]`.

    See `conditioning.frames`.
    """
    before = [[run.sizes.silence, 0]]
    places = tf.pad(_frame_phonemes(tf.cast(alignment.ends, tf.float64)), before)
    around, reach = places[:, tf.newaxis] + tf.range(WINDOW), WINDOW // 2
    classes = tf.pad(phonemes, [[reach, reach]], constant_values=len(run.labels))
    f0_hz = tf.pad(alignment.f0_hz, before)
    voiced = f0_hz > 0
    log_f0 = (_interpolated_log(f0_hz, voiced) - run.statistics.log_f0_mean) / run.statistics.log_f0_deviation
    # Where no frame has a voice there is nothing to fill with: the mean.
    log_f0 = tf.where(tf.reduce_any(voiced), log_f0, 0)
    f0 = tf.stack([tf.cast(log_f0, tf.float32), tf.cast(voiced, tf.float32)], axis=1)
    return tf.gather(classes, around), tf.gather(tf.pad(stresses, [[reach, reach]]), around), f0


def _retimed(ends, contour, speed, pitch) -> GraphAlignment:
    ends = tf.round(ends / speed)
    places = tf.range(1, tf.shape(ends)[0] + 1)
    steps = ends - tf.cast(places, tf.float64)
    # A phoneme keeps a sample at least: the maximum of all before it.
    is_before = places[tf.newaxis] <= places[:, tf.newaxis]
    highest = tf.reduce_max(tf.where(is_before, steps[tf.newaxis], 0), axis=1)
    ends = tf.cast(highest, tf.int32) + places
    frames = -(-ends[-1] // FRAME_SAMPLES)
    ends = tf.concat([ends[:-1], [frames * FRAME_SAMPLES]], axis=0)
    source = tf.cast((tf.cast(tf.range(frames), tf.float64) + 0.5) * speed, tf.int32)
    contour = tf.cast(tf.gather(contour, tf.minimum(source, tf.shape(contour)[0] - 1)), tf.float32)
    return GraphAlignment(ends, contour * tf.cast(2 ** (pitch / 12), tf.float32))


def _middles(ends) -> tf.Tensor:
    """Middles of the frames up to the last end, in samples."""
    frames = tf.math.ceil(ends[-1] / FRAME_SAMPLES)
    return (tf.range(frames, dtype=tf.float64) + 0.5) * FRAME_SAMPLES


def _frame_phonemes(ends) -> tf.Tensor:
    places = tf.searchsorted(ends, _middles(ends), side="right")
    return tf.minimum(places, tf.shape(ends)[0] - 1)


def _frame_f0(ends, values_hz) -> tf.Tensor:
    phoneme, starts = _frame_phonemes(ends), tf.concat([[0.0], ends[:-1]], axis=0)
    share = (_middles(ends) - tf.gather(starts, phoneme)) / tf.gather(ends - starts, phoneme)
    last = values_hz.shape[1] - 1
    place = tf.clip_by_value(share * (last + 1) - 0.5, 0, last)
    before = tf.cast(place, tf.int32)
    weight = place - tf.cast(before, tf.float64)
    pair = [tf.gather_nd(values_hz, tf.stack([phoneme, at], 1)) for at in (before, tf.minimum(before + 1, last))]
    # As the conditioning has it.
    return tf.cast(tf.cast((1 - weight) * pair[0] + weight * pair[1], tf.float32), tf.float64)


def _interpolated_log(f0_hz, voiced) -> tf.Tensor:
    """ln F0, linear between voiced frames, with the nearest one at the ends: float64 `[frames]`."""
    frames = tf.range(tf.shape(f0_hz)[0])
    known = tf.cast(tf.where(voiced)[:, 0], tf.int32)
    # Any value where there is none: the caller replaces it.
    known = tf.concat([known, tf.zeros([tf.cast(tf.equal(tf.size(known), 0), tf.int32)], tf.int32)], axis=0)
    values = tf.math.log(tf.cast(tf.maximum(tf.gather(f0_hz, known), 1), tf.float64))
    after = tf.searchsorted(known, frames, side="right")
    left, right = tf.maximum(after - 1, 0), tf.minimum(after, tf.size(known) - 1)
    distance = tf.cast(tf.gather(known, right) - tf.gather(known, left), tf.float64)
    share = tf.math.divide_no_nan(tf.cast(frames - tf.gather(known, left), tf.float64), distance)
    return tf.gather(values, left) + share * (tf.gather(values, right) - tf.gather(values, left))
