"""Recordings of any length to text with times, through windows that overlap.

A frame of logits depends on a stretch of audio around it that is known from the model. Each window therefore looks
that far beyond both ends of what it keeps, and begins on a whole frame, so that the frames it keeps are those of one
pass over the whole recording. They are joined before anything is decoded: a seam cannot lose or double a word, and
the text does not depend on the length of the windows. What stays in memory is one window, and the log probabilities
of all frames: 6 kB for each second of audio at 50 frames a second and 29 classes.

Features that are normalised by utterance get the mean and deviation of the whole recording, from a first pass. One
thing is not the same as in one pass: MFCC limits levels to `top_db` below the loudest of the window.
"""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfvoice import ctc, evaluation
from tfvoice.audio import features, io
from tfvoice.errors import TfvoiceError
from tfvoice.experiment import Experiment, ExperimentConfig
from tfvoice.lengths import Sequence
from tfvoice.transcript import Transcript, Word

# Samples that differ by no more than two steps of 16 bits hold dither at most; normalisation would blow it up.
_SILENCE = 2.0**-14
# TensorFlow's beam search frees no prefix before its end, and an alignment holds a matrix of frames x labels.
_SEARCH_SECONDS = 30.0


class Transcriber:
    """Turns recordings into text.

    Args:
      experiment: a run, from `Experiment.load`.
      decoder: `greedy` or `beam`.
      beam_width: prefixes that the beam keeps.
      window_seconds: new audio in each window. It decides memory and speed, not the text.

    Raises:
      TfvoiceError: there is no such decoder, or a number is out of range.
    """

    def __init__(
        self, experiment: Experiment, decoder: str = "greedy", beam_width: int = 25, window_seconds: float = 60.0
    ):
        if not window_seconds > 0:
            raise TfvoiceError(f"--window_seconds={window_seconds:g}: must be more than 0; 60 is usual.")
        search = evaluation.decoder(decoder, beam_width)
        self._search = None if decoder == "greedy" else search
        self._experiment = experiment
        self._features = experiment.config.features
        self._seconds = experiment.seconds_per_frame()
        self._frame = self._features.hop_samples * experiment.config.model.stride
        self._kept = max(1, round(window_seconds * self._features.sample_rate_hz / self._frame))
        self._context = -(-reach_samples(experiment.config) // self._frame)
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
        words = self._words(values, audio.seconds) if audio.range > _SILENCE else []
        confidence = float(np.mean([word.confidence for word in words])) if words else None
        return Transcript(audio.seconds, " ".join(word.text for word in words), confidence, words)

    def log_probabilities(self, source: io.Source) -> np.ndarray:
        """Returns the log softmax of the logits of a recording, `[frames, classes]`; source as for `transcribe`."""
        with _repeatable(source) as again:
            audio = _Audio(again, self._features.sample_rate_hz, self._kept * self._frame)
            return self._log_probabilities(audio, progress=False)

    def _log_probabilities(self, audio: "_Audio", progress: bool) -> np.ndarray:
        with contextlib.closing(self._windows(audio)) as windows:
            first = next(windows)
        if first.keep is None:
            return _log_softmax(first.kept(self._experiment.logits(*first.batch()).values[0]))
        logits = self._logits_of_long(audio)
        disable = not (progress and sys.stderr.isatty())
        total = None if disable else round(io.seconds(audio.source))
        parts = []
        with tqdm(total=total, unit="s", leave=False, disable=disable) as bar:
            for window in self._windows(audio):
                parts.append(_log_softmax(window.kept(logits(*window.batch()))))
                bar.update(round(len(parts[-1]) * self._seconds))
        return np.concatenate(parts)

    def _logits_of_long(self, audio: "_Audio") -> Callable:
        """What turns a window into logits, with the statistics of the whole recording where those are needed."""
        if self._features.normalization in ("none", "corpus"):
            return lambda samples, lengths: self._experiment.logits(samples, lengths).values[0]
        raw = self._features.model_copy(update={"normalization": "none"})
        scalar = self._features.normalization == "utterance_scalar"

        def matrices() -> Iterator[np.ndarray]:
            for window in self._windows(audio):
                values = features.compute(raw, *window.batch()).values[0].numpy()
                values = window.kept(values, self._experiment.config.model.stride)
                yield values.reshape(-1, 1) if scalar else values

        statistics = features.statistics(matrices())
        if scalar:
            channels = features.channels(raw)
            statistics = features.Statistics(*(np.repeat(value, channels) for value in statistics))
        known = self._features.model_copy(update={"normalization": "corpus"})
        return lambda *batch: self._network(*features.compute(known, *batch, statistics)).values[0]

    def _windows(self, audio: "_Audio") -> Iterator["_Window"]:
        """Cuts a recording into windows on whole frames, each with context on both sides, as far as there is any."""
        held, skip = np.zeros(0, np.float32), 0
        for block in audio.blocks():
            held = np.concatenate([held, block])
            while len(held) >= (size := skip + self._kept + self._context) * self._frame:
                yield _Window(held[: size * self._frame], skip, self._kept)
                gone = max(0, skip + self._kept - self._context)
                held, skip = held[gone * self._frame :], skip + self._kept - gone
        yield _Window(held, skip)

    def _words(self, values: np.ndarray, seconds: float) -> list[Word]:
        """Decodes log probabilities `[frames, classes]` of a recording of so many seconds."""
        ids, spans, confidences = self._greedy(values) if self._search is None else self._beam(values)
        return [
            Word(word.text, word.start * self._seconds, min(word.end * self._seconds, seconds), word.confidence)
            for word in ctc.words(self._experiment.alphabet.decode(ids), spans, confidences)
        ]

    def _greedy(self, values: np.ndarray):
        found = ctc.greedy(_row(values))
        ids, starts, ends, confidences = (ragged[0].numpy().tolist() for ragged in found)
        return ids, list(zip(starts, ends, strict=True)), confidences

    def _beam(self, values: np.ndarray):
        ids, spans, confidences = [], [], []
        for start, end in _pieces(values, round(_SEARCH_SECONDS / self._seconds)):
            labels = self._search(_row(values[start:end]))[0].numpy().tolist()
            alignment = ctc.align(values[start:end], labels)
            ids += labels
            spans += [(start + first, start + last) for first, last in alignment.spans]
            confidences += alignment.confidences
        return ids, spans, confidences


def reach_samples(config: ExperimentConfig) -> int:
    """How far to either side a frame of logits can see, in samples."""
    model = config.model
    frames = model.stacks * sum(model.dilations) * (model.kernel_size - 1) // 2 * model.stride
    frames += model.front_kernel_size // 2
    return frames * config.features.hop_samples + config.features.transform_samples


class _Window(NamedTuple):
    """Samples of one pass; of its frames, `skip` are dropped and the next `keep` (None: all others) are kept."""

    samples: np.ndarray
    skip: int
    keep: int | None = None

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """The samples as a batch of one row, and its length."""
        return self.samples[np.newaxis], np.array([len(self.samples)], np.int32)

    def kept(self, values, stride: int = 1):
        """What is kept of `[frames, ...]`, where `stride` of these make one frame of logits."""
        return values[self.skip * stride : None if self.keep is None else (self.skip + self.keep) * stride]


class _Audio:
    """A source of audio; each pass over its blocks counts its samples and notes how far apart they lie."""

    def __init__(self, source: io.Source, sample_rate_hz: int, block_samples: int):
        self.source = source
        self._rate_hz = sample_rate_hz
        self._block_seconds = block_samples / sample_rate_hz
        self._restart()

    def _restart(self):
        self._samples, self._low, self._high = 0, np.inf, -np.inf

    @property
    def seconds(self) -> float:
        return self._samples / self._rate_hz

    @property
    def range(self) -> float:
        return self._high - self._low

    def blocks(self) -> Iterator[np.ndarray]:
        self._restart()
        for block in io.read_blocks(self.source, self._rate_hz, self._block_seconds):
            self._samples += len(block)
            self._low, self._high = min(self._low, block.min()), max(self._high, block.max())
            yield block


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


def _pieces(values: np.ndarray, longest: int) -> Iterator[tuple[int, int]]:
    """Cuts `[frames, classes]` into ranges of at most `longest` frames, each after its most certain blank.

    Where a blank is certain no label crosses it, so that the pieces decode to what the whole would.
    """
    start = 0
    while len(values) - start > longest:
        middle = start + longest // 2
        end = middle + int(np.argmax(values[middle : start + longest, ctc.blank(values)])) + 1
        yield start, end
        start = end
    yield start, len(values)


def _row(values: np.ndarray) -> Sequence:
    return Sequence(tf.constant(values[np.newaxis]), tf.constant([len(values)], tf.int32))


def _log_softmax(logits: tf.Tensor) -> np.ndarray:
    return tf.nn.log_softmax(logits).numpy()
