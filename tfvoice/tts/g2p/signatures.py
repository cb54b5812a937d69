"""The signature of an exported G2P model: words to phonemes in one graph of core TensorFlow operations."""

from collections.abc import Callable

import tensorflow as tf

from tfvoice.tts.g2p import predict
from tfvoice.tts.g2p.run import G2pRun


def signatures(run: G2pRun) -> dict[str, Callable]:
    """The signature of a G2P model, under the names `serving_default` and `pronounce`.

    Input: `words`, strings `[batch]` in UTF-8, in any case. Outputs: `phonemes`, strings `[batch]`, symbols with spaces
    between them, empty as for `predict.words_to_phonemes`; and `log_prob`, float32 `[batch]`, ln of their probability.
    """

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
    def pronounce(words):
        """Pronounces words."""
        phonemes, scores = predict.words_to_phonemes(run, words, run.config.search.beam)
        return {"phonemes": phonemes, "log_prob": scores}

    return {"serving_default": pronounce, "pronounce": pronounce}
