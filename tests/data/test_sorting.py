import pytest

from tfvoice.data import sorting
from tfvoice.data.sorting import SortedLines

LINES = [f"{number * 7919 % 1000:03d} é\t\x1c" for number in range(1000)]


@pytest.mark.parametrize("in_memory", [1, 7, 999, 1000, 1001])
def test_lines_are_sorted_however_many_fit_into_memory(in_memory, monkeypatch):
    monkeypatch.setattr(sorting, "LINES_IN_MEMORY", in_memory)
    lines = SortedLines(iter(LINES))
    assert list(lines) == list(lines) == sorted(LINES)


def test_nothing_is_written_where_memory_suffices_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lines = SortedLines(LINES)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(sorting, "LINES_IN_MEMORY", 100)
    lines = SortedLines(LINES)
    (folder,) = tmp_path.iterdir()
    assert [path.name for path in folder.iterdir()] == ["merged"]
    del lines
    assert list(tmp_path.iterdir()) == []


def test_no_lines():
    assert list(SortedLines([])) == []
