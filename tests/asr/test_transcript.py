"""Laws of the written forms of a transcript."""

import itertools
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfvoice.asr import transcript
from tfvoice.asr.transcript import Transcript, Word


def spoken(text, each=0.3, pause=0.05, pauses=None, start=0.0):
    """Words of `each` seconds with pauses between them; `pauses` replaces the pause before some words."""
    words = []
    for number, word in enumerate(text.split()):
        start += (pauses or {}).get(number, pause) if number else 0
        words.append(Word(word, start, start + each, 0.5))
        start += each
    return words


def whole(words, seconds=3600.0):
    return Transcript(seconds, " ".join(word.text for word in words), 0.5 if words else None, words)


def letters(cue):
    return "".join(cue.lines).replace(" ", "")


@st.composite
def speech(draw):
    """Any words in order of time, some longer than a line or a cue."""
    words, time = [], 0.0
    for letters in draw(st.lists(st.integers(1, 60), max_size=60)):
        time += draw(st.sampled_from([0.0, 0.02, 0.3, 1.5, 4000.0]))
        end = time + draw(st.sampled_from([0.02, 0.2, 0.5, 9.0]))
        words.append(Word("x" * letters, time, end, 1.0))
        time = end
    return words


def read_srt(text):
    """Parses SubRip as a player does: blocks between empty lines."""
    found = []
    for number, block in enumerate(filter(None, text.split("\n\n")), 1):
        head, times, *lines = block.rstrip("\n").split("\n")
        assert head == str(number)
        match = re.fullmatch(r"(\d\d+):(\d\d):(\d\d),(\d\d\d) --> (\d\d+):(\d\d):(\d\d),(\d\d\d)", times)
        fields = [int(field) for field in match.groups()]
        assert all(fields[place] < 60 for place in (1, 2, 5, 6))
        start, end = (h * 3600 + m * 60 + s + t / 1000 for h, m, s, t in (fields[:4], fields[4:]))
        found.append((start, end, lines))
    return found


@given(speech())
@settings(max_examples=200, deadline=None)
def test_cues_hold_every_word_once_in_order_and_do_not_overlap(words):
    cues = transcript.cues(whole(words))
    assert "".join(letters(cue) for cue in cues) == "".join(word.text for word in words)
    assert all(cue.start < cue.end for cue in cues)
    assert all(one.end <= two.start + 1e-6 for one, two in itertools.pairwise(cues))


@given(speech())
@settings(max_examples=200, deadline=None)
def test_a_cue_fits_on_its_lines_and_into_its_time(words):
    for cue in transcript.cues(whole(words)):
        assert len(cue.lines) <= 2 and all(len(line) <= 42 for line in cue.lines)
        # A single word that fits on a line is not split, however long it takes.
        assert cue.end - cue.start <= 7 + 1e-6 or len(" ".join(cue.lines).split()) == 1


def test_a_word_that_is_longer_than_a_line_is_split_at_times_in_proportion():
    cues = transcript.cues(whole([Word("x" * 100, 10.0, 20.0, 1.0), Word("y", 20.1, 20.2, 1.0)]))
    assert [cue.lines for cue in cues] == [["x" * 42], ["x" * 42, "x" * 16 + " y"]]
    assert [cue.start for cue in cues] == pytest.approx([10.0, 14.2])


def test_words_of_a_script_without_spaces_are_joined_and_break_at_pauses():
    """Wide characters take two columns; a mark stays with its letter."""
    times = np.arange(60) * 0.2 + 0.5 * (np.arange(60) >= 26)
    words = [Word("公", time, time + 0.1, 1.0) for time in times]
    cues = transcript.cues(Transcript(20.0, "公" * 60, 1.0, words))
    assert [cue.lines for cue in cues] == [["公" * 21, "公" * 5], ["公" * 21, "公" * 13]]
    assert cues[1].start == times[26]
    thai = [Word("ที่", time, time + 0.1, 1.0) for time in times]
    assert transcript.cues(Transcript(20.0, "ที่" * 60, 1.0, thai))[0].lines == ["ที่" * 26]


def test_a_mark_is_not_split_from_its_letter():
    (cue,) = transcript.cues(whole([Word("ที่" * 50, 0.0, 5.0, 1.0)]))
    assert cue.lines == ["ที่" * 42, "ที่" * 8]


def test_a_full_cue_ends_at_its_longest_pause():
    words = spoken("one two three four five six seven eight nine ten eleven twelve", each=0.8, pauses={6: 0.4})
    assert " ".join(transcript.cues(whole(words))[0].lines) == "one two three four five six"


def test_a_long_pause_ends_a_cue():
    cues = transcript.cues(whole(spoken("well yes", pauses={1: 1.2})))
    assert [cue.lines for cue in cues] == [["well"], ["yes"]]


def test_a_short_cue_is_shown_for_a_second_unless_the_next_one_starts():
    words = [Word("a", 0.0, 0.1, 1.0), Word("b", 1.5, 1.6, 1.0)]
    assert [(cue.start, cue.end) for cue in transcript.cues(whole(words))] == [(0.0, 1.0), (1.5, 2.5)]


@given(speech())
@settings(max_examples=50, deadline=None)
def test_srt_round_trip(words):
    cues = transcript.cues(whole(words))
    found = read_srt(transcript.to_srt("a.wav", whole(words)))
    assert [lines for _, _, lines in found] == [cue.lines for cue in cues]
    for (start, end, _), cue in zip(found, cues, strict=True):
        assert start == pytest.approx(cue.start, abs=6e-4) and end == pytest.approx(cue.end, abs=6e-4)


def test_srt_and_vtt_by_example():
    words = [Word("a<b", 0.0004, 0.5, 1.0), Word("&c", 3725.5, 3728.9996, 1.0)]
    assert transcript.to_srt("a.wav", whole(words)) == (
        "1\n00:00:00,000 --> 00:00:01,000\na<b\n\n2\n01:02:05,500 --> 01:02:09,000\n&c\n"
    )
    assert transcript.to_vtt("a.wav", whole(words)) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\na&lt;b\n\n01:02:05.500 --> 01:02:09.000\n&amp;c\n"
    )


def test_json_is_one_line_with_everything():
    words = [Word("né", 0.12345, 0.5, 0.123456)]
    line = transcript.to_json("a b.wav", Transcript(1.23456, "né", 0.123456, words))
    assert line.endswith("\n") and line.count("\n") == 1 and "né" in line
    assert json.loads(line) == {
        "file": "a b.wav",
        "seconds": 1.235,
        "text": "né",
        "confidence": 0.1235,
        "words": [{"word": "né", "start": 0.123, "end": 0.5, "confidence": 0.1235}],
    }


def test_json_lists_alternatives_where_there_are_any():
    found = Transcript(
        1.0, "a b", None, [], (transcript.Alternative("a b", -1.23456), transcript.Alternative("a", -2.0))
    )
    expected = [{"text": "a b", "score": -1.2346}, {"text": "a", "score": -2.0}]
    assert json.loads(transcript.to_json("a.wav", found))["alternatives"] == expected


def test_silence_is_written():
    silence = Transcript(2.0, "", None, [])
    assert transcript.to_text("a.wav", silence) == "\n"
    assert json.loads(transcript.to_json("a.wav", silence))["confidence"] is None
    assert transcript.to_srt("a.wav", silence) == ""
    assert transcript.to_vtt("a.wav", silence) == "WEBVTT\n"


def test_every_format_has_a_suffix():
    assert transcript.FORMATS.keys() == transcript.SUFFIXES.keys()
