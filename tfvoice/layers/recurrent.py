"""Recurrent layers over padded sequences: the layer `Recurrent`, and under it the cells and their time loops.

On a CPU, Keras's layers are slow: LSTM 512, batch 8, 200 steps, forward and backward on 2 cores takes 869 ms, this
module 240 to 290. Its cells have a gradient of their own: the products with the inputs and the gradients of all weights
are a few large products outside the time loop, and only the recurrent product is inside. The weights are those of
Keras's layers, so that on a GPU `Recurrent` can train with cuDNN through Keras.

The argument `loop` decides which time loop is traced, never the devices of the machine that happens to trace it: an
exported graph must run on servers without cuDNN or XLA.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

# Cells of `Recurrent`; `run_cell` also has the GRU of SampleRNN.
CELLS = ("lstm", "gru", "rnn")
# Numbers of gates, and of state tensors: h and c for lstm, h for the others.
GATES = {"lstm": 4, "gru": 3, "gru_reset_before": 3, "rnn": 1}
STATES = {"lstm": 2, "gru": 1, "gru_reset_before": 1, "rnn": 1}
# Time loops: TensorFlow's, the same compiled by XLA, and that of cuDNN.
LOOPS = ("graph", "xla", "cudnn")

_KERAS_LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}
_INITIALIZERS = ("kernel_initializer", "recurrent_initializer", "bias_initializer")


class Recurrent(keras.layers.Layer):
    """One direction of a recurrent layer, in float32; `run_cell` states the equations.

    Args:
      units: size of the state.
      cell: one of `CELLS`.
      backward: run from the last step of each sequence to the first, padding excluded.
      use_bias: whether to add biases.
      initializer: of all kernels and biases; a Keras initializer or its name. None: Keras's defaults.
      name: name of the layer.
    """

    def __init__(
        self,
        units: int,
        cell: str = "lstm",
        backward: bool = False,
        use_bias: bool = True,
        initializer=None,
        name: str | None = None,
    ):
        super().__init__(name=name, dtype="float32")
        self.units, self.cell, self.backward = units, cell, backward
        options = {} if initializer is None else dict.fromkeys(_INITIALIZERS, initializer)
        if cell == "lstm":
            options["unit_forget_bias"] = initializer is None
        # Holds the weights, and is the layer that runs with loop="cudnn".
        self.inner = _KERAS_LAYERS[cell](
            units,
            use_bias=use_bias,
            return_sequences=True,
            return_state=True,
            zero_output_for_mask=True,
            dtype="float32",
            name="inner",
            **options,
        )

    def build(self, input_shape):
        self.inner.build(input_shape)

    def initial_state(self, batch) -> list[tf.Tensor]:
        """The state before the first step of `batch` rows: zeros."""
        return [tf.zeros([batch, self.units]) for _ in range(STATES[self.cell])]

    def call(self, inputs, lengths, state=None, loop="graph", training=False):
        """Runs over `[batch, time, channels]`.

        Args:
          inputs: `[batch, time, channels]`; values beyond a length have no influence.
          lengths: int32 `[batch]`.
          state: initial state, a list of `[batch, units]`: h and c for lstm, h for the others. None: zeros.
          loop: one of `LOOPS`. `graph` runs everywhere. `xla` is up to twice as fast on a CPU, but is compiled for each
            shape of the inputs (0.3 s), and within a `tf.function` only. `cudnn` needs a GPU. All give the same values.
          training: as for `run_cell`.

        Returns:
          `[batch, time, units]` with zeros beyond each length, and the state after the last step of each row.

        Raises:
          ValueError: `loop` is not one of `LOOPS`.
        """
        if loop not in LOOPS:
            raise ValueError(f"loop={loop!r} is not one of {', '.join(LOOPS)}")
        time = tf.shape(inputs)[1]
        if state is None:
            state = self.initial_state(tf.shape(inputs)[0])
        if self.backward:
            inputs = tf.reverse_sequence(inputs, lengths, seq_axis=1)
        valid = tf.sequence_mask(lengths, time)
        if loop == "cudnn":
            # cuDNN does not support sequences of length 0, and the last batch of an epoch can have some.
            nonempty = tf.sequence_mask(tf.maximum(lengths, 1), time)
            outputs, *last = self.inner(inputs, mask=nonempty, initial_state=list(state))
        else:
            outputs, last = self._run(inputs, lengths, state, loop == "xla", training)
        empty = (lengths == 0)[:, tf.newaxis]
        state = [tf.where(empty, first, after) for first, after in zip(state, last, strict=True)]
        outputs = tf.where(valid[:, :, tf.newaxis], outputs, 0.0)
        if self.backward:
            outputs = tf.reverse_sequence(outputs, lengths, seq_axis=1)
        return outputs, state

    def _run(self, inputs, lengths, state, compiled: bool, training: bool):
        cell = self.inner.cell
        kernel, recurrent_kernel = tf.convert_to_tensor(cell.kernel), tf.convert_to_tensor(cell.recurrent_kernel)
        projected = tf.tensordot(tf.transpose(inputs, [1, 0, 2]), kernel, 1)
        recurrent_bias = None
        if cell.use_bias:
            bias = tf.convert_to_tensor(cell.bias)
            if self.cell == "gru":
                bias, recurrent_bias = bias[0], bias[1]
            projected += bias
        series = run_cell(self.cell, projected, recurrent_kernel, state, recurrent_bias, compiled, training)
        # The final state of a row is that of its own last step, not of the last step of the batch.
        ends = tf.stack([tf.maximum(lengths - 1, 0), tf.range(tf.shape(lengths)[0])], axis=1)
        return tf.transpose(series[0], [1, 0, 2]), [tf.gather_nd(values, ends) for values in series]


def run_cell(
    cell: str,
    projected: tf.Tensor,
    kernel: tf.Tensor | Sequence[tf.Tensor],
    state: list[tf.Tensor],
    bias: tf.Tensor | None = None,
    compiled: bool = False,
    training: bool = False,
) -> list[tf.Tensor]:
    """Runs a cell over all steps of a batch.

    Equations: LSTM as Hochreiter and Schmidhuber with forget gates (no peepholes), gates i, f, c, o; GRU as Cho et al.
    (arXiv 1406.1078), gates z, r, h: `gru_reset_before` as published, with the reset gate before the product, and `gru`
    with it after the product, as in cuDNN and PyTorch; rnn is `h' = tanh(W x + U h + b)`.

    Args:
      cell: a key of `GATES`.
      projected: `[time, batch, gates * units]`, the inputs times their kernel, plus their bias.
      kernel: `[units, gates * units]`, recurrent; or the result of `split_kernel`.
      state: initial state; `STATES[cell]` tensors `[batch, units]`.
      bias: `[gates * units]`, which `gru` adds to the recurrent product; None: zeros.
      compiled: let XLA compile the time loop; within a `tf.function` only.
      training: use the gradient of this module. Without it the gradient is that of TensorFlow, which is slower and
        does not exist for a compiled loop; but TensorFlow never frees a graph that holds a custom gradient.

    Returns:
      The state after each step, tensors `[time, batch, units]`.
    """
    kernels = split_kernel(cell, kernel) if isinstance(kernel, tf.Tensor) else kernel
    if bias is None:
        bias = tf.zeros([sum(kernel.shape[1] for kernel in kernels)])
    if projected.shape[0] == 1:
        values, _ = _STEPS[cell]([*kernels, bias], [projected[0]], state)
        return [value[tf.newaxis] for value in values[: STATES[cell]]]
    # Under an eager tape, XLA would have to compile the tape's accumulators as well, which it cannot.
    compiled = compiled and not tf.executing_eagerly()
    if training:
        return _SERIES[cell](compiled, projected, *kernels, bias, *state)
    step, widths = _states_alone(_STEPS[cell]), (kernels[0].shape[0],) * STATES[cell]
    return run_loop(step, [*kernels, bias], [projected], list(state), widths, compiled=compiled).series


@functools.cache
def _states_alone(step: Callable) -> Callable:
    """A step whose values are its states, without the activations that only the gradient needs."""

    def states(kernels, inputs, carry):
        _, carry = step(kernels, inputs, carry)
        return carry, carry

    return states


def split_kernel(cell: str, kernel: tf.Tensor) -> list[tf.Tensor]:
    """Splits a recurrent kernel into the matrices of one step, so that a loop need not do so at each step."""
    if cell != "gru_reset_before":
        return [kernel]
    return tf.split(kernel, [2 * kernel.shape[0], kernel.shape[0]], axis=1)


# Time loops.


class _LoopResult(NamedTuple):
    """Values of each step `[time, batch, ...]`, and the carry after the last step."""

    series: list[tf.Tensor]
    carry: list[tf.Tensor]


def run_loop(
    step: Callable,
    kernels: list[tf.Tensor],
    inputs: list[tf.Tensor],
    carry: list[tf.Tensor],
    widths: tuple[int, ...],
    backward: bool = False,
    compiled: bool = False,
) -> _LoopResult:
    """Calls `step(kernels, inputs at t, carry) -> (values, carry)` for each t; `widths` are those of the values."""
    run = _compiled_loop(step, widths, backward) if compiled else functools.partial(_while_loop, step, widths, backward)
    return _LoopResult(*run(kernels, inputs, carry))


@functools.cache
def _compiled_loop(step: Callable, widths: tuple[int, ...], backward: bool) -> Callable:
    """A loop that XLA compiles once per shape, shared by all layers."""
    return tf.function(functools.partial(_while_loop, step, widths, backward), jit_compile=True)


def _while_loop(step: Callable, widths: tuple[int, ...], backward: bool, kernels, inputs, carry):
    time, batch = tf.unstack(tf.shape(inputs[0])[:2])
    arrays = [tf.TensorArray(tf.float32, time).unstack(values) for values in inputs]
    outputs = [tf.TensorArray(tf.float32, time, element_shape=[None, width]) for width in widths]

    def body(count, carry, outputs):
        t = time - 1 - count if backward else count
        values, carry = step(kernels, [array.read(t) for array in arrays], carry)
        return count + 1, carry, [array.write(t, value) for array, value in zip(outputs, values, strict=True)]

    invariants = (
        tf.TensorShape([]),
        [tf.TensorShape([None, value.shape[-1]]) for value in carry],
        [tf.TensorShape(None)] * len(outputs),
    )
    _, carry, outputs = tf.while_loop(
        lambda count, *_: count < time, body, (tf.constant(0), list(carry), outputs), invariants, parallel_iterations=1
    )
    return [
        tf.reshape(array.stack(), [time, batch, width]) for array, width in zip(outputs, widths, strict=True)
    ], carry


def _previous(initial: tf.Tensor, series: tf.Tensor) -> tf.Tensor:
    """The state before each step."""
    return tf.concat([initial[tf.newaxis], series[:-1]], axis=0)


def _kernel_gradient(states: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Gradient of a recurrent kernel, over all steps at once."""
    states, gradients = (tf.reshape(values, [-1, values.shape[-1]]) for values in (states, gradients))
    return tf.matmul(states, gradients, transpose_a=True)


