"""Command-line flags: those of absl, with an error of one sentence, and a help that lists only the flags of a command.

A command is a module with a docstring that holds a command line to paste, `FLAGS = Flags()`, and a `main(argv)` that
makes one library call; `tfvoice.cli.command.run` runs it. Each command has a set of flags of its own, so that several
commands can be imported together.
"""

import difflib
import shutil
import textwrap
from collections.abc import Sequence

from absl import flags

from tfvoice import remote
from tfvoice.errors import TfvoiceError

# How the help writes values that are paths.
_PATHS = ("DIR", "FILE", "RUN")
_TAKES_URLS = (
    "tfvoice_convert (--input of --corpus=manifest, --output), tfvoice_train (--data, --run), tfvoice_eval and "
    "tfvoice_tune_lm (--data), tfvoice_export (--run, --output) and tfvoice_serve (--model)"
)


class UsageError(TfvoiceError):
    """A command line that is not valid."""


class Flags:
    """The flags of one command, in the order of its help.

    Each method defines a flag and returns absl's holder of it, whose `.value` is read within `main`. A help text is a
    sentence or two; the default is added unless the text states one itself, after `Default: `. A path may be a URL only
    where its flag says so.

    Args:
      arguments: how the help writes the positional arguments, such as `FILE...`; empty: the command takes none.
    """

    def __init__(self, arguments: str = ""):
        self.arguments = arguments
        self._values = flags.FlagValues()
        self._values.set_gnu_getopt()
        self._usage: dict[str, str] = {}
        self._help: dict[str, str] = {}
        self._required: set[str] = set()
        self._local: set[str] = set()
        self.boolean("debug", "Show the traceback of an error.")

    def string(
        self,
        name: str,
        help: str,
        default: str | None = None,
        metavar: str = "TEXT",
        required: bool = False,
        url: bool = False,
    ):
        """Defines a string flag; `metavar` is how the help writes its value, such as `DIR`; with `url`, URLs too."""
        if metavar in _PATHS and not url:
            self._local.add(name)
        return self._add(flags.DEFINE_string(name, default, help, self._values), help, metavar, required)

    def strings(self, name: str, help: str, metavar: str = "TEXT"):
        """Defines a string flag that may be repeated; its value is a list, empty by default."""
        if metavar in _PATHS:
            self._local.add(name)
        return self._add(flags.DEFINE_multi_string(name, [], help, self._values), f"{help} May be repeated.", metavar)

    def integer(self, name: str, help: str, default: int | None = None, lower: int | None = None):
        """Defines an integer flag of at least `lower`."""
        return self._add(flags.DEFINE_integer(name, default, help, lower, flag_values=self._values), help, "N")

    def number(self, name: str, help: str, default: float | None = None, lower: float | None = None):
        """Defines a float flag of at least `lower`."""
        return self._add(flags.DEFINE_float(name, default, help, lower, flag_values=self._values), help, "X")

    def boolean(self, name: str, help: str, default: bool = False):
        """Defines a switch: `--name`, `--noname`, `--name=true`."""
        return self._add(flags.DEFINE_boolean(name, default, help, self._values), help, "")

    def choice(self, name: str, choices: Sequence[str], help: str, default: str | None = None, required: bool = False):
        """Defines a string flag that takes one of `choices`."""
        holder = flags.DEFINE_enum(name, default, choices, help, self._values)
        return self._add(holder, help, "|".join(choices), required)

    def parse(self, argv: Sequence[str]) -> list[str]:
        """Parses a command line, after resetting all flags; returns the program name and the positional arguments.

        Raises:
          UsageError: an unknown flag, an invalid value, a missing required flag, an unexpected argument.
        """
        for name in self._values:
            self._values[name].unparse()
        try:
            rest = self._values(list(argv))
        except flags.UnrecognizedFlagError as error:
            close = difflib.get_close_matches(error.flagname.replace("-", "_"), [*self._usage, "help", "version"], 1)
            advice = f"did you mean --{close[0]}?" if close else "see --help."
            raise UsageError(f"there is no flag --{error.flagname}; {advice}") from None
        except (flags.Error, ValueError) as error:
            raise UsageError(self._invalid(str(error))) from None
        for name, usage in self._usage.items():
            value = self._values[name].value
            if name in self._required and not value:
                raise UsageError(f"--{name} is {'missing' if value is None else 'empty'}; add {usage}.")
            if isinstance(value, str) and value.startswith("--"):
                raise UsageError(f"--{name} took {value} as its value; write {usage}.")
            if name in self._local:
                _refuse_urls(f"--{name}=", value)
        if rest[1:] and not self.arguments:
            raise UsageError(f"unexpected argument {rest[1]}; flags begin with --, see --help.")
        if self.arguments.startswith("FILE"):
            _refuse_urls("", rest[1:])
        return rest

    def help(self) -> str:
        """The flags, each with its help text and default."""
        # --debug, which is defined first, comes last.
        texts = {self._usage[name]: self._help[name] for name in sorted(self._usage, key="debug".__eq__)}
        texts["--help, --version"] = "Print this text, or the version, and exit."
        width = max(40, min(100, shutil.get_terminal_size().columns))
        wrapper = textwrap.TextWrapper(width, " " * 6, " " * 6, break_on_hyphens=False)
        return "\n".join(f"  {usage}\n{wrapper.fill(text)}" for usage, text in texts.items())

    @property
    def debug(self) -> bool:
        """Whether `--debug` is given; false where the command line has not been parsed up to it."""
        return self._values["debug"].value

    def _add(self, holder: flags.FlagHolder, help: str, metavar: str, required: bool = False) -> flags.FlagHolder:
        name, default = holder.name, "none" if holder.default in (None, "", []) else holder.default
        self._usage[name] = f"--{name}={metavar}" if metavar else f"--[no]{name}"
        if required:
            self._required.add(name)
            help = f"{help} Required."
        elif "Default: " not in help:
            help = f"{help} Default: {default if metavar else str(default).lower()}."
        self._help[name] = help
        return holder

    def _invalid(self, message: str) -> str:
        """The sentence for an error of absl, such as `flag --limit=0: 0 is not a positive integer`."""
        written = message.removeprefix("Missing value for flag ").removeprefix("flag ").split(": ")[0]
        name = written.lstrip("-").split("=")[0]
        if name not in self._usage:
            return f"{message.removeprefix('flag ').rstrip('.')}; see --help."
        if message.startswith("Missing"):
            return f"--{name} needs a value; write {self._usage[name]}."
        parser = self._values[name].parser
        choices = f"one of {', '.join(parser.enum_values)}" if isinstance(parser, flags.EnumParser) else ""
        return f"{written} is not valid; expected {choices or parser.syntactic_help or 'true or false'}."


def _refuse_urls(flag: str, values: str | list[str] | None) -> None:
    for value in [values] if isinstance(values, str) else values or []:
        if remote.is_url(value):
            raise UsageError(f"{flag}{value}: must be on this machine; copy it here. URLs are for {_TAKES_URLS}.")
