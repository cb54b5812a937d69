"""Lines of texts that users give, as files or on the standard input."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tfvoice.errors import TfvoiceError

# The path of the standard input.
STDIN = "-"


def read(path: str, errors: Literal["strict", "replace"] = "strict") -> Iterator[str]:
    """The lines of a UTF-8 text, with their ends; a byte order mark is dropped.

    Args:
      path: of the file; `-`: the standard input.
      errors: whether bytes that are no UTF-8 are an error, or become U+FFFD.

    Raises:
      TfvoiceError: the file is not there or, while its lines are read, is not UTF-8.
    """
    # No regular file is needed: `--file=<(command)` is a pipe.
    if path != STDIN and (not Path(path).exists() or Path(path).is_dir()):
        raise TfvoiceError(f"{path}: no such file; name a text file.")
    return _lines(path, errors)


def _lines(path: str, errors: str) -> Iterator[str]:
    name = "standard input" if path == STDIN else path
    try:
        with open(sys.stdin.fileno() if path == STDIN else path, encoding="utf-8-sig", errors=errors) as file:
            for line in file:
                # Every second byte of Latin letters in UTF-16, and no character of any text.
                if "\0" in line:
                    raise TfvoiceError(f"{name}: holds zero bytes, as UTF-16 does; save it as UTF-8.")
                yield line
    except UnicodeDecodeError:
        raise TfvoiceError(f"{name}: is not UTF-8; save it as UTF-8.") from None
