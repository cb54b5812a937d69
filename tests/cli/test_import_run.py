"""tfvoice_import: its flags and its errors."""

import functools
import types

import pytest

from tfvoice.cli import import_run
from tfvoice.converters import deepspeech_pytorch
from tfvoice.models.deepspeech2 import Deepspeech2Config


@pytest.fixture
def command(in_process):
    return functools.partial(in_process, import_run.main, "tfvoice_import")


def test_flags_reach_the_library_and_the_size_of_the_model_is_printed(command, monkeypatch):
    calls = []
    run = types.SimpleNamespace(
        config=types.SimpleNamespace(model=Deepspeech2Config(bidirectional=False)),
        model=types.SimpleNamespace(count_params=lambda: 1234),
        alphabet=types.SimpleNamespace(size=2, characters="ab"),
    )
    monkeypatch.setattr(deepspeech_pytorch, "import_run", lambda *arguments: calls.append(arguments) or run)
    arguments = ("--from=deepspeech.pytorch", "--checkpoint=c", "--run=r", "--pad_mode=constant", "--overwrite")
    status, out, _ = command(*arguments)
    assert status == 0 and calls == [("c", "r", "constant", True)]
    assert out.startswith("3 layers of 512 units, unidirectional lstm; 1,234 parameters; 2 characters: ab\n")


def test_an_error_is_one_sentence(command, tmp_path):
    for arguments, sentence in (
        (["--checkpoint=c", "--run=r"], "--from is missing; add --from=deepspeech.pytorch."),
        (
            ["--from=espnet", "--checkpoint=c", "--run=r"],
            "--from=espnet is not valid; expected one of deepspeech.pytorch.",
        ),
        (["--from=deepspeech.pytorch", f"--checkpoint={tmp_path}/c", f"--run={tmp_path}/r"], "c: cannot be read"),
    ):
        status, out, err = command(*arguments)
        assert (status, out) == (1, "") and sentence in err and err.count("\n") == 1
