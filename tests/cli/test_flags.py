"""Laws of the command line that every command shares."""

import functools
import os
import signal
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import pytest

from tfvoice.cli import flags
from tfvoice.errors import TfvoiceError

ROOT = Path(flags.__file__).parents[2]
SOURCE = '''
"""Counts words.

It is a command for tests:

    tfvoice_count --data=texts --limit=3
"""

import os
import time

from tfvoice.cli import flags
from tfvoice.errors import TfvoiceError

FLAGS = flags.Flags("FILE...")
DATA = FLAGS.string("data", "The folder of texts.", shape="DIR", required=True)
NAME = FLAGS.string("name", "What to call it.", default="x")
LIMIT = FLAGS.integer("limit", "Stop after so many words.", default=7, lower=1)
SHARE = FLAGS.number("share", "Share of the words.", lower=0)
QUICK = FLAGS.boolean("quick", "Count only some.")
ORDER = FLAGS.choice("order", ["up", "down"], "Direction.", default="up")
SET = FLAGS.strings("set", "Change one key.", shape="KEY=VALUE")
FAIL = FLAGS.string("fail", "How to fail.")
PAIRS = {"data": DATA, "name": NAME, "limit": LIMIT, "share": SHARE, "quick": QUICK, "order": ORDER, "set": SET}


def main(argv):
    seen = {name: flag.value for name, flag in PAIRS.items()}
    if FAIL.value == "user":
        raise TfvoiceError("a.wav: no good; try another.")
    if FAIL.value == "defect":
        raise ValueError("a defect")
    if FAIL.value == "disk":
        raise OSError(28, "No space left on device", "out/x")
    if FAIL.value == "pool":
        raise BrokenPipeError(32, "Broken pipe")
    if FAIL.value == "wait":
        print("waiting", flush=True)
        time.sleep(60)
    if FAIL.value == "saved":
        raise KeyboardInterrupt("saved; run it again to go on.")
    if FAIL.value == "chatter":
        for _ in range(100000):
            print("word")
    if FAIL.value == "environment":
        print(os.environ["TF_CPP_MIN_LOG_LEVEL"])
    if FAIL.value == "three":
        return 3
    print(argv[1:], seen)
'''


@pytest.fixture
def command(monkeypatch):
    module = types.ModuleType("count_command")
    exec(SOURCE, module.__dict__)
    monkeypatch.setitem(sys.modules, "count_command", module)
    return module


@pytest.fixture
def run(command, in_process):
    """Runs the command and returns its exit status, output and errors."""
    return functools.partial(in_process, command.main, "bin/tfvoice_count")


@pytest.fixture
def process(tmp_path):
    """Starts the command as a process of its own."""
    (tmp_path / "count.py").write_text(SOURCE)
    script = tmp_path / "tfvoice_count"
    script.write_text("import count\nfrom tfvoice.cli import flags\n\nflags.run(count.main)\n")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    started = []

    def process(*arguments):
        command = [sys.executable, script, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, env=environment, **pipes))
        return started[-1]

    yield process
    for one in started:
        one.kill()
        one.communicate()


def test_values_reach_main_and_arguments_may_stand_anywhere(run):
    line = "a.txt --data texts - --limit=3 --set=a=1 --quick --set b=2 b.txt"
    status, out, err = run(*line.split())
    assert status == 0 and err == ""
    assert out.startswith("['a.txt', '-', 'b.txt'] ")
    for part in ("'data': 'texts'", "'limit': 3", "'quick': True", "'set': ['a=1', 'b=2']", "'share': None"):
        assert part in out


def test_what_follows_two_dashes_is_no_flag(run):
    assert run("--data=x", "--", "--help", "--limit=x")[1].startswith("['--help', '--limit=x'] ")


def test_one_run_does_not_leave_its_values_to_the_next(run):
    run("--data=x", "--limit=3", "--set=a=1")
    out = run("--data=y")[1]
    assert "'limit': 7" in out and "'set': []" in out


