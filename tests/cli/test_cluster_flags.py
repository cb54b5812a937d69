"""The flags of a command that runs in several processes."""

import json
import os
import sys

import pytest

from tfvoice.cli import cluster_flags
from tfvoice.cli.cluster_flags import ClusterFlags
from tfvoice.cli.flags import Flags
from tfvoice.cluster import cluster
from tfvoice.cluster.cluster import SINGLE, Cluster


@pytest.fixture
def flags(monkeypatch):
    """Parses a command line; its process has joined nothing yet."""
    monkeypatch.setattr(cluster, "_joined", [])
    monkeypatch.delenv("TF_CONFIG", raising=False)

    def parsed(*argv):
        defined = Flags()
        found = ClusterFlags(defined)
        defined.parse(["tfvoice_train", *argv])
        monkeypatch.setattr(sys, "argv", ["bin/tfvoice_train", *argv])
        return found

    return parsed


def test_one_process_runs_the_command_itself(flags, capsys):
    seen = []
    assert flags().run(seen.append) is None
    assert seen == [SINGLE] and capsys.readouterr().out == ""


def test_several_processes_run_the_same_command_line_with_one_process_each(flags, monkeypatch):
    launched = []
    monkeypatch.setattr(cluster_flags.launcher, "launch", lambda *arguments: launched.append(arguments) or 7)
    assert flags("--processes=3", "--join_seconds=5").run(None) == 7
    ((command, count),) = launched
    assert count == 3
    assert command == [sys.executable, "bin/tfvoice_train", "--processes=3", "--join_seconds=5", "--processes=1"]


def test_only_the_chief_prints(flags, monkeypatch, capsys):
    class Second(Cluster):
        index, count = 1, 2

    waited = []
    monkeypatch.setattr(cluster, "join", lambda seconds: waited.append(seconds) or Second())
    place = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(place))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    flags("--join_seconds=2.5").run(lambda joined: print(f"from {joined.index}"))
    assert capsys.readouterr().out == "Worker 1 of 2 waits for the others.\n" and waited == [2.5]
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    flags().run(lambda joined: None)
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0", "the user wants to see more"
