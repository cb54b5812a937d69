"""A dense layer with optional weight normalisation.

Weight normalisation holds each column of a kernel as a direction and a gain (Salimans and Kingma, arXiv 1602.07868).
"""

import keras
import tensorflow as tf

from tfvoice.layers.xla import jit_compiled


class Linear(keras.layers.Layer):
    """`x W + b`, optionally with weight normalisation.

    With it, column k of the effective kernel is `g_k W_k / |W_k|` (equation 2). The gains g are initialised to the
    norms of the columns, so that the initial map is the one without weight normalisation.

    Args:
      units: output channels.
      weight_norm: whether to hold a gain per output.
      use_bias: whether to add a bias.
      initializer: of the kernel; a Keras initializer or its name.
      bias_initializer: of the bias.
      dtype: a Keras dtype policy or its name; None: the global policy. Products are in its compute dtype, sums and
        outputs are float32.
      name: name of the layer.
    """

    def __init__(
        self,
        units: int,
        weight_norm: bool = False,
        use_bias: bool = True,
        initializer="lecun_uniform",
        bias_initializer="zeros",
        dtype=None,
        name: str | None = None,
    ):
        super().__init__(name=name, dtype=dtype, autocast=False)
        self.units, self.weight_norm, self.use_bias = units, weight_norm, use_bias
        self._initializer = keras.initializers.get(initializer)
        self._bias_initializer = keras.initializers.get(bias_initializer)
        self.gain = self.bias = None

    def build(self, input_shape):
        shape = (input_shape[-1], self.units)
        self.kernel = self.add_weight(shape=shape, initializer=self._initializer, autocast=False, name="kernel")
        if self.weight_norm:
            norms = keras.ops.norm(keras.ops.convert_to_tensor(self.kernel), axis=0)
            self.gain = self.add_weight(
                shape=(self.units,), initializer=lambda *_, **__: norms, autocast=False, name="gain"
            )
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(self.units,), initializer=self._bias_initializer, autocast=False, name="bias"
            )

    def effective_kernel(self, training=False) -> tf.Tensor:
        """The kernel after weight normalisation, `[inputs, outputs]`; `training` as for `recurrent.run_cell`."""
        kernel = tf.convert_to_tensor(self.kernel)
        if self.gain is None:
            return kernel
        return (_weight_normalized if training else _scaled)(kernel, tf.convert_to_tensor(self.gain))

    def effective_weights(self, training=False) -> tuple[tf.Tensor, tf.Tensor | None]:
        """The arguments of `affine`: the effective kernel, and the bias or None."""
        return self.effective_kernel(training), None if self.bias is None else tf.convert_to_tensor(self.bias)

    def call(self, inputs, training=False):
        """Maps `[..., inputs]` to `[..., outputs]`, float32."""
        return affine(inputs, *self.effective_weights(training), self.compute_dtype)


def affine(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None = None, dtype: str = "float32") -> tf.Tensor:
    """`inputs kernel + bias` over the last axis, float32; only the product is computed in `dtype`."""
    inputs, kernel = tf.cast(inputs, dtype), tf.cast(kernel, dtype)
    outputs = tf.matmul(inputs, kernel) if inputs.shape.rank == 2 else tf.tensordot(inputs, kernel, 1)
    outputs = tf.cast(outputs, tf.float32)
    return outputs if bias is None else outputs + bias


@tf.custom_gradient
def _weight_normalized(kernel, gain):
    return _scaled(kernel, gain), lambda upstream: _gradients(kernel, gain, upstream)


# Compiled by XLA, these two are two passes over the kernel instead of four and seven.
@jit_compiled
def _scaled(kernel, gain):
    return kernel * (gain * _inverse_norms(kernel))


@jit_compiled
def _gradients(kernel, gain, upstream):
    """Salimans and Kingma, equation 3: the gradient of a column, projected orthogonally to it, and that of its gain."""
    inverse = _inverse_norms(kernel)
    along = tf.reduce_sum(upstream * kernel, axis=0) * inverse
    scale = gain * inverse
    return scale * upstream - (scale * along * inverse) * kernel, along


def _inverse_norms(kernel):
    # A column of zeros has no direction; it stays zero.
    return tf.math.rsqrt(tf.maximum(tf.reduce_sum(kernel * kernel, axis=0), 1e-24))
