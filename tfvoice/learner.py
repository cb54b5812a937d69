"""One update of the weights, on one device or on several, and the moving average of what it gives."""

import contextlib
import functools
import math
from collections.abc import Iterator

import tensorflow as tf

from tfvoice import ctc, optimizers
from tfvoice.data.pipeline import Batch, signature
from tfvoice.errors import TfvoiceError
from tfvoice.experiment import TrainingConfig

# float16 products lose gradients below 6e-8; this lifts them, and is divided out again in float32.
_FLOAT16_SCALE = 1024.0


class Learner:
    """Weights, optimizer and average; make it inside the scope of the strategy.

    Args:
      model: a recogniser whose weights are built.
      channels: of its features.
      settings: how to train.
      strategy: of `tf.distribute`.
    """

    def __init__(self, model, channels: int, settings: TrainingConfig, strategy: tf.distribute.Strategy):
        self.model = model
        self.settings = settings
        self.strategy = strategy
        self.variables = model.trainable_variables
        self.optimizer = optimizers.build(settings.optimizer, self.variables, settings.weight_decay)
        self.average = [
            tf.Variable(weight.numpy(), trainable=False, aggregation=tf.VariableAggregation.MEAN)
            for weight in (model.weights if settings.average else [])
        ]
        self._kept: list[tf.Tensor] = []
        model.jit_loops = settings.xla != "off"
        self._network = tf.function(self._forward, jit_compile=_uses_xla(settings, model))
        self._gradients = tf.function(self._distributed_gradients, input_signature=[signature(channels)])
        # Compiled, some thousand small operations become a pass over each weight: 20 ms for 45 on 2 cores. XLA cannot
        # compile the exchange between replicas.
        compiled = settings.xla != "off" and strategy.num_replicas_in_sync == 1
        self._update = tf.function(self._distributed_update, jit_compile=compiled or None)
        self._norm = tf.function(tf.linalg.global_norm)
        self._swap = tf.function(self._swap_weights)
        self._copy = tf.function(lambda: [tf.identity(value) for value in model.non_trainable_variables])

    def gradients(self, group: list[Batch]) -> tuple[float, float, list[tf.Tensor]]:
        """Mean loss of the batches (nats per utterance), the norm of its gradient, and the gradient."""
        self._kept = self._copy()
        total, loss = None, 0.0
        for batch in group:
            batch_loss, gradients = self._gradients(batch)
            loss += float(batch_loss) / len(group)
            total = gradients if total is None else [a + b for a, b in zip(total, gradients, strict=True)]
        total = total if len(group) == 1 else [gradient / len(group) for gradient in total]
        return loss, float(self._norm(total)), total

    def update(self, gradients: list[tf.Tensor], norm: float, learning_rate: float, step: int) -> None:
        """Moves the weights, and the average after them."""
        self.optimizer.learning_rate = learning_rate
        self._update(gradients, tf.constant(norm), tf.constant(step, tf.float32))

    def undo(self) -> None:
        """Gives the moving statistics of the model the values that they had before the last `gradients`."""
        for variable, kept in zip(self.model.non_trainable_variables, self._kept, strict=True):
            variable.assign(kept)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside the `with`, the model holds the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def groups(self) -> dict[str, list]:
        """Everything a checkpoint holds: weights to use, weights to go on with, and the optimizer."""
        groups = {"weights": self.average or self.model.weights, "optimizer": self.optimizer.variables}
        return groups | ({"raw": self.model.weights} if self.average else {})

    def _forward(self, inputs, lengths, seed):
        return self.model.predictions(inputs, lengths, training=True, seed=seed)

    def _distributed_gradients(self, batch: Batch):
        count = tf.maximum(tf.reduce_sum(tf.cast(batch.rows >= 0, tf.float32)), 1.0)
        seed = tf.stack([tf.cast(batch.epoch, tf.int32) + self.settings.seed, tf.cast(batch.position, tf.int32)])
        scale = _FLOAT16_SCALE if self.settings.precision == "float16" else 1.0

        def on_replica(inputs, lengths, labels, label_lengths):
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            with tf.GradientTape() as tape:
                predictions = self._network(inputs, lengths, seed + tf.stack([0, replica * 2**24]))
                losses = [tf.reduce_sum(ctc.loss(logits, labels, label_lengths)) / count for logits in predictions]
                loss = losses.pop()
                scaled = self._objective(losses, loss) * scale
            gradients = tape.gradient(scaled, [variable.value for variable in self.variables])
            gradients = [gradient / scale for gradient in gradients] if scale != 1.0 else gradients
            return tf.distribute.get_replica_context().all_reduce("SUM", [loss, *gradients])

        parts = (batch.features, batch.lengths, batch.labels, batch.label_lengths)
        if self.strategy.num_replicas_in_sync > 1:
            parts = tuple(self._split(part) for part in parts)
        results = self.strategy.run(on_replica, args=parts)
        loss, *gradients = (self.strategy.experimental_local_results(result)[0] for result in results)
        return loss, gradients

    def _objective(self, early: list[tf.Tensor], loss: tf.Tensor) -> tf.Tensor:
        """What is minimised: the loss, and, where the network predicts before its end, that of these predictions."""
        if not early:
            return loss
        share = self.settings.intermediate_share
        return (1 - share) * loss + share * tf.add_n(early) / len(early)

    def _split(self, part: tf.Tensor):
        """Gives each replica every n-th row of a batch, so that a batch that is not full is shared evenly too."""
        replicas = self.strategy.num_replicas_in_sync
        shares = [part[first::replicas] for first in range(replicas)]
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: shares[context.replica_id_in_sync_group]
        )

    def _distributed_update(self, gradients, norm, step):
        limit = self.settings.clip_norm or math.inf
        # Every replica hands in the same gradients and Keras adds them up.
        factor = tf.minimum(1.0, limit / tf.maximum(norm, 1e-12)) / self.strategy.num_replicas_in_sync
        # A young average forgets faster, or the random start would stay in it for long.
        decay = tf.minimum(self.settings.average, (1.0 + step) / (10.0 + step))

        def on_replica():
            self.optimizer.apply([gradient * factor for gradient in gradients], self.variables)
            for average, weight in zip(self.average, self.model.weights if self.average else [], strict=True):
                average.assign_add((1.0 - decay) * (tf.convert_to_tensor(weight) - average))

        self.strategy.run(on_replica)

    def _swap_weights(self):
        for average, weight in zip(self.average, self.model.weights if self.average else [], strict=True):
            kept = tf.identity(average)
            average.assign(tf.convert_to_tensor(weight))
            weight.assign(kept)


def strategy_for(settings: TrainingConfig) -> tf.distribute.Strategy:
    """Picks the strategy for the devices there are: none for one device, mirrored for several.

    Raises:
      TfvoiceError: the batch cannot be shared evenly.
    """
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    count = len(devices)
    if count == 1:
        return tf.distribute.get_strategy()
    if settings.batch_size % count:
        raise TfvoiceError(
            f"training.batch_size={settings.batch_size} cannot be shared among {count} devices; "
            f"set training.batch_size={-(-settings.batch_size // count) * count}."
        )
    return _mirrored(tuple(device.name for device in devices))


# One for the whole process: a second one numbers its collective operations like the first, and TensorFlow then takes
# the sums of two models for each other's.
@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(list(devices))


def _uses_xla(settings: TrainingConfig, model) -> bool:
    has_gpu = bool(tf.config.list_logical_devices("GPU"))
    return settings.xla == "on" or (settings.xla == "auto" and has_gpu and model.supports_jit)
