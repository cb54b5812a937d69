"""Convolution and batch normalisation over time that know where an utterance ends.

Keras's own layers are not used for two reasons: `same` padding with a stride pads by an amount that depends on the
padded length, and its batch normalisation picks up a propagated mask silently. Here padding is explicit and
symmetric, and whether padding counts in the statistics is an argument.
"""

import functools

import keras
import tensorflow as tf


class Convolution1D(keras.layers.Layer):
    """Convolution over time with explicit symmetric zero padding.

    With stride 1 the length is kept; with stride s it becomes `ceil(time / s)`.

    Args:
      filters: output channels.
      kernel_size: odd number of taps.
      stride: step in time.
      dilation: distance between taps, in frames.
      use_bias: whether to add a bias per channel.
      kernel_initializer: a Keras initializer or its name.
      product_dtype: type of the multiplications, `float32` or `bfloat16` or `float16`; sums and output are float32.
      name: name of the layer.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        use_bias: bool = False,
        kernel_initializer="glorot_uniform",
        product_dtype: str = "float32",
        name: str | None = None,
    ):
        super().__init__(name=name, dtype="float32")
        self.filters = filters
        self.kernel_size = kernel_size
        self.stride = stride
        self.dilation = dilation
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.product_dtype = product_dtype

    def build(self, input_shape):
        shape = (self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, inputs):
        """Convolves `[batch, time, channels]` into `[batch, ceil(time / stride), filters]`."""
        kernel = tf.cast(tf.convert_to_tensor(self.kernel), self.product_dtype)
        values = tf.cast(inputs, self.product_dtype)
        reach = self.dilation * (self.kernel_size - 1) // 2
        if self.dilation > 1 and not _has_dilated_gradient(self.product_dtype):
            outputs = _dilated(values, kernel, self.dilation)[:, :: self.stride]
        elif self.stride == 1:
            # TensorFlow's SAME is symmetric at stride 1, and its kernel skips the copy that tf.pad makes.
            outputs = tf.nn.conv1d(values, kernel, 1, "SAME", dilations=self.dilation)
        else:
            values = tf.pad(values, [[0, 0], [reach, reach], [0, 0]])
            outputs = tf.nn.conv1d(values, kernel, self.stride, "VALID", dilations=self.dilation)
        outputs = tf.cast(outputs, tf.float32)
        return outputs + self.bias if self.use_bias else outputs


class BatchNormalization(keras.layers.Layer):
    """Batch normalisation over batch and time (Ioffe and Szegedy, arXiv 1502.03167), padding left out if told.

    Args:
      momentum: share of the old value that a moving statistic keeps at each step.
      epsilon: added to the variance.
      name: name of the layer.
    """

    def __init__(self, momentum: float = 0.99, epsilon: float = 1e-5, name: str | None = None):
        super().__init__(name=name, dtype="float32")
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape):
        channels = (input_shape[-1],)
        self.gamma = self.add_weight(shape=channels, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=channels, initializer="zeros", name="beta")
        # Replicas see different utterances: each keeps its own statistics, and what is read is their mean. To add them
        # up at each step, replicas would have to meet within the compiled network, which TensorFlow cannot do.
        moving = {"shape": channels, "dtype": "float32", "trainable": False}
        moving |= {"aggregation": "mean", "synchronization": "on_read"}
        self.moving_mean = keras.Variable("zeros", name="moving_mean", **moving)
        self.moving_variance = keras.Variable("ones", name="moving_variance", **moving)

    def call(self, inputs, valid=None, training=False):
        """Normalises `[batch, time, channels]`.

        Args:
          inputs: `[batch, time, channels]`.
          valid: `[batch, time, 1]` of ones and zeros: positions with a zero do not count in the statistics. None:
            every position counts.
          training: whether to use, and to record, the statistics of this batch.

        Returns:
          The same shape. Positions outside `valid` are normalised too, and mean nothing.
        """
        if training:
            mean, variance = _moments(inputs, valid)
            # A replica without an utterance, as the last batch of an epoch can leave one, has nothing to record.
            share = (1 - self.momentum) * (1.0 if valid is None else tf.reduce_max(valid))
            self.moving_mean.assign(self.moving_mean * (1 - share) + mean * share)
            self.moving_variance.assign(self.moving_variance * (1 - share) + variance * share)
        else:
            mean, variance = tf.convert_to_tensor(self.moving_mean), tf.convert_to_tensor(self.moving_variance)
        scale = self.gamma * tf.math.rsqrt(variance + self.epsilon)
        return inputs * scale + (self.beta - mean * scale)


def _dilated(values: tf.Tensor, kernel: tf.Tensor, dilation: int) -> tf.Tensor:
    """Dilated convolution by a plain one: frames that are `dilation` apart become a row of their own."""
    reach = dilation * (kernel.shape[0] - 1) // 2
    missing = -tf.shape(values)[1] % dilation
    rows = tf.space_to_batch(values, [dilation], [[reach, reach + missing]])
    return tf.batch_to_space(tf.nn.conv1d(rows, kernel, 1, "VALID"), [dilation], [[0, missing]])


@functools.cache
def _has_dilated_gradient(dtype: str) -> bool:
    """Whether this machine can train a dilated convolution.

    cuDNN and oneDNN can, TensorFlow's own CPU kernels cannot: those run where oneDNN is absent (macOS on ARM) or
    switched off, and for the short types that the processor lacks.
    """
    with tf.init_scope():
        values, kernel = tf.ones([1, 1, 8, 4], dtype), tf.ones([1, 3, 4, 4], dtype)
        geometry = {"strides": [1, 1, 1, 1], "padding": "SAME", "dilations": [1, 1, 2, 1]}
        try:
            outputs = tf.raw_ops.Conv2D(input=values, filter=kernel, **geometry)
            tf.raw_ops.Conv2DBackpropInput(input_sizes=values.shape, filter=kernel, out_backprop=outputs, **geometry)
            tf.raw_ops.Conv2DBackpropFilter(input=values, filter_sizes=kernel.shape, out_backprop=outputs, **geometry)
        except tf.errors.OpError:
            return False
    return True


def _moments(inputs: tf.Tensor, valid: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and biased variance per channel over the valid positions."""
    if valid is None:
        return tf.nn.moments(inputs, axes=[0, 1])
    count = tf.maximum(tf.reduce_sum(valid), 1.0)
    mean = tf.reduce_sum(inputs * valid, axis=[0, 1]) / count
    variance = tf.reduce_sum(tf.square((inputs - mean) * valid), axis=[0, 1]) / count
    return mean, variance
