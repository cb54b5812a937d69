"""Streaming recognition: audio in as it is recorded, words out as soon as they are final.

A network that runs forwards keeps the states of its recurrent layers between chunks. Its convolutions depend on a few
frames to either side, its look-ahead on some more; so does the Fourier transform. What they still need stays in the
state of the stream, so that the frames are those of one pass over everything, however the samples arrive.

One step, a TensorFlow function of a chunk and a state, is what Python and an exported model call alike.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from tfvoice import ctc
from tfvoice.asr import words
from tfvoice.asr.config import RecognizerConfig
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.transcript import Word
from tfvoice.asr.words import WordTensors
from tfvoice.audio import features, level
from tfvoice.errors import TfvoiceError
from tfvoice.lengths import Sequence

# New audio in each step. Shorter blocks cost more, longer ones delay words.
BLOCK_SECONDS = 0.2

State = dict[str, tf.Tensor]


class StreamingTranscriber:
    """Transcribes audio from its beginning to its end.

    Args:
      run: of a network that streams, from `Recognizer.load`.
      block_seconds: new audio in each step that Python makes.

    Attributes:
      step: `tf.function` of one step: `(chunk, final, state)` to `(text, words, state)`; see `_step`.

    Raises:
      TfvoiceError: the run needs the end of the audio before it can start.
    """

    def __init__(self, run: Recognizer, block_seconds: float = BLOCK_SECONDS):
        reason = reason_not_streamable(run.config)
        if reason:
            raise TfvoiceError(f"{run.run_dir}: cannot transcribe a stream: {reason}.")
        self._run = run
        self._config = run.config
        self._characters = run.alphabet.characters
        self._breaks = words.breaks(run.alphabet)
        self._frame = run.config.features.hop_samples * run.config.model.stride
        self._block = self._frame * max(1, round(block_seconds / run.seconds_per_frame()))
        # Frames on both sides of those that are convolved; the samples of a transform lie around its frame.
        half = run.config.features.transform_samples // 2
        self._context = math.ceil(half / self._frame) + run.config.model.convolution_reach
        # Frames after those whose logits are final.
        self._lookahead = run.config.model.lookahead - 1
        self._network_names = tuple(self._network_start())
        call = [tf.TensorSpec([None], tf.float32, "chunk"), tf.TensorSpec([], tf.bool, "final")]
        self.step = tf.function(self._step, input_signature=[*call, self.signature()])
        self._log_probabilities = tf.function(self._advance, input_signature=[*call, _signature(self._network_start())])

    def words(self, chunks: Iterable[np.ndarray]) -> Iterator[Word]:
        """Transcribes a stream.

        The words do not depend on the chunks: they are cut anew to blocks of one length.

        Args:
          chunks: samples of any lengths, float32 at the run's rate.

        Yields:
          Each word as soon as it is final.
        """
        state = self.start()
        for block, final in _blocks(chunks, self._block):
            _, complete, state = self.step(block, final, state)
            yield from words.to_list(complete)[0]

    def log_probabilities(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the log softmax of the logits, `[frames, classes]`, in order and as soon as they are final."""
        state = self._network_start()
        for block, final in _blocks(chunks, self._block):
            values, state = self._log_probabilities(block, final, state)
            yield values.numpy()

    def whole(self, samples: tf.Tensor) -> tf.Tensor:
        """Log probabilities `[frames, classes]` of samples `[samples]`, block by block in one graph."""
        size = self._block
        count = 1 + tf.size(samples) // size

        def append(number, parts, state):
            chunk = samples[number * size : (number + 1) * size]
            values, state = self._advance(chunk, number == count - 1, state)
            return number + 1, parts.write(number, values), state

        start = self._network_start()
        shapes = {name: spec.shape for name, spec in _signature(start).items()}
        parts = tf.TensorArray(tf.float32, count, infer_shape=False, element_shape=[None, len(self._characters) + 1])
        _, parts, _ = tf.while_loop(
            lambda number, *_: number < count,
            append,
            (0, parts, start),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape(None), shapes),
            parallel_iterations=1,
        )
        return parts.concat()

    def start(self) -> State:
        """The state before the first sample: of the network, of the level, and of the text."""
        silent = level.start()
        return self._network_start() | {
            "samples": tf.constant(0, tf.int64),
            "peak": silent.peak,
            "unmeasured": silent.rest,
            "frames": tf.constant(0),
            "last": tf.constant(len(self._characters)),
            "ids": tf.zeros([0], tf.int32),
            "starts": tf.zeros([0], tf.int32),
            "ends": tf.zeros([0], tf.int32),
            "confidences": tf.zeros([0]),
        }

    def signature(self) -> dict[str, tf.TensorSpec]:
        """Shapes and types of a state, by name."""
        return _signature(self.start())

    def _step(self, chunk, final, state: State) -> tuple[tf.Tensor, WordTensors, State]:
        """One step.

        Args:
          chunk: float32 `[samples]`, the audio since the step before.
          final: bool scalar, whether the stream ends here.
          state: from `start`, or from the step before.

        Returns:
          The characters that are new, as one string: those of all steps joined, with single spaces, are the text. The
          words that are final since the step before, a batch of one. And the state.
        """
        values, network = self._advance(chunk, final, state)
        before = level.StreamLevel(state["peak"], state["unmeasured"])
        now = level.update(before, chunk, final, self._config.features.sample_rate_hz)
        # Up to the first sound there is no text, whatever the network gives for dither; then it belongs to the speech.
        audible = now.peak > level.SILENCE
        reported = tf.where(before.peak > level.SILENCE, tf.size(state["ids"]), 0)
        emissions, last = _extended(values, state)
        size = tf.size(emissions.ids)
        # From the last break on, a word can still grow.
        ends = tf.where(tf.gather(tf.constant(self._breaks), emissions.ids), tf.range(size), 0)
        complete = tf.where(final, size, tf.reduce_max(tf.concat([[0], ends], axis=0)))
        complete = tf.where(audible, complete, 0)
        characters = tf.gather(tf.constant(list(self._characters)), emissions.ids[reported:])
        samples = state["samples"] + tf.size(chunk, tf.int64)
        seconds = tf.cast(samples, tf.float64) / self._config.features.sample_rate_hz
        row = ctc.Emissions(*(tf.RaggedTensor.from_tensor(part[tf.newaxis, :complete]) for part in emissions))
        final_words = words.join(row, self._run.alphabet, self._run.seconds_per_frame(), seconds[tf.newaxis])
        after = {"samples": samples, "peak": now.peak, "unmeasured": now.rest, "last": last}
        after |= {"frames": state["frames"] + tf.shape(values)[0]}
        after |= {name: part[complete:] for name, part in emissions._asdict().items()}
        return tf.where(audible, tf.strings.reduce_join(characters), ""), final_words, network | after

    def _network_start(self) -> State:
        layers = {f"layer_{number}": tf.concat(each, 0) for number, each in enumerate(self._run.model.initial_state(1))}
        waiting = tf.zeros([0, self._config.model.units])
        return {"held": tf.zeros([0]), "skip": tf.constant(0), "waiting": waiting} | layers

    def _advance(self, chunk, final, state: State) -> tuple[tf.Tensor, State]:
        """Log probabilities `[frames, classes]` of the frames that are final since the step before, and the state."""
        state = {name: state[name] for name in self._network_names}
        held = tf.concat([state["held"], chunk], axis=0)
        known = tf.size(held) // self._frame - state["skip"] - self._context
        return tf.cond(
            final | (known > 0),
            lambda: self._run_network(held, known, final, state),
            lambda: (tf.zeros([0, len(self._characters) + 1]), state | {"held": held}),
        )

    def _run_network(self, held, known, final, state: State):
        """Runs the network over the next `known` frames, or to the end."""
        skip, lookahead = state["skip"], self._lookahead
        size = tf.where(final, tf.size(held), (skip + known + self._context) * self._frame)
        hidden = self._convolved(held[:size])[skip:]
        hidden = hidden[: tf.where(final, tf.shape(hidden)[0], known)]
        layers = [tf.unstack(state[f"layer_{number}"][:, tf.newaxis]) for number in range(self._config.model.layers)]
        hidden, layers = self._run.model.run_recurrent(Sequence(hidden[tf.newaxis], tf.shape(hidden)[:1]), layers)
        waiting = tf.concat([state["waiting"], hidden.values[0]], axis=0)
        waiting = tf.pad(waiting, [[0, tf.where(final, lookahead, 0)], [0, 0]])
        values = tf.cond(
            tf.shape(waiting)[0] > lookahead,
            lambda: self._classified(waiting),
            lambda: tf.zeros([0, len(self._characters) + 1]),
        )
        dropped = tf.maximum(0, skip + known - self._context)
        after = {
            "held": held[tf.minimum(dropped * self._frame, tf.size(held)) :],
            "skip": skip + known - dropped,
            "waiting": waiting[tf.maximum(0, tf.shape(waiting)[0] - lookahead) :],
        }
        return values, after | {f"layer_{number}": tf.concat(each, axis=0) for number, each in enumerate(layers)}

    def _convolved(self, samples):
        """Samples `[samples]` to the output of the convolutions for all their frames, `[frames, channels]`."""
        inputs = features.compute(self._config.features, samples[tf.newaxis], tf.shape(samples), self._run.statistics)
        return self._run.model.convolve(inputs.values, inputs.lengths).values[0]

    def _classified(self, waiting):
        """Log probabilities `[frames, classes]` of all frames but the last `lookahead`."""
        lengths = tf.shape(waiting)[:1] - self._lookahead
        hidden = self._run.model.apply_lookahead(waiting[tf.newaxis], lengths)
        return tf.nn.log_softmax(self._run.model.classify(hidden).values[0])