# Cells: a step, its backward step, and the series of states with its gradient. A backward step gets the recurrent
# kernel already transposed: a product that transposes it itself takes four times as long with oneDNN from a batch of 16
# on. "Sums" are the gates before their activation functions.


def _lstm_step(kernels, inputs, carry):
    h, c = carry
    i, f, g, o = tf.split(inputs[0] + tf.matmul(h, kernels[0]), 4, axis=1)
    i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
    c = f * c + i * g
    h = o * tf.tanh(c)
    return [h, c, tf.concat([i, f, g, o], axis=1)], [h, c]


def _lstm_backward_step(kernels, inputs, carry):
    h_upstream, c_upstream, h_to_c, factors, f = inputs
    h_carry, c_carry = carry
    dh = h_upstream + h_carry
    dc = c_upstream + c_carry + dh * h_to_c
    sums = tf.concat([dc, dc, dc, dh], axis=1) * factors
    return [sums], [tf.matmul(sums, kernels[0]), dc * f]


def _lstm(compiled: bool, projected, kernel, bias, h_initial, c_initial):
    units = kernel.shape[0]

    @tf.custom_gradient
    def run(projected, kernel, bias, h_initial, c_initial):
        start, widths = [h_initial, c_initial], (units, units, 4 * units)
        h, c, gates = run_loop(_lstm_step, [kernel], [projected], start, widths, compiled=compiled).series

        def gradient(h_upstream, c_upstream):
            i, f, g, o = tf.split(gates, 4, axis=2)
            h_previous, c_previous = _previous(h_initial, h), _previous(c_initial, c)
            tanh = tf.tanh(c)
            # Derivatives of c (for the first three gates) and of h by the sums.
            factors = tf.concat(
                [g * i * (1 - i), c_previous * f * (1 - f), i * (1 - g * g), tanh * o * (1 - o)], axis=2
            )
            inputs, zeros = [h_upstream, c_upstream, o * (1 - tanh * tanh), factors, f], tf.zeros_like(h_initial)
            (sums,), (dh_initial, dc_initial) = run_loop(
                _lstm_backward_step, [tf.transpose(kernel)], inputs, [zeros, zeros], (4 * units,), True, compiled
            )
            return sums, _kernel_gradient(h_previous, sums), tf.zeros_like(bias), dh_initial, dc_initial

        return (h, c), gradient

    return run(projected, kernel, bias, h_initial, c_initial)


