"""Which tests run in a process, and in what order; the fixtures are in shared_fixtures.py."""

import os
import signal
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# A shell starts background jobs with SIGINT ignored, and the commands of tests would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--part", help="K/N: every N-th test file from the K-th on.")


def pytest_configure(config):
    # With several processes, the first one runs no test, and need not wait for TensorFlow.
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        config.pluginmanager.import_plugin("shared_fixtures")


def pytest_ignore_collect(collection_path, config):
    """TensorFlow keeps some of the memory of every graph, so that one process for all tests becomes large."""
    part = config.getoption("--part")
    if not part or not collection_path.match("test_*.py"):
        return None
    number, parts = map(int, part.split("/"))
    return sorted(Path(__file__).parent.rglob("test_*.py")).index(collection_path) % parts != number - 1 or None
