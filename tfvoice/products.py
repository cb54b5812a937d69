"""Products of vectors and a matrix in float32, for functions that Numba compiles.

Sums stay in registers while the rows of a matrix pass, whose columns stand in tiles, so that memory is read in order:
loops that Numba vectorises itself reach half to two thirds of that speed. The order of sums is fixed: of even and odd
rows apart, each a chain of fused multiplications and additions.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# Floats of a vector register with AVX-512; elsewhere LLVM uses several for it.
_LANES = 16
_VECTORS = 2
# Columns of a tile.
TILE = _LANES * _VECTORS
# Rows whose sums are apart: together four chains, as many as the latency of an addition has cycles.
_CHAINS = 2
# Vectors that share what is loaded of a tile.
_SHARED = 4
# Vectors that cross lines of the cache take a tenth longer.
_LINE_BYTES, _FLOAT_BYTES = 64, 4

_INDEX, _FLOAT = ir.IntType(64), ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, _LANES)


def padded(size: int) -> int:
    """The next multiple of `TILE`, of which all sizes of `add_product` must be."""
    return -(-size // TILE) * TILE


def zero_padded(values: np.ndarray, *shape: int) -> np.ndarray:
    """Values with zeros after them along each axis, float32; the values themselves where there is nothing to add."""
    if values.shape == shape and values.dtype == np.float32:
        return values
    result = np.zeros(shape, np.float32)
    result[tuple(map(slice, values.shape))] = values
    return result


def pad_columns(values: np.ndarray, blocks: int = 1) -> np.ndarray:
    """Pads each of several blocks of columns, `[..., blocks * columns]`, as for `padded`."""
    *outer, columns = values.shape
    size, whole = columns // blocks, padded(columns // blocks)
    return zero_padded(values.reshape(*outer, blocks, size), *outer, blocks, whole).reshape(*outer, blocks * whole)


def tiled(matrices: np.ndarray) -> np.ndarray:
    """Matrices `[count, rows, columns]` as `add_product` takes them: float32 `[count, columns / TILE, rows, TILE]`."""
    count, rows, columns = matrices.shape
    tiles = matrices.reshape(count, rows, columns // TILE, TILE).swapaxes(1, 2)
    buffer = np.empty(tiles.size * _FLOAT_BYTES + _LINE_BYTES, np.uint8)
    start = -buffer.ctypes.data % _LINE_BYTES
    result = buffer[start : start + tiles.size * _FLOAT_BYTES].view(np.float32).reshape(tiles.shape)
    result[...] = tiles
    return result


@intrinsic
def add_product(_, inputs, vector, matrices, matrix, sums, place):
    """Adds a product to a row of sums. All arrays are contiguous and float32; views of them would be counted, slowly.

    Args:
      inputs: `[vectors, rows]`.
      vector: number of one of them.
      matrices: of `tiled`.
      matrix: number of one of them.
      sums: `[places, columns]`.
      place: number of the row of `sums`.
    """
    signature = types.void(inputs, types.int64, matrices, types.int64, sums, types.int64)

    def generate(context, builder, signature, arguments):
        inputs, vector, matrices, matrix, sums, place = arguments
        kinds = (signature.args[0], signature.args[2], signature.args[4])
        product = _Product(context, builder, kinds, (inputs, matrices, sums), matrix)
        with cgutils.for_range(builder, product.tiles) as loop:
            product.add_tile(loop.index, [vector], [place], _INDEX(0))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_products(_, inputs, matrices, matrix, sums, column):
    """`add_product` for several vectors, with the same bits as for each of them alone.

    A tile is read once for all vectors, which bounds the speed where the matrices are larger than the cache.

    Args:
      inputs: `[vectors, rows]`.
      matrices: of `tiled`.
      matrix: number of one of them.
      sums: `[vectors, at least column + columns]`.
      column: of the sums, the first that is added to.
    """
    signature = types.void(inputs, matrices, types.int64, sums, types.int64)

    def generate(context, builder, signature, arguments):
        inputs, matrices, matrix, sums, column = arguments
        kinds = (signature.args[0], signature.args[1], signature.args[3])
        product = _Product(context, builder, kinds, (inputs, matrices, sums), matrix)
        vectors, step = product.vectors, _INDEX(_SHARED)
        whole = builder.mul(builder.udiv(vectors, step), step)
        with cgutils.for_range(builder, product.tiles) as loop:
            with cgutils.for_range_slice(builder, _INDEX(0), whole, step) as (first, _):
                numbers = [builder.add(first, _INDEX(number)) for number in range(_SHARED)]
                product.add_tile(loop.index, numbers, numbers, column)
            with cgutils.for_range_slice(builder, whole, vectors, _INDEX(1)) as (number, _):
                product.add_tile(loop.index, [number], [number], column)
        return context.get_dummy_value()

    return signature, generate


class _Product:
    """The instructions of products with one matrix."""

    def __init__(self, context, builder, kinds, arrays, matrix):
        inputs, matrices, sums = (
            context.make_array(kind)(context, builder, array) for kind, array in zip(kinds, arrays, strict=True)
        )
        self._builder = builder
        self.vectors, _ = cgutils.unpack_tuple(builder, inputs.shape)
        _, self.tiles, self._rows, _ = cgutils.unpack_tuple(builder, matrices.shape)
        _, self._columns = cgutils.unpack_tuple(builder, sums.shape)
        self._inputs, self._sums = inputs.data, sums.data
        size = builder.mul(self._rows, builder.mul(self.tiles, _INDEX(TILE)))
        self._matrix = _at(builder, matrices.data, builder.mul(matrix, size))
        fused = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        self._fma = cgutils.get_or_insert_function(builder.module, fused, f"llvm.fma.v{_LANES}f32")

    def add_tile(self, tile, vectors, places, column):
        """Adds the products of vectors and one tile to the rows of sums at `places`, from a column on."""
        builder, rows = self._builder, self._rows
        first = builder.mul(tile, _INDEX(TILE))
        weights = _at(builder, self._matrix, builder.mul(first, rows))
        inputs = [_at(builder, self._inputs, builder.mul(vector, rows)) for vector in vectors]
        first = builder.add(column, first)
        sums = [_at(builder, self._sums, builder.add(builder.mul(place, self._columns), first)) for place in places]
        # Of each vector, those of even and of odd rows.
        chains = [
            [[cgutils.alloca_once(builder, _VECTOR) for _ in range(_VECTORS)] for _ in range(_CHAINS)] for _ in vectors
        ]
        for start, (even, odd) in zip(sums, chains, strict=True):
            for number in range(_VECTORS):
                builder.store(_vector(builder, start, number), even[number])
                builder.store(_VECTOR(None), odd[number])
        with cgutils.for_range_slice(builder, _INDEX(0), rows, _INDEX(_CHAINS)) as (row, _):
            self._add_rows(row, weights, inputs, chains)
        for start, (even, odd) in zip(sums, chains, strict=True):
            for number in range(_VECTORS):
                total = builder.fadd(builder.load(even[number]), builder.load(odd[number]))
                place = builder.bitcast(_at(builder, start, _INDEX(number * _LANES)), _VECTOR.as_pointer())
                builder.store(total, place, align=_FLOAT_BYTES)

    def _add_rows(self, row, weights, inputs, chains):
        """Adds the products of one row of the tile for each chain."""
        builder = self._builder
        for chain in range(_CHAINS):
            number = builder.add(row, _INDEX(chain))
            weight_row = _at(builder, weights, builder.mul(number, _INDEX(TILE)))
            vectors = [_vector(builder, weight_row, lane) for lane in range(_VECTORS)]
            for start, places in zip(inputs, chains, strict=True):
                value = _broadcast(builder, builder.load(_at(builder, start, number)))
                for vector, place in zip(vectors, places[chain], strict=True):
                    builder.store(builder.call(self._fma, [value, vector, builder.load(place)]), place)


def _at(builder, base, index):
    return builder.gep(base, [index])


def _vector(builder, base, number: int):
    """Loads a vector, the `number`-th from an address on."""
    place = builder.bitcast(_at(builder, base, _INDEX(number * _LANES)), _VECTOR.as_pointer())
    return builder.load(place, align=_FLOAT_BYTES)


def _broadcast(builder, value):
    undefined = _VECTOR(ir.Undefined)
    one = builder.insert_element(undefined, value, ir.IntType(32)(0))
    return builder.shuffle_vector(one, undefined, ir.VectorType(ir.IntType(32), _LANES)(None))
