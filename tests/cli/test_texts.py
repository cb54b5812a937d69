"""tfvoice_text: normalised transcripts and other text."""

import functools

import pytest

from tfvoice import tasks
from tfvoice.asr import recognizer
from tfvoice.cli import texts


@pytest.fixture
def command(in_process, converted, tmp_path):
    small = ("model.width=4", "model.dilations=[1]", "model.stacks=1")
    settings = tasks.resolve("wavenet_asr", overrides=small)
    recognizer.Recognizer.create(tmp_path / "run", settings, info={"data": str(converted)})
    return functools.partial(in_process, texts.main, "tfvoice_text", f"--run={tmp_path / 'run'}")


def test_the_normalised_transcripts_of_a_split_are_printed(command):
    status, out, err = command("--split=test")
    assert (status, err, out.count("\n")) == (0, "", 3)
    assert set(out) <= set(" 'abcdefghijklmnopqrstuvwxyz\n") and "  " not in out


def test_other_text_is_normalised_in_the_same_way(command, tmp_path):
    path = tmp_path / "news.txt"
    path.write_text("Hello, World!\n\n  1 Café—really?\n", encoding="utf-8")
    assert command(f"--input={path}")[1].splitlines()[0] == "hello world"


def test_symbols_outside_the_alphabet_are_dropped_and_counted(command, tmp_path):
    path = tmp_path / "news.txt"
    path.write_bytes("\ufeffone ☃ two ☃\n".encode() + b"thr\xffee\n")
    status, out, err = command(f"--input={path}")
    assert (status, out) == (0, "one two\nthree\n")
    assert err == "tfvoice_text: dropped symbols that are not in the alphabet: 2 '☃', 1 '\ufffd'\n"


def test_an_error_is_one_sentence(command, tmp_path):
    for arguments, sentence in (
        ([f"--input={tmp_path}/none.txt"], "none.txt"),
        (["--input=a.txt", "--data=b"], "--input and --data both name the text to print; leave one of them out."),
        (["--split=dev"], "there is no split dev"),
    ):
        status, out, err = command(*arguments)
        assert (status, out) == (1, "") and sentence in err and err.count("\n") == 1


def test_a_run_of_a_generator_is_refused(in_process, generator_run):
    status, out, err = in_process(texts.main, "tfvoice_text", f"--run={generator_run.run_dir}")
    assert (status, out) == (1, "")
    assert err == (
        f"tfvoice_text: error: {generator_run.run_dir}: is a run of sample_rnn, a generator of audio; "
        "tfvoice_sample and tfvoice_eval are for it, tfvoice_text is not.\n"
    )
