"""LSTM, GRU and plain recurrent layers over padded sequences.

On a GPU the time loop is cuDNN's, through Keras. On a CPU it is ours (`cells`). The weights are the same, and are
Keras's own.
"""

import keras
import tensorflow as tf

from tfvoice.layers import cells

CELLS = ("lstm", "gru", "rnn")

_KERAS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}
_INITIALIZED = ("kernel_initializer", "recurrent_initializer", "bias_initializer")


class Recurrent(keras.layers.Layer):
    """One direction of a recurrent layer.

    The equations stand at `cells.run`.

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
        return [tf.zeros([batch, self.units]) for _ in range(cells.STATES[self.cell])]

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
        recurrent_bias = None
        if cell.use_bias:
            bias = tf.convert_to_tensor(cell.bias)
            if self.cell == "gru":
                bias, recurrent_bias = bias[0], bias[1]
            projected += bias
        series = cells.run(self.cell, projected, recurrent, state, recurrent_bias, compiled)
        # A row ends before the padding does: its state is that of its own last step.
        ends = tf.stack([tf.maximum(lengths - 1, 0), tf.range(tf.shape(lengths)[0])], axis=1)
        return tf.transpose(series[0], [1, 0, 2]), [tf.gather_nd(values, ends) for values in series]
