"""The signatures of an exported segmentation model, with core TensorFlow operations only."""

from collections.abc import Callable

import tensorflow as tf

from tfvoice.audio import features
from tfvoice.tts.segmentation.run import SegmentationRun


def signatures(run: SegmentationRun) -> dict[str, Callable]:
    """`log_probs`, also as `serving_default`: waveforms to log probabilities of pairs.

    It takes `samples`, float32 `[batch, samples]` at the run's rate, and `lengths`, int32 `[batch]`; it gives
    `log_probs`, `[batch, frames, phonemes ** 2 + 1]`, nats, the last class being blank, and `lengths` in frames.
    """

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.float32, name="samples"),
            tf.TensorSpec([None], tf.int32, name="lengths"),
        ]
    )
    def log_probs(samples, lengths):
        inputs = features.compute(run.config.features, samples, lengths)
        logits = run.model(*inputs)
        return {"log_probs": tf.nn.log_softmax(logits.values), "lengths": logits.lengths}

    return {"serving_default": log_probs, "log_probs": log_probs}
