"""Laws of tfvoice_text."""

import functools

import pytest

from tfvoice import experiment
from tfvoice.asr import recognizer
from tfvoice.cli import texts


@pytest.fixture
def command(in_process, converted, tmp_path):
    small = ("model.width=4", "model.dilations=[1]", "model.stacks=1")
    settings = experiment.resolve("wavenet_asr", overrides=small)
    recognizer.Recognizer.create(tmp_path / "run", settings, info={"data": str(converted)})
    return functools.partial(in_process, texts.main, "tfvoice_text", f"--run={tmp_path / 'run'}")


def test_the_texts_of_a_split_are_printed_as_the_alphabet_spells_them(command):
    status, out, err = command("--split=test")
    assert (status, err, out.count("\n")) == (0, "", 3)
    assert set(out) <= set(" 'abcdefghijklmnopqrstuvwxyz\n") and "  " not in out


def test_other_text_is_spelled_alike(command, tmp_path):
    path = tmp_path / "news.txt"
    path.write_text("Hello, World!\n\n  1 Café—really?\n", encoding="utf-8")
    assert command(f"--input={path}")[1].splitlines()[0] == "hello world"


def test_what_cannot_be_spelled_is_counted_and_the_rest_goes_on(command, tmp_path):
    path = tmp_path / "news.txt"
    path.write_bytes("\ufeffone ☃ two ☃\n".encode() + b"thr\xffee\n")
    status, out, err = command(f"--input={path}")
    assert (status, out) == (0, "one two\nthree\n")
    assert err == "tfvoice_text: symbols dropped, because the alphabet lacks them: 2 '☃', 1 '\ufffd'\n"


def test_mistakes_are_told_in_a_sentence(command, tmp_path):
    for arguments, sentence in (
        ([f"--input={tmp_path}/none.txt"], "none.txt"),
        (["--input=a.txt", "--data=b"], "--input and --data both say what to print; leave one out."),
        (["--split=dev"], "there is no split dev"),
    ):
        status, out, err = command(*arguments)
        assert (status, out) == (1, "") and sentence in err and err.count("\n") == 1
