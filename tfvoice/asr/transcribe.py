"""Recordings of any length to text with times, through windows that overlap.

A frame of logits depends on a stretch of audio around it that is known from the model. Each window therefore looks
that far beyond both ends of what it keeps, and begins on a whole frame, so that the frames it keeps are those of one
pass over the whole recording. They are joined before anything is decoded: a seam cannot lose or double a word, and
the text does not depend on the length of the windows. What stays in memory is one window, and the log probabilities
of all frames: 6 kB for each second of audio at 50 frames a second and 29 classes.

What is not longer than the clips that the run was trained on goes through in one piece, and is read as `evaluation`
reads it. In a longer recording, features that are normalised by utterance are normalised as `audio.surroundings`
says, which takes a pass over the audio beforehand. MFCC limits levels to `top_db` below the loudest of the window:
there alone a window is not quite one pass.
"""

import contextlib
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfvoice import ctc
from tfvoice.asr import decoders, streaming
from tfvoice.asr.decoders import DecoderConfig
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.transcript import Transcript, Word
from tfvoice.audio import cmvn, features, io
from tfvoice.errors import TfvoiceError
from tfvoice.experiment import RecognizerConfig
from tfvoice.lengths import Sequence

# TensorFlow's beam search frees no prefix before its end, and an alignment holds a matrix of frames x labels.
_SEARCH_SECONDS = 30.0


class Transcriber:
    """Turns recordings into text.

    Args:
      experiment: a run, from `Recognizer.load`.
      decoder: how text is found, from `decoders.choose`.
      window_seconds: new audio in each window; at least the longest clip of the training. It decides memory and speed,
        not the text.

    Raises:
      TfvoiceError: the decoder's language model cannot be used, or `window_seconds` is not above 0.
    """

    def __init__(
        self,
        experiment: Recognizer,
        decoder: DecoderConfig = DecoderConfig(),  # noqa: B008 - frozen
        window_seconds: float = 60.0,
    ):
        if not window_seconds > 0:
            raise TfvoiceError(f"--window_seconds={window_seconds:g}: must be more than 0; 60 is usual.")
        self._search = None if decoder.name == "greedy" else decoders.build(decoder, experiment.alphabet)
        self._experiment = experiment
        self._features = experiment.config.features
        self._seconds = experiment.seconds_per_frame()
        self._frame = self._features.hop_samples * experiment.config.model.stride
        self._adapts = self._features.normalization in ("utterance", "utterance_scalar")
        rate_hz, longest = self._features.sample_rate_hz, experiment.config.data.max_seconds
        self._longest = int(longest * rate_hz)
        self._kept = math.ceil(max(window_seconds, longest) * rate_hz / self._frame)
        self._context = math.ceil(reach_samples(experiment.config) / self._frame)
        # What can be followed needs no context beyond its states, and none can be long enough for a recurrent layer.
        follows = not streaming.reason_against(experiment.config)
        self._streaming = streaming.StreamingTranscriber(experiment, window_seconds) if follows else None
        shape = [1, None, features.channels(self._features)]
        signature = (tf.TensorSpec(shape, tf.float32), tf.TensorSpec([1], tf.int32))
        self._network = tf.function(experiment.network, input_signature=signature)

    def transcribe(self, source: io.Source, progress: bool = False) -> Transcript:
        """Reads a recording.

        Args:
          source: a file's name, its bytes, or a binary stream. A pipe is copied to a temporary file, because a long
            recording is decoded twice.
          progress: whether to show a bar on the standard error, where that is a terminal and the recording is long.

        Returns:
          The text, and its words with times and confidence.

        Raises:
          AudioError: the source is missing, empty, damaged or no audio.
        """
        with _repeatable(source) as again:
            audio = _Audio(again, self._features.sample_rate_hz, self._kept * self._frame)
            values = self._log_probabilities(audio, progress)
        seconds = audio.meter.seconds
        words = self._words(values, seconds) if audio.meter.loudest > streaming.SILENCE else []
        confidence = float(np.mean([word.confidence for word in words])) if words else None
        return Transcript(seconds, " ".join(word.text for word in words), confidence, words)

    def log_probabilities(self, source: io.Source) -> np.ndarray:
        """Returns the log softmax of the logits of a recording, `[frames, classes]`; source as for `transcribe`."""
        with _repeatable(source) as again:
            audio = _Audio(again, self._features.sample_rate_hz, self._kept * self._frame)
            return self._log_probabilities(audio, progress=False)

    def _log_probabilities(self, audio: "_Audio", progress: bool) -> np.ndarray:
        with contextlib.closing(self._windows(audio, self._context)) as windows:
            first = next(windows)
        if first.keep is None and (not self._adapts or len(first.samples) <= self._longest):
            return self._plain(first)
        if self._streaming is not None:
            passes = self._streaming.log_probabilities(audio.blocks())
        elif self._adapts:
            passes = self._adapted(audio)
        else:
            passes = map(self._plain, self._windows(audio, self._context))
        disable = not (progress and sys.stderr.isatty())
        total = None if disable else round(io.seconds(audio.source))
        parts = []
        with tqdm(total=total, unit="s", leave=False, disable=disable) as bar:
            for values in passes:
                parts.append(values)
                bar.update(round(len(values) * self._seconds))
        return np.concatenate(parts)

    def _plain(self, window: "_Window") -> np.ndarray:
        """Log probabilities of a window as it is."""
        return _log_softmax(window.kept(self._experiment.logits(*_batch(window.samples)).values[0]))

    def _adapted(self, audio: "_Audio") -> Iterator[np.ndarray]:
        """Log probabilities of each window, normalised by the surroundings of each frame."""
        config, stride = self._features, self._experiment.config.model.stride
        context = self._context + math.ceil(cmvn.reach_samples(config) / self._frame)
        survey = cmvn.Survey(config)
        raw = config.model_copy(update={"normalization": "none"})
        for window in self._windows(audio, context):
            values = features.compute(raw, *_batch(window.samples)).values[0]
            levels = cmvn.levels(config, window.samples)
            survey.add(window.kept(values, stride), window.kept(levels, stride))
        known = config.model_copy(update={"normalization": "corpus"})
        statistics, threshold_db = survey.statistics(), survey.threshold_db()
        for window in self._windows(audio, context):
            values = features.compute(known, *_batch(window.samples), statistics).values[0].numpy()
            sound = cmvn.levels(config, window.samples) >= threshold_db
            values = cmvn.normalize(config, values, sound)
            start = max(0, window.skip - self._context)
            end = None if window.keep is None else (window.skip + window.keep + self._context) * stride
            logits = self._network(*_batch(values[start * stride : end])).values[0]
            yield _log_softmax(logits[window.skip - start :][: window.keep])

    def _windows(self, audio: "_Audio", context: int) -> Iterator["_Window"]:
        """Cuts a recording into windows on whole frames, each with context on both sides, as far as there is any."""
        for window in streaming.windows(audio.blocks(), self._frame, self._kept, context):
            yield _Window(*window)

    def _words(self, values: np.ndarray, seconds: float) -> list[Word]:
        """Decodes log probabilities `[frames, classes]` of a recording of so many seconds."""
        ids, spans, confidences = ctc.best_path(values) if self._search is None else self._beam(values)
        words = ctc.words(self._experiment.alphabet.decode(ids), spans, confidences)
        return streaming.timed(words, self._seconds, seconds)

    def _beam(self, values: np.ndarray):
        ids, spans, confidences = [], [], []
        cut = self._search.break_class
        for start, end in _pieces(values, round(_SEARCH_SECONDS / self._seconds), cut):
            labels = self._search.labels(Sequence(*_batch(values[start:end])))[0].numpy().tolist()
            alignment = ctc.align(values[start:end], labels)
            ids += labels
            spans += [(start + first, start + last) for first, last in alignment.spans]
            confidences += alignment.confidences
            if end < len(values) and cut != ctc.blank(values):
                # The label at which the recording was cut belongs to neither piece.
                ids, spans = [*ids, cut], [*spans, (end - 1, end)]
                confidences.append(float(np.exp(values[end - 1, cut])))
        return ids, spans, confidences


