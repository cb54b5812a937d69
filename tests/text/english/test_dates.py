"""Dates and times: what is none is left to other rules."""

import pytest

from tfvoice.text.english.dates import read_date
from tfvoice.text.normalize import normalize


@pytest.mark.parametrize(
    "text", ["13/45/2026", "2026-13-01", "1/2", "25:99", "3:5", "May I", "1234-5678", "March on", "55s"]
)
def test_what_is_no_date_is_left_to_other_rules(text):
    assert read_date(text, 0) is None


def test_every_day_of_a_year_is_read_alike_in_all_forms():
    for month, name in enumerate(("January", "June", "December"), 1):
        for day in (1, 12, 28):
            number = {1: 1, 2: 6, 3: 12}[month]
            spoken = normalize(f"{name} {day}, 1999").words
            assert spoken[0] == name.lower()
            assert normalize(f"1999-{number:02}-{day:02}").words == spoken
            assert normalize(f"{number}/{day}/1999").words == spoken
            assert normalize(f"{name[:3]}. {day} 1999").words == spoken


def test_every_minute_of_a_day_is_read():
    spoken = {normalize(f"{hour}:{minute:02}").spoken for hour in range(24) for minute in range(60)}
    assert len(spoken) == 24 * 60


def test_a_reading_ends_with_what_it_has_read():
    assert read_date("Nov. 26, 2026, then", 0) == ("november twenty sixth twenty twenty six", 13)
    assert read_date("at 3 p.m. sharp", 3) == ("three P M", 9)
    assert read_date("at 3 p.m.", 3) == ("three P M", 8)
