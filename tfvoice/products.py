"""Products of one vector and a matrix in float32, for functions that Numba compiles.

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
# Vectors that cross lines of the cache take a tenth longer.
_LINE_BYTES, _FLOAT_BYTES = 64, 4

_INDEX, _FLOAT = ir.IntType(64), ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, _LANES)


def padded(size: int) -> int:
    """The next multiple of `TILE`, of which all sizes of `add_product` must be."""
    return -(-size // TILE) * TILE


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
        inputs, matrices, sums = (
            context.make_array(signature.args[number])(context, builder, arguments[number]) for number in (0, 2, 4)
        )
        _, tiles, rows, _ = cgutils.unpack_tuple(builder, matrices.shape)
        columns = builder.mul(tiles, _INDEX(TILE))
        vector = _at(builder, inputs.data, builder.mul(arguments[1], rows))
        matrix = _at(builder, matrices.data, builder.mul(arguments[3], builder.mul(rows, columns)))
        row = _at(builder, sums.data, builder.mul(arguments[5], columns))
        with cgutils.for_range(builder, tiles) as loop:
            first = builder.mul(loop.index, _INDEX(TILE))
            tile = _at(builder, matrix, builder.mul(first, rows))
            _add_tile(builder, vector, rows, tile, _at(builder, row, first))
        return context.get_dummy_value()

    return signature, generate


def _add_tile(builder, inputs, rows, tile, sums):
    """The instructions for one tile, all at addresses."""
    chains = [[cgutils.alloca_once(builder, _VECTOR) for _ in range(_VECTORS)] for _ in range(_CHAINS)]
    for chain, places in enumerate(chains):
        for number, place in enumerate(places):
            start = _vector(builder, sums, number) if chain == 0 else _VECTOR(None)
            builder.store(start, place)
    fused = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    fma = cgutils.get_or_insert_function(builder.module, fused, f"llvm.fma.v{_LANES}f32")
    with cgutils.for_range_slice(builder, _INDEX(0), rows, _INDEX(_CHAINS)) as (row, _):
        weights = _at(builder, tile, builder.mul(row, _INDEX(TILE)))
        for chain, places in enumerate(chains):
            value = _broadcast(builder, builder.load(_at(builder, inputs, builder.add(row, _INDEX(chain)))))
            for number, place in enumerate(places):
                vector = _vector(builder, weights, chain * _VECTORS + number)
                builder.store(builder.call(fma, [value, vector, builder.load(place)]), place)
    for number in range(_VECTORS):
        total = builder.fadd(builder.load(chains[0][number]), builder.load(chains[1][number]))
        place = builder.bitcast(_at(builder, sums, _INDEX(number * _LANES)), _VECTOR.as_pointer())
        builder.store(total, place, align=_FLOAT_BYTES)


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
