"""Phonemes to their prosody with a trained network, in one graph, for Python and for an export alike."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfvoice.errors import TfvoiceError
from tfvoice.text.phonemes import PhonemeError
from tfvoice.tts.duration_f0 import prosody
from tfvoice.tts.duration_f0.prosody import PhonemeProsody
from tfvoice.tts.duration_f0.run import DurationF0Run

# The network can predict less than nothing for what it never saw; the shortest phonemes of real speech have 20 ms.
MIN_SECONDS = 0.01
MIN_F0_HZ = 20.0
# Utterances of a graph call.
_BATCH = 32


def predict(run: DurationF0Run, phonemes: tf.Tensor, stresses: tf.Tensor, lengths: tf.Tensor) -> PhonemeProsody:
    """Predicts the prosody of phonemes, in a graph.

    Args:
      run: the network and its statistics.
      phonemes, stresses: int32 `[batch, phonemes]`, classes as of `prosody.symbol_classes`.
      lengths: int32 `[batch]`.

    Returns:
      Tensors; zeros beyond each length. Silence has no voice.
    """
    statistics = run.statistics
    outputs = run.model(phonemes, stresses, lengths)
    valid = tf.sequence_mask(lengths, tf.shape(phonemes)[1], tf.float32)
    silent = [number for number, label in enumerate(run.labels) if prosody.is_silence(label)]
    speech = valid * tf.cast(tf.reduce_all(phonemes[..., tf.newaxis] != tf.constant(silent, tf.int32), -1), tf.float32)
    seconds = outputs.duration * statistics.seconds_deviation + statistics.seconds_mean
    f0_hz = outputs.f0 * statistics.f0_deviation_hz + statistics.f0_mean_hz
    return PhonemeProsody(
        tf.maximum(seconds, MIN_SECONDS) * valid,
        tf.sigmoid(outputs.voicing) * speech,
        tf.maximum(f0_hz, MIN_F0_HZ) * valid[..., tf.newaxis],
    )


class ProsodyPredictor:
    """Predicts the prosody of utterances; traced once.

    Args:
      run: with its weights. Later changes of the weights have effect.
    """

    def __init__(self, run: DurationF0Run):
        self._bases = {label: number for number, label in enumerate(run.labels)}
        self._run_dir = run.run_dir
        ids = tf.TensorSpec([None, None], tf.int32)

        @tf.function(input_signature=[ids, ids, tf.TensorSpec([None], tf.int32)])
        def step(phonemes, stresses, lengths):
            return predict(run, phonemes, stresses, lengths)

        self._step = step

    def predict(self, utterances: Sequence[Sequence[str]]) -> list[PhonemeProsody]:
        """Predicts the prosody of each utterance.

        Args:
          utterances: phonemes with stress; any number of them, none included.

        Returns:
          Arrays. An utterance gets the same ones in any company.

        Raises:
          TfvoiceError: a phoneme is unknown to the network.
        """
        try:
            classes = [prosody.symbol_classes(symbols, self._bases) for symbols in utterances]
        except PhonemeError as error:
            raise TfvoiceError(f"{self._run_dir}: {error}") from None
        results: list[PhonemeProsody] = [None] * len(classes)
        order = sorted(range(len(classes)), key=lambda place: len(classes[place][0]))
        for first in range(0, len(order), _BATCH):
            places = order[first : first + _BATCH]
            lengths = np.array([len(classes[place][0]) for place in places], np.int32)
            tables = np.zeros([2, len(places), max(1, lengths.max())], np.int32)
            for row, place in enumerate(places):
                tables[:, row, : lengths[row]] = classes[place]
            found = self._step(*tables, lengths)
            for row, place in enumerate(places):
                results[place] = PhonemeProsody(*(part[row, : lengths[row]].numpy() for part in found))
        return results
