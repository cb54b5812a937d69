"""A linear map whose weights can be held as a direction and a length for each output."""

import keras
import tensorflow as tf

from tfvoice.layers.xla import compiled


class Linear(keras.layers.Layer):
    """`x W + b`, with weight normalisation where it is asked for.

    With it, column k of the matrix in use is `g_k W_k / |W_k|` (Salimans and Kingma, arXiv 1602.07868, equation 2). The
    gains g start as the norms of the columns, so that the map is then the one it would be without.

    Args:
      units: outputs.
      weight_norm: whether to hold a gain for each output.
      use_bias: whether to add a bias.
      initializer: of the matrix; a Keras initializer or its name.
      bias_initializer: of the bias.
      name: name of the layer.
    """

    def __init__(
        self,
        units: int,
        weight_norm: bool = False,
        use_bias: bool = True,
        initializer="lecun_uniform",
        bias_initializer="zeros",
        name: str | None = None,
    ):
        super().__init__(name=name, dtype="float32")
        self.units, self.weight_norm, self.use_bias = units, weight_norm, use_bias
        self._initializers = keras.initializers.get(initializer), keras.initializers.get(bias_initializer)
        self.gain = self.bias = None

    def build(self, input_shape):
        matrix, bias = self._initializers
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), initializer=matrix, name="kernel")
        if self.weight_norm:
            norms = keras.ops.norm(keras.ops.convert_to_tensor(self.kernel), axis=0)
            self.gain = self.add_weight(shape=(self.units,), initializer=lambda *_, **__: norms, name="gain")
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.units,), initializer=bias, name="bias")

    def matrix(self) -> tf.Tensor:
        """The matrix in use, `[inputs, outputs]`."""
        kernel = tf.convert_to_tensor(self.kernel)
        return kernel if self.gain is None else _normalised(kernel, tf.convert_to_tensor(self.gain))

    def weights_in_use(self) -> tuple[tf.Tensor, tf.Tensor | None]:
        """What `affine` takes: the matrix in use, and the bias or None."""
        return self.matrix(), None if self.bias is None else tf.convert_to_tensor(self.bias)

    def call(self, inputs):
        """Maps `[..., inputs]` to `[..., outputs]`."""
        return affine(inputs, *self.weights_in_use())


def affine(
    inputs: tf.Tensor, matrix: tf.Tensor, bias: tf.Tensor | None = None, product_dtype: str = "float32"
) -> tf.Tensor:
    """`inputs matrix + bias` over the last axis, float32; only the product is made in `product_dtype`."""
    inputs, matrix = tf.cast(inputs, product_dtype), tf.cast(matrix, product_dtype)
    outputs = tf.matmul(inputs, matrix) if inputs.shape.rank == 2 else tf.tensordot(inputs, matrix, 1)
    outputs = tf.cast(outputs, tf.float32)
    return outputs if bias is None else outputs + bias


@tf.custom_gradient
def _normalised(kernel, gain):
    return _scaled(kernel, gain), lambda upstream: _gradients(kernel, gain, upstream)


# Compiled, each is two passes over the matrix instead of four and seven.
@compiled
def _scaled(kernel, gain):
    return kernel * (gain * _inverse_norms(kernel))


@compiled
def _gradients(kernel, gain, upstream):
    """Salimans and Kingma, equation 3: what is left of the gradient at right angles to the column."""
    inverse = _inverse_norms(kernel)
    along = tf.reduce_sum(upstream * kernel, axis=0) * inverse
    scale = gain * inverse
    return scale * upstream - (scale * along * inverse) * kernel, along


def _inverse_norms(kernel):
    # A norm of 0 has no direction; such a column stays 0.
    return tf.math.rsqrt(tf.maximum(tf.reduce_sum(kernel * kernel, axis=0), 1e-24))
