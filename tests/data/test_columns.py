"""Laws of columns: to those that read them, they are the lists that they were made of."""

import numpy as np
import pytest

from tfvoice.data.columns import ClassIds, Texts

TEXTS = ["", "a", "Straße", "東京", "\ud800", "a" * 1000, ""]
ROWS = [np.array(row, np.int32) for row in ([], [3], [0, 300, 70_000], [], [1, 2])]


def test_texts_are_a_list_of_texts():
    column = Texts(TEXTS)
    assert list(column) == TEXTS == column[:] and len(column) == 7 and column == TEXTS and column != TEXTS[1:]
    assert [column[row] for row in range(-7, 7)] == TEXTS * 2 and column[1:6:2] == TEXTS[1:6:2]
    assert column.take(np.array([4, 0, 4])) == ["\ud800", "", "\ud800"]
    assert Texts.joined([Texts(TEXTS[:3]), Texts(), Texts(TEXTS[3:])]) == column
    assert "東京" in column and list(Texts()) == list(Texts.joined([])) == []
    for row in (7, -8):
        with pytest.raises(IndexError):
            column[row]


def same(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def test_class_ids_are_a_list_of_arrays():
    column = ClassIds(ROWS)
    assert same(column, ROWS) and same(column[1:4], ROWS[1:4]) and same([column[-1]], ROWS[-1:])
    assert all(row.dtype == np.int32 for row in column) and column.lengths.tolist() == [0, 1, 3, 0, 2]
    assert same(column.take(np.array([2, 0])), [ROWS[2], ROWS[0]])
    assert same(ClassIds.joined([ClassIds(ROWS[:2]), ClassIds(), ClassIds(ROWS[2:])]), ROWS)
    assert same(ClassIds(column), ROWS) and len(ClassIds()) == 0 and ClassIds([]).lengths.tolist() == []
    with pytest.raises(IndexError):
        column[5]


def test_padded_rows_are_as_wide_as_the_longest():
    table = ClassIds(ROWS).padded(np.array([4, 0, 1]))
    assert table.dtype == np.int32
    np.testing.assert_array_equal(table, [[1, 2], [0, 0], [3, 0]])
    assert ClassIds(ROWS).padded(np.array([0, 3])).shape == (2, 0)


def test_a_row_takes_little_more_than_its_content():
    """Measured by their buffers: the objects that they replace would take 10 times as much."""
    column = ClassIds([np.arange(20)] * 1000)
    assert column._values.nbytes + column._ends.nbytes < 30 * 1000
