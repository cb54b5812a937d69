"""LSTM, GRU and plain recurrent layers over padded sequences.

On a GPU the time loop is cuDNN's, through Keras. On a CPU it is ours: the products with the inputs, and all gradients
of weights, are taken out of the loop as a few large products, so that only `state x recurrent kernel` and its
transpose stay inside. The weights are the same, and are Keras's own.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

CELLS = ("lstm", "gru", "rnn")

_KERAS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}


class Recurrent(keras.layers.Layer):
    """One direction of a recurrent layer.

    Equations: LSTM as Hochreiter and Schmidhuber with forget gates (no peepholes), gates i, f, c, o; GRU as Cho et al.
    (arXiv 1406.1078) with the reset gate after the product, as in cuDNN and PyTorch, gates z, r, h; rnn is
    `h' = tanh(W x + U h + b)`.

    Args:
      units: size of the state.
      cell: one of `CELLS`.
      backwards: start at the end of each sequence (its own end, not that of the padding).
      use_bias: whether to add biases.
      initializer: of every kernel and bias; a Keras initializer or its name. None: Keras's defaults.
      name: name of the layer.
    """

    def __init__(
        self,
        units: int,
        cell: str = "lstm",
        backwards: bool = False,
        use_bias: bool = True,
        initializer=None,
        name: str | None = None,
    ):
        super().__init__(name=name, dtype="float32")
        self.units, self.cell, self.backwards = units, cell, backwards
        given = {} if initializer is None else dict.fromkeys(_INITIALIZED, initializer)
        if cell == "lstm":
            given["unit_forget_bias"] = initializer is None
        self.inner = _KERAS[cell](
            units,
            use_bias=use_bias,
            return_sequences=True,
            return_state=True,
            zero_output_for_mask=True,
            name="inner",
            **given,
        )

    def build(self, input_shape):
        self.inner.build(input_shape)

    def start(self, batch) -> list[tf.Tensor]:
        """The state before the first step of so many rows."""
        return [tf.zeros([batch, self.units]) for _ in range(2 if self.cell == "lstm" else 1)]

    def call(self, inputs, lengths, state=None, compiled=False):
        """Runs over `[batch, time, channels]`.

        Args:
          inputs: `[batch, time, channels]`; what lies past a length has no influence.
          lengths: int32 `[batch]`.
          state: where to start: a list of `[batch, units]`, two for lstm (h, c), one otherwise. None: zeros.
          compiled: within a `tf.function` on a CPU, let XLA compile the time loop, anew for each shape of the inputs
            (0.3 s): up to twice as fast where shapes recur.

        Returns:
          `[batch, time, units]` with zeros past each length, and the state after the last step of each row.
        """
        time = tf.shape(inputs)[1]
        if state is None:
            state = self.start(tf.shape(inputs)[0])
        if self.backwards:
            inputs = tf.reverse_sequence(inputs, lengths, seq_axis=1)
        valid = tf.sequence_mask(lengths, time)
        if tf.config.list_logical_devices("GPU"):
            # cuDNN knows no sequence without a step, and the last batch of an epoch can hold some.
            some = tf.sequence_mask(tf.maximum(lengths, 1), time)
            outputs, *last = self.inner(inputs, mask=some, initial_state=list(state))
        else:
            outputs, last = self._run(inputs, lengths, state, compiled)
        empty = (lengths == 0)[:, tf.newaxis]
        state = [tf.where(empty, first, after) for first, after in zip(state, last, strict=True)]
        outputs = tf.where(valid[:, :, tf.newaxis], outputs, 0.0)
        if self.backwards:
            outputs = tf.reverse_sequence(outputs, lengths, seq_axis=1)
        return outputs, state

    def _run(self, inputs, lengths, state, compiled):
        cell = self.inner.cell
        kernel, recurrent = tf.convert_to_tensor(cell.kernel), tf.convert_to_tensor(cell.recurrent_kernel)
        projected = tf.tensordot(tf.transpose(inputs, [1, 0, 2]), kernel, 1)
        recurrent_bias = tf.zeros([recurrent.shape[1]])
        if cell.use_bias:
            bias = tf.convert_to_tensor(cell.bias)
            if self.cell == "gru":
                bias, recurrent_bias = bias[0], bias[1]
            projected += bias
        # Under an eager tape, XLA would have to compile what the tape wants to keep of each step, and cannot.
        compiled = compiled and not tf.executing_eagerly()
        series = _RUNS[self.cell](compiled, projected, recurrent, recurrent_bias, *state)
        # A row ends before the padding does: its state is that of its own last step.
        ends = tf.stack([tf.maximum(lengths - 1, 0), tf.range(tf.shape(lengths)[0])], axis=1)
        return tf.transpose(series[0], [1, 0, 2]), [tf.gather_nd(values, ends) for values in series]


_INITIALIZED = ("kernel_initializer", "recurrent_initializer", "bias_initializer")


class _Loop(NamedTuple):
    """What a time loop gives: values of each step `[time, batch, ...]`, and what was carried out of the last."""

    series: list[tf.Tensor]
    carried: list[tf.Tensor]


def _loop(
    step: Callable,
    kernels: list[tf.Tensor],
    inputs: list[tf.Tensor],
    carried: list[tf.Tensor],
    widths: tuple[int, ...],
    backwards: bool = False,
    compiled: bool = False,
) -> _Loop:
    """Calls `step(kernels, inputs at t, carried) -> (values, carried)` for each t; `widths` are those of the values."""
    run = _compiled_loop(step, widths, backwards) if compiled else functools.partial(_run, step, widths, backwards)
    return _Loop(*run(kernels, inputs, carried))


@functools.cache
def _compiled_loop(step: Callable, widths: tuple[int, ...], backwards: bool) -> Callable:
    """A loop that XLA compiles once for each shape, whichever layer asks for it."""
    return tf.function(functools.partial(_run, step, widths, backwards), jit_compile=True)


def _run(step: Callable, widths: tuple[int, ...], backwards: bool, kernels, inputs, carried):
    time, batch = tf.unstack(tf.shape(inputs[0])[:2])
    arrays = [tf.TensorArray(tf.float32, time).unstack(values) for values in inputs]
    written = [tf.TensorArray(tf.float32, time, element_shape=[None, width]) for width in widths]

    def body(done, carried, written):
        at = time - 1 - done if backwards else done
        values, carried = step(kernels, [array.read(at) for array in arrays], carried)
        return done + 1, carried, [array.write(at, value) for array, value in zip(written, values, strict=True)]

    invariants = (
        tf.TensorShape([]),
        [tf.TensorShape([None, value.shape[-1]]) for value in carried],
        [tf.TensorShape(None)] * len(written),
    )
    _, carried, written = tf.while_loop(
        lambda done, *_: done < time, body, (tf.constant(0), list(carried), written), invariants, parallel_iterations=1
    )
    return [
        tf.reshape(array.stack(), [time, batch, width]) for array, width in zip(written, widths, strict=True)
    ], carried


def _before(first: tf.Tensor, series: tf.Tensor) -> tf.Tensor:
    """The state before each step."""
    return tf.concat([first[tf.newaxis], series[:-1]], axis=0)


def _weights(states: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Gradient of a recurrent kernel, over all steps at once."""
    flat = [tf.reshape(values, [-1, values.shape[-1]]) for values in (states, gradients)]
    return tf.matmul(flat[0], flat[1], transpose_a=True)


