"""Running a command: exit statuses, errors, help, the environment, and what TensorFlow logs."""

import functools
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

from tfvoice import hardware
from tfvoice.cli import command

ROOT = Path(command.__file__).parents[2]
SOURCE = '''
"""Counts words.

It is a command for tests:

    tfvoice_count --data=texts --limit=3
"""

import os
import time

from tfvoice.cli.flags import Flags
from tfvoice.errors import TfvoiceError

FLAGS = Flags("FILE...")
DATA = FLAGS.string("data", "The folder of texts.", metavar="DIR", required=True)
LIMIT = FLAGS.integer("limit", "Stop after so many words.", default=7, lower=1)
FAIL = FLAGS.string("fail", "How to fail.")


def main(argv):
    if FAIL.value == "user":
        raise TfvoiceError("a.wav: no good; try another.")
    if FAIL.value == "bug":
        raise ValueError("a bug")
    if FAIL.value == "disk":
        raise OSError(28, "No space left on device", "out/x")
    if FAIL.value == "pool":
        raise BrokenPipeError(32, "Broken pipe")
    if FAIL.value == "wait":
        print("waiting", flush=True)
        time.sleep(60)
    if FAIL.value == "saved":
        raise KeyboardInterrupt("saved; the same command resumes it.")
    if FAIL.value == "chatter":
        for _ in range(100000):
            print("word")
    if FAIL.value == "environment":
        print(os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["TF_ENABLE_ONEDNN_OPTS"])
    if FAIL.value == "three":
        return 3
    print(argv[1:], DATA.value, LIMIT.value)
'''


@pytest.fixture
def count(monkeypatch):
    module = types.ModuleType("count_command")
    exec(SOURCE, module.__dict__)
    monkeypatch.setitem(sys.modules, "count_command", module)
    return module


@pytest.fixture
def run(count, in_process):
    """Runs the command; returns exit status, standard output and standard error."""
    return functools.partial(in_process, count.main, "bin/tfvoice_count")


@pytest.fixture
def process(tmp_path):
    """Starts the command in a process of its own."""
    (tmp_path / "count.py").write_text(SOURCE)
    script = tmp_path / "tfvoice_count"
    script.write_text("import count\nfrom tfvoice.cli import command\n\ncommand.run(count.main)\n")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    processes = []

    def process(*arguments):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen([sys.executable, script, *arguments], env=environment, **pipes))
        return processes[-1]

    yield process
    for each in processes:
        each.kill()
        each.communicate()


def test_main_gets_the_positional_arguments_and_the_values_of_its_flags(run):
    assert run("a.txt", "--data", "texts", "-", "--limit=3") == (0, "['a.txt', '-'] texts 3\n", "")


def test_help_after_two_dashes_is_a_positional_argument(run):
    assert run("--data=x", "--", "--help") == (0, "['--help'] x 7\n", "")


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--limit=0"], "--limit=0 is not valid; expected a positive integer."),
        (["--data=x", "--fail=user"], "a.wav: no good; try another."),
        (["--data=x", "--fail=disk"], "out/x: No space left on device; --debug shows where."),
    ],
)
def test_an_error_is_one_sentence_and_status_1(run, arguments, sentence):
    assert run(*arguments) == (1, "", f"tfvoice_count: error: {sentence}\n")


def test_debug_shows_the_traceback(run):
    status, _, err = run("--data=x", "--fail=user", "--debug")
    assert status == 1 and "Traceback" in err and err.endswith("tfvoice_count: error: a.wav: no good; try another.\n")


@pytest.mark.parametrize(("failure", "kind"), [("bug", ValueError), ("pool", BrokenPipeError)])
def test_a_bug_is_not_reported_as_an_error_of_the_user(count, failure, kind):
    with pytest.raises(kind):
        command.run(count.main, ["tfvoice_count", "--data=x", f"--fail={failure}"])


def test_the_status_is_what_main_returns(run):
    assert run("--data=x", "--fail=three")[0] == 3


@pytest.mark.parametrize("flag", ["--help", "-h", "-help", "--helpfull"])
def test_help_shows_the_docstring_and_the_flags_of_the_command_only(run, flag):
    status, out, err = run("--unknown", flag)
    assert (status, err) == (0, "")
    assert out.startswith("Counts words.") and "\n    tfvoice_count --data=texts --limit=3\n" in out
    assert "Usage: tfvoice_count [flags] FILE..." in out
    assert "  --limit=N\n      Stop after so many words. Default: 7.\n" in out
    assert "flagfile" not in out and "logtostderr" not in out


@pytest.mark.parametrize("installed", [True, False])
def test_version_is_that_of_the_installed_package(run, monkeypatch, installed):
    from importlib import metadata

    def version(name):
        if installed:
            return "1.2.3"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    assert run("--version") == (0, f"tfvoice {'1.2.3' if installed else '(not installed)'}\n", "")


