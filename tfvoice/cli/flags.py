"""What every command does the same way: its flags, its help, and how it ends.

A command is a module with a docstring that holds a command to paste, a `FLAGS = Flags()`, and a `main(argv)` that
makes one library call; TensorFlow is imported within `main`, so that help is instant. Its script in `bin/` calls
`run(main)`. Each command has its own set of flags, so that several can be imported together.
"""

import contextlib
import difflib
import os
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import flags

from tfvoice import version
from tfvoice.errors import TfvoiceError

_HELP = ("-h", "-help", "--help", "--helpshort", "--helpfull")
_VERSION = ("-version", "--version")
_INTERRUPTED = 130
_BROKEN_PIPE = 141


class UsageError(TfvoiceError):
    """A command line that cannot be understood."""


class Flags:
    """The flags of one command, in the order in which its help lists them.

    Each method defines one flag and returns its holder, whose `.value` is to be read within `main`. A help text is a
    sentence or two; the default is added to it.
    """

    def __init__(self, arguments: str = ""):
        """Starts with `--debug` only.

        Args:
          arguments: how the help writes what may stand beside the flags, such as `FILE...`; without it, anything that
            is not a flag is refused.
        """
        self.arguments = arguments
        self._values = flags.FlagValues()
        self._values.set_gnu_getopt()
        self._shapes: dict[str, str] = {}
        self._wanted: dict[str, str] = {}
        self._help: dict[str, str] = {}
        self._required: set[str] = set()
        self.boolean("debug", "Show the traceback of an error.")

    def string(self, name: str, help: str, default: str | None = None, shape: str = "TEXT", required: bool = False):
        """Defines a text flag; `shape` is how the help writes its value, such as `DIR`."""
        return self._add(flags.DEFINE_string, name, default, help, shape=shape, required=required)

    def strings(self, name: str, help: str, shape: str = "TEXT"):
        """Defines a text flag that may be repeated; its value is a list, empty by default."""
        return self._add(flags.DEFINE_multi_string, name, [], f"{help} May be repeated.", shape=shape)

    def integer(self, name: str, help: str, default: int | None = None, lower: int | None = None, shape: str = "N"):
        """Defines a whole number, at least `lower`."""
        wanted = "a whole number" + ("" if lower is None else f" of at least {lower}")
        return self._add(flags.DEFINE_integer, name, default, help, shape=shape, wanted=wanted, lower_bound=lower)

    def number(self, name: str, help: str, default: float | None = None, lower: float | None = None, shape: str = "X"):
        """Defines a number, at least `lower`."""
        wanted = "a number" + ("" if lower is None else f" of at least {lower:g}")
        return self._add(flags.DEFINE_float, name, default, help, shape=shape, wanted=wanted, lower_bound=lower)

    def boolean(self, name: str, help: str, default: bool = False):
        """Defines a switch: `--name`, `--noname`, `--name=true`."""
        return self._add(flags.DEFINE_boolean, name, default, help, wanted="true or false")

    def choice(self, name: str, choices: Sequence[str], help: str, default: str | None = None, required: bool = False):
        """Defines a text flag that takes one of `choices`."""
        wanted, shape = f"one of {', '.join(choices)}", "|".join(choices)
        return self._add(
            flags.DEFINE_enum, name, default, list(choices), help, shape=shape, wanted=wanted, required=required
        )

    def parse(self, argv: Sequence[str]) -> list[str]:
        """Reads the flags, forgetting an earlier reading; returns the program's name and the other arguments.

        Raises:
          UsageError: an unknown flag, a value that does not fit, a required flag that is absent, a stray argument.
        """
        for name in self._values:
            self._values[name].unparse()
        try:
            rest = self._values(list(argv))
        except flags.UnrecognizedFlagError as error:
            raise UsageError(self._unknown(error.flagname)) from None
        except (flags.Error, ValueError) as error:
            raise UsageError(self._misfit(str(error))) from None
        for name in self._values:
            value = self._values[name].value
            if name in self._required and not value:
                fact = "is missing" if value is None else "is empty"
                raise UsageError(f"--{name} {fact}; add {self._usage(name)}.")
            if isinstance(value, str) and value.startswith("--"):
                raise UsageError(f"--{name} took {value} for its value; write {self._usage(name)}.")
        if rest[1:] and not self.arguments:
            raise UsageError(f"{rest[1]} is not a flag and has no place here; flags begin with --, see --help.")
        return rest

    def help(self) -> str:
        """Lists the flags, each with its text and default."""
        width = max(40, min(100, shutil.get_terminal_size().columns))
        names = [name for name in self._shapes if name != "debug"] + ["debug"]
        paragraphs = [f"  {self._usage(name)}\n{_wrapped(self._text(name), width)}" for name in names]
        paragraphs.append(f"  --help, --version\n{_wrapped('Print this text, or the version, and exit.', width)}")
        return "\n".join(paragraphs)

    @property
    def debug(self) -> bool:
        """Whether `--debug` was given; false where the command line could not be read so far."""
        return self._values["debug"].value

    def _add(self, define: Callable, name: str, *rest, shape="", wanted="a value", required=False, **bounds) -> Any:
        self._shapes[name], self._wanted[name], self._help[name] = shape, wanted, rest[-1]
        if required:
            self._required.add(name)
        return define(name, *rest, flag_values=self._values, **bounds)

    def _usage(self, name: str) -> str:
        return f"--{name}={self._shapes[name]}" if self._shapes[name] else f"--[no]{name}"

    def _text(self, name: str) -> str:
        flag = self._values[name]
        if name in self._required:
            return f"{self._help[name]} Required."
        default = str(flag.default).lower() if flag.boolean else flag.default
        return f"{self._help[name]} Default: {default if default not in (None, '', []) else 'none'}."

    def _unknown(self, name: str) -> str:
        close = difflib.get_close_matches(name.replace("-", "_"), [*self._shapes, "help", "version"], n=1)
        return f"there is no flag --{name}; " + (f"did you mean --{close[0]}?" if close else "see --help.")

    def _misfit(self, message: str) -> str:
        given = message.removeprefix("Missing value for flag ").removeprefix("flag ").split(": ")[0]
        name = given.lstrip("-").split("=")[0]
        if name not in self._shapes:
            return message.rstrip(".") + "; see --help."
        if message.startswith("Missing"):
            return f"--{name} needs a value; write {self._usage(name)}."
        return f"{given} does not fit; {self._wanted[name]} is wanted."


