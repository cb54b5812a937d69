"""Waveforms to text with times in one graph, for exported models.

Features, network, windows, best path of CTC and the rule for silence are those of `transcribe`.
"""

from typing import NamedTuple

import tensorflow as tf

from tfvoice import ctc
from tfvoice.asr import words
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.windows import WINDOW_SECONDS, WindowedRecognizer
from tfvoice.audio import level
from tfvoice.lengths import Sequence


class TranscriptTensors(NamedTuple):
    """The transcript of each row.

    Attributes:
      text: strings `[batch]`, the words with `words.separator` between them.
      confidence: float32 `[batch]`, mean over the words; 0 where there is none.
      words: of each row.
    """

    text: tf.Tensor
    confidence: tf.Tensor
    words: words.WordTensors


class GraphTranscriber:
    """Transcribes padded batches of waveforms of any lengths.

    Args:
      run: from `Recognizer.load`.
      window_seconds: as for `Transcriber`.
    """

    def __init__(self, run: Recognizer, window_seconds: float = WINDOW_SECONDS):
        self._run = run
        self._windowed = WindowedRecognizer(run, window_seconds)
        waveforms = [tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.int32)]
        # Traced once for all signatures of an exported model.
        self._logits = tf.function(self._windowed.logits, input_signature=waveforms)

    def logits(self, samples: tf.Tensor, lengths: tf.Tensor) -> Sequence:
        """Logits of a padded batch.

        Args:
          samples: float32 `[batch, samples]` at the run's rate; what lies past a length has no influence.
          lengths: int32 `[batch]`, of which only what lies within the samples counts: a client can send anything.

        Returns:
          Logits `[batch, frames, classes]` and their lengths.
        """
        return self._logits(samples, _clipped(lengths, samples))

    def transcribe(self, samples: tf.Tensor, lengths: tf.Tensor) -> TranscriptTensors:
        """The transcripts of a padded batch; arguments as for `logits`."""
        rate_hz = self._run.config.features.sample_rate_hz
        lengths = _clipped(lengths, samples)
        logits = self._logits(samples, lengths)
        # A silent row has no frames to decode.
        audible = level.peak(samples, lengths, rate_hz) > level.SILENCE
        emissions = ctc.greedy(Sequence(logits.values, tf.where(audible, logits.lengths, 0)))
        seconds = tf.cast(lengths, tf.float64) / rate_hz
        rows = words.join(emissions, self._run.alphabet, self._run.seconds_per_frame(), seconds)
        counts = tf.cast(rows.words.row_lengths(), tf.float32)
        return TranscriptTensors(
            text=tf.strings.reduce_join(rows.words, axis=1, separator=words.separator(self._run.alphabet)),
            confidence=tf.math.divide_no_nan(tf.reduce_sum(rows.confidences, axis=1), counts),
            words=rows,
        )


def _clipped(lengths, samples):
    return tf.clip_by_value(lengths, 0, tf.shape(samples)[1])