def _gru_step(kernels, inputs, carry):
    kernel, bias = kernels
    (h,) = carry
    z_in, r_in, n_in = tf.split(inputs[0], 3, axis=1)
    z, r, n_recurrent = tf.split(tf.matmul(h, kernel) + bias, 3, axis=1)
    z, r = tf.sigmoid(z_in + z), tf.sigmoid(r_in + r)
    n = tf.tanh(n_in + r * n_recurrent)
    h = z * h + (1 - z) * n
    return [h, tf.concat([z, r, n, n_recurrent], axis=1)], [h]


def _gru_backward_step(kernels, inputs, carry):
    h_upstream, factors, z = inputs
    dh = h_upstream + carry[0]
    sums = tf.concat([dh, dh, dh], axis=1) * factors
    return [dh, sums], [tf.matmul(sums, kernels[0]) + dh * z]


def _gru(compiled: bool, projected, kernel, bias, h_initial):
    units = kernel.shape[0]

    @tf.custom_gradient
    def run(projected, kernel, bias, h_initial):
        widths = (units, 4 * units)
        h, gates = run_loop(_gru_step, [kernel, bias], [projected], [h_initial], widths, compiled=compiled).series

        def gradient(h_upstream):
            z, r, n, n_recurrent = tf.split(gates, 4, axis=2)
            h_previous = _previous(h_initial, h)
            h_to_n = (1 - z) * (1 - n * n)
            # Derivatives of h by the sums of z and r, and by the recurrent part of the candidate's sum.
            factors = tf.concat(
                [(h_previous - n) * z * (1 - z), h_to_n * n_recurrent * r * (1 - r), h_to_n * r], axis=2
            )
            inputs, zeros = [h_upstream, factors, z], tf.zeros_like(h_initial)
            (dh, sums), (dh_initial,) = run_loop(
                _gru_backward_step, [tf.transpose(kernel)], inputs, [zeros], (units, 3 * units), True, compiled
            )
            projected_gradient = tf.concat([sums[:, :, : 2 * units], dh * h_to_n], axis=2)
            return projected_gradient, _kernel_gradient(h_previous, sums), tf.reduce_sum(sums, axis=[0, 1]), dh_initial

        return (h,), gradient

    return run(projected, kernel, bias, h_initial)


