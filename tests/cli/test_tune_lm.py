"""tfvoice_tune_lm: its flags, its output, its errors."""

import functools

import pytest

from tfvoice import tasks
from tfvoice.asr import tune_lm
from tfvoice.asr.decoders import DecoderConfig
from tfvoice.asr.tune_lm import Trial
from tfvoice.cli import tune_lm as tune_lm_


@pytest.fixture
def command(in_process):
    return functools.partial(in_process, tune_lm_.main, "tfvoice_tune_lm")


def test_flags_reach_the_library_and_the_best_is_printed(command, monkeypatch, tmp_path):
    calls, checked = [], []
    trials = [Trial(0.0, 0.0, 0.5, 0.25), Trial(0.3, 1.5, 0.125, 0.0625)]
    monkeypatch.setattr(tune_lm, "tune", lambda *arguments: calls.append(arguments) or (trials, trials[1]))
    monkeypatch.setattr(tasks, "of_run", lambda *arguments: checked.append(arguments))
    more = ("--data=d", "--split=s", "--checkpoint=last", "--beam_width=7", "--nolexicon", "--utterances=9")
    status, out, err = command(f"--run={tmp_path}", "--lm=a.arpa", *more, "--workers=3")
    assert (status, err) == (0, "")
    assert checked == [(str(tmp_path), "tfvoice_tune_lm")]
    assert calls == [
        (str(tmp_path), DecoderConfig(name="lm", lm="a.arpa", beam_width=7, lexicon=False), "d", "s", "last", 9, 3)
    ]
    assert out.endswith(f"Next: tfvoice_eval --run={tmp_path} --split=test --decoder=lm --data=d --nolexicon\n")
    assert "greedy  WER 50.00%  CER 25.00%\n" in out
    assert "lm      WER 12.50%  CER 6.25%  with lm_weight 0.3 and word_score 1.5, the best of 1 pairs\n" in out


def test_an_error_is_one_sentence(command, tmp_path):
    for arguments, sentence in (
        ([f"--run={tmp_path}"], "--lm is missing; add --lm=FILE."),
        ([f"--run={tmp_path}", "--lm=a.arpa"], f"{tmp_path}: is not the folder of a run"),
        ([f"--run={tmp_path}", "--lm=a.arpa", "--lm_weight=1"], "there is no flag --lm_weight"),
    ):
        status, out, err = command(*arguments)
        assert (status, out) == (1, "") and sentence in err and err.count("\n") == 1


def test_a_run_of_a_generator_is_refused(in_process, generator_run):
    status, out, err = in_process(tune_lm_.main, "tfvoice_tune_lm", f"--run={generator_run.run_dir}", "--lm=a.arpa")
    assert (status, out) == (1, "")
    assert err == (
        f"tfvoice_tune_lm: error: {generator_run.run_dir}: is a run of sample_rnn, a generator of audio; "
        "tfvoice_sample and tfvoice_eval are for it, tfvoice_tune_lm is not.\n"
    )
