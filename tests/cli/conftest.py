"""Fixtures of the tests of commands."""

import os
from unittest import mock

import pytest

from tfvoice.cli import command


@pytest.fixture
def in_process(capsys):
    """Runs the `main` of a command in this process; returns exit status, standard output and standard error."""

    def run(main, program, *arguments):
        # A command sets environment variables, which later tests must not inherit.
        with mock.patch.dict(os.environ), pytest.raises(SystemExit) as end:
            command.run(main, [program, *map(str, arguments)])
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return run
