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


class Convolution2D(keras.layers.Layer):
    """Convolution over time and frequency with explicit symmetric zero padding, and a bias per channel.

    Args:
      filters: output channels.
      kernel_size: odd numbers of taps over time and frequency.
      strides: steps in time and frequency; 1 or 2.
      padded: False: no padding, so that `kernel_size - 1` frames and bands are lost before the stride.
      initializer: makes a Keras initializer, of kernel and bias, from the number of inputs of an output. None: Glorot
        uniform, and zeros.
      product_dtype: type of the multiplications; sums and output are float32.
      name: name of the layer.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: tuple[int, int],
        strides: tuple[int, int] = (1, 1),
        padded: bool = True,
        initializer=None,
        product_dtype: str = "float32",
        name: str | None = None,
    ):
        super().__init__(name=name, dtype="float32")
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.padded = padded
        self.initializer = initializer
        self.product_dtype = product_dtype

    def build(self, input_shape):
        shape = (*self.kernel_size, input_shape[-1], self.filters)
        kernel, bias = "glorot_uniform", "zeros"
        if self.initializer is not None:
            kernel = bias = self.initializer(shape[0] * shape[1] * shape[2])
        self.kernel = self.add_weight(shape=shape, initializer=kernel, name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer=bias, name="bias")

    def call(self, inputs):
        """Convolves `[batch, time, frequency, channels]`; with padding, time becomes `ceil(time / stride)`."""
        values, kernel = inputs[..., tf.newaxis], tf.convert_to_tensor(self.kernel)[tf.newaxis]
        values = _folded(values, self.strides, [size // 2 if self.padded else 0 for size in self.kernel_size])
        kernel = _folded(kernel, self.strides, [0, 0])
        values, kernel = (tf.cast(tensor, self.product_dtype) for tensor in (values[..., 0], kernel[0]))
        return tf.cast(tf.nn.conv2d(values, kernel, 1, "VALID"), tf.float32) + self.bias


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
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        if not training:
            scale = gamma * tf.math.rsqrt(self.moving_variance + self.epsilon)
            return inputs * scale + (beta - self.moving_mean * scale)
        outputs, mean, variance = _normalized(inputs, valid, gamma, beta, self.epsilon)
        # A replica without an utterance, as the last batch of an epoch can leave one, has nothing to record.
        share = (1 - self.momentum) * (1.0 if valid is None else tf.reduce_max(valid))
        self.moving_mean.assign(self.moving_mean * (1 - share) + mean * share)
        self.moving_variance.assign(self.moving_variance * (1 - share) + variance * share)
        return outputs


def _folded(values: tf.Tensor, strides: tuple[int, int], padding: list[int]) -> tf.Tensor:
    """Pads `[a, time, frequency, channels, b]`, and turns the steps within a stride into channels.

    A convolution with strides is one without, of values and a kernel that are both folded. TensorFlow's gradients of
    the latter take half the time on a CPU: the second convolution of DeepSpeech2, forwards and backwards for 8 x 4 s
    on 2 cores, 467 ms instead of 995.
    """
    dynamic = tf.shape(values)
    first, *sizes, channels, last = (dynamic[axis] if size is None else size for axis, size in enumerate(values.shape))
    ends = [
        around + -(size + 2 * around) % stride for size, around, stride in zip(sizes, padding, strides, strict=True)
    ]
    values = tf.pad(values, [(0, 0), *zip(padding, ends, strict=True), (0, 0), (0, 0)])
    time, frequency = (
        (size + around + end) // stride for size, around, end, stride in zip(sizes, padding, ends, strides, strict=True)
    )
    values = tf.reshape(values, [first, time, strides[0], frequency, strides[1], channels, last])
    values = tf.transpose(values, [0, 1, 3, 2, 4, 5, 6])
    return tf.reshape(values, [first, time, frequency, strides[0] * strides[1] * channels, last])


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


def _normalized(inputs, valid, gamma, beta, epsilon: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalises by the moments of the valid positions; returns these too, which let no gradient through.

    The gradient is written out, because the one that TensorFlow derives goes over the values twice as often: a
    bfloat16 step of WaveNet ASR on 2 cores takes 5 % longer with it.
    """
    everything = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
    count = tf.maximum(everything if valid is None else tf.reduce_sum(valid), 1.0)

    def masked(values):
        return values if valid is None else values * valid

    @tf.custom_gradient
    def normalized(inputs, gamma, beta):
        mean = tf.reduce_sum(masked(inputs), axis=[0, 1]) / count
        variance = tf.reduce_sum(masked(tf.math.squared_difference(inputs, mean)), axis=[0, 1]) / count
        inverse = tf.math.rsqrt(variance + epsilon)
        scale = gamma * inverse

        def gradient(upstream, *_):
            # What flows through fixed moments, and the sums over upstream (times the normalised inputs), in one pass.
            fixed = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=upstream[:, tf.newaxis],
                x=inputs[:, tf.newaxis],
                scale=gamma,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=variance,
                epsilon=epsilon,
                is_training=False,
            )
            slope = scale * inverse * fixed.scale_backprop / count
            through_moments = masked(inputs * slope + (scale * fixed.offset_backprop / count - slope * mean))
            return fixed.x_backprop[:, 0] - through_moments, fixed.scale_backprop, fixed.offset_backprop

        return (inputs * scale + (beta - mean * scale), mean, variance), gradient

    return normalized(inputs, gamma, beta)
