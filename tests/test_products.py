"""Products are those of NumPy, in an order of sums that does not depend on the columns beside."""

import numpy as np
import pytest

from tfvoice.compiled import compiled
from tfvoice.products import TILE, add_product, add_products, pad_columns, padded, tiled


@compiled
def added(inputs, vector, matrices, matrix, sums, place):
    add_product(inputs, vector, matrices, matrix, sums, place)


def random(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("rows", "columns"), [(2, TILE), (6, TILE), (64, 2 * TILE), (128, 5 * TILE)])
def test_a_product_is_added_to_one_row_of_sums(rows, columns):
    inputs, matrices, sums = random(3, rows), random(2, rows, columns), random(4, columns)
    before = sums.copy()
    added(inputs, 2, tiled(matrices), 1, sums, 3)
    expected = before[3] + inputs[2].astype(np.float64) @ matrices[1]
    np.testing.assert_allclose(sums[3], expected, atol=1e-5 * rows)
    np.testing.assert_array_equal(sums[:3], before[:3])


def test_columns_are_independent_of_each_other():
    inputs, matrices = random(1, 40), random(1, 40, 3 * TILE)
    whole, part = np.zeros([1, 3 * TILE], np.float32), np.zeros([1, TILE], np.float32)
    added(inputs, 0, tiled(matrices), 0, whole, 0)
    added(inputs, 0, tiled(matrices[:, :, TILE : 2 * TILE]), 0, part, 0)
    np.testing.assert_array_equal(whole[:, TILE : 2 * TILE], part)


def test_tiles_hold_the_columns_in_order_and_begin_at_a_line_of_the_cache():
    matrices = random(2, 6, 2 * TILE)
    tiles = tiled(matrices)
    assert tiles.shape == (2, 2, 6, TILE) and tiles.ctypes.data % 64 == 0 and tiles.flags.c_contiguous
    np.testing.assert_array_equal(tiles[1, 1, 4], matrices[1, 4, TILE:])
    assert [padded(size) for size in (1, TILE, TILE + 1)] == [TILE, TILE, 2 * TILE]


@compiled
def all_added(inputs, matrices, matrix, sums, column):
    add_products(inputs, matrices, matrix, sums, column)


@pytest.mark.parametrize("vectors", [1, 3, 4, 5, 8, 11])
def test_products_of_several_vectors_are_those_of_each_alone_to_the_last_bit(vectors):
    inputs, matrices, sums = random(vectors, 64), tiled(random(2, 64, 2 * TILE)), random(vectors, 5 * TILE)
    expected = sums.copy()
    for number in range(vectors):
        alone = expected[number : number + 1, TILE : 3 * TILE].copy()
        added(inputs, number, matrices, 1, alone, 0)
        expected[number, TILE : 3 * TILE] = alone
    all_added(inputs, matrices, 1, sums, TILE)
    np.testing.assert_array_equal(sums, expected)


def test_columns_are_padded_within_each_block():
    values = random(2, 3, 10)
    found = pad_columns(values, 2).reshape(2, 3, 2, TILE)
    np.testing.assert_array_equal(found[..., :5], values.reshape(2, 3, 2, 5))
    assert not found[..., 5:].any()