# Each cell has a step forwards and a step backwards. The latter gets the recurrent kernel transposed: with oneDNN, a
# product that transposes it itself takes four times as long from a batch of 16 on.


def _lstm_step(kernels, inputs, carried):
    h, c = carried
    i, f, g, o = tf.split(inputs[0] + tf.matmul(h, kernels[0]), 4, axis=1)
    i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
    c = f * c + i * g
    h = o * tf.tanh(c)
    return [h, c, tf.concat([i, f, g, o], axis=1)], [h, c]


def _lstm_step_back(kernels, inputs, carried):
    h_here, c_here, to_c, factors, f = inputs
    h_later, c_later = carried
    dh = h_here + h_later
    dc = c_here + c_later + dh * to_c
    sums = tf.concat([dc, dc, dc, dh], axis=1) * factors
    return [sums], [tf.matmul(sums, kernels[0]), dc * f]


def _lstm(compiled: bool, projected, kernel, bias, h_first, c_first):
    units = kernel.shape[0]

    @tf.custom_gradient
    def run(projected, kernel, bias, h_first, c_first):
        start, widths = [h_first, c_first], (units, units, 4 * units)
        h, c, gates = _loop(_lstm_step, [kernel], [projected], start, widths, compiled=compiled).series

        def gradient(h_up, c_up):
            i, f, g, o = tf.split(gates, 4, axis=2)
            h_before, c_before = _before(h_first, h), _before(c_first, c)
            tanh = tf.tanh(c)
            # What each gate's sum gets, as factors of the gradient of c (the first three) or of h.
            factors = tf.concat([g * i * (1 - i), c_before * f * (1 - f), i * (1 - g * g), tanh * o * (1 - o)], axis=2)
            inputs, zeros = [h_up, c_up, o * (1 - tanh * tanh), factors, f], tf.zeros_like(h_first)
            (sums,), (dh_first, dc_first) = _loop(
                _lstm_step_back, [tf.transpose(kernel)], inputs, [zeros, zeros], (4 * units,), True, compiled
            )
            return sums, _weights(h_before, sums), tf.zeros_like(bias), dh_first, dc_first

        return (h, c), gradient

    return run(projected, kernel, bias, h_first, c_first)


