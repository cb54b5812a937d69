"""The processes that train one model together, and what they tell each other.

TensorFlow gives the collective operations and nothing else: weights are variables of each process, and one sum a step
goes around. Everything that is exchanged is a sum of float32 over the processes, which all of them get bit for bit.
"""

import contextlib
import json
import os
import re
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import tfvoice
from tfvoice.cluster import place as place_
from tfvoice.cluster import rendezvous
from tfvoice.cluster.place import ALONE, Place
from tfvoice.errors import TfvoiceError
from tfvoice.handlers import handler

JOIN_SECONDS = 300.0
# TensorFlow's part of a start, when all processes are there; it took less than 5 s.
_CONNECT_SECONDS = 120
# A process, as these errors name it.
_TASK = re.compile(r"/job:worker(?:/replica:0)?/task:(\d+)")
# What a lost connection to another process raises.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
)


class Cluster:
    """A cluster of one process; `Workers` is one of several.

    Attributes:
      index: number of this process; 0 is the chief, which decides, validates and writes.
      count: number of processes.
    """

    index, count = 0, 1

    @property
    def is_chief(self) -> bool:
        """Whether this process decides, validates and writes."""
        return self.index == 0

    def share_of(self, rows):
        """This process's rows of a batch, every `count`-th, so that a batch that is not full is shared evenly, too."""
        return rows if self.count == 1 else rows[self.index :: self.count]

    def sums(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Sums of float32 tensors of fixed shapes over the processes, in one exchange; for use in a `tf.function`."""
        return list(tensors)

    def gathered(self, values: np.ndarray) -> np.ndarray:
        """Float32 values of each process, of one shape: `[count, ...]`."""
        return np.asarray(values, np.float32)[np.newaxis]

    def shared(self, value: Any = None) -> Any:
        """The value of the chief, which JSON can hold; all processes call it, and those of the others do not count."""
        return value

    def share_tensors(self, variables: Sequence) -> None:
        """Assigns the values of the chief to the variables of all processes, bit for bit."""

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Inside the `with`, a process that is lost is a `TfvoiceError`."""
        yield


class Workers(Cluster):
    """A cluster of several processes. To make it is to join: it waits for all others.

    Args:
      place: of this process.
      join_seconds: how long to wait.

    Raises:
      TfvoiceError: a process did not come or is of another version; TensorFlow has already started; or this process has
        no GPU of its own.
    """

    def __init__(self, place: Place, join_seconds: float = JOIN_SECONDS):
        self.index, self.count, self._place = place.index, len(place.addresses), place
        _take_one_gpu(place)
        rendezvous.meet(place, join_seconds, f"tfvoice {tfvoice.__version__} with TensorFlow {tf.__version__}")
        try:
            with _killed_after(_CONNECT_SECONDS), _tf_config(place):
                self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
        except (RuntimeError, *_LOST) as error:
            raise TfvoiceError(
                f"worker {place.index} cannot join the cluster ({str(error).splitlines()[0]})."
            ) from None
        # Of values that are not part of a step: one graph for all sizes.
        self._total = tf.function(self._exchanged, input_signature=[tf.TensorSpec([None], tf.float32)])

    def sums(self, tensors):
        """As for one process."""
        total = self._exchanged(tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0))
        parts = tf.split(total, [tensor.shape.num_elements() for tensor in tensors])
        return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def gathered(self, values):
        """As for one process."""
        table = np.zeros([self.count, *np.shape(values)], np.float32)
        table[self.index] = values
        return self._sum(table)

    def shared(self, value=None):
        """As for one process."""
        text = json.dumps(value).encode() if self.is_chief else b""
        size = int(self._sum(np.array([len(text)], np.float32))[0])
        content = np.zeros(size, np.float32)
        if self.is_chief:
            content[:] = np.frombuffer(text, np.uint8)
        return json.loads(self._sum(content).astype(np.uint8).tobytes())

    def share_tensors(self, variables):
        """As for one process."""
        arrays = [np.ascontiguousarray(np.asarray(variable)) for variable in variables]
        # 16 bits are whole numbers in float32; as they are, the sum would turn -0 into 0.
        parts = [array.reshape(-1).view(np.uint16).astype(np.float32) for array in arrays]
        packed = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        packed = self._sum(packed if self.is_chief else np.zeros_like(packed)).astype(np.uint16)
        places = np.cumsum([len(part) for part in parts])[:-1]
        for variable, array, part in zip(variables, arrays, np.split(packed, places), strict=True):
            variable.assign(part.view(array.dtype).reshape(np.shape(variable)))

    @contextlib.contextmanager
    def explained(self):
        """As for one process."""
        try:
            yield
        except _LOST as error:
            raise TfvoiceError(
                f"worker {self.index} lost {self._lost(str(error))}, which has ended or does not answer; its output "
                "says why. When all processes are started again, the same command resumes the run."
            ) from error

    def _lost(self, error: str) -> str:
        """The process that an error is about, as far as it says so: later ones only pass it on."""
        _, _, unhealthy = error.partition("unhealthy")
        numbers = [int(number) for number in _TASK.findall(unhealthy or error) if int(number) != self.index]
        return f"worker {numbers[0]} ({self._place.addresses[numbers[0]]})" if numbers else "another process"

    def _sum(self, values: np.ndarray) -> np.ndarray:
        return self._total(tf.constant(values.reshape(-1))).numpy().reshape(values.shape)

    def _exchanged(self, values: tf.Tensor) -> tf.Tensor:
        """The sum of a vector over the processes."""

        def on_replica(values):
            # A tensor from outside must become one of the replica, or it has no destination.
            return tf.distribute.get_replica_context().all_reduce("SUM", tf.identity(values))

        return self._strategy.run(on_replica, args=(values,))


SINGLE = Cluster()
_joined: list[Cluster] = []


def join(join_seconds: float = JOIN_SECONDS) -> Cluster:
    """The cluster of this process, by its environment; waits for the others of one that it has not joined yet.

    TensorFlow must not have used a device before. A process can join once.

    Args:
      join_seconds: how long to wait for the other processes.

    Raises:
      TfvoiceError: as `place.find` and `Workers`.
    """
    if not _joined:
        place = place_.find(os.environ)
        _joined.append(SINGLE if place == ALONE else Workers(place, join_seconds))
    return _joined[0]


def _take_one_gpu(place: Place) -> None:
    """Makes one GPU visible, the n-th for the n-th process of a host."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return
    if place.host_rank >= len(gpus):
        raise TfvoiceError(
            f"worker {place.index}: its host has {len(gpus)} GPUs, and {place.host_rank} processes before it; start no "
            "more processes on a host than it has GPUs."
        )
    try:
        tf.config.set_visible_devices(gpus[place.host_rank], "GPU")
    except RuntimeError as error:
        raise TfvoiceError(f"worker {place.index} cannot join the cluster ({error}).") from None


@contextlib.contextmanager
def _tf_config(place: Place) -> Iterator[None]:
    """Inside the `with`, `TF_CONFIG` names the place."""
    before = os.environ.get("TF_CONFIG")
    os.environ["TF_CONFIG"] = place.as_tf_config()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TF_CONFIG"]
        else:
            os.environ["TF_CONFIG"] = before


@contextlib.contextmanager
def _killed_after(seconds: int) -> Iterator[None]:
    """Ends the process where the `with` takes longer: TensorFlow waits with Python and its signals blocked."""
    with handler(signal.SIGALRM, signal.SIG_DFL):
        signal.alarm(seconds)
        try:
            yield
        finally:
            signal.alarm(0)
