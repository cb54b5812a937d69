"""Following speech as it is spoken: blocks of samples in, words out as soon as they are final.

A network that reads forwards keeps the states of its recurrent layers between blocks. Its convolutions look a few
frames to either side, its look-ahead some more; so does the Fourier transform. Blocks are cut anew, to a length of our
own, and computed with that much more on both sides: the frames are those of one pass over everything, however the
samples arrive.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from tfvoice import ctc
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.transcript import Word
from tfvoice.audio import features
from tfvoice.errors import TfvoiceError
from tfvoice.experiment import RecognizerConfig
from tfvoice.lengths import Sequence
from tfvoice.text.alphabet import Alphabet

# New audio in each block. Shorter ones cost more, longer ones come later.
BLOCK_SECONDS = 0.2
# Deviation of the samples in the loudest tenth of a second, up to which a recording holds no speech but dither, which
# normalisation would blow up: three steps of 16 bits, 80 dB below a loud sine.
SILENCE = 1e-4


class StreamingTranscriber:
    """Reads audio from its beginning to its end with one recogniser.

    Args:
      experiment: a run whose network reads forwards, from `Recognizer.load`.
      block_seconds: new audio in each pass through the network.

    Attributes:
      frame: samples of a frame of logits.
      context: frames that must be there on both sides of those that are convolved.
      lookahead: frames that must be there after those that are finished.

    Raises:
      TfvoiceError: the run needs to know the end of the audio before it can begin.
    """

    def __init__(self, experiment: Recognizer, block_seconds: float = BLOCK_SECONDS):
        refuse = reason_against(experiment.config)
        if refuse:
            raise TfvoiceError(f"{experiment.run_dir}: cannot follow speech as it is spoken: {refuse}.")
        config = experiment.config
        self._experiment = experiment
        self._model = experiment.model
        self._seconds = experiment.seconds_per_frame()
        self.frame = config.features.hop_samples * config.model.stride
        self._kept = max(1, round(block_seconds / self._seconds))
        # The samples of a transform lie around its frame.
        half = config.features.transform_samples // 2
        self.context = math.ceil(half / self.frame) + config.model.convolution_reach
        self.lookahead = config.model.lookahead - 1
        self._convolved = tf.function(self.convolve, reduce_retracing=True)
        self._recurred = tf.function(self.recur, reduce_retracing=True)
        self._finished = tf.function(self.finish, reduce_retracing=True)

    def words(self, chunks: Iterable[np.ndarray]) -> Iterator[Word]:
        """Reads chunks of samples of any length, float32 at the run's rate, and yields each word when it is final."""
        meter = Meter(self._experiment.config.features.sample_rate_hz)
        reader = _Words(self._experiment.alphabet)
        # While there was nothing but dither, there was no word either, whatever the network read.
        waiting: list[ctc.Word] = []
        for values in self.log_probabilities(map(meter.add, chunks)):
            waiting += reader.read(values)
            if meter.loudest > SILENCE:
                yield from timed(waiting, self._seconds, meter.seconds)
                waiting = []
        meter.end()
        if meter.loudest > SILENCE:
            yield from timed([*waiting, *reader.end()], self._seconds, meter.seconds)

    def log_probabilities(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the log softmax of the logits, `[frames, classes]`, in order and as soon as they can be known."""
        states, waiting = self.first_states(), None
        for samples, skip, keep in windows(chunks, self.frame, self._kept, self.context):
            hidden = self._convolved(tf.constant(samples[np.newaxis]))[:, skip:][:, :keep]
            hidden, states = self._recurred(hidden, states)
            waiting = hidden if waiting is None else tf.concat([waiting, hidden], axis=1)
            if keep is None:
                waiting = tf.pad(waiting, [[0, 0], [0, self.lookahead], [0, 0]])
            if waiting.shape[1] > self.lookahead:
                yield self._finished(waiting).numpy()
                waiting = waiting[:, waiting.shape[1] - self.lookahead :]

    def first_states(self) -> list:
        """The states of the recurrent layers before the first frame."""
        return self._model.start(1)

    def convolve(self, samples):
        """Samples `[1, samples]` to what the convolutions make of all their frames."""
        lengths = tf.shape(samples)[1:]
        chosen = self._experiment
        inputs = features.compute(chosen.config.features, samples, lengths, chosen.statistics)
        return self._model.convolved(inputs.values, inputs.lengths).values

    def recur(self, hidden, states):
        """What the recurrent layers make of `[1, frames, ...]`, and their states after it."""
        found, states = self._model.recurred(Sequence(hidden, tf.shape(hidden)[1:2]), states)
        return found.values, states

    def finish(self, waiting):
        """Log probabilities `[frames, classes]` of all frames but the last `lookahead`."""
        lengths = tf.shape(waiting)[1:2] - self.lookahead
        return tf.nn.log_softmax(self._model.classified(self._model.seen_ahead(waiting, lengths)).values[0])


def reason_against(config: RecognizerConfig) -> str:
    """Why a run cannot follow speech, as a part of a sentence; empty where it can."""
    if not config.model.streams:
        return "its network reads what comes after; train deepspeech2 with --config=deepspeech2_streaming"
    if config.features.normalization not in ("none", "corpus"):
        return "its features are normalised by utterance; train with --set features.normalization=corpus"
    if config.features.kind == "mfcc":
        return "its features depend on the loudest sound of the whole; train with --set features.kind=log_mel"
    if config.features.pad_mode == "reflect":
        return "its features mirror the audio at its end; train with --set features.pad_mode=constant"
    return ""


def windows(
    chunks: Iterable[np.ndarray], frame_samples: int, kept: int, context: int
) -> Iterator[tuple[np.ndarray, int, int | None]]:
    """Cuts a recording into windows on whole frames, each with context on both sides, as far as there is any.

    Args:
      chunks: samples in order, in pieces of any length.
      frame_samples: samples of a frame of logits.
      kept: new frames in each window.
      context: frames on each side.

    Yields:
      Samples, how many of their frames to drop, and how many of the next to keep: None for all others, in the last.
    """
    held, skip = np.zeros(0, np.float32), 0
    for chunk in chunks:
        held = np.concatenate([held, chunk])
        while len(held) >= (size := skip + kept + context) * frame_samples:
            yield held[: size * frame_samples], skip, kept
            gone = max(0, skip + kept - context)
            held, skip = held[gone * frame_samples :], skip + kept - gone
    yield held, skip, None


def timed(words: list[ctc.Word], seconds_per_frame: float, seconds: float) -> list[Word]:
    """Turns frames into seconds; the last frame may go beyond the end of the audio, which is at `seconds`."""
    return [
        Word(word.text, word.start * seconds_per_frame, min(word.end * seconds_per_frame, seconds), word.confidence)
        for word in words
    ]


class Meter:
    """How long a recording is and how loud, as its samples go by.

    Attributes:
      loudest: deviation of the samples in its loudest tenth of a second.
    """

    def __init__(self, sample_rate_hz: int):
        self.loudest = 0.0
        self._rate_hz = sample_rate_hz
        self._samples = 0
        self._left = np.zeros(0, np.float32)

    @property
    def seconds(self) -> float:
        """How much has gone by."""
        return self._samples / self._rate_hz

    def add(self, samples: np.ndarray) -> np.ndarray:
        """Takes the next samples, and returns them."""
        self._samples += len(samples)
        short = max(1, self._rate_hz // 10)
        held = np.concatenate([self._left, samples])
        whole = len(held) // short * short
        if whole:
            self.loudest = max(self.loudest, float(held[:whole].reshape(-1, short).std(axis=1).max()))
        self._left = held[whole:]
        return samples

    def end(self) -> None:
        """Counts what is left of the last tenth of a second."""
        if len(self._left):
            self.loudest = max(self.loudest, float(self._left.std()))


class _Words:
    """The best class of each frame, joined to words as frames come in."""

    def __init__(self, alphabet: Alphabet):
        self._alphabet = alphabet
        self._space = alphabet.decode(range(alphabet.size)).find(" ")
        # Frames since the last space, and the number of the first of them.
        self._held: list[np.ndarray] = []
        self._first = 0

    def read(self, values: np.ndarray) -> list[ctc.Word]:
        """Takes log probabilities of the next frames, `[frames, classes]`; returns the words that a space has ended."""
        spaces = np.flatnonzero(values.argmax(axis=-1) == self._space) + 1
        *ended, last = np.split(values, spaces)
        words = []
        for piece in ended:
            self._held.append(piece)
            words += self.end()
        self._held.append(last)
        return words

    def end(self) -> list[ctc.Word]:
        """Returns the word that has begun, if any."""
        values = np.concatenate(self._held) if self._held else np.zeros([0, self._alphabet.size + 1], np.float32)
        ids, spans, confidences = ctc.best_path(values)
        spans = [(self._first + start, self._first + end) for start, end in spans]
        self._held, self._first = [], self._first + len(values)
        return ctc.words(self._alphabet.decode(ids), spans, confidences)