class DecoderFlags:
    """The flags of every command that turns the output of a network into text.

    Args:
      to: the flags of the command.
      language_model: whether the command is about a language model alone, so that there is nothing else to choose.
    """

    def __init__(self, to: Flags, language_model: bool = False):
        self._name = None
        if not language_model:
            self._name = to.choice(
                "decoder", DECODERS, "beam is slower and a little better; lm also asks a language model.", "greedy"
            )
        without = "" if language_model else " Without it: the one that tfvoice_tune_lm was given."
        self._lm = to.string(
            "lm",
            f"Language model of words for the decoder lm: an ARPA file or a KenLM binary.{without}",
            shape="FILE",
            required=language_model,
        )
        self._weights = {}
        if not language_model:
            for name, help in _WEIGHTS.items():
                self._weights[name] = to.number(name, f"{help} Without it: what tfvoice_tune_lm found.")
        self._beam_width = to.integer(
            "beam_width", "Beginnings of the text that beam and lm keep; 100 is usual.", None, 1
        )
        self._lexicon = to.boolean("lexicon", "With lm, read only words that the language model knows.", True)

    @property
    def name(self) -> str:
        """The decoder that the command line asks for."""
        return "lm" if self._name is None else self._name.value

    def check(self) -> None:
        """Refuses flags of another decoder than the one that is asked for."""
        of_lm = {"--lm": self._lm, "--[no]lexicon": self._lexicon}
        of_lm |= {f"--{name}": flag for name, flag in self._weights.items()}
        for flag, holder in of_lm.items():
            if holder.present and self.name != "lm":
                raise UsageError(f"{flag} is for --decoder=lm; add that, or leave it out.")
        if self._beam_width.present and self.name == "greedy":
            raise UsageError("--beam_width is for --decoder=beam or lm; add one of these, or leave it out.")

    def choose(self, run_dir: str):
        """Returns the `DecoderConfig` for a run; in a command that is about the language model, as if it had no other.

        Raises:
          UsageError: a flag belongs to another decoder.
        """
        from tfvoice.asr import decoders

        self.check()
        given = {"lm": self._lm.value, "beam_width": self._beam_width.value}
        given |= {name: flag.value for name, flag in self._weights.items()}
        remembering = None if self._name is None else run_dir
        return decoders.choose(remembering, self.name, self._lexicon.value, **given)


