"""One update of the weights, on one device or on several, in one process or in several, and their moving average."""

import contextlib
import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfvoice import checkpoints, keys
from tfvoice.cluster import cluster as cluster_
from tfvoice.cluster.cluster import SINGLE, Cluster
from tfvoice.errors import TfvoiceError
from tfvoice.layers import xla
from tfvoice.training import optimizers, transfer
from tfvoice.training.config import TrainingConfig
from tfvoice.training.task import Objective


class Wishes(NamedTuple):
    """What a process wishes to do after a step, or how many processes do.

    Attributes:
      interrupt: stop, because the user asks for it.
      stop: stop, because of a limit.
      save: write a checkpoint.
    """

    interrupt: float = 0.0
    stop: float = 0.0
    save: float = 0.0


class Learner:
    """Weights, optimizer and average; make it inside the scope of the strategy.

    Args:
      objective: the model and its loss.
      settings: of the training.
      strategy: of `tf.distribute`, for the devices of this process.
      cluster: the processes that train together. Each has its share of a batch, and weights of its own, which stay
        equal because all move them by the same sum of gradients.

    Attributes:
      agreed: what the processes wished at the last `gradients`, added up.
    """

    def __init__(
        self,
        objective: Objective,
        settings: TrainingConfig,
        strategy: tf.distribute.Strategy,
        cluster: Cluster = SINGLE,
    ):
        self.cluster = cluster
        self.objective = objective
        self.model = model = objective.model
        self.settings = settings
        self.strategy = strategy
        # Before some are frozen: those need not be copied for `undo`.
        self._statistics = model.non_trainable_variables
        transfer.freeze(model, settings.freeze)
        self.variables = model.trainable_variables
        self.optimizer = optimizers.build(settings.optimizer, self.variables, settings.weight_decay)
        self.average = [
            tf.Variable(weight.numpy(), trainable=False, aggregation=tf.VariableAggregation.MEAN)
            for weight in (model.weights if settings.average else [])
        ]
        # Of the whole batch, as a checkpoint holds it, and of this process's rows.
        self._whole = [CarriedState(value) for value in objective.initial_state(settings.batch_size)]
        self.carried = self._whole
        if self.cluster.count > 1:
            self.carried = [CarriedState(self.cluster.share_of(whole.value)) for whole in self._whole]
        self.agreed = Wishes()
        self._statistics_before: list[tf.Tensor] = []
        self._carried_before: list[tf.Tensor] = []
        as_a_whole = _uses_xla(settings, model)
        model.training_loop = _training_loop(settings, as_a_whole)
        forward = xla.jit_scope(objective.forward) if as_a_whole else objective.forward
        self._network = tf.function(forward, jit_compile=as_a_whole)
        states = [tf.TensorSpec(carried.shape, tf.float32) for carried in self.carried]
        self._gradients = tf.function(self._distributed_gradients, input_signature=[objective.signature, states])
        # Compiled, some thousand small operations become a pass over each weight: 20 ms for 45 on 2 cores. XLA cannot
        # compile the exchange between replicas.
        compiled = settings.xla != "off" and strategy.num_replicas_in_sync == 1
        self._update = tf.function(self._distributed_update, jit_compile=compiled or None)
        self._exchange = tf.function(self._exchanged)
        self._norm = tf.function(tf.linalg.global_norm)
        # TensorFlow would take the functions of several learners for one that is traced again and again, and warn.
        self._swap = tf.function(lambda: self._swap_weights())
        self._copy = tf.function(lambda: [tf.identity(value) for value in self._statistics])

    def gradients(self, group: list, wishes: Wishes = Wishes()) -> tuple[float, float, list[tf.Tensor]]:  # noqa: B008 - immutable
        """Mean loss of the batches, the norm of its gradient, and the gradient; of all processes, as `agreed` is then.

        Args:
          group: batches, of which this process computes its share.
          wishes: of this process.
        """
        self._statistics_before, self._carried_before = self._copy(), [carried.value for carried in self.carried]
        total, loss = None, 0.0
        for batch in group:
            batch_loss, gradients, after = self._gradients(batch, [carried.value for carried in self.carried])
            for carried, value in zip(self.carried, after, strict=True):
                carried.assign(value)
            loss += float(batch_loss) / len(group)
            total = gradients if total is None else [a + b for a, b in zip(total, gradients, strict=True)]
        total = total if len(group) == 1 else [gradient / len(group) for gradient in total]
        if self.cluster.count > 1:
            (loss, *wishes), total = self._exchange(tf.constant([loss, *wishes]), total)
            loss, wishes = float(loss), Wishes(*map(float, wishes))
        self.agreed = wishes
        return loss, float(self._norm(total)), total

    def update(self, gradients: list[tf.Tensor], norm: float, learning_rate: float, step: int) -> None:
        """Moves the weights, by gradients scaled to `clip_norm` and cut to `clip_value`, and the average after them."""
        self.optimizer.learning_rate = learning_rate
        self._update(gradients, tf.constant(norm), tf.constant(step, tf.float32))

    def undo(self) -> None:
        """Restores the moving statistics and the carried states from before the last `gradients`."""
        for carried, before in zip(self.carried, self._carried_before, strict=True):
            carried.assign(before)
        for variable, before in zip(self._statistics, self._statistics_before, strict=True):
            variable.assign(before)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside the `with`, the model holds the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def synchronise(self) -> None:
        """Gives all processes what the chief has: weights, optimizer, average, carried states of the whole batch."""
        variables = [variable for group in self.groups().values() for variable in group.values()]
        self.cluster.share_tensors(variables)
        for carried, whole in zip(self.carried, self._whole, strict=True):
            carried.assign(self.cluster.share_of(whole.value))

    def gather(self) -> None:
        """Makes `groups` hold the carried states of all processes, and makes sure that their weights are equal.

        Raises:
          TfvoiceError: they are not.
        """
        if self.cluster.count == 1:
            return
        for carried, whole in zip(self.carried, self._whole, strict=True):
            rows = self.cluster.gathered(carried.value.numpy())
            whole.assign(np.stack(list(rows), axis=1).reshape(whole.shape))
        groups = {name: group for name, group in self.groups().items() if name != "carried"}
        digests = self.cluster.gathered(checkpoints.digest(groups))
        if different := [number for number, digest in enumerate(digests) if (digest != digests[0]).any()]:
            raise TfvoiceError(
                f"the weights of worker {', '.join(map(str, different))} are no longer those of worker 0, so that the "
                "run stops without saving them; use machines of one kind, and the same command resumes from the last "
                "checkpoint."
            )

    def groups(self) -> dict[str, dict[str, Any]]:
        """Everything a checkpoint holds, by name: weights to use, weights to resume with, optimizer, carried states."""
        weights = checkpoints.named(self.model.weights)
        groups = {"weights": weights, "optimizer": checkpoints.named(self.optimizer.variables)}
        if self.average:
            groups |= {"weights": dict(zip(weights, self.average, strict=True)), "raw": weights}
        if self.carried:
            groups["carried"] = {f"state_{number}": state for number, state in enumerate(self._whole)}
        return groups

    def _distributed_gradients(self, batch, carried):
        units = self.objective.units(batch)
        key = keys.fold_in(keys.from_seed(self.settings.seed), batch.epoch, batch.position, keys.Purpose.REPLICA)

        def on_replica(inputs, targets, carried):
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group + self.cluster.index
            with tf.GradientTape() as tape:
                outputs, after = self._network(inputs, carried, keys.fold_in(key, replica))
                losses = self.objective.losses(outputs, targets, units)
            gradients = tape.gradient(losses.minimised, [variable.value for variable in self.variables])
            return tf.distribute.get_replica_context().all_reduce("SUM", [losses.logged, *gradients]), after

        inputs, targets = self.objective.split(batch)
        if self.strategy.num_replicas_in_sync > 1:
            inputs, targets = (tuple(self._split(part) for part in parts) for parts in (inputs, targets))
            carried = [self._split(value) for value in carried]
        else:
            inputs, targets = (tuple(map(self.cluster.share_of, parts)) for parts in (inputs, targets))
        results, after = self.strategy.run(on_replica, args=(inputs, targets, carried))
        loss, *gradients = (self.strategy.experimental_local_results(result)[0] for result in results)
        return loss, gradients, [self._joined(value) for value in after]

    def _split(self, part: tf.Tensor):
        """Gives each replica every n-th row of a batch, so that a batch that is not full is shared evenly too."""
        replicas = self.strategy.num_replicas_in_sync
        shares = [part[first::replicas] for first in range(replicas)]
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: shares[context.replica_id_in_sync_group]
        )

    def _joined(self, shared) -> tf.Tensor:
        """Rows that `_split` shared among the replicas, as one batch again."""
        shares = self.strategy.experimental_local_results(shared)
        if len(shares) == 1:
            return shares[0]
        return tf.reshape(tf.stack(shares, axis=1), [-1, *shares[0].shape[1:]])

    def _exchanged(self, scalars: tf.Tensor, gradients: list[tf.Tensor]) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Sums over the processes, all in one exchange; the moving statistics become those of all rows."""
        statistics = [variable for variable in self._statistics if variable.dtype == "float32"]
        values = [scalars, *gradients, *map(tf.convert_to_tensor, statistics)]
        scalars, *sums = self.cluster.sums(values)
        for variable, total in zip(statistics, sums[len(gradients) :], strict=True):
            variable.assign(total / self.cluster.count)
        return tf.unstack(scalars), sums[: len(gradients)]

    def _distributed_update(self, gradients, norm, step):
        limit = self.settings.clip_norm or math.inf
        # Every replica passes the same gradients and Keras adds them up.
        factor = tf.minimum(1.0, limit / tf.maximum(norm, 1e-12)) / self.strategy.num_replicas_in_sync
        # A young average forgets faster, or the random start would stay in it for long.
        decay = tf.minimum(self.settings.average, (1.0 + step) / (10.0 + step))

        highest = self.settings.clip_value / self.strategy.num_replicas_in_sync

        def on_replica():
            scaled = [gradient * factor for gradient in gradients]
            if highest:
                scaled = [tf.clip_by_value(gradient, -highest, highest) for gradient in scaled]
            self.optimizer.apply(scaled, self.variables)
            for average, weight in zip(self.average, self.model.weights if self.average else [], strict=True):
                average.assign_add((1.0 - decay) * (tf.convert_to_tensor(weight) - average))

        self.strategy.run(on_replica)

    def _swap_weights(self):
        for average, weight in zip(self.average, self.model.weights if self.average else [], strict=True):
            kept = tf.identity(average)
            average.assign(tf.convert_to_tensor(weight))
            weight.assign(kept)


class CarriedState:
    """A tensor that is carried from one step into the next; to a checkpoint it is a variable.

    Args:
      value: the tensor of the first step.
    """

    def __init__(self, value: tf.Tensor):
        self.value = tf.convert_to_tensor(value)

    @property
    def shape(self) -> tf.TensorShape:
        """Of the value."""
        return self.value.shape

    def assign(self, value) -> None:
        """Replaces the value by another one of its shape."""
        self.value = tf.convert_to_tensor(value, self.value.dtype)

    def __array__(self, dtype=None, copy=None):
        return self.value.numpy() if dtype is None else self.value.numpy().astype(dtype)


def strategy_for(settings: TrainingConfig, cluster: Cluster = SINGLE) -> tf.distribute.Strategy:
    """Picks the strategy for the devices of this process: none for one device, mirrored for several.

    Raises:
      TfvoiceError: the batch cannot be shared evenly.
    """
    if cluster.count > 1:
        _check_batch(settings, cluster.count, "workers")
    if cluster_.join().count > 1:
        # TensorFlow lists the devices of all processes, and each has one of its own.
        return tf.distribute.get_strategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return tf.distribute.get_strategy()
    _check_batch(settings, len(devices), "devices")
    return _mirrored(tuple(device.name for device in devices))


def _check_batch(settings: TrainingConfig, count: int, sharers: str) -> None:
    if settings.batch_size % count:
        raise TfvoiceError(
            f"training.batch_size={settings.batch_size} cannot be shared among {count} {sharers}; "
            f"set training.batch_size={-(-settings.batch_size // count) * count}."
        )


# One for the whole process: a second one numbers its collective operations like the first, and TensorFlow then takes
# the sums of two models for each other's.
@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(list(devices))


def _uses_xla(settings: TrainingConfig, model) -> bool:
    has_gpu = bool(tf.config.list_logical_devices("GPU"))
    # The loss is computed outside the network, so that Keras's answer for the two together does not count.
    compiles = getattr(model, "network_supports_jit", model.supports_jit)
    return settings.xla == "on" or (settings.xla == "auto" and has_gpu and compiles)


def _training_loop(settings: TrainingConfig, as_a_whole: bool) -> str:
    """The time loop of recurrent layers, one of `layers.recurrent.LOOPS`."""
    if tf.config.list_logical_devices("GPU") and not as_a_whole:
        return "cudnn"
    return "graph" if settings.xla == "off" else "xla"
