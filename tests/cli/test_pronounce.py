"""tfvoice_pronounce: texts and files to phonemes."""

import functools

import pytest

from tfvoice.cli import pronounce
from tfvoice.tts import pronounce as pronounce_
from tfvoice.tts.g2p.predict import G2pPredictor


@pytest.fixture
def command(in_process, monkeypatch, tmp_path):
    monkeypatch.setattr(pronounce_, "PACKAGED_RUN", tmp_path / "none")
    return functools.partial(in_process, pronounce.main, "tfvoice_pronounce")


def test_words_are_printed_with_phonemes_and_source(command):
    status, out, err = command("The {F AA Z} dictionary's")
    assert (status, err) == (0, "")
    assert out == "the\tDH AH0\tlexicon\nF AA Z\tF AA1 Z\tinline\ndictionary's\tD IH1 K SH AH0 N EH2 R IY0 Z\trule\n"


def test_words_without_an_entry_are_counted_and_make_it_fail(command):
    status, out, err = command("the qqqx zzzy")
    assert (status, out.splitlines()[1]) == (1, "qqqx\t\tunknown")
    advice = "add them to --lexicon, or a G2P model with --run=DIR"
    assert err == f"tfvoice_pronounce: words without phonemes: 2; {advice}.\n"


def test_what_is_no_word_is_printed_and_makes_it_fail(command):
    status, out, err = command("It costs $5 \U0001f600.")
    assert (status, [line.split("\t")[0] for line in out.splitlines()]) == (1, ["it", "costs", "five", "dollars", "😀"])
    assert err == "tfvoice_pronounce: parts of the text that are no words: 1; delete them.\n"


def test_a_users_lexicon_goes_before_and_files_are_read(command, tmp_path):
    own, text = tmp_path / "own.dict", tmp_path / "text.txt"
    own.write_text("the DH IY1\nqqqx K EH K S\n")
    text.write_text("The qqqx.\n\ncat\n")
    status, out, err = command(f"--lexicon={own}", text)
    assert (status, err, out) == (0, "", "the\tDH IY1\tlexicon\nqqqx\tK EH1 K S\tlexicon\ncat\tK AE1 T\tlexicon\n")
    own.write_text("the DH IY9\n")
    status, out, err = command(f"--lexicon={own}", text)
    assert (status, out) == (1, "")
    assert err == f"tfvoice_pronounce: error: {own}: line 1, the: 'IY9' is no phoneme; did you mean IY2?\n"


def test_a_model_pronounces_the_rest(command, g2p_run):
    words = ["abced", "deab", "cebada"]
    _, out, _ = command(f"--run={g2p_run.run_dir}", " ".join([*words, "cat"]))
    lines = [line.split("\t") for line in out.splitlines()]
    expected = G2pPredictor(g2p_run).pronounce(words)
    assert [tuple(line[1].split()) for line in lines[:3]] == expected and any(expected)
    assert [line[2] for line in lines] == [*("g2p" if one else "unknown" for one in expected), "lexicon"]


def test_another_run_is_refused(command, generator_run):
    status, _, err = command(f"--run={generator_run.run_dir}", "abced")
    assert status == 1 and "a generator of audio; tfvoice_sample and tfvoice_eval are for it" in err


@pytest.mark.parametrize("arguments", [(), ("one", "two")])
def test_one_text_is_asked_for(command, arguments):
    status, _, err = command(*arguments)
    assert status == 1 and err.endswith("give one text in quotes, a file, or - for the standard input.\n")


def test_a_file_that_is_not_utf8_is_named(command, tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("café".encode("latin-1"))
    assert f"{path}: is not UTF-8; save it as UTF-8." in command(path)[2]
