"""Recordings of any length to text with times.

A recording is decoded block by block, its log probabilities come from `windows`, and the decoder gets them joined. What
stays in memory is one window, and the log probabilities of all frames: 6 kB for each second of audio at 50 frames a
second and 29 classes.
"""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfvoice import ctc, lengths
from tfvoice.asr import decoders, language_model, words
from tfvoice.asr.decoders import DecoderConfig
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.transcript import Alternative, Transcript
from tfvoice.asr.windows import WINDOW_SECONDS, WindowedRecognizer
from tfvoice.audio import array, io, level
from tfvoice.errors import TfvoiceError

# TensorFlow's beam search frees no prefix before its end, and an alignment holds a matrix of frames x labels.
_SEARCH_SECONDS = 30.0


class Transcriber:
    """Turns recordings into text.

    Args:
      run: from `Recognizer.load`.
      decoder: from `decoders.choose`.
      window_seconds: new audio in each window; at least the longest clip of the training. It decides memory and speed,
        not the text.

    Attributes:
      labels: those of the decoder, see `decoders.Decoder`.

    Raises:
      TfvoiceError: the decoder's language model cannot be used, or `window_seconds` is no number above 0.
    """

    def __init__(
        self,
        run: Recognizer,
        decoder: DecoderConfig = DecoderConfig(),  # noqa: B008 - frozen
        window_seconds: float = WINDOW_SECONDS,
    ):
        if not 0 < window_seconds < float("inf"):
            raise TfvoiceError(f"--window_seconds={window_seconds:g}: must be a number above 0; 60 is usual.")
        built = decoders.build(decoder, run.alphabet)
        self.labels = built.labels
        # The best path has its frames already; the labels of a search must be aligned.
        self._search = None if decoder.name == "greedy" else built
        self._nbest = decoder.nbest
        self._alphabet = run.alphabet
        self._rate_hz = run.config.features.sample_rate_hz
        self._seconds_per_frame = run.seconds_per_frame()
        self._windowed = WindowedRecognizer(run, window_seconds)
        values = tf.TensorSpec([None, run.alphabet.size + 1], tf.float32)
        self._greedy = tf.function(self._greedy_words, input_signature=[values, tf.TensorSpec([], tf.float64)])

    def transcribe(
        self,
        source: io.Source | np.ndarray,
        sample_rate_hz: int | None = None,
        progress: bool = False,
        on_cut_off: io.OnCutOff | None = None,
    ) -> Transcript:
        """Transcribes a recording.

        Args:
          source: a file's name, its bytes, or a binary stream. A pipe is copied to a temporary file, because a long
            recording is decoded twice. Or an array, as for `audio.array.to_samples`.
          sample_rate_hz: of an array; any.
          progress: whether to show a bar on the standard error, where that is a terminal and the recording is long.
          on_cut_off: called with the error, once or more, where the recording is cut off or damaged after some samples;
            what there is, is then transcribed. None: the error is raised.

        Returns:
          The text, and its words with times and confidence.

        Raises:
          AudioError: the source is missing, empty, damaged or no audio.
        """
        if isinstance(source, np.ndarray):
            return self.transcribe_samples(array.to_samples(source, sample_rate_hz, self._rate_hz))
        with _repeatable(source) as again:
            return self._transcribe(self._recording(again, on_cut_off), progress and sys.stderr.isatty())

    def transcribe_samples(self, samples: np.ndarray) -> Transcript:
        """Transcribes audio in memory: float32 `[samples]` at the run's rate, of any length."""
        return self._transcribe(self._in_memory(samples))

    def transcribe_batch(
        self, sources: Sequence[io.Source | np.ndarray], sample_rate_hz: int | None = None, batch_size: int = 16
    ) -> list[Transcript]:
        """Transcribes many clips, several at a time; the transcripts are those of `transcribe`.

        Recordings of more than one pass of the network are transcribed one by one.

        Args:
          sources: as for `transcribe`; all of them are in memory at once.
          sample_rate_hz: of the arrays among them.
          batch_size: clips that go through the network together.

        Raises:
          AudioError: as `transcribe`.
        """
        clips = [self._samples(source, sample_rate_hz) for source in sources]
        transcripts: dict[int, Transcript] = {}
        # Clips of about the same length together, so that little is padding.
        order = sorted(range(len(clips)), key=lambda number: len(clips[number]))
        short = [number for number in order if 0 < len(clips[number]) <= self._windowed.one_pass_samples]
        for start in range(0, len(short), batch_size):
            numbers = short[start : start + batch_size]
            batch = [clips[number] for number in numbers]
            for number, clip, values in zip(numbers, batch, self._windowed.batch(batch), strict=True):
                peak = level.peak(clip[np.newaxis], tf.constant([len(clip)]), self._rate_hz)[0]
                transcripts[number] = self._to_transcript(values, len(clip) / self._rate_hz, float(peak))
        return [
            transcripts[number] if number in transcripts else self.transcribe_samples(clip)
            for number, clip in enumerate(clips)
        ]

    def log_probabilities(self, source: io.Source | np.ndarray, sample_rate_hz: int | None = None) -> np.ndarray:
        """Returns the log softmax of the logits of a recording, `[frames, classes]`; arguments as for `transcribe`."""
        if isinstance(source, np.ndarray):
            samples = array.to_samples(source, sample_rate_hz, self._rate_hz)
            return self._log_probabilities(self._in_memory(samples))
        with _repeatable(source) as again:
            return self._log_probabilities(self._recording(again))

    def _samples(self, source: io.Source | np.ndarray, sample_rate_hz: int | None) -> np.ndarray:
        if isinstance(source, np.ndarray):
            return array.to_samples(source, sample_rate_hz, self._rate_hz)
        return io.read(source, self._rate_hz)

    def _in_memory(self, samples: np.ndarray) -> "_MeasuredAudio":
        size = self._windowed.block_samples

        def blocks() -> Iterator[np.ndarray]:
            yield from (samples[start : start + size] for start in range(0, len(samples), size))

        return _MeasuredAudio(blocks, lambda: len(samples) / self._rate_hz, self._rate_hz)

    def _recording(self, source: io.Source, on_cut_off: io.OnCutOff | None = None) -> "_MeasuredAudio":
        seconds = self._windowed.block_samples / self._rate_hz
        return _MeasuredAudio(
            lambda: io.read_blocks(source, self._rate_hz, seconds, on_cut_off),
            lambda: io.seconds(source),
            self._rate_hz,
        )

    def _transcribe(self, recording: "_MeasuredAudio", progress: bool = False) -> Transcript:
        values = self._log_probabilities(recording, progress)
        return self._to_transcript(values, recording.seconds, recording.peak)

    def _to_transcript(self, values: np.ndarray, seconds: float, peak: float) -> Transcript:
        """Decodes the log probabilities of a recording of that length and that `level.peak`."""
        joined, alternatives = self._decode(values, seconds) if peak > level.SILENCE else (None, ())
        recognised = [] if joined is None else words.to_list(joined)[0]
        confidence = float(np.mean([word.confidence for word in recognised])) if recognised else None
        text = words.separator(self._alphabet).join(word.text for word in recognised)
        return Transcript(seconds, text, confidence, recognised, alternatives)

    def _log_probabilities(self, recording: "_MeasuredAudio", progress: bool = False) -> np.ndarray:
        windowed, limit = self._windowed, self._windowed.one_pass_samples
        with contextlib.closing(recording.blocks()) as blocks:
            samples = np.zeros(0, np.float32)
            while len(samples) <= limit and (block := next(blocks, None)) is not None:
                samples = np.concatenate([samples, block])
        if len(samples) <= limit:
            return windowed.one_pass(samples).numpy()
        parts = []
        total = round(recording.whole_seconds()) if progress else None
        with tqdm(total=total, unit="s", leave=False, disable=not progress) as bar:
            for values in self._windows(recording):
                parts.append(values)
                bar.update(round(len(values) * self._seconds_per_frame))
        return np.concatenate(parts)

    def _windows(self, recording: "_MeasuredAudio") -> Iterator[np.ndarray]:
        """Log probabilities of a long recording, window by window."""
        windowed, sums = self._windowed, None
        if windowed.streaming is not None:
            yield from windowed.streaming.log_probabilities(recording.blocks())
            return
        if windowed.adapts:
            sums = windowed.start()
            for window in windowed.windows(recording.blocks()):
                sums = windowed.accumulate(sums, window)
        for window in windowed.windows(recording.blocks()):
            yield windowed.log_probabilities(window, sums).numpy()

    def _decode(self, values: np.ndarray, seconds: float) -> tuple[words.WordTensors, tuple[Alternative, ...]]:
        """Decodes log probabilities `[frames, classes]` of a recording of so many seconds."""
        if self._search is None:
            return self._greedy(values, seconds), ()
        emissions, alternatives = self._beam(values)
        seconds = tf.constant([seconds], tf.float64)
        return words.join(emissions, self._alphabet, self._seconds_per_frame, seconds), alternatives

    def _greedy_words(self, values, seconds) -> words.WordTensors:
        emissions = ctc.greedy(lengths.Sequence(values[tf.newaxis], tf.shape(values)[:1]))
        return words.join(emissions, self._alphabet, self._seconds_per_frame, seconds[tf.newaxis])

    def _beam(self, values: np.ndarray) -> tuple[ctc.Emissions, tuple[Alternative, ...]]:
        """The labels of the best text with their frames; and the best texts, for a decoder that is to list several."""
        ids, spans, confidences, found = [], [], [], []
        cut = self._search.break_class
        for start, end in _pieces(values, round(_SEARCH_SECONDS / self._seconds_per_frame), cut):
            labels, alternatives = self._search_piece(values[start:end])
            found.append(alternatives)
            alignment = ctc.align(values[start:end], labels)
            ids += labels
            spans += [(start + first, start + last) for first, last in alignment.spans]
            confidences += alignment.confidences
            if end < len(values) and cut != ctc.blank(values):
                # The label at which the recording was cut belongs to neither piece.
                ids, spans = [*ids, cut], [*spans, (end - 1, end)]
                confidences.append(float(np.exp(values[end - 1, cut])))
        starts, ends = zip(*spans, strict=True) if spans else ((), ())
        columns = [(ids, tf.int32), (starts, tf.int32), (ends, tf.int32), (confidences, tf.float32)]
        emissions = ctc.Emissions(
            *(tf.RaggedTensor.from_row_lengths(tf.constant(column, dtype), [len(ids)]) for column, dtype in columns)
        )
        return emissions, tuple(language_model.combine(found, self._nbest)) if self._nbest > 1 else ()

    def _search_piece(self, values: np.ndarray) -> tuple[list[int], list[Alternative]]:
        """The labels of the best text of a piece, and the best texts of a decoder that has several."""
        if self._search.n_best is None:
            piece = lengths.Sequence(tf.constant(values[np.newaxis]), tf.constant([len(values)]))
            return self._search.labels(piece)[0].numpy().tolist(), []
        found = self._search.n_best(values, self._nbest)
        return found[0].labels, [Alternative(self._alphabet.decode(labels), score) for labels, score in found]


class _MeasuredAudio:
    """Audio that can be read more than once; each pass over its blocks measures its length and its level.

    Args:
      read: starts a pass over its samples, in blocks.
      whole_seconds: its length, without a pass.
      sample_rate_hz: of the samples.

    Attributes:
      seconds: length of the audio in the last pass.
      peak: `level.peak` of it.
    """

    def __init__(
        self, read: Callable[[], Iterator[np.ndarray]], whole_seconds: Callable[[], float], sample_rate_hz: int
    ):
        self._read = read
        self.whole_seconds = whole_seconds
        self._rate_hz = sample_rate_hz
        self.seconds = self.peak = 0.0

    def blocks(self) -> Iterator[np.ndarray]:
        samples, now = 0, level.start()
        for block in self._read():
            now = level.update(now, block, False, self._rate_hz)
            samples += len(block)
            self.seconds, self.peak = samples / self._rate_hz, float(now.peak)
            yield block
        self.peak = float(level.update(now, np.zeros(0, np.float32), True, self._rate_hz).peak)


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
