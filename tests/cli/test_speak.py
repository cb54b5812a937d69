"""tfvoice_speak: a text, a file or phonemes to a file or a pipe."""

import functools

import pytest
import soundfile

from tfvoice.cli import speak


@pytest.fixture
def command(in_process, voice_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return functools.partial(in_process, speak.main, "tfvoice_speak", f"--voice={voice_run.run_dir}")


def test_a_text_becomes_a_file_and_a_line_says_how_fast(command, tmp_path):
    status, out, err = command("--speed=3", "A cat \U0001f600.")
    assert (status, out) == (0, "") and soundfile.info(tmp_path / "speech.wav").samplerate == 16000
    lines = err.splitlines()[-2:]
    assert lines[0] == (
        "tfvoice_speak: parts of the text without phonemes were left out: 1, the first '\U0001f600' at character 7."
    )
    assert lines[1].startswith("speech.wav: ") and "times real time, the first sound after" in lines[1]
    status, _, err = command("A cat.")
    assert status == 1 and err.endswith(
        "speech.wav: already exists; name another file with --output, or --overwrite.\n"
    )


@pytest.mark.parametrize("arguments", [[], ["one", "two"], ["one", "--file=two.txt"]])
def test_one_text_is_needed(command, arguments):
    status, _, err = command(*arguments)
    assert status == 1 and "give one text in quotes, - for the standard input, or --file=FILE" in err


def test_options_out_of_range_get_a_sentence(command, tmp_path):
    status, _, err = command("--speed=9", "A cat.")
    assert status == 1 and "speed=9 is out of range; choose 0.25 to 4." in err and not list(tmp_path.iterdir())
