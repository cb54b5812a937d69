"""tfvoice_pronounce: texts and files to phonemes."""

import functools
import itertools

import pytest

from tfvoice.cli import pronounce, train
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
    place = "the first 'qqqx' at line 1, character 5"
    assert err == f"tfvoice_pronounce: words without phonemes: 2, {place}; {advice}.\n"


def test_what_is_no_word_is_printed_and_makes_it_fail(command):
    status, out, err = command("It costs $5 \U0001f600.")
    assert (status, [line.split("\t")[0] for line in out.splitlines()]) == (1, ["it", "costs", "five", "dollars", "😀"])
    place = "the first '😀' at line 1, character 13"
    assert err == f"tfvoice_pronounce: parts of the text that are no words: 1, {place}; delete them.\n"


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


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("", "the text is empty; give some words."),
        (" \n\n", "the text is empty; give some words."),
        ("no_such_file.txt", "no_such_file.txt: no such file; name a file, or give a text in quotes."),
        ("Say {QQ}", "the text: line 1: {QQ} at character 5: 'QQ' is no phoneme; known: AA0"),
        ("Say {HH AH0", "the text: line 1: { at character 5 has no partner; write phonemes in braces"),
    ],
)
def test_a_bad_text_is_an_error(command, text, fact):
    status, out, err = command("--", text)
    assert (status, out) == (1, "") and err.startswith(f"tfvoice_pronounce: error: {fact}")


def test_an_error_in_a_file_names_its_line_after_the_words_before(command, tmp_path):
    text = tmp_path / "text"
    text.write_text("The cat.\n\nSay {HH AH9}\n")
    status, out, err = command(text)
    assert (status, [line.split("\t")[0] for line in out.splitlines()]) == (1, ["the", "cat"])
    assert err.startswith(f"tfvoice_pronounce: error: {text}: line 3: {{HH AH9}} at character 5: 'AH9' is no phoneme")


def test_punctuation_alone_is_no_word(command):
    status, out, err = command("...")
    assert (status, out) == (1, "...\t\tunspoken\n") and "no words: 1, the first '...' at line 1, character 1" in err


TOY = {"letters": "шаёł", "sounds": {"ш": "x", "а": "o1", "ё": "e2", "ł": "w"}}


@pytest.fixture
def toy_lexicon(tmp_path):
    """A lexicon of 256 words of a language with letters and phonemes of its own."""
    path = tmp_path / "toy.dict"
    words = map("".join, itertools.product(TOY["letters"], repeat=4))
    rows = [f"{word} {' '.join(TOY['sounds'][letter] for letter in word)}\n" for word in words]
    path.write_text("".join(rows), encoding="utf-8")
    return path


def test_another_language_needs_a_lexicon_and_the_name_of_a_normaliser(command, in_process, toy_lexicon, tmp_path):
    small = ("--set=model.units=4", "--set=model.layers=1", "--set=training.epochs=1", "--set=training.batch_size=64")
    run = tmp_path / "run"
    trained = in_process(train.main, "tfvoice_train", "--model=g2p", f"--data={toy_lexicon}", f"--run={run}", *small)
    assert trained[0] == 0, trained[2]
    text = "Шаёł, шаШШ! {x o} шшаш-ёё"
    status, out, err = command("--normalizer=plain", f"--lexicon={toy_lexicon}", f"--run={run}", text)
    lines = [line.split("\t") for line in out.splitlines()]
    assert [(line[0], line[2]) for line in lines[:4]] == [
        ("шаёł", "lexicon"), ("шашш", "lexicon"), ("x o", "inline"), ("шшаш", "lexicon"),
    ]  # fmt: skip
    assert [line[1] for line in lines[:4]] == ["x o1 e2 w", "x o1 x x", "x o1", "x x o1 x"]
    assert lines[4][0] == "ёё" and lines[4][2] in ("g2p", "unknown")
    assert set(lines[4][1].split()) <= {"x", "o1", "e2", "w"} and "unspoken" not in out
    # English words have none of these phonemes.
    status, out, err = command(f"--run={run}", "the qqqx")
    assert (status, out) == (1, "") and f"{run}: has no phoneme of the lexicon; name a run" in err
    # A letter that neither knows is reported, not skipped.
    status, out, err = command("--normalizer=plain", f"--lexicon={toy_lexicon}", f"--run={run}", "шааа шаж 7")
    assert status == 1 and "шаж\t\tunknown\n7\t\tunspoken\n" in out
    assert "words without phonemes: 1, the first 'шаж' at line 1, character 6; add them to --lexicon." in err


def test_a_normaliser_of_the_users_own(command, toy_lexicon, tmp_path, monkeypatch):
    (tmp_path / "toy_words.py").write_text(
        "from tfvoice.text.normalize import normalize_plain\n"
        "def normalize(text):\n    return normalize_plain(text.replace('4', 'шаша'))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    flags = ("--normalizer=toy_words:normalize", f"--lexicon={toy_lexicon}")
    assert command(*flags, "4") == (0, "шаша\tx o1 x o1\tlexicon\n", "")


@pytest.mark.parametrize(
    ("flags", "fact"),
    [
        (("--normalizer=plain",), "--normalizer=plain: needs --lexicon=FILE, the words of the language."),
        (("--normalizer=de",), "'de' is no normaliser; choose one of en, plain, or name your own as MODULE:FUNCTION."),
        (("--lexicon={folder}",), "{folder}: is a directory; name a lexicon, or cmudict."),
        (("--lexicon={folder}/none",), "{folder}/none: no such file or directory; name a lexicon, or cmudict."),
    ],
)
def test_what_cannot_be_used_is_an_error(command, tmp_path, flags, fact):
    status, out, err = command(*(flag.format(folder=tmp_path) for flag in flags), "word")
    assert (status, out) == (1, "") and err.rstrip().endswith(fact.format(folder=tmp_path))


def test_a_packaged_model_is_for_english(command, toy_lexicon, tmp_path, monkeypatch):
    monkeypatch.setattr(pronounce_, "PACKAGED_RUN", tmp_path)
    out = command("--normalizer=plain", f"--lexicon={toy_lexicon}", "шаж")[1]
    assert out == "шаж\t\tunknown\n"


def test_a_file_that_is_not_utf8_is_named(command, tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("café".encode("latin-1"))
    assert f"{path}: is not UTF-8; save it as UTF-8." in command(path)[2]
    path.write_bytes("cat".encode("utf-16"))
    assert f"{path}: is not UTF-8; save it as UTF-8." in command(path)[2]
    path.write_bytes("cat".encode("utf-16-le"))
    assert f"{path}: holds zero bytes, as UTF-16 does; save it as UTF-8." in command(path)[2]
