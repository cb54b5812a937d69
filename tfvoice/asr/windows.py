"""Log probabilities of recordings of any length, through windows that overlap.

The model says how much audio on both sides a frame of logits depends on. Each window has that much context on both
sides of the frames that are kept of it, and starts on a whole frame, so that these frames are those of one pass over
the whole recording. They are joined before decoding: a seam cannot lose or double a word, and
the text does not depend on the length of the windows.

Up to `one_pass_samples` a recording goes through the network in one pass, as in evaluation. In a longer one, features
that are normalised by utterance get sliding-window CMVN (`audio.cmvn`), which takes a pass over the audio beforehand.
MFCC limits levels to `top_db` below the loudest of the window: there alone a window is not quite one pass.

Everything that is computed of a window is a TensorFlow function. `transcribe` calls it from Python, with windows of a
file that is decoded block by block; an exported model calls it in a loop over windows of a waveform in memory.
"""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfvoice.asr import streaming
from tfvoice.asr.config import RecognizerConfig
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.streaming import StreamingTranscriber
from tfvoice.audio import cmvn, features
from tfvoice.lengths import Sequence

# New audio in each window; it decides memory and speed.
WINDOW_SECONDS = 60.0
# How many frames the last window keeps: all.
_ALL = -1


class Window(NamedTuple):
    """Samples of one pass through the network, and which frames of logits are kept of it.

    Attributes:
      samples: float32 `[samples]`, context included.
      skip: frames of the context before.
      keep: frames after those that are kept; -1 for all, in the last window.
    """

    samples: np.ndarray | tf.Tensor
    skip: int | tf.Tensor
    keep: int | tf.Tensor


def reach_samples(config: RecognizerConfig) -> int:
    """How far to either side a frame of logits depends on samples."""
    return config.model.context_frames * config.features.hop_samples + config.features.transform_samples


