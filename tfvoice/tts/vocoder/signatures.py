"""The signature of an exported vocoder: levels and their conditioning to logits in core TensorFlow operations."""

from collections.abc import Callable

import tensorflow as tf

from tfvoice.layers import xla
from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES, WINDOW
from tfvoice.tts.vocoder.run import VocoderRun


def signatures(run: VocoderRun) -> dict[str, Callable]:
    """The signature of a vocoder, under the names `serving_default` and `logits`.

    Inputs: `levels`, int32 `[batch, 2 + frames * 64]`; `phonemes` and `stresses`, int32 `[batch, frames, 5]`; `f0`,
    float32 `[batch, frames, 2]`; see `tts.vocoder.conditioning`. Output: `logits`, float32 `[batch, frames * 64,
    levels]`, of each level but the first two, given those before it.
    """

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32, name="levels"),
            tf.TensorSpec([None, None, WINDOW], tf.int32, name="phonemes"),
            tf.TensorSpec([None, None, WINDOW], tf.int32, name="stresses"),
            tf.TensorSpec([None, None, 2], tf.float32, name="f0"),
        ]
    )
    def logits(levels, phonemes, stresses, f0):
        """The logits of every level."""
        batch, frames = tf.shape(phonemes)[0], tf.shape(phonemes)[1]
        fits = tf.equal(tf.shape(levels)[1], 2 + frames * FRAME_SAMPLES)
        message = f"levels must have 2 and {FRAME_SAMPLES} for each frame, not:"
        with tf.control_dependencies([tf.debugging.Assert(fits, [message, tf.shape(levels)])]):
            levels = tf.identity(levels)
        with xla.disabled():
            biases = run.model.condition(phonemes, stresses, f0, tf.fill([batch], frames))
            return {"logits": run.model(levels, biases)}

    return {"serving_default": logits, "logits": logits}