def reach_samples(config: RecognizerConfig) -> int:
    """How far to either side a frame of logits can see, in samples."""
    return config.model.context_frames * config.features.hop_samples + config.features.transform_samples


class _Window(NamedTuple):
    """Samples of one pass; of its frames, `skip` are dropped and the next `keep` (None: all others) are kept."""

    samples: np.ndarray
    skip: int
    keep: int | None

    def kept(self, values, stride: int = 1):
        """What is kept of `[frames, ...]`, where `stride` of these make one frame of logits."""
        return values[self.skip * stride :][: None if self.keep is None else self.keep * stride]


class _Audio:
    """A source of audio; each pass over its blocks measures how long and how loud it is.

    Attributes:
      source: where it comes from.
      meter: how long and how loud it was in the last pass.
    """

    def __init__(self, source: io.Source, sample_rate_hz: int, block_samples: int):
        self.source = source
        self._rate_hz = sample_rate_hz
        self._block_seconds = block_samples / sample_rate_hz
        self.meter = streaming.Meter(sample_rate_hz)

    def blocks(self) -> Iterator[np.ndarray]:
        self.meter = streaming.Meter(self._rate_hz)
        yield from map(self.meter.add, io.read_blocks(self.source, self._rate_hz, self._block_seconds))
        self.meter.end()


@contextlib.contextmanager
def _repeatable(source: io.Source) -> Iterator[io.Source]:
    """Makes a source readable more than once: a pipe, by its name or as a stream, becomes a temporary file."""
    with contextlib.ExitStack() as stack:
        name = source
        if isinstance(source, str | os.PathLike):
            if not os.path.exists(source) or os.path.isfile(source) or os.path.isdir(source):
                yield source
                return
            source = stack.enter_context(open(source, "rb"))
        elif not hasattr(source, "read") or (source.seekable() and source.tell() == 0):
            yield source
            return
        else:
            name = getattr(source, "name", None)
        copy = stack.enter_context(tempfile.NamedTemporaryFile(prefix="tfvoice-"))
        shutil.copyfileobj(source, copy)
        copy.seek(0)
        # What errors call it.
        copy.name = name
        yield copy


def _pieces(values: np.ndarray, longest: int, cut: int) -> Iterator[tuple[int, int]]:
    """Cuts `[frames, classes]` into ranges of at most `longest` frames, each where the class `cut` is most certain.

    Where a blank is certain no label crosses it, so that the pieces decode to what the whole would; no word crosses a
    space.
    """
    start = 0
    while len(values) - start > longest:
        middle = start + longest // 2
        end = middle + int(np.argmax(values[middle : start + longest, cut])) + 1
        yield start, end
        start = end
    yield start, len(values)


def _batch(values: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
    """A batch of one row and its length."""
    return tf.constant(values[np.newaxis]), tf.constant([len(values)], tf.int32)


def _log_softmax(logits: tf.Tensor) -> np.ndarray:
    return tf.nn.log_softmax(logits).numpy()
