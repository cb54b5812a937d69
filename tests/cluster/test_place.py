"""Laws of places: TF_CONFIG and the variables of a step of Slurm name the same processes to all of them."""

import json

import pytest

from tfvoice.cluster import place
from tfvoice.cluster.place import ALONE, Place
from tfvoice.errors import TfvoiceError


def tf_config(cluster, kind="worker", index=0):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def slurm(**changes):
    """The variables of `srun --nodes=3 --ntasks=5`, as Slurm 22.05 sets them."""
    return {
        "SLURM_JOB_ID": "17", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "5",
        "SLURM_PROCID": "3", "SLURM_NODEID": "1", "SLURM_LOCALID": "1",
        "SLURM_STEP_NODELIST": "gpu[08-09],login", "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TF_CONFIG": ""},
        {"TF_CONFIG": "{}"},
        tf_config({"worker": ["a:1"]}),
        tf_config({"chief": ["a:1"], "worker": []}, "chief"),
        # A job of several tasks whose script was not started by srun, and a step of one.
        {"SLURM_JOB_ID": "17", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"},
        slurm(SLURM_STEP_NUM_TASKS="1"),
    ],
)
def test_one_process_is_alone(environment):
    assert place.find(environment) == ALONE


def test_the_chief_comes_first_in_tf_config():
    workers = {"worker": ["a:1", "b:2", "c:3"]}
    assert place.find(tf_config(workers, index=2)) == Place(2, ("a:1", "b:2", "c:3"))
    with_chief = {"worker": ["b:2", "c:3"], "chief": ["a:1"]}
    assert place.find(tf_config(with_chief, "chief")) == Place(0, ("a:1", "b:2", "c:3"))
    assert place.find(tf_config(with_chief, index=1)) == Place(2, ("a:1", "b:2", "c:3"))


def test_tasks_of_slurm_are_counted_host_by_host():
    found = [
        place.find(slurm(SLURM_PROCID=str(number), SLURM_NODEID=str(node), SLURM_LOCALID=str(rank)))
        for number, (node, rank) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)])
    ]
    assert [each.index for each in found] == [0, 1, 2, 3, 4]
    assert len({each.addresses for each in found}) == 1
    hosts, ports = zip(*(address.split(":") for address in found[0].addresses), strict=True)
    assert hosts == ("gpu08", "gpu08", "gpu09", "gpu09", "login")
    first = int(ports[0])
    assert list(map(int, ports)) == [first, first + 1, first, first + 1, first] and 20_000 <= first < 40_000
    assert [each.host_rank for each in found] == [0, 1, 0, 1, 0]
    other = place.find(slurm(SLURM_STEP_ID="1"))
    assert not {*other.addresses} & {*found[0].addresses}, "two steps on the same hosts have ports of their own"


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("login", ["login"]),
        ("a,b", ["a", "b"]),
        ("n[1,3-5]", ["n1", "n3", "n4", "n5"]),
        ("n[098-101]-ib,m2", ["n098-ib", "n099-ib", "n100-ib", "n101-ib", "m2"]),
    ],
)
def test_lists_of_hosts_are_expanded(text, hosts):
    counts = ",".join(["2"] * len(hosts))
    environment = slurm(
        SLURM_STEP_NODELIST=text, SLURM_STEP_TASKS_PER_NODE=counts, SLURM_STEP_NUM_TASKS=str(2 * len(hosts))
    )
    found = place.find(environment | {"SLURM_PROCID": "1", "SLURM_NODEID": "0", "SLURM_LOCALID": "1"})
    assert [address.split(":")[0] for address in found.addresses] == [host for host in hosts for _ in range(2)]


def test_tf_config_counts_more_than_slurm():
    assert place.find(slurm() | tf_config({"worker": ["a:1", "b:2"]}, index=1)).addresses == ("a:1", "b:2")


def test_tensorflow_reads_what_a_place_says():
    two = Place(1, ("a:1", "b:2"))
    assert place.find({"TF_CONFIG": two.as_tf_config()}) == two


@pytest.mark.parametrize(
    ("environment", "fact"),
    [
        ({"TF_CONFIG": "{"}, "TF_CONFIG is not valid"),
        ({"TF_CONFIG": "[1]"}, "TF_CONFIG is not valid"),
        (
            {"TF_CONFIG": '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker"}}'},
            "TF_CONFIG is not valid",
        ),
        (tf_config({"worker": ["a:1", "b:2"], "ps": ["c:3"]}), "TF_CONFIG names ps"),
        (tf_config({"worker": ["a:1", "b:2"]}, "evaluator"), "TF_CONFIG names evaluator"),
        (tf_config({"worker": ["a:1", "b:2"]}, index=2), "this is worker 2, and names 2 of them"),
        (tf_config({"worker": ["a:1", "b:2"]}, "chief"), "this is chief 0, and names 0 of them"),
        (slurm(SLURM_STEP_NODELIST="a"), "the variables of Slurm"),
        (slurm(SLURM_STEP_TASKS_PER_NODE="2(x2),2"), "the variables of Slurm"),
        (slurm(SLURM_STEP_TASKS_PER_NODE="some"), "the variables of Slurm"),
        # --distribution=cyclic
        (slurm(SLURM_NODEID="0", SLURM_LOCALID="1"), "task 3 of 5 is the one with number 1 on node 0"),
        ({"SLURM_STEP_NUM_TASKS": "2"}, "the variables of Slurm"),
    ],
)
def test_what_contradicts_itself_is_an_error(environment, fact):
    with pytest.raises(TfvoiceError, match=fact):
        place.find(environment)