def _gru_reset_before_step(kernels, inputs, carry):
    kernel_zr, kernel_n, *_ = kernels
    (h,) = carry
    units = h.shape[-1]
    zr_in, n_in = inputs[0][:, : 2 * units], inputs[0][:, 2 * units :]
    z, r = tf.split(tf.sigmoid(zr_in + tf.matmul(h, kernel_zr)), 2, axis=1)
    n = tf.tanh(n_in + tf.matmul(r * h, kernel_n))
    h = z * h + (1 - z) * n
    return [h, tf.concat([z, r, n], axis=1)], [h]


def _gru_reset_before_backward_step(kernels, inputs, carry):
    h_upstream, factors, reset_to_r, r, z = inputs
    kernel_zr, kernel_n = kernels
    units = z.shape[-1]
    dh = h_upstream + carry[0]
    dz, dn = dh * factors[:, :units], dh * factors[:, units:]
    reset = tf.matmul(dn, kernel_n)
    sums = tf.concat([dz, reset * reset_to_r, dn], axis=1)
    return [sums], [tf.matmul(sums[:, : 2 * units], kernel_zr) + reset * r + dh * z]


def _gru_reset_before(compiled: bool, projected, kernel_zr, kernel_n, bias, h_initial):
    units = kernel_n.shape[0]

    @tf.custom_gradient
    def run(projected, kernel_zr, kernel_n, bias, h_initial):
        widths = (units, 3 * units)
        kernels = [kernel_zr, kernel_n]
        h, gates = run_loop(_gru_reset_before_step, kernels, [projected], [h_initial], widths, compiled=compiled).series

        def gradient(h_upstream):
            z, r, n = tf.split(gates, 3, axis=2)
            h_previous = _previous(h_initial, h)
            # Derivatives of h by the sums of z and of the candidate; that of the reset state by the sum of r follows.
            factors = tf.concat([(h_previous - n) * z * (1 - z), (1 - z) * (1 - n * n)], axis=2)
            inputs, zeros = [h_upstream, factors, h_previous * r * (1 - r), r, z], tf.zeros_like(h_initial)
            kernels = [tf.transpose(kernel_zr), tf.transpose(kernel_n)]
            (sums,), (dh_initial,) = run_loop(
                _gru_reset_before_backward_step, kernels, inputs, [zeros], (3 * units,), True, compiled
            )
            zr_gradient = _kernel_gradient(h_previous, sums[:, :, : 2 * units])
            n_gradient = _kernel_gradient(r * h_previous, sums[:, :, 2 * units :])
            return sums, zr_gradient, n_gradient, tf.zeros_like(bias), dh_initial

        return (h,), gradient

    return run(projected, kernel_zr, kernel_n, bias, h_initial)


