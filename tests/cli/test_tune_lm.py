"""Laws of tfvoice_tune_lm."""

import functools

import pytest

from tfvoice.asr import tune_lm
from tfvoice.asr.decoders import DecoderConfig
from tfvoice.asr.tune_lm import Trial
from tfvoice.cli import tune_lm as command_


@pytest.fixture
def command(in_process):
    return functools.partial(in_process, command_.main, "tfvoice_tune_lm")


def test_flags_reach_the_library_and_the_best_is_printed(command, monkeypatch, tmp_path):
    found = []
    trials = [Trial(0.0, 0.0, 0.5, 0.25), Trial(0.3, 1.5, 0.125, 0.0625)]
    monkeypatch.setattr(tune_lm, "tune", lambda *arguments: found.append(arguments) or (trials, trials[1]))
    more = ("--data=d", "--split=s", "--checkpoint=last", "--beam_width=7", "--nolexicon", "--utterances=9")
    status, out, err = command(f"--run={tmp_path}", "--lm=a.arpa", *more, "--workers=3")
    assert (status, err) == (0, "")
    assert found == [
        (str(tmp_path), DecoderConfig(name="lm", lm="a.arpa", beam_width=7, lexicon=False), "d", "s", "last", 9, 3)
    ]
    assert "greedy  WER 50.00%  CER 25.00%\n" in out
    assert "lm      WER 12.50%  CER 6.25%  with lm_weight 0.3 and word_score 1.5, of 1 pairs\n" in out


def test_mistakes_are_told_in_a_sentence(command, tmp_path):
    for arguments, sentence in (
        ([f"--run={tmp_path}"], "--lm is missing; add --lm=FILE."),
        ([f"--run={tmp_path}", "--lm=a.arpa"], f"{tmp_path}: is not the folder of a run"),
        ([f"--run={tmp_path}", "--lm=a.arpa", "--lm_weight=1"], "there is no flag --lm_weight"),
    ):
        status, out, err = command(*arguments)
        assert (status, out) == (1, "") and sentence in err and err.count("\n") == 1
