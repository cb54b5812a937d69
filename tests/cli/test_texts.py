"""tfvoice_text: normalised transcripts and other text."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from tfvoice import tasks
from tfvoice.asr import recognizer
from tfvoice.cli import texts

ROOT = Path(texts.__file__).parents[2]


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


def test_an_alphabet_is_proposed_for_data_a_text_and_a_manifest(in_process, converted, tmp_path):
    command = functools.partial(in_process, texts.main, "tfvoice_text", "--alphabet")
    status, out, err = command(f"--data={converted}")
    assert (status, err) == (0, "") and out.startswith("# 13 texts, ")
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).touch()
    for name, content in (
        ("texts.txt", "\ufeffDie Tür\n\nStraße\n"),
        ("texts.csv", "audio,text\na.wav,Die Tür\nb.wav,Straße\n"),
        ("texts.jsonl", '{"audio": "a.wav", "text": "Die Tür"}\n{"audio": "b.wav", "text": "Straße"}\n'),
    ):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        status, out, err = command(f"--input={path}")
        assert (status, err, out.splitlines()[-1]) == (0, "", 'characters = " adeirstßü"')
    path.write_text('{"audio": "none.wav", "text": "Die Tür"}\n', encoding="utf-8")
    status, out, err = command(f"--input={path}")
    assert (status, out) == (1, "") and "no row can be used; texts.jsonl line 1: there is no " in err


def test_proposing_for_a_text_does_not_load_tensorflow(tmp_path):
    (tmp_path / "a.txt").write_text("zwölf\n", encoding="utf-8")
    code = (
        "import sys; from tfvoice.cli import texts; "
        "texts.FLAGS.parse(sys.argv); texts.main([]); sys.exit('tensorflow' in sys.modules)"
    )
    arguments = [sys.executable, "-c", code, "--alphabet", f"--input={tmp_path / 'a.txt'}"]
    assert subprocess.run(arguments, check=False, cwd=ROOT, capture_output=True).returncode == 0


def test_an_error_is_one_sentence(command, in_process, tmp_path):
    (tmp_path / "empty.txt").write_text("12\n")
    for arguments, sentence in (
        ([], "--run is missing; add --run=DIR, or --alphabet for an alphabet of the text."),
        (["--alphabet"], "--alphabet needs texts; add --data=DIR or --input=FILE."),
        (["--alphabet", "--run=a", "--input=b"], "--alphabet takes its texts from --data or --input; leave out --run."),
        (["--alphabet", f"--input={tmp_path / 'empty.txt'}"], "empty.txt: its texts have fewer than two letters"),
        (["--alphabet", f"--data={tmp_path / 'none'}"], "none"),
    ):
        status, out, err = in_process(texts.main, "tfvoice_text", *arguments)
        assert (status, out) == (1, "") and sentence in err and err.count("\n") == 1
    for arguments, sentence in (
        ([f"--input={tmp_path}/none.txt"], "none.txt"),
        (["--input=a.txt", "--data=b"], "--input and --data both name the text; leave one of them out."),
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