DECODERS = ("greedy", "beam", "lm")

_WEIGHTS = {
    "lm_weight": "With lm, how much the language model counts beside the network.",
    "word_score": "With lm, what each word adds; below 0 gives fewer words.",
}


def load_tensorflow() -> None:
    """Imports TensorFlow and looks for devices, without the dozen lines that its C++ side then prints.

    No log level hides them, because they are written before logging is set up.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere, contextlib.ExitStack() as stack:
        stack.callback(os.close, kept)
        stack.callback(os.dup2, kept, 2)
        os.dup2(nowhere.fileno(), 2)
        import tensorflow as tf

        tf.config.list_logical_devices()


def run(main: Callable[[list[str]], int | None], argv: Sequence[str] | None = None) -> NoReturn:
    """Runs a command and ends the process with its exit status.

    The status is what `main` returns (None is 0), 1 after a `TfvoiceError`, an `OSError` or a wrong command line, each
    told in one sentence on the standard error (and, with `--debug`, by its traceback), 130 after Ctrl-C, and 141 where
    the reader of the output has gone, as `head` does. Any other exception is a defect and shows its traceback.

    Args:
      main: the function of a command module. It gets the program's name and the arguments that are not flags.
      argv: the command line, program first; None for that of the process.
    """
    argv = list(sys.argv if argv is None else argv)
    command = sys.modules[main.__module__]
    program = Path(argv[0]).stem
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        status = _status(main, command, program, argv)
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        status = _report(command, f"{program}: interrupted{f'; {error}' if str(error) else '.'}", _INTERRUPTED)
    except BrokenPipeError:
        if not _reader_has_gone():
            raise
        status = _BROKEN_PIPE
    except TfvoiceError as error:
        status = _report(command, f"{program}: error: {error}", 1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        status = _report(command, f"{program}: error: {place}{error.strerror or error}; --debug shows where.", 1)
    sys.exit(status)


def _status(main: Callable, command: Any, program: str, argv: list[str]) -> int:
    before_separator = argv[1 : argv.index("--")] if "--" in argv else argv[1:]
    if any(argument in _HELP for argument in before_separator):
        usage = f"{program} [flags] {command.FLAGS.arguments}".rstrip()
        print(f"{(command.__doc__ or '').strip()}\n\nUsage: {usage}\n\n{command.FLAGS.help()}")
        return 0
    if any(argument in _VERSION for argument in before_separator):
        print(f"tfvoice {version.installed()}")
        return 0
    return main(command.FLAGS.parse(argv)) or 0


def _report(command: Any, sentence: str, status: int) -> int:
    if command.FLAGS.debug:
        traceback.print_exc()
    print(sentence, file=sys.stderr)
    return status


def _reader_has_gone() -> bool:
    """Whether it was the standard output that broke; if so, mutes it, for Python flushes it once more at exit."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, width, initial_indent=" " * 6, subsequent_indent=" " * 6, break_on_hyphens=False)
