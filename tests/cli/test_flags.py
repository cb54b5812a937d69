"""Flags: values, errors of one sentence, and the help."""

import textwrap

import pytest

from tfvoice.cli.flags import Flags, UsageError
from tfvoice.errors import TfvoiceError


@pytest.fixture
def flags():
    flags = Flags("FILE...")
    flags.string("data", "The folder of texts.", metavar="DIR", required=True)
    flags.string("name", "What to call it.", default="x")
    flags.integer("limit", "Stop after so many words.", default=7, lower=1)
    flags.number("share", "Share of the words.", lower=0)
    flags.boolean("quick", "Count only some.")
    flags.choice("order", ["up", "down"], "Direction.", default="up")
    flags.strings("set", "Change one key.", metavar="KEY=VALUE")
    flags.string("lm", "Language model. Default: that of the run.", metavar="FILE")
    return flags


@pytest.fixture
def values(flags):
    """Parses a command line; returns the positional arguments and the values of the flags."""

    def values(*arguments):
        rest = flags.parse(["tfvoice_count", *arguments])
        return rest[1:], {name: flags._values[name].value for name in flags._values}

    return values


def test_flags_and_positional_arguments_can_be_in_any_order(values):
    files, parsed = values(
        *["a.txt", "--data", "texts", "-", "--limit=3", "--set=a=1", "--quick", "--set", "b=2", "b.txt"]
    )
    assert files == ["a.txt", "-", "b.txt"]
    assert parsed == {
        "data": "texts", "name": "x", "limit": 3, "share": None, "quick": True, "order": "up", "set": ["a=1", "b=2"],
        "lm": None, "debug": False,
    }  # fmt: skip


def test_arguments_after_two_dashes_are_positional(values):
    assert values("--data=x", "--", "--help", "--limit=x")[0] == ["--help", "--limit=x"]


def test_parsing_resets_the_values_of_an_earlier_command_line(values):
    values("--data=x", "--limit=3", "--set=a=1")
    _, parsed = values("--data=y")
    assert parsed["limit"] == 7 and parsed["set"] == []


def test_two_commands_can_have_the_same_flag(flags):
    other = Flags()
    other.string("data", "Another folder.", default="z")
    assert other.parse(["other"]) == ["other"]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ([], "--data is missing; add --data=DIR."),
        (["--data="], "--data is empty; add --data=DIR."),
        (["--data"], "--data needs a value; write --data=DIR."),
        (["--data", "--limit=3"], "--data took --limit=3 as its value; write --data=DIR."),
        (["--dat=x"], "there is no flag --dat; did you mean --data?"),
        (["--data=x", "--no-quick"], "there is no flag --no-quick; did you mean --quick?"),
        (["--data=x", "--zzz"], "there is no flag --zzz; see --help."),
        (["--limit=0"], "--limit=0 is not valid; expected a positive integer."),
        (["--limit", "many"], "--limit=many is not valid; expected a positive integer."),
        (["--share=-1"], "--share=-1 is not valid; expected a non-negative number."),
        (["--quick=maybe"], "--quick=maybe is not valid; expected true or false."),
        (["--noquick=1"], "--noquick=1 does not take an argument; see --help."),
        (["--order=left"], "--order=left is not valid; expected one of up, down."),
    ],
)
def test_an_invalid_command_line_is_an_error_of_one_sentence(flags, arguments, sentence):
    with pytest.raises(UsageError) as error:
        flags.parse(["tfvoice_count", *arguments])
    assert str(error.value) == sentence
    assert isinstance(error.value, TfvoiceError)


@pytest.mark.parametrize("arguments", [["--data=s3://b/x"], ["--data=x", "s3://b/x"], ["--data=x", "--lm=s3://b/x"]])
def test_a_path_is_no_url_unless_its_flag_says_so(flags, arguments):
    with pytest.raises(UsageError, match=r"^(--data=|--lm=|)s3://b/x: must be on this machine; copy it here. URLs are"):
        flags.parse(["tfvoice_count", *arguments])
    flags.string("output", "Where to.", metavar="DIR", url=True)
    assert flags.parse(["tfvoice_count", "--data=x", "--output=s3://b/x", "--name=s3://b/x"]) == ["tfvoice_count"]


def test_positional_arguments_are_refused_where_a_command_takes_none():
    with pytest.raises(UsageError, match=r"^unexpected argument a\.wav; flags begin with --, see --help\.$"):
        Flags().parse(["tfvoice_count", "a.wav"])


def test_debug_is_false_where_the_command_line_is_not_valid(flags):
    assert not flags.debug
    with pytest.raises(UsageError):
        flags.parse(["tfvoice_count", "--data=x", "--zzz", "--debug"])
    flags.parse(["tfvoice_count", "--data=x", "--debug"])
    assert flags.debug


def test_the_help_lists_the_flags_of_the_command_with_their_defaults(flags):
    expected = """
          --data=DIR
              The folder of texts. Required.
          --name=TEXT
              What to call it. Default: x.
          --limit=N
              Stop after so many words. Default: 7.
          --share=X
              Share of the words. Default: none.
          --[no]quick
              Count only some. Default: false.
          --order=up|down
              Direction. Default: up.
          --set=KEY=VALUE
              Change one key. May be repeated. Default: none.
          --lm=FILE
              Language model. Default: that of the run.
          --[no]debug
              Show the traceback of an error. Default: false.
          --help, --version
              Print this text, or the version, and exit.
    """
    assert flags.help() == textwrap.indent(textwrap.dedent(expected).strip(), "  ")
