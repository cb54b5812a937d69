"""Quasi-recurrent layers: convolutions over time for the gates, and a recurrence without a product.

Bradbury et al., "Quasi-Recurrent Neural Networks", arXiv 1611.01576, with a filter of two steps (equation 2) and
fo-pooling (equation 4). All products are outside the time loop, whose steps are additions and multiplications alone.
"""

import keras
import tensorflow as tf

from tfvoice.layers import recurrent

# z, f and o of the paper.
_GATES = 3
_TAPS = 2


class Qrnn(keras.layers.Layer):
    """One direction of a quasi-recurrent layer, in float32.

    With x before the first step 0: `z, f, o = tanh, sigmoid, sigmoid (W0 x[t-1] + W1 x[t] + b)`,
    `c[t] = f c[t-1] + (1 - f) z` and `h = o c`.

    Args:
      units: size of the state.
      backward: run from the last step of each sequence to the first, padding excluded.
      name: name of the layer.
    """

    def __init__(self, units: int, backward: bool = False, name: str | None = None):
        super().__init__(name=name, dtype="float32")
        self.units, self.backward = units, backward

    def build(self, input_shape):
        shape = (_TAPS, input_shape[-1], _GATES * self.units)
        self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape=shape[-1:], initializer="zeros", name="bias")

    def call(self, inputs, lengths, loop="graph", training=False):
        """Runs over `[batch, time, channels]`.

        Args:
          inputs: `[batch, time, channels]`; values beyond a length have no influence.
          lengths: int32 `[batch]`.
          loop: one of `layers.recurrent.LOOPS`; `cudnn`, which has no such layer, is `graph`.
          training: as for `layers.recurrent.run_cell`.

        Returns:
          `[batch, time, units]` with zeros beyond each length.
        """
        valid = tf.sequence_mask(lengths, tf.shape(inputs)[1])[:, :, tf.newaxis]
        inputs = tf.where(valid, inputs, 0.0)
        # The step before in the order of the recurrence.
        before = [[0, 0], [0, 1], [0, 0]] if self.backward else [[0, 0], [1, 0], [0, 0]]
        neighbours = tf.pad(inputs, before)
        neighbours = neighbours[:, 1:] if self.backward else neighbours[:, :-1]
        kernel = tf.reshape(tf.convert_to_tensor(self.kernel), [-1, _GATES * self.units])
        sums = tf.tensordot(tf.concat([neighbours, inputs], axis=2), kernel, 1) + self.bias
        z, f, o = tf.split(sums, _GATES, axis=2)
        f = tf.sigmoid(f)
        # A backward recurrence begins in the padding, where nothing may be added.
        added = tf.where(valid, (1 - f) * tf.tanh(z), 0.0)
        factors, added = (tf.transpose(values, [1, 0, 2]) for values in (f, added))
        compiled = loop == "xla" and not tf.executing_eagerly()
        states = (_pooled_in_training if training else _pooled)(self.backward, compiled, factors, added)
        return tf.where(valid, tf.sigmoid(o) * tf.transpose(states, [1, 0, 2]), 0.0)


def _pooled(backward: bool, compiled: bool, factors: tf.Tensor, added: tf.Tensor) -> tf.Tensor:
    """`c = factors * c before + added` at each step of `[time, batch, units]`, from 0."""
    start, widths = tf.zeros_like(added[0]), (added.shape[-1],)
    (states,) = recurrent.run_loop(_step, [], [factors, added], [start], widths, backward, compiled).series
    return states


def _step(_, inputs, carry):
    state = inputs[0] * carry[0] + inputs[1]
    return [state], [state]


def _pooled_in_training(backward: bool, compiled: bool, factors: tf.Tensor, added: tf.Tensor) -> tf.Tensor:
    """As `_pooled`, with a gradient that is the same recurrence in the other direction."""

    @tf.custom_gradient
    def run(factors, added):
        states = _pooled(backward, compiled, factors, added)

        def gradient(upstream):
            # A state is weighted by the factor of the step after it.
            zero = tf.zeros_like(factors[:1])
            after = tf.concat([zero, factors[:-1]] if backward else [factors[1:], zero], axis=0)
            total = _pooled(not backward, compiled, after, upstream)
            previous = tf.concat([states[1:], zero] if backward else [zero, states[:-1]], axis=0)
            return total * previous, total

        return states, gradient

    return run(factors, added)