class WindowedRecognizer:
    """Runs a recogniser over recordings of any length.

    Args:
      run: from `Recognizer.load`.
      window_seconds: new audio in each window; at least the longest clip of the training.

    Attributes:
      one_pass_samples: up to this length a recording goes through the network in one pass.
      block_samples: new samples in each window.
      streaming: the stream steps of a run that has them; it carries its states from window to window.
      adapts: whether longer recordings get sliding-window CMVN.
    """

    def __init__(self, run: Recognizer, window_seconds: float = WINDOW_SECONDS):
        self._run = run
        self._features = run.config.features
        self._raw = self._features.model_copy(update={"normalization": "none"})
        self._stride = run.config.model.stride
        self._frame = self._features.hop_samples * self._stride
        self.adapts = self._features.normalization in ("utterance", "utterance_scalar")
        rate_hz, trained_seconds = self._features.sample_rate_hz, run.config.data.max_seconds
        self._kept = math.ceil(max(window_seconds, trained_seconds) * rate_hz / self._frame)
        self.block_samples = self._kept * self._frame
        self._network_context = math.ceil(reach_samples(run.config) / self._frame)
        cmvn_samples = cmvn.reach_samples(self._features) if self.adapts else 0
        self._context = self._network_context + math.ceil(cmvn_samples / self._frame)
        if self.adapts:
            self.one_pass_samples = int(trained_seconds * rate_hz)
        else:
            self.one_pass_samples = (self._kept + self._context) * self._frame - 1
        # A stream needs no context beyond its states, and none would be long enough for a recurrent layer.
        streams = not streaming.reason_not_streamable(run.config)
        self.streaming = StreamingTranscriber(run, window_seconds) if streams else None
        window = [tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32)]
        sums = tf.TensorSpec([None, None], tf.float64)
        self._accumulate = tf.function(self._accumulate_window, input_signature=[sums, *window])
        self._normalized = tf.function(self._normalized_window, input_signature=[sums, *window])
        # Not inlined: TensorFlow passes a token through each node of a branch that is not taken, 0.5 ms for a batch of
        # short rows.
        self._mixed = tf.function(self._mixed_rows, experimental_attributes={"_noinline": True})

    def one_pass(self, samples: np.ndarray | tf.Tensor) -> tf.Tensor:
        """Log probabilities `[frames, classes]` of samples `[samples]` in one pass, as in evaluation."""
        samples = tf.convert_to_tensor(samples, tf.float32)
        logits = self._run.logits(samples[tf.newaxis], tf.shape(samples))
        # A network without padding gives a frame for what is too short for one.
        return tf.nn.log_softmax(logits.values[0, : logits.lengths[0]])

    def batch(self, clips: list[np.ndarray]) -> list[np.ndarray]:
        """Log probabilities `[frames, classes]` of several clips in one padded batch; the values of `one_pass`."""
        padded = np.zeros([len(clips), max(map(len, clips))], np.float32)
        for row, clip in zip(padded, clips, strict=True):
            row[: len(clip)] = clip
        logits = self._run.logits(padded, np.array([len(clip) for clip in clips], np.int32))
        values = tf.nn.log_softmax(logits.values).numpy()
        return [row[:frames] for row, frames in zip(values, logits.lengths.numpy(), strict=True)]

    def windows(self, blocks: Iterable[np.ndarray]) -> Iterator[Window]:
        """Cuts a recording that comes in blocks of any length into windows."""
        held, skip = np.zeros(0, np.float32), 0
        for block in blocks:
            held = np.concatenate([held, block])
            while len(held) >= (size := skip + self._kept + self._context) * self._frame:
                yield Window(held[: size * self._frame], skip, self._kept)
                dropped = max(0, skip + self._kept - self._context)
                held, skip = held[dropped * self._frame :], skip + self._kept - dropped
        yield Window(held, skip, _ALL)

    def start(self) -> tf.Tensor:
        """The sums before the first window, for `accumulate`."""
        return cmvn.start(self._features)

    def accumulate(self, sums: tf.Tensor, window: Window) -> tf.Tensor:
        """First pass of sliding-window CMVN: the sums after a window."""
        return self._accumulate(sums, *window)

    def log_probabilities(self, window: Window, sums: tf.Tensor | None = None) -> tf.Tensor:
        """Log probabilities `[frames, classes]` of the frames that are kept of a window.

        Args:
          window: of a recording longer than `one_pass_samples`.
          sums: of the whole recording, where the run `adapts`.
        """
        if sums is not None:
            return self._normalized(sums, *window)
        return _kept(self.one_pass(window.samples), window.skip, window.keep)

    def whole(self, samples: tf.Tensor) -> tf.Tensor:
        """Log probabilities of a waveform in memory that is longer than `one_pass_samples`, for a graph.

        Args:
          samples: float32 `[samples]`.

        Returns:
          float32 `[frames, classes]`, what the windows of `windows` give one after another.
        """
        if self.streaming is not None:
            return self.streaming.whole(samples)
        count = 1 + tf.maximum(0, (tf.size(samples) // self._frame - self._context) // self._kept)
        sums = None
        if self.adapts:
            _, sums = tf.while_loop(
                lambda number, _: number < count,
                lambda number, sums: (number + 1, self.accumulate(sums, self._window(samples, number, count))),
                (0, tf.ensure_shape(self.start(), [None, None])),
                parallel_iterations=1,
            )

        def append(number, parts):
            values = self.log_probabilities(self._window(samples, number, count), sums)
            return number + 1, parts.write(number, values)

        parts = tf.TensorArray(tf.float32, count, infer_shape=False, element_shape=[None, self._run.alphabet.size + 1])
        _, parts = tf.while_loop(lambda number, _: number < count, append, (0, parts), parallel_iterations=1)
        return parts.concat()

    def logits(self, samples: tf.Tensor, lengths: tf.Tensor) -> Sequence:
        """Logits of a padded batch of any lengths, for a graph.

        Rows of up to `one_pass_samples` go through the network together; longer ones by themselves, after another.

        Args:
          samples: float32 `[batch, samples]` at the run's rate; what lies past a length has no influence.
          lengths: int32 `[batch]`.

        Returns:
          Logits `[batch, frames, classes]`, those of the longer rows being log probabilities, and their lengths.
        """
        longer = lengths > self.one_pass_samples
        return tf.cond(
            tf.reduce_any(longer),
            lambda: self._mixed(samples, lengths, longer),
            lambda: Sequence(*self._run.logits(samples, lengths)),
        )

    def _mixed_rows(self, samples, lengths, longer) -> Sequence:
        together = self._run.logits(samples[:, : self.one_pass_samples], tf.where(longer, 0, lengths))

        def row(number):
            return tf.cond(
                longer[number],
                lambda: self.whole(samples[number, : lengths[number]]),
                lambda: together.values[number, : together.lengths[number]],
            )

        spec = tf.RaggedTensorSpec([None, self._run.alphabet.size + 1], tf.float32, ragged_rank=0)
        rows = tf.map_fn(row, tf.range(tf.size(lengths)), fn_output_signature=spec, parallel_iterations=1)
        return Sequence(rows.to_tensor(), tf.cast(rows.row_lengths(), tf.int32))

    def _window(self, samples, number, count) -> Window:
        """Window `number` of `count`, as `windows` cuts them."""
        first = number * self._kept
        start = tf.maximum(0, first - self._context)
        last = number == count - 1
        end = tf.where(last, tf.size(samples), (first + self._kept + self._context) * self._frame)
        return Window(samples[start * self._frame : end], first - start, tf.where(last, _ALL, self._kept))

    def _accumulate_window(self, sums, samples, skip, keep):
        values = features.compute(self._raw, samples[tf.newaxis], tf.shape(samples)).values[0]
        levels = cmvn.levels_db(self._features, samples)
        # `stride` frames of features make one of logits.
        stride = self._stride
        keep = tf.where(keep == _ALL, _ALL, keep * stride)
        return cmvn.accumulate(sums, *(_kept(part, skip * stride, keep) for part in (values, levels)))

    def _normalized_window(self, sums, samples, skip, keep):
        values = features.compute(self._raw, samples[tf.newaxis], tf.shape(samples)).values[0]
        values = cmvn.normalize(self._features, values, cmvn.levels_db(self._features, samples), sums)
        start = tf.maximum(0, skip - self._network_context)
        frames = (skip + keep + self._network_context - start) * self._stride
        values = _kept(values, start * self._stride, tf.where(keep == _ALL, _ALL, frames))
        values = tf.ensure_shape(values, [None, features.channels(self._features)])
        logits = self._run.network(values[tf.newaxis], tf.shape(values)[:1]).values[0]
        return tf.nn.log_softmax(_kept(logits, skip - start, keep))


def _kept(values, skip, keep):
    """The `keep` rows from `skip` on, or all from there."""
    values = values[skip:]
    return values[: tf.where(keep == _ALL, tf.shape(values)[0], keep)]