def reason_not_streamable(config: RecognizerConfig) -> str:
    """Why a run cannot transcribe a stream, as a part of a sentence; empty where it can."""
    if not config.model.streams:
        return "its network depends on what comes after; train deepspeech2 with --config=deepspeech2_streaming"
    if config.features.normalization not in ("none", "corpus"):
        return "its features are normalised by utterance; train with --set features.normalization=corpus"
    if config.features.kind == "mfcc":
        return "its features depend on the loudest sound of the whole; train with --set features.kind=log_mel"
    if config.features.pad_mode == "reflect":
        return "its features mirror the audio at its end; train with --set features.pad_mode=constant"
    return ""


def _signature(state: State) -> dict[str, tf.TensorSpec]:
    """Shapes and types of a state; what is empty at the start grows."""
    return {
        name: tf.TensorSpec([size or None for size in value.shape], value.dtype, name) for name, value in state.items()
    }


def _extended(values, state: State) -> tuple[ctc.Emissions, tf.Tensor]:
    """The labels of the best path that are not final yet, with new log probabilities `[frames, classes]` at its end.

    A label whose frames lie on both sides of the seam stays one.

    Returns:
      Their ids, starts, ends and confidences, each `[labels]`, and the best class of the last frame.
    """
    new = ctc.greedy(Sequence(values[tf.newaxis], tf.shape(values)[:1]))
    ids, starts, ends, confidences = (part.values for part in new)
    best = tf.concat([state["last"][tf.newaxis], tf.argmax(values, axis=-1, output_type=tf.int32)], axis=0)
    same = (tf.size(best) > 1) & (best[0] != ctc.blank(values)) & (best[tf.minimum(1, tf.size(best) - 1)] == best[0])
    shared = tf.cast(same, tf.int32)
    own = tf.size(state["ids"]) - shared
    joined = tf.maximum(state["confidences"][own:], confidences[:shared])
    extended = ctc.Emissions(
        ids=tf.concat([state["ids"], ids[shared:]], axis=0),
        starts=tf.concat([state["starts"], starts[shared:] + state["frames"]], axis=0),
        ends=tf.concat([state["ends"][:own], ends + state["frames"]], axis=0),
        confidences=tf.concat([state["confidences"][:own], joined, confidences[shared:]], axis=0),
    )
    return extended, best[-1]


def _blocks(chunks: Iterable[np.ndarray], size: int) -> Iterator[tuple[np.ndarray, bool]]:
    """Cuts chunks of samples anew to blocks of `size`; with each, whether it is the last, which is shorter."""
    held, count = [], 0
    for chunk in chunks:
        held.append(np.asarray(chunk, np.float32))
        count += len(chunk)
        if count >= size:
            samples = np.concatenate(held)
            whole = count // size * size
            for start in range(0, whole, size):
                yield samples[start : start + size], False
            held, count = [samples[whole:]], count - whole
    yield np.concatenate([np.zeros(0, np.float32), *held]), True
