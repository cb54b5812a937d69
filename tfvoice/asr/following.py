"""Following speech in a graph, for models that leave: a chunk and a state in, new text and a state out.

`streaming` does the same from Python, with times; both call the same parts of the network.
"""

import tensorflow as tf

from tfvoice.asr import streaming
from tfvoice.asr.streaming import StreamingTranscriber
from tfvoice.export import transcribe_graph

State = dict[str, tf.Tensor]


class Follower:
    """The steps of a recogniser that can follow speech.

    Args:
      transcriber: of the run.
      alphabet: of the run.
      sample_rate_hz: of its audio.
    """

    def __init__(self, transcriber: StreamingTranscriber, alphabet, sample_rate_hz: int):
        self._parts = transcriber
        self._characters = alphabet.characters
        self._rate_hz = sample_rate_hz
        first = transcriber.first_states()
        self._shapes = [[len(states), states[0].shape[1]] for states in first]
        probe = transcriber.convolve(tf.zeros([1, 2 * transcriber.frame]))
        hidden, _ = transcriber.recur(probe, first)
        self._width = hidden.shape[2]

    def start(self) -> State:
        """The state before the first sample."""
        return {
            "held": tf.zeros([0]),
            "skip": tf.constant(0),
            "waiting": tf.zeros([0, self._width]),
            "last": tf.constant(len(self._characters)),
            "loudest": tf.constant(0.0),
            "unmeasured": tf.zeros([0]),
            "withheld": tf.constant(""),
        } | {f"layer_{number}": tf.zeros(shape) for number, shape in enumerate(self._shapes)}

    def signature(self) -> dict[str, tf.TensorSpec]:
        """Shapes and types of a state, by name."""
        grows = {"held": [None], "unmeasured": [None], "waiting": [None, self._width]}
        return {
            name: tf.TensorSpec(grows.get(name, value.shape), value.dtype, name) for name, value in self.start().items()
        }

    def step(self, chunk: tf.Tensor, final: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """Reads on.

        Args:
          chunk: float32 `[samples]`, what was said since.
          final: bool scalar, whether this is the end.
          state: from `start`, or from the step before.

        Returns:
          What is read anew, a string of characters; all of them joined, with runs of spaces made one, are the text.
          And the state.
        """
        parts = self._parts
        held = tf.concat([state["held"], chunk], axis=0)
        known = tf.size(held) // parts.frame - state["skip"] - parts.context
        values, state = tf.cond(
            final | (known > 0),
            lambda: self._advance(held, known, final, state),
            lambda: (tf.zeros([0, len(self._characters) + 1]), state | {"held": held}),
        )
        text, last = self._read(values, state["last"])
        loudest, unmeasured = self._measure(chunk, final, state)
        text = tf.strings.join([state["withheld"], text])
        heard = loudest > streaming.SILENCE
        state |= {"last": last, "loudest": loudest, "unmeasured": unmeasured, "withheld": tf.where(heard, "", text)}
        return tf.where(heard, text, ""), state

    def _measure(self, chunk, final, state: State):
        """How loud it has been so far, by whole tenths of a second, and the samples of the one that is not whole."""
        short = max(1, self._rate_hz // 10)
        samples = tf.concat([state["unmeasured"], chunk], axis=0)
        whole = tf.where(final, tf.size(samples), tf.size(samples) // short * short)
        measured = transcribe_graph.loudness(samples[tf.newaxis, :whole], whole[tf.newaxis], self._rate_hz)[0]
        return tf.maximum(state["loudest"], measured), samples[whole:]

    def _advance(self, held, known, final, state: State):
        """Takes `known` frames further, or all there are; returns log probabilities of frames that are final."""
        parts, skip = self._parts, state["skip"]
        size = tf.where(final, tf.size(held), (skip + known + parts.context) * parts.frame)
        hidden = parts.convolve(held[tf.newaxis, :size])[:, skip:]
        hidden = hidden[:, : tf.where(final, tf.shape(hidden)[1], known)]
        layers = [tf.unstack(state[f"layer_{number}"][:, tf.newaxis]) for number in range(len(self._shapes))]
        hidden, layers = parts.recur(hidden, layers)
        waiting = tf.concat([state["waiting"], hidden[0]], axis=0)
        waiting = tf.pad(waiting, [[0, tf.where(final, parts.lookahead, 0)], [0, 0]])
        values = tf.cond(
            tf.shape(waiting)[0] > parts.lookahead,
            lambda: parts.finish(waiting[tf.newaxis]),
            lambda: tf.zeros([0, len(self._characters) + 1]),
        )
        gone = tf.maximum(0, skip + known - parts.context)
        after = {
            "held": held[tf.minimum(gone * parts.frame, tf.size(held)) :],
            "skip": skip + known - gone,
            "waiting": waiting[tf.maximum(0, tf.shape(waiting)[0] - parts.lookahead) :],
        }
        after |= {f"layer_{number}": tf.concat(each, axis=0) for number, each in enumerate(layers)}
        return values, state | after

    def _read(self, values, last):
        """The characters of the best path of new frames, and the class of the last of them."""
        best = tf.argmax(values, axis=-1, output_type=tf.int32)
        before = tf.concat([[last], best], axis=0)
        new = (best != len(self._characters)) & (best != before[:-1])
        characters = tf.gather(tf.constant(list(self._characters)), tf.boolean_mask(best, new))
        return tf.strings.reduce_join(characters), before[-1]
