"""Which process of a cluster this is: by `TF_CONFIG`, as Kubeflow sets it, or by the variables of Slurm."""

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from tfvoice.errors import TfvoiceError

# Of the processes of a job of Slurm; the first process of a host has the first port of its job.
_FIRST_PORT, _PORTS = 20_000, 20_000
# Those that train: TensorFlow counts the chief first.
_JOBS = ("chief", "worker")


class Place(NamedTuple):
    """A process of a cluster.

    Attributes:
      index: number of this process; 0 is the chief.
      addresses: `host:port` of each process.
    """

    index: int
    addresses: tuple[str, ...]

    @property
    def host_rank(self) -> int:
        """How many processes before this one run on the same host, by which each takes a GPU of its own."""
        host = _host(self.addresses[self.index])
        return sum(_host(address) == host for address in self.addresses[: self.index])

    def as_tf_config(self) -> str:
        """What TensorFlow reads from `TF_CONFIG`."""
        task = {"type": "worker", "index": self.index}
        return json.dumps({"cluster": {"worker": list(self.addresses)}, "task": task})


ALONE = Place(0, ("localhost:0",))


def find(environment: Mapping[str, str]) -> Place:
    """The place of this process; `ALONE` where there is no cluster.

    Args:
      environment: variables. `TF_CONFIG` counts more than those of Slurm, which count in a step (`srun`) of several
        tasks.

    Raises:
      TfvoiceError: the variables contradict themselves, or ask for what is not there, such as parameter servers.
    """
    if environment.get("TF_CONFIG"):
        return _from_tf_config(environment["TF_CONFIG"])
    if int(environment.get("SLURM_STEP_NUM_TASKS") or 1) > 1:
        return _from_slurm(environment)
    return ALONE


def _from_tf_config(text: str) -> Place:
    try:
        content = json.loads(text)
        jobs = {name: list(addresses) for name, addresses in content.get("cluster", {}).items() if addresses}
        task = content.get("task", {"type": "worker", "index": 0})
        kind, number = str(task["type"]), int(task["index"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TfvoiceError(f"TF_CONFIG is not valid ({type(error).__name__}: {error}); see docs/scaling.md.") from None
    if unknown := {*jobs, *([kind] if jobs else [])} - {*_JOBS}:
        raise TfvoiceError(
            f"TF_CONFIG names {', '.join(sorted(unknown))}; tfvoice trains with a chief and workers alone, and the "
            "chief validates."
        )
    addresses = [address for job in _JOBS for address in jobs.get(job, [])]
    if len(addresses) < 2:
        return ALONE
    if not 0 <= number < len(jobs.get(kind, [])):
        raise TfvoiceError(f"TF_CONFIG says that this is {kind} {number}, and names {len(jobs.get(kind, []))} of them.")
    return Place(number + (len(jobs.get("chief", [])) if kind == "worker" else 0), tuple(map(str, addresses)))


def _from_slurm(environment: Mapping[str, str]) -> Place:
    try:
        hosts = _expanded(environment["SLURM_STEP_NODELIST"])
        counts = _counts(environment["SLURM_STEP_TASKS_PER_NODE"])
        index, total = int(environment["SLURM_PROCID"]), int(environment["SLURM_STEP_NUM_TASKS"])
        # Steps and jobs that share a host have ports of their own.
        step = 31 * int(environment["SLURM_JOB_ID"]) + int(environment.get("SLURM_STEP_ID") or 0)
        port = _FIRST_PORT + 64 * step % _PORTS
        tasks = [(node, rank) for node, count in enumerate(counts) for rank in range(count)]
        here = int(environment["SLURM_NODEID"]), int(environment["SLURM_LOCALID"])
        if len(hosts) != len(counts) or len(tasks) != total or tasks[index] != here:
            raise ValueError(f"task {index} of {total} is the one with number {here[1]} on node {here[0]}")
    except (ValueError, KeyError, IndexError) as error:
        raise TfvoiceError(
            f"the variables of Slurm are not those of a step ({type(error).__name__}: {error}); start the processes "
            "with srun and --distribution=block, or set TF_CONFIG."
        ) from None
    return Place(index, tuple(f"{hosts[node]}:{port + rank}" for node, rank in tasks))


def _expanded(hosts: str) -> list[str]:
    """The hosts of a list such as `gpu[01-03,7],login`."""
    names = []
    for part in re.findall(r"(?:[^,\[\]]|\[[^\]]*\])+", hosts):
        prefix, ranges, suffix = re.fullmatch(r"([^\[]*)(?:\[([^\]]*)\])?([^\[]*)", part).groups()
        if ranges is None:
            names.append(part)
            continue
        for span in ranges.split(","):
            first, _, last = span.partition("-")
            for number in range(int(first), int(last or first) + 1):
                names.append(f"{prefix}{number:0{len(first)}d}{suffix}")
    return names


def _counts(text: str) -> list[int]:
    """The tasks of each host, of a list such as `2(x3),1`."""
    counts = []
    for part in text.split(","):
        count, _, times = part.strip().removesuffix(")").partition("(x")
        counts += [int(count)] * int(times or 1)
    return counts


def _host(address: str) -> str:
    return address.rpartition(":")[0]
