"""Which tests run in a process, and in what order; the fixtures are in shared_fixtures.py."""

import contextlib
import ctypes
import functools
import gc
import os
import resource
import signal
from pathlib import Path

import pytest

pytest_plugins = ["shared_fixtures"]
TESTS = Path(__file__).parent
# By their time, which goes with the memory that they leave behind.
LARGEST = (
    "generation/test_task.py",
    "training/test_trainer.py",
    "export/test_saved_model.py",
    "serving/test_app.py",
    "models/test_deepspeech2.py",
    "test_walk.py",
    "asr/test_signatures.py",
    "asr/test_streaming.py",
    "test_page.py",
    "generation/test_sample.py",
    "training/test_step.py",
    "asr/test_transcribe.py",
    "models/test_sample_rnn.py",
    "converters/test_deepspeech_pytorch.py",
    "asr/test_windows.py",
    "cli/test_languages.py",
    "test_python.py",
    "tts/voice/test_train.py",
    "tts/duration_f0/test_task.py",
    "tts/segmentation/test_task.py",
    "tts/g2p/test_task.py",
    "export/test_onnx.py",
    "serving/test_grpc_server.py",
    "training/test_start.py",
    "test_run.py",
    "test_architecture.py",
    "asr/test_transcribe_graph.py",
    "tts/voice/test_evaluate.py",
    "tts/voice/test_estimate.py",
    "cluster/test_cluster.py",
)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# A shell starts background jobs with SIGINT ignored, and the commands of tests would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--part", help="K/N: the K-th of N parts of the test files.")


def pytest_ignore_collect(collection_path, config):
    """TensorFlow keeps some of the memory of every graph, so that one process for all tests becomes large."""
    part = config.getoption("--part")
    if not part or not collection_path.match("test_*.py"):
        return None
    number, parts = map(int, part.split("/"))
    place = _test_files().index(collection_path) % (2 * parts)
    # To and fro: the part with the largest file gets the smallest of the next ones.
    return min(place, 2 * parts - 1 - place) != number - 1 or None


@pytest.fixture(scope="module", autouse=True)
def collected():
    """Frees what the file before has left, and spares the rest, TensorFlow above all, further garbage collections.

    One that scans it takes 0.35 s, and each validation of a training collects. Graphs refer to themselves and are found
    by nothing else, and glibc keeps what is freed: together, 40 MiB a training.
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def pytest_terminal_summary(terminalreporter):
    """Prints how large the process became, so that CI shows which part is large."""
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    terminalreporter.line(f"peak resident memory {peak_kib >> 10} MiB")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: _place(item.path))


@functools.cache
def _test_files():
    return sorted(TESTS.rglob("test_*.py"), key=_place)


def _place(path):
    """The largest files first, so that they are spread over the parts."""
    name = path.relative_to(TESTS).as_posix()
    return (LARGEST.index(name) if name in LARGEST else len(LARGEST)), path
