"""The signatures of an exported voice, with core TensorFlow operations only."""

from collections.abc import Callable

import tensorflow as tf

from tfvoice.errors import TfvoiceError
from tfvoice.layers import xla
from tfvoice.text.phonemes import SILENCE
from tfvoice.tts.duration_f0 import signatures as duration_f0_signatures
from tfvoice.tts.vocoder import signatures as vocoder_signatures
from tfvoice.tts.voice import graph
from tfvoice.tts.voice.run import VoiceRun
from tfvoice.tts.voice.speaker import SPEEDS, TEMPERATURES

_SILENCE_MESSAGE = f"phonemes must begin and end with {SILENCE}, and stresses be as many, not:"
_RANGE_MESSAGE = (
    f"speed must be {SPEEDS[0]:g} to {SPEEDS[1]:g} and temperature above 0 and up to {TEMPERATURES[1]:g}, not:"
)


def signatures(voice: VoiceRun) -> dict[str, Callable]:
    """`predict` of the model of duration and F0, `logits` of the vocoder, and `speak`, also as `serving_default`.

    `speak` takes one utterance: `phonemes`, int32 `[phonemes]`, classes in the order of `phonemes` in tfvoice.json,
    silence first and last; `stresses`, int32 `[phonemes]`, 0 without stress, else 1 more than its digit; and scalars,
    `speed`, `pitch` (semitones) and `temperature`, float32, and `seed`, int32. It gives `waveform`, float32 `[samples]`
    in -1 to 1; `ends`, int32 `[phonemes]`, the end of each phoneme in samples; and `f0_hz`, float32, of each frame. Its
    loop over samples has many small operations, and is far slower than `tfvoice_speak`.

    Raises:
      TfvoiceError: the parts of the voice know other phonemes.
    """
    labels = voice.duration_f0.labels
    if labels != voice.vocoder.labels or SILENCE not in labels:
        raise TfvoiceError(f"{voice.run_dir}: its parts know other phonemes; train both on the same aligned records.")
    silence = labels.index(SILENCE)
    ids, number = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.float32)

    @tf.function(input_signature=[ids, ids, number, number, number, tf.TensorSpec([], tf.int32)])
    def speak(phonemes, stresses, speed, pitch, temperature, seed):
        """Speaks phonemes."""
        ends = tf.gather(tf.concat([phonemes, [-1]], 0), [0, tf.maximum(tf.size(phonemes) - 1, 0)])
        is_whole = tf.reduce_all(ends == silence) & tf.equal(tf.size(phonemes), tf.size(stresses))
        in_range = (speed >= SPEEDS[0]) & (speed <= SPEEDS[1]) & (temperature > 0) & (temperature <= TEMPERATURES[1])
        checks = [
            tf.debugging.Assert(is_whole, [_SILENCE_MESSAGE, phonemes, stresses]),
            tf.debugging.Assert(in_range, [_RANGE_MESSAGE, speed, temperature]),
        ]
        with tf.control_dependencies(checks), xla.disabled():
            phonemes, stresses = tf.identity(phonemes), tf.identity(stresses)
            alignment = graph.align(voice, phonemes, stresses, speed, pitch)
            waveform = graph.sample(voice, phonemes, stresses, alignment, temperature, seed)
        return {"waveform": waveform, **alignment._asdict()}

    parts = {
        "predict": duration_f0_signatures.signatures(voice.duration_f0)["predict"],
        "logits": vocoder_signatures.signatures(voice.vocoder)["logits"],
    }
    return {"serving_default": speak, "speak": speak} | parts
