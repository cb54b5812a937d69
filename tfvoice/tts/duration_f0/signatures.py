"""The signature of an exported model of duration and F0: phonemes to prosody in core TensorFlow operations."""

from collections.abc import Callable

import tensorflow as tf

from tfvoice.text import phonemes as phonemes_
from tfvoice.tts.duration_f0 import predict as predict_
from tfvoice.tts.duration_f0 import prosody
from tfvoice.tts.duration_f0.run import DurationF0Run

_MESSAGE = "these phonemes are unknown to the model (its phonemes are in tfvoice.json):"


def signatures(run: DurationF0Run) -> dict[str, Callable]:
    """The signature of a model of duration and F0, under the names `serving_default` and `predict`.

    Input: `phonemes`, strings `[batch]`, symbols with spaces between them: `sil HH AH0 L OW1 sil`. Outputs: `seconds`
    and `voiced` (the probability of a voice), float32 `[batch, phonemes]`; `f0_hz`, float32 `[batch, phonemes,
    values]`; and `lengths`, int32 `[batch]`, the phonemes of each row. Beyond them all is 0.
    """
    known = [label + mark for label in run.labels for mark in ("", *phonemes_.STRESSES)]
    classes, stresses = prosody.symbol_classes(known, {label: number for number, label in enumerate(run.labels)})

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="phonemes")])
    def predict(phonemes):
        """Predicts the prosody of phonemes."""
        symbols = tf.strings.split(phonemes)
        lengths = tf.cast(symbols.row_lengths(), tf.int32)
        found = symbols.flat_values[:, tf.newaxis] == tf.constant(known)
        is_known = tf.reduce_any(found, axis=1)
        unknown = tf.boolean_mask(symbols.flat_values, tf.logical_not(is_known))
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(is_known), [_MESSAGE, unknown])]):
            places = tf.argmax(tf.cast(found, tf.int32), axis=1)
        # At least one column: a batch can be without a phoneme.
        width = tf.maximum(1, tf.reduce_max(tf.concat([lengths, [0]], 0)))
        tables = (
            symbols.with_flat_values(tf.gather(tf.constant(table), places)).to_tensor(shape=[None, None])
            for table in (classes, stresses)
        )
        padded = [tf.pad(table, [[0, 0], [0, width - tf.shape(table)[1]]]) for table in tables]
        found = predict_.predict(run, *padded, lengths)
        return found._asdict() | {"lengths": lengths}

    return {"serving_default": predict, "predict": predict}
