"""Recurrent cells over time, with gradients of their own.

What enters a time loop is already multiplied: the products with the inputs, and all gradients of weights, are taken
out of it as a few large products, so that only `state x recurrent kernel` and its transpose stay inside.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

# How many gates a cell has, and how many tensors its state is: h and c for lstm, h for the others.
GATES = {"lstm": 4, "gru": 3, "gru_reset_before": 3, "rnn": 1}
STATES = {"lstm": 2, "gru": 1, "gru_reset_before": 1, "rnn": 1}


def run(
    cell: str,
    projected: tf.Tensor,
    kernel: tf.Tensor | Sequence[tf.Tensor],
    state: list[tf.Tensor],
    bias: tf.Tensor | None = None,
    compiled: bool = False,
) -> list[tf.Tensor]:
    """Runs a cell over all steps of a batch.

    Equations: LSTM as Hochreiter and Schmidhuber with forget gates (no peepholes), gates i, f, c, o; GRU as Cho et al.
    (arXiv 1406.1078), gates z, r, h, `gru_reset_before` as they wrote it, with the reset gate before the product, and
    `gru` with it after the product, as in cuDNN and PyTorch; rnn is `h' = tanh(W x + U h + b)`.

    Args:
      cell: a key of `GATES`.
      projected: `[time, batch, gates * units]`, the inputs times their kernel, and their bias.
      kernel: `[units, gates * units]`, recurrent; or what `parts` makes of it.
      state: before the first step; `STATES[cell]` times `[batch, units]`.
      bias: `[gates * units]`, what `gru` adds to the recurrent products; None: nothing.
      compiled: let XLA compile the loop, anew for each shape of the inputs (0.3 s); within a `tf.function` only.

    Returns:
      The state after each step, each tensor `[time, batch, units]`.
    """
    kernels = parts(cell, kernel) if isinstance(kernel, tf.Tensor) else kernel
    if bias is None:
        bias = tf.zeros([sum(kernel.shape[1] for kernel in kernels)])
    if projected.shape[0] == 1:
        values, _ = _STEPS[cell]([*kernels, bias], [projected[0]], state)
        return [value[tf.newaxis] for value in values[: STATES[cell]]]
    # Under an eager tape, XLA would have to compile what the tape wants to keep of each step, and cannot.
    return _RUNS[cell](compiled and not tf.executing_eagerly(), projected, *kernels, bias, *state)


def parts(cell: str, kernel: tf.Tensor) -> list[tf.Tensor]:
    """A recurrent kernel as the matrices that one step multiplies by, to be cut once and not at each step."""
    if cell != "gru_reset_before":
        return [kernel]
    return tf.split(kernel, [2 * kernel.shape[0], kernel.shape[0]], axis=1)


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


def _gru_reset_before_step(kernels, inputs, carried):
    to_zr, to_n, *_ = kernels
    (h,) = carried
    units = h.shape[-1]
    zr_in, n_in = inputs[0][:, : 2 * units], inputs[0][:, 2 * units :]
    z, r = tf.split(tf.sigmoid(zr_in + tf.matmul(h, to_zr)), 2, axis=1)
    n = tf.tanh(n_in + tf.matmul(r * h, to_n))
    h = z * h + (1 - z) * n
    return [h, tf.concat([z, r, n], axis=1)], [h]


def _gru_reset_before_step_back(kernels, inputs, carried):
    h_here, factors, to_r, r, z = inputs
    to_zr, to_n = kernels
    units = z.shape[-1]
    dh = h_here + carried[0]
    dz, dn = dh * factors[:, :units], dh * factors[:, units:]
    reset = tf.matmul(dn, to_n)
    sums = tf.concat([dz, reset * to_r, dn], axis=1)
    return [sums], [tf.matmul(sums[:, : 2 * units], to_zr) + reset * r + dh * z]


def _gru_reset_before(compiled: bool, projected, to_zr, to_n, bias, h_first):
    units = to_n.shape[0]

    @tf.custom_gradient
    def run(projected, to_zr, to_n, bias, h_first):
        widths = (units, 3 * units)
        kernels = [to_zr, to_n]
        h, gates = _loop(_gru_reset_before_step, kernels, [projected], [h_first], widths, compiled=compiled).series

        def gradient(h_up):
            z, r, n = tf.split(gates, 3, axis=2)
            h_before = _before(h_first, h)
            # What the sums of z and of the candidate get, as factors of the gradient of h; and that of r, as one of
            # the gradient of the state that it has reset.
            factors = tf.concat([(h_before - n) * z * (1 - z), (1 - z) * (1 - n * n)], axis=2)
            inputs, zeros = [h_up, factors, h_before * r * (1 - r), r, z], tf.zeros_like(h_first)
            kernels = [tf.transpose(to_zr), tf.transpose(to_n)]
            (sums,), (dh_first,) = _loop(
                _gru_reset_before_step_back, kernels, inputs, [zeros], (3 * units,), True, compiled
            )
            of_zr = _weights(h_before, sums[:, :, : 2 * units])
            of_n = _weights(r * h_before, sums[:, :, 2 * units :])
            return sums, of_zr, of_n, tf.zeros_like(bias), dh_first

        return (h,), gradient

    return run(projected, to_zr, to_n, bias, h_first)


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


_STEPS = {"lstm": _lstm_step, "gru": _gru_step, "gru_reset_before": _gru_reset_before_step, "rnn": _rnn_step}
_RUNS = {"lstm": _lstm, "gru": _gru, "gru_reset_before": _gru_reset_before, "rnn": _rnn}
