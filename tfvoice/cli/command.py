"""Running a command: its exit status, its errors, and the set-up of TensorFlow.

What changes the whole process is done by the commands and nowhere in the library: here environment variables and what
TensorFlow logs while it is loaded, in `tfvoice.cli.signals` the handlers of signals.
"""

import contextlib
import errno
import gc
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import tfvoice
from tfvoice import hardware
from tfvoice.errors import TfvoiceError

_HELP = ("-h", "-help", "--help", "--helpshort", "--helpfull")
_VERSION = ("-version", "--version")
_INTERRUPTED = 130
_BROKEN_PIPE = 141

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_ENVIRONMENT = {
    # Without AVX-512 TensorFlow leaves oneDNN off by default; with it a training step takes two thirds to half of the
    # time there, too.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    # With it, gcsfs would ask each bucket for its kind by gRPC, and try for a minute where nothing answers.
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    # Errors only.
    _LOG_LEVEL: "2",
}

# What TensorFlow logs on a machine where all is well; no log level applies to what it logs while it is loaded.
_NOISE = re.compile(
    r"I\d{4} |\d{4}-\d\d-\d\d [\d:.]+: I |WARNING: All log messages before|To enable the following instructions:|"
    r".*(Unable to register cu|TF-TRT Warning)"
)
# Noise without an NVIDIA GPU; with one, why it is not used.
_CUDA_NOISE = re.compile(".*(failed call to cuInit|retrieving CUDA diagnostic information)")


def run(main: Callable[[list[str]], int | None], argv: Sequence[str] | None = None) -> NoReturn:
    """Runs a command and ends the process with its exit status.

    The status is what `main` returns (None is 0); 1 after a `TfvoiceError`, an `OSError` or an invalid command line,
    each of which is one sentence on the standard error (with `--debug`, after its traceback); 130 after Ctrl-C; 141
    where the standard output is a closed pipe, as after `| head`. Any other exception is a bug and shows its traceback.

    Args:
      main: the function of a command module. It gets the program name and the positional arguments.
      argv: the command line, program name first; None: that of the process.
    """
    argv = list(sys.argv if argv is None else argv)
    command = sys.modules[main.__module__]
    program = Path(argv[0]).stem
    _set_environment()
    _print_any_text()
    try:
        status = _status(main, command, program, argv)
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        status = _report(command, f"{program}: interrupted{f'; {error}' if str(error) else '.'}", _INTERRUPTED)
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        status = _BROKEN_PIPE
    except TfvoiceError as error:
        status = _report(command, f"{program}: error: {error}", 1)
    except OSError as error:
        path = f"{error.filename}: " if error.filename else ""
        status = _report(command, f"{program}: error: {path}{error.strerror or error}; --debug shows where.", 1)
    sys.exit(status)


def load_tensorflow(first: Callable[[], Any] = lambda: None) -> Any:
    """Imports TensorFlow and lists the devices; of what TensorFlow logs meanwhile, known noise is dropped.

    Args:
      first: called before the devices are listed, which fixes them.

    Returns:
      What `first` returns.
    """
    _set_environment()
    with _filtered_stderr():
        import tensorflow as tf

        result = first()
        tf.config.list_logical_devices()
    return result


def log_fatal_errors_alone() -> None:
    """TensorFlow is to log nothing else, unless the user chose a level; for use before it is loaded."""
    if os.environ.get(_LOG_LEVEL) == _ENVIRONMENT[_LOG_LEVEL]:
        os.environ[_LOG_LEVEL] = "3"


@contextlib.contextmanager
def all_kept() -> Iterator[None]:
    """Within the `with`, no garbage collection looks at what exists now, such as at each validation of a training."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def resumable(run_dir: str) -> Iterator[None]:
    """Within the `with`, the error of a full disk says that the same command resumes the run."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        fact = f"{error.filename or run_dir}: {error.strerror}"
        raise TfvoiceError(f"{fact}; free some space, then the same command resumes the run.") from error


def _set_environment() -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def _print_any_text() -> None:
    """What a terminal has no character for, or a file name that is not UTF-8, is printed with replacements."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _status(main: Callable, command: Any, program: str, argv: list[str]) -> int:
    before_separator = argv[1 : argv.index("--")] if "--" in argv else argv[1:]
    if any(argument in _HELP for argument in before_separator):
        usage = f"{program} [flags] {command.FLAGS.arguments}".rstrip()
        print(f"{(command.__doc__ or '').strip()}\n\nUsage: {usage}\n\n{command.FLAGS.help()}")
        return 0
    if any(argument in _VERSION for argument in before_separator):
        print(f"tfvoice {tfvoice.__version__}")
        return 0
    return main(command.FLAGS.parse(argv)) or 0


def _report(command: Any, sentence: str, status: int) -> int:
    if command.FLAGS.debug:
        traceback.print_exc()
    print(sentence, file=sys.stderr)
    return status


def _stdout_is_closed() -> bool:
    """Whether the broken pipe is the standard output; if so, mutes it, because Python flushes it again at exit."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


@contextlib.contextmanager
def _filtered_stderr() -> Iterator[None]:
    """Captures file descriptor 2, where C++ code logs too, and then writes the lines that are not noise."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            captured.seek(0)
            for line in captured.read().decode(errors="replace").splitlines(keepends=True):
                if not _is_noise(line):
                    os.write(2, line.encode())


def _is_noise(line: str) -> bool:
    return bool(_NOISE.match(line) or (_CUDA_NOISE.match(line) and not hardware.has_nvidia_gpu()))
