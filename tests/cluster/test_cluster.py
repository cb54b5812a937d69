"""Laws of a cluster: what all get is the same, bit for bit; the chief's word counts; a lost process is an error."""

import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.cluster import cluster
from tfvoice.cluster.cluster import SINGLE, Cluster
from tfvoice.errors import TfvoiceError

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
    import json, sys
    import numpy as np, tensorflow as tf
    from tfvoice.cluster import cluster
    from tfvoice.errors import TfvoiceError

    me = cluster.join(60)
    assert cluster.join() is me
    results = {"count": me.count, "chief": me.is_chief, "rows": me.share_of(tf.range(5)).numpy().tolist()}
    results["shared"] = [me.shared(value if me.is_chief else "mine") for value in (None, {"ä": [1e-320, 7]}, "")]
    results["gathered"] = me.gathered(np.array([[me.index, 0.5]])).tolist()
    variables = [
        tf.Variable(np.array([-0.0, 1e-40, 3.0 if me.is_chief else 4.0], np.float32)),
        tf.Variable(np.int64(2**40 + me.index)), tf.Variable(np.zeros([0, 2], np.float32)),
    ]
    me.share_tensors(variables)
    results["tensors"] = [np.asarray(variable).tobytes().hex() for variable in variables]
    step = tf.function(lambda one, other: me.sums([one, other]))
    numbers = np.random.default_rng(me.index).normal(size=[3, 1000]).astype(np.float32)
    one, other = step(tf.constant(numbers), tf.constant(float(me.index)))
    results["sums"] = [one.numpy().tobytes().hex(), float(other)]
    graph = step.get_concrete_function(tf.constant(numbers), tf.constant(0.0)).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    results["exchanges"] = sum(node.op.startswith("CollectiveReduce") for node in nodes)
    print(json.dumps(results), flush=True)
    if not me.is_chief:
        raise SystemExit(5)
    try:
        with me.explained():
            while True:
                me.shared()
    except TfvoiceError as error:
        print(error, flush=True)
"""


@pytest.fixture(scope="module")
def outputs():
    """What two processes print, line by line."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (one, other)]
    processes = []
    for index in range(2):
        place = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = os.environ | {
            "TF_CONFIG": json.dumps(place), "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3",
        }  # fmt: skip
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(PROGRAM)],
                env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
    ended = [process.communicate(timeout=200) for process in processes]
    assert [process.returncode for process in processes] == [0, 5], ended[0][1][-2000:] + ended[1][1][-2000:]
    return [out.splitlines() for out, _ in ended], addresses


@pytest.fixture(scope="module")
def results(outputs):
    return [json.loads(lines[0]) for lines in outputs[0]]


def test_all_get_the_same_and_each_has_its_rows(results):
    chief, worker = results
    assert (chief["count"], chief["chief"], chief["rows"]) == (2, True, [0, 2, 4])
    assert (worker["count"], worker["chief"], worker["rows"]) == (2, False, [1, 3])
    for name in ("shared", "gathered", "tensors", "sums"):
        assert chief[name] == worker[name]


def test_the_word_of_the_chief_counts_bit_for_bit(results):
    assert results[1]["shared"] == [None, {"ä": [1e-320, 7]}, ""]
    expected = [np.array([-0.0, 1e-40, 3.0], np.float32), np.int64(2**40), np.zeros([0, 2], np.float32)]
    assert results[1]["tensors"] == [value.tobytes().hex() for value in expected]
    assert results[1]["gathered"] == [[[0.0, 0.5]], [[1.0, 0.5]]]


def test_sums_are_those_of_numpy_in_one_exchange(results):
    parts = [np.random.default_rng(index).normal(size=[3, 1000]).astype(np.float32) for index in range(2)]
    assert results[0]["sums"] == [(parts[0] + parts[1]).tobytes().hex(), 1.0]
    assert results[0]["exchanges"] == 1


def test_a_process_that_ends_is_named(outputs):
    lines, addresses = outputs
    assert lines[0][1].startswith(f"worker 0 lost worker 1 ({addresses[1]}), which has ended or does not answer")


def test_a_single_process_exchanges_nothing():
    tensors = [tf.constant([1.0]), tf.constant(2.0)]
    assert SINGLE.sums(tensors) == tensors and SINGLE.shared("text") == "text"
    assert SINGLE.share_of(tensors[0]) is tensors[0] and SINGLE.is_chief and SINGLE.count == 1
    np.testing.assert_array_equal(SINGLE.gathered(np.arange(3)), [[0, 1, 2]])
    with pytest.raises(tf.errors.InternalError), SINGLE.explained():
        raise tf.errors.InternalError(None, None, "its own")


def test_a_process_joins_once(monkeypatch):
    monkeypatch.setattr(cluster, "_joined", [])
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    assert cluster.join() is SINGLE
    monkeypatch.setenv("TF_CONFIG", "{")
    assert cluster.join() is SINGLE


def test_joining_after_tensorflow_has_started_is_an_error(monkeypatch):
    tf.config.list_logical_devices()
    monkeypatch.setattr(cluster, "_joined", [])
    monkeypatch.setattr(cluster.rendezvous, "meet", lambda *_: None)
    place = {"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(place))
    with pytest.raises(TfvoiceError, match="worker 0 cannot join the cluster"):
        cluster.join()
    assert os.environ["TF_CONFIG"] == json.dumps(place)


def test_rows_are_shared_evenly():
    class Third(Cluster):
        index, count = 2, 3

    assert Third().share_of(tf.range(8)).numpy().tolist() == [2, 5]
    assert not Third().is_chief