def _rnn_step(kernels, inputs, carry):
    h = tf.tanh(inputs[0] + tf.matmul(carry[0], kernels[0]))
    return [h], [h]


def _rnn_backward_step(kernels, inputs, carry):
    sums = (inputs[0] + carry[0]) * inputs[1]
    return [sums], [tf.matmul(sums, kernels[0])]


def _rnn(compiled: bool, projected, kernel, bias, h_initial):
    units = kernel.shape[0]

    @tf.custom_gradient
    def run(projected, kernel, bias, h_initial):
        ((h,), _) = run_loop(_rnn_step, [kernel], [projected], [h_initial], (units,), compiled=compiled)

        def gradient(h_upstream):
            inputs, zeros = [h_upstream, 1 - h * h], tf.zeros_like(h_initial)
            (sums,), (dh_initial,) = run_loop(
                _rnn_backward_step, [tf.transpose(kernel)], inputs, [zeros], (units,), True, compiled
            )
            return sums, _kernel_gradient(_previous(h_initial, h), sums), tf.zeros_like(bias), dh_initial

        return (h,), gradient

    return run(projected, kernel, bias, h_initial)


_STEPS = {"lstm": _lstm_step, "gru": _gru_step, "gru_reset_before": _gru_reset_before_step, "rnn": _rnn_step}
_SERIES = {"lstm": _lstm, "gru": _gru, "gru_reset_before": _gru_reset_before, "rnn": _rnn}