def test_two_commands_may_have_the_same_flag(command):
    other = flags.Flags()
    other.string("data", "Another folder.", default="z")
    assert other.parse(["other"]) == ["other"]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ([], "--data is missing; add --data=DIR."),
        (["--data="], "--data is empty; add --data=DIR."),
        (["--data"], "--data needs a value; write --data=DIR."),
        (["--data", "--limit=3"], "--data took --limit=3 for its value; write --data=DIR."),
        (["--dat=x"], "there is no flag --dat; did you mean --data?"),
        (["--data=x", "--no-quick"], "there is no flag --no-quick; did you mean --quick?"),
        (["--data=x", "--zzz"], "there is no flag --zzz; see --help."),
        (["--limit=0"], "--limit=0 does not fit; a whole number of at least 1 is wanted."),
        (["--limit", "many"], "--limit=many does not fit; a whole number of at least 1 is wanted."),
        (["--share=-1"], "--share=-1 does not fit; a number of at least 0 is wanted."),
        (["--quick=maybe"], "--quick=maybe does not fit; true or false is wanted."),
        (["--noquick=1"], "--noquick=1 does not take an argument; see --help."),
        (["--order=left"], "--order=left does not fit; one of up, down is wanted."),
        (["--data=x", "--fail=user"], "a.wav: no good; try another."),
        (["--data=x", "--fail=disk"], "out/x: No space left on device; --debug shows where."),
    ],
)
def test_a_mistake_is_one_sentence_and_status_1(run, arguments, sentence):
    assert run(*arguments) == (1, "", f"tfvoice_count: error: {sentence}\n")


def test_arguments_that_have_no_place_are_refused():
    with pytest.raises(flags.UsageError, match=r"a\.wav is not a flag"):
        flags.Flags().parse(["tfvoice_count", "a.wav"])
    assert issubclass(flags.UsageError, TfvoiceError)


def test_debug_shows_the_traceback(run):
    status, _, err = run("--data=x", "--fail=user", "--debug")
    assert status == 1 and "Traceback" in err and err.endswith("tfvoice_count: error: a.wav: no good; try another.\n")


def test_a_defect_is_not_told_as_a_mistake(command):
    for failure, kind in (("defect", ValueError), ("pool", BrokenPipeError)):
        with pytest.raises(kind):
            flags.run(command.main, ["tfvoice_count", "--data=x", f"--fail={failure}"])


def test_the_status_is_what_main_returns(run):
    assert run("--data=x", "--fail=three")[0] == 3


@pytest.mark.parametrize("flag", ["--help", "-h", "-help", "--helpfull"])
def test_help_shows_the_docstring_and_our_flags_with_their_defaults(run, flag):
    status, out, err = run("--unknown", flag)
    assert (status, err) == (0, "")
    assert out.startswith("Counts words.") and "\n    tfvoice_count --data=texts --limit=3\n" in out
    assert "Usage: tfvoice_count [flags] FILE..." in out
    expected = """
          --data=DIR
              The folder of texts. Required.
          --name=TEXT
              What to call it. Default: x.
          --limit=N
              Stop after so many words. Default: 7.
          --share=X
              Share of the words. Default: none.
          --[no]quick
              Count only some. Default: false.
          --order=up|down
              Direction. Default: up.
          --set=KEY=VALUE
              Change one key. May be repeated. Default: none.
          --fail=TEXT
              How to fail. Default: none.
          --[no]debug
              Show the traceback of an error. Default: false.
          --help, --version
    """
    assert textwrap.indent(textwrap.dedent(expected).strip(), "  ") in out
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
    code = f"import sys, tfvoice.cli.flags; print(sorted({slow} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
    out, _ = process("--help").communicate()
    assert out.startswith("Counts words.")


def test_ctrl_c_ends_with_130_and_a_sentence(process):
    running = process("--data=x", "--fail=wait")
    assert running.stdout.readline() == "waiting\n"
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=20)
    assert (running.returncode, err) == (130, "tfvoice_count: interrupted.\n")


def test_a_command_may_say_how_to_go_on_after_ctrl_c(run):
    assert run("--data=x", "--fail=saved") == (130, "", "tfvoice_count: interrupted; saved; run it again to go on.\n")


def test_a_reader_that_goes_away_is_no_error(process):
    running = process("--data=x", "--fail=chatter")
    assert running.stdout.readline() == "word\n"
    running.stdout.close()
    assert running.stderr.read() == ""
    assert running.wait(timeout=20) == 141


@pytest.mark.parametrize("said, level", [(None, "2"), ("0", "0")])
def test_tensorflow_is_asked_to_be_quiet_unless_the_user_said_otherwise(run, monkeypatch, said, level):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", said or "")
    if said is None:
        monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    assert run("--data=x", "--fail=environment")[1].startswith(f"{level}\n")
