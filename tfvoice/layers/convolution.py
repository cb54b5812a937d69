"""Convolution and batch normalisation over padded sequences.

Keras's own layers are not used for two reasons: the padding of `same` with a stride depends on the padded length, and
Keras's batch normalisation picks up a propagated mask implicitly. Here padding is explicit and symmetric, and whether
padded frames count in the statistics is an argument.

Convolutions take a Keras dtype policy: products are in its compute dtype, sums and outputs are float32.
"""

import functools

import keras
import tensorflow as tf


class Convolution1D(keras.layers.Layer):
    """Convolution over time with explicit symmetric zero padding.

    With stride 1 the length is kept; with stride s it becomes `ceil(time / s)`.

    Args:
      filters: output channels.
      kernel_size: number of taps; odd.
      stride: stride in time.
      dilation: distance between taps, in frames.
      use_bias: whether to add a bias per channel.
      kernel_initializer: a Keras initializer or its name.
      dtype: a Keras dtype policy or its name; None: the global policy.
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
        dtype=None,
        name: str | None = None,
    ):
        super().__init__(name=name, dtype=dtype, autocast=False)
        self.filters = filters
        self.kernel_size = kernel_size
        self.stride = stride
        self.dilation = dilation
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        shape = (self.kernel_size, input_shape[-1], self.filters)
        # Keras would otherwise round the bias to the compute dtype as well.
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, autocast=False, name="kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", autocast=False, name="bias")

    def compute_output_shape(self, input_shape):
        """Shape of the outputs, for Keras."""
        batch, time, _ = input_shape
        return batch, None if time is None else -(-time // self.stride), self.filters

    def call(self, inputs):
        """Convolves `[batch, time, channels]` to `[batch, ceil(time / stride), filters]`, float32."""
        kernel = tf.cast(tf.convert_to_tensor(self.kernel), self.compute_dtype)
        values = tf.cast(inputs, self.compute_dtype)
        padding = self.dilation * (self.kernel_size - 1) // 2
        if self.dilation > 1 and not _has_dilated_gradient(self.compute_dtype):
            outputs = _dilated_convolution(values, kernel, self.dilation)[:, :: self.stride]
        elif self.stride == 1:
            # TensorFlow's SAME is symmetric at stride 1, and its kernel avoids the copy that tf.pad makes.
            outputs = tf.nn.conv1d(values, kernel, 1, "SAME", dilations=self.dilation)
        else:
            values = tf.pad(values, [[0, 0], [padding, padding], [0, 0]])
            outputs = tf.nn.conv1d(values, kernel, self.stride, "VALID", dilations=self.dilation)
        outputs = tf.cast(outputs, tf.float32)
        return outputs + self.bias if self.use_bias else outputs


class Convolution2D(keras.layers.Layer):
    """Convolution over time and frequency with explicit symmetric zero padding, and a bias per channel.

    Args:
      filters: output channels.
      kernel_size: numbers of taps over time and frequency; odd.
      strides: strides in time and frequency; 1 or 2.
      padded: False: no padding, so that `kernel_size - 1` frames and bands are lost before the stride.
      initializer: a function of the fan-in that returns the Keras initializer of kernel and bias. None: Glorot uniform,
        and zeros.
      dtype: a Keras dtype policy or its name; None: the global policy.
      name: name of the layer.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: tuple[int, int],
        strides: tuple[int, int] = (1, 1),
        padded: bool = True,
        initializer=None,
        dtype=None,
        name: str | None = None,
    ):
        super().__init__(name=name, dtype=dtype, autocast=False)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.padded = padded
        self.initializer = initializer

    def build(self, input_shape):
        shape = (*self.kernel_size, input_shape[-1], self.filters)
        kernel, bias = "glorot_uniform", "zeros"
        if self.initializer is not None:
            kernel = bias = self.initializer(shape[0] * shape[1] * shape[2])
        self.kernel = self.add_weight(shape=shape, initializer=kernel, autocast=False, name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer=bias, autocast=False, name="bias")

    def compute_output_shape(self, input_shape):
        """Shape of the outputs, for Keras."""
        batch, *sizes, _ = input_shape
        lost = [0, 0] if self.padded else [size - 1 for size in self.kernel_size]
        outputs = [
            None if size is None else -(-(size - less) // stride)
            for size, less, stride in zip(sizes, lost, self.strides, strict=True)
        ]
        return batch, *outputs, self.filters

    def call(self, inputs):
        """Convolves `[batch, time, frequency, channels]`, float32; with padding, time becomes `ceil(time / stride)`."""
        values, kernel = inputs[..., tf.newaxis], tf.convert_to_tensor(self.kernel)[tf.newaxis]
        values = _space_to_depth(values, self.strides, [size // 2 if self.padded else 0 for size in self.kernel_size])
        kernel = _space_to_depth(kernel, self.strides, [0, 0])
        values, kernel = (tf.cast(tensor, self.compute_dtype) for tensor in (values[..., 0], kernel[0]))
        return tf.cast(tf.nn.conv2d(values, kernel, 1, "VALID"), tf.float32) + self.bias


class BatchNormalization(keras.layers.Layer):
    """Batch normalisation over batch and time (Ioffe and Szegedy, arXiv 1502.03167), in float32.

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
        # Replicas see different utterances: each keeps its own statistics, and reading them gives their mean. Summing
        # them at each step would need an all-reduce within the compiled network, which TensorFlow does not support.
        moving = {"shape": channels, "dtype": "float32", "trainable": False}
        moving |= {"aggregation": "mean", "synchronization": "on_read"}
        self.moving_mean = keras.Variable("zeros", name="moving_mean", **moving)
        self.moving_variance = keras.Variable("ones", name="moving_variance", **moving)

    def compute_output_shape(self, input_shape):
        """Shape of the outputs, for Keras."""
        return input_shape

    def call(self, inputs, valid=None, training=False):
        """Normalises `[batch, time, channels]`.

        Args:
          inputs: `[batch, time, channels]`.
          valid: `[batch, time, 1]`, ones, and zeros for the frames to exclude from the statistics. None: every frame
            counts.
          training: whether to use the statistics of this batch and to update the moving ones. A layer whose scale is
            not trainable never does, as Keras's own.

        Returns:
          The same shape. Frames outside `valid` are normalised too; their values are meaningless.
        """
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        if not training or not self.gamma.trainable:
            scale = gamma * tf.math.rsqrt(self.moving_variance + self.epsilon)
            return inputs * scale + (beta - self.moving_mean * scale)
        outputs, mean, variance = _batch_normalized(inputs, valid, gamma, beta, self.epsilon)
        # A replica without an utterance, as in the last batch of an epoch, must not update the moving statistics.
        share = (1 - self.momentum) * (1.0 if valid is None else tf.reduce_max(valid))
        self.moving_mean.assign(self.moving_mean * (1 - share) + mean * share)
        self.moving_variance.assign(self.moving_variance * (1 - share) + variance * share)
        return outputs


def _space_to_depth(values: tf.Tensor, strides: tuple[int, int], padding: list[int]) -> tf.Tensor:
    """Pads `[a, time, frequency, channels, b]`, and moves the positions within a stride into the channels.

    A strided convolution equals one without strides of inputs and kernel rearranged like this. TensorFlow's gradients
    of the latter take half the time on a CPU: the second convolution of DeepSpeech2, forward and backward for 8 x 4 s
    on 2 cores, 467 ms instead of 995.
    """
    dynamic = tf.shape(values)
    first, *sizes, channels, last = (dynamic[axis] if size is None else size for axis, size in enumerate(values.shape))
    ends = [
        before + -(size + 2 * before) % stride for size, before, stride in zip(sizes, padding, strides, strict=True)
    ]
    values = tf.pad(values, [(0, 0), *zip(padding, ends, strict=True), (0, 0), (0, 0)])
    time, frequency = (
        (size + before + end) // stride for size, before, end, stride in zip(sizes, padding, ends, strides, strict=True)
    )
    values = tf.reshape(values, [first, time, strides[0], frequency, strides[1], channels, last])
    values = tf.transpose(values, [0, 1, 3, 2, 4, 5, 6])
    return tf.reshape(values, [first, time, frequency, strides[0] * strides[1] * channels, last])


def _dilated_convolution(values: tf.Tensor, kernel: tf.Tensor, dilation: int) -> tf.Tensor:
    """Dilated convolution by an undilated one: every `dilation`-th frame becomes a row of its own."""
    padding = dilation * (kernel.shape[0] - 1) // 2
    missing = -tf.shape(values)[1] % dilation
    rows = tf.space_to_batch(values, [dilation], [[padding, padding + missing]])
    return tf.batch_to_space(tf.nn.conv1d(rows, kernel, 1, "VALID"), [dilation], [[0, missing]])


@functools.cache
def _has_dilated_gradient(dtype: str) -> bool:
    """Whether TensorFlow has the gradients of a dilated convolution on this machine.

    cuDNN and oneDNN have them, TensorFlow's own CPU kernels do not: those run where oneDNN is absent (macOS on ARM) or
    disabled, and for the 16-bit types that the CPU lacks.
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


def _batch_normalized(inputs, valid, gamma, beta, epsilon: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalises by the moments of the valid frames; also returns these moments, which pass no gradient.

    The gradient is written out: the one that TensorFlow derives reads the values twice as often, and a bfloat16 step of
    WaveNet ASR on 2 cores takes 5 % longer with it.
    """
    frames = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
    count = tf.maximum(frames if valid is None else tf.reduce_sum(valid), 1.0)

    def masked(values):
        return values if valid is None else values * valid

    @tf.custom_gradient
    def normalized(inputs, gamma, beta):
        mean = tf.reduce_sum(masked(inputs), axis=[0, 1]) / count
        variance = tf.reduce_sum(masked(tf.math.squared_difference(inputs, mean)), axis=[0, 1]) / count
        inverse = tf.math.rsqrt(variance + epsilon)
        scale = gamma * inverse

        def gradient(upstream, *_):
            # The gradient with constant moments, and the sums of upstream (times the normalised inputs), in one pass.
            constant = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=upstream[:, tf.newaxis],
                x=inputs[:, tf.newaxis],
                scale=gamma,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=variance,
                epsilon=epsilon,
                is_training=False,
            )
            slope = scale * inverse * constant.scale_backprop / count
            through_moments = masked(inputs * slope + (scale * constant.offset_backprop / count - slope * mean))
            return constant.x_backprop[:, 0] - through_moments, constant.scale_backprop, constant.offset_backprop

        return (inputs * scale + (beta - mean * scale), mean, variance), gradient

    return normalized(inputs, gamma, beta)