def test_help_imports_neither_tensorflow_nor_anything_slow(process):
    slow = {"tensorflow", "keras", "pydantic", "numpy"}
    code = f"import sys, tfvoice.cli.command, tfvoice.cli.decoder_flags; print(sorted({slow} & set(sys.modules)))"
    imports = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert imports.stdout == "[]\n"
    out, _ = process("--help").communicate()
    assert out.startswith("Counts words.")


def test_ctrl_c_is_status_130_and_a_sentence(process):
    running = process("--data=x", "--fail=wait")
    assert running.stdout.readline() == "waiting\n"
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=20)
    assert (running.returncode, err) == (130, "tfvoice_count: interrupted.\n")


def test_a_command_can_say_how_to_resume_after_ctrl_c(run):
    assert run("--data=x", "--fail=saved") == (
        130, "", "tfvoice_count: interrupted; saved; the same command resumes it.\n",
    )  # fmt: skip


def test_a_closed_standard_output_is_status_141_without_a_message(process):
    running = process("--data=x", "--fail=chatter")
    assert running.stdout.readline() == "word\n"
    running.stdout.close()
    assert running.stderr.read() == ""
    assert running.wait(timeout=20) == 141


@pytest.mark.parametrize(("set_by_user", "seen"), [({}, "2 1"), ({"0": "0"}, "0 0")])
def test_tensorflow_is_quiet_and_uses_onednn_unless_the_environment_says_otherwise(run, monkeypatch, set_by_user, seen):
    for name in ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS"):
        # Set first, so that it is restored after the test even where it was not set before.
        monkeypatch.setenv(name, "0")
        if not set_by_user:
            monkeypatch.delenv(name)
    assert run("--data=x", "--fail=environment")[1].startswith(f"{seen}\n")


# Logs of TensorFlow 2.21 and 2.16 on a machine without a GPU, and of 2.21 with a driver and no CUDA libraries.
NOISE = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795644929.531913   25862 port.cc:153] oneDNN custom operations are on. You may see slightly different
I0000 00:00:1795644929.532495   25862 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be
To enable the following instructions: AVX2 AVX512F FMA, in other operations, rebuild TensorFlow with the appropriate
2026-11-22 10:00:00.123456: I tensorflow/core/util/port.cc:113] oneDNN custom operations are on.
2026-11-22 10:00:00.123456: E external/local_xla/xla/cuda_dnn.cc:9261] Unable to register cuDNN factory
2026-11-22 10:00:00.123456: W tensorflow/compiler/py_utils.cc:38] TF-TRT Warning: Could not find TensorRT
"""
NO_DRIVER = "E0000 00:00:1795644930.635821   25862 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error\n"
NO_LIBRARIES = """\
E0000 00:00:1795644956.831415   26030 cuda_executor.cc:1737] INTERNAL: CUDA Runtime error: Error loading CUDA libraries.
W0000 00:00:1795644953.796787   26023 gpu_device.cc:2365] Cannot dlopen some GPU libraries.
Skipping registering GPU devices...
ImportError: numpy.core.multiarray failed to import
"""


@pytest.mark.parametrize(("has_gpu", "passed_on"), [(False, NO_LIBRARIES), (True, NO_DRIVER + NO_LIBRARIES)])
def test_known_noise_of_tensorflow_is_dropped_and_everything_else_passed_on(monkeypatch, capfd, has_gpu, passed_on):
    monkeypatch.setattr(hardware, "has_nvidia_gpu", lambda: has_gpu)
    with command._filtered_stderr():
        os.write(2, (NOISE + NO_DRIVER + NO_LIBRARIES).encode())
    os.write(2, b"later\n")
    assert capfd.readouterr().err == f"{passed_on}later\n"


def test_what_is_logged_before_an_exception_is_passed_on(capfd):
    with pytest.raises(ImportError), command._filtered_stderr():
        os.write(2, b"libcublas.so.12: undefined symbol\n")
        raise ImportError
    assert capfd.readouterr().err == "libcublas.so.12: undefined symbol\n"


def test_loading_tensorflow_prints_nothing_where_all_is_well():
    code = "from tfvoice.cli.command import load_tensorflow; load_tensorflow()"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    loading = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert (loading.stdout, loading.stderr) == ("", "")


def test_text_that_the_terminal_has_no_character_for_is_printed_with_replacements(tmp_path):
    code = """if True:
        import sys
        from tfvoice.cli import command
        from tfvoice.cli.flags import Flags
        FLAGS = Flags()
        def main(_):
            print("caf\\udce9 \\u043f\\u0440 ok")
        command.run(main, ["tfvoice_x"])"""
    for encoding, expected in (("ascii", "caf? ?? ok"), ("latin-1", "caf? ?? ok"), ("utf-8", "caf? пр ok")):
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        assert done.stdout.decode(encoding) == expected + "\n"
