"""Functions of float32 numbers, for functions that Numba compiles: tanh, exp, and sampling from logits.

They are rational functions and polynomials, which become vector instructions: those of the C library would take half of
the time of a small network.
"""

import numpy as np

from tfvoice.compiled import compiled

# Fused multiplications and additions; nothing is NaN. Sums keep their order. Divisions are not checked, so that loops
# with one become vectors.
FAST = {"fastmath": {"contract", "nnan", "ninf", "nsz"}, "error_model": "numpy"}

_ZERO, _HALF = np.float32(0), np.float32(0.5)
# tanh x = x P(x^2) / Q(x^2), fitted to an error of 7e-7 up to here, from where it is 1.
_TANH_END = np.float32(8.8)
_P = tuple(map(np.float32, (0.9999988079, 0.12632691860, 0.00261708791, 6.59407760e-06, -5.18524290e-09)))
_Q = tuple(map(np.float32, (1.0, 0.45965501666, 0.02250788733, 0.00018676275795)))
# 2^f for f from 0 to 1 is a polynomial to an error of 2e-7, and its powers of two are in a table.
_LOG2_E = np.float32(np.log2(np.e))
_EXP2 = tuple(map(np.float32, (0.9999999251, 0.6931530731, 0.2401536174, 0.0558263175, 0.0089893404, 0.0018775767)))
_LOWEST = -126
_POWERS = np.float32(2.0) ** np.arange(_LOWEST, 1).astype(np.float32)
# Of the sum of probabilities: 0 never gives a level that is all but impossible, and a rounded sum none past the last.
_ABOVE_ZERO, _BELOW_ONE = np.float32(2.0**-25), np.float32(1 - 1e-6)


@compiled(**FAST)
def tanh(x):
    """The hyperbolic tangent of a float32, to 7e-7."""
    x = min(max(x, -_TANH_END), _TANH_END)
    u = x * x
    return (
        x
        * ((((_P[4] * u + _P[3]) * u + _P[2]) * u + _P[1]) * u + _P[0])
        / (((_Q[3] * u + _Q[2]) * u + _Q[1]) * u + _Q[0])
    )


@compiled(**FAST)
def sigmoid(x):
    """The logistic function of a float32, to 4e-7."""
    return _HALF + _HALF * tanh(_HALF * x)


@compiled(**FAST)
def exp(x):
    """The exponential of a float32 that is not positive, to 3e-7 of its value; 1e-38 where it is smaller."""
    x = max(x * _LOG2_E, np.float32(_LOWEST))
    whole = np.floor(x)
    f = x - whole
    value = ((((_EXP2[5] * f + _EXP2[4]) * f + _EXP2[3]) * f + _EXP2[2]) * f + _EXP2[1]) * f + _EXP2[0]
    return value * _POWERS[np.int32(whole) - _LOWEST]


@compiled(**FAST)
def exponentiate(logits, inverse_temperature):
    """Replaces logits by what their probabilities are in proportion to; the greatest becomes 1."""
    highest = logits.max()
    for level in range(len(logits)):
        logits[level] = exp((logits[level] - highest) * inverse_temperature)


@compiled(**FAST)
def sample_level(masses, uniform):
    """The level at a share of the cumulative distribution.

    Args:
      masses: float32 `[levels]`, what the probabilities are in proportion to; replaced by their sums.
      uniform: the share, 0 to 1.
    """
    total = _ZERO
    for level in range(len(masses)):
        total += masses[level]
        masses[level] = total
    target = min(max(uniform, _ABOVE_ZERO), _BELOW_ONE) * total
    level = 0
    while masses[level] <= target:
        level += 1
    return level
