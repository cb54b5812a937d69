"""The decoder flags: what a command line sets, and nothing else, reaches `decoders.choose`."""

import pytest

from tfvoice.cli.decoder_flags import DecoderFlags
from tfvoice.cli.flags import Flags, UsageError


def settings(*arguments, tuning=False):
    flags = Flags()
    decoder = DecoderFlags(flags, tuning)
    flags.parse(["tfvoice_eval", *arguments])
    return decoder.settings()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {}),
        (["--decoder=greedy"], {}),
        (["--decoder=beam"], {"name": "beam"}),
        (["--decoder=beam", "--beam_width=7"], {"name": "beam", "beam_width": 7}),
        (["--decoder=lm", "--lm=a.arpa"], {"name": "lm", "lm": "a.arpa"}),
        (["--decoder=lm", "--hotwords=names.txt"], {"name": "lm", "hotwords": "names.txt"}),
        (["--decoder=lm", "--nolexicon"], {"name": "lm", "lexicon": False}),
        (["--decoder=lm", "--lm_weight=0"], {"name": "lm", "lm_weight": 0.0}),
        (["--decoder=lm", "--word_score=-1.5"], {"name": "lm", "word_score": -1.5}),
    ],
)
def test_settings_are_what_the_command_line_sets(arguments, expected):
    assert settings(*arguments) == expected


def test_tuning_needs_a_language_model_and_takes_no_weights():
    assert settings("--lm=a.arpa", tuning=True) == {"name": "lm", "lm": "a.arpa"}
    with pytest.raises(UsageError, match=r"^--lm is missing; add --lm=FILE\.$"):
        settings(tuning=True)
    with pytest.raises(UsageError, match="there is no flag --lm_weight"):
        settings("--lm=a.arpa", "--lm_weight=1", tuning=True)


def test_the_help_of_tuning_promises_no_tuned_value():
    flags, tuning = Flags(), Flags()
    DecoderFlags(flags), DecoderFlags(tuning, tuning=True)
    assert "tuned" in flags.help() and "tuned" not in tuning.help()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--lm=a.arpa"], "--lm is for --decoder=lm; add that, or leave it out."),
        (["--nolexicon"], "--[no]lexicon is for --decoder=lm; add that, or leave it out."),
        (["--decoder=beam", "--lm_weight=1"], "--lm_weight is for --decoder=lm; add that, or leave it out."),
        (["--hotwords=a.txt"], "--hotwords is for --decoder=lm; add that, or leave it out."),
        (["--word_score=1"], "--word_score is for --decoder=lm; add that, or leave it out."),
        (["--beam_width=10"], "--beam_width is for --decoder=beam or lm; add one of these, or leave it out."),
    ],
)
def test_a_flag_of_another_decoder_is_refused(arguments, sentence):
    with pytest.raises(UsageError) as error:
        settings(*arguments)
    assert str(error.value) == sentence