def _gru_step(kernels, inputs, carried):
    kernel, bias = kernels
    (h,) = carried
    z_in, r_in, n_in = tf.split(inputs[0], 3, axis=1)
    z, r, n_own = tf.split(tf.matmul(h, kernel) + bias, 3, axis=1)
    z, r = tf.sigmoid(z_in + z), tf.sigmoid(r_in + r)
    n = tf.tanh(n_in + r * n_own)
    h = z * h + (1 - z) * n
    return [h, tf.concat([z, r, n, n_own], axis=1)], [h]


def _gru_step_back(kernels, inputs, carried):
    h_here, factors, z = inputs
    dh = h_here + carried[0]
    sums = tf.concat([dh, dh, dh], axis=1) * factors
    return [dh, sums], [tf.matmul(sums, kernels[0]) + dh * z]


def _gru(compiled: bool, projected, kernel, bias, h_first):
    units = kernel.shape[0]

    @tf.custom_gradient
    def run(projected, kernel, bias, h_first):
        widths = (units, 4 * units)
        h, gates = _loop(_gru_step, [kernel, bias], [projected], [h_first], widths, compiled=compiled).series

        def gradient(h_up):
            z, r, n, n_own = tf.split(gates, 4, axis=2)
            h_before = _before(h_first, h)
            to_n = (1 - z) * (1 - n * n)
            # What the sums of z, r and the candidate's recurrent part get, as factors of the gradient of h.
            factors = tf.concat([(h_before - n) * z * (1 - z), to_n * n_own * r * (1 - r), to_n * r], axis=2)
            inputs, zeros = [h_up, factors, z], tf.zeros_like(h_first)
            (dh, sums), (dh_first,) = _loop(
                _gru_step_back, [tf.transpose(kernel)], inputs, [zeros], (units, 3 * units), True, compiled
            )
            into = tf.concat([sums[:, :, : 2 * units], dh * to_n], axis=2)
            return into, _weights(h_before, sums), tf.reduce_sum(sums, axis=[0, 1]), dh_first

        return (h,), gradient

    return run(projected, kernel, bias, h_first)


def _rnn_step(kernels, inputs, carried):
    h = tf.tanh(inputs[0] + tf.matmul(carried[0], kernels[0]))
    return [h], [h]


def _rnn_step_back(kernels, inputs, carried):
    sums = (inputs[0] + carried[0]) * inputs[1]
    return [sums], [tf.matmul(sums, kernels[0])]


def _rnn(compiled: bool, projected, kernel, bias, h_first):
    units = kernel.shape[0]

    @tf.custom_gradient
    def run(projected, kernel, bias, h_first):
        ((h,), _) = _loop(_rnn_step, [kernel], [projected], [h_first], (units,), compiled=compiled)

        def gradient(h_up):
            inputs, zeros = [h_up, 1 - h * h], tf.zeros_like(h_first)
            (sums,), (dh_first,) = _loop(
                _rnn_step_back, [tf.transpose(kernel)], inputs, [zeros], (units,), True, compiled
            )
            return sums, _weights(_before(h_first, h), sums), tf.zeros_like(bias), dh_first

        return (h,), gradient

    return run(projected, kernel, bias, h_first)


_RUNS = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}
