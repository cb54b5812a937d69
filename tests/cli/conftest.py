"""What the tests of several commands need."""

import pytest

from tfvoice.cli import flags


@pytest.fixture
def in_process(capsys):
    """Runs the `main` of a command in this process; returns exit status, standard output and standard error."""

    def run(main, program, *arguments):
        with pytest.raises(SystemExit) as end:
            flags.run(main, [program, *map(str, arguments)])
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return run
