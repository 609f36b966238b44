"""Deciding in exact arithmetic whether a value lies outside a clipping bound.

Floating-point bounds are off by some rounding; where a value stands that close to one, the decision
is repeated here with integers of any length, so that it depends on nothing but the values. All
values are multiples of one power of two and only differences matter, hence: subtract the smallest,
count in units of that power, and square instead of taking a root.

Numbers are arrays of 32-bit digits in uint64, least significant first.
"""

from __future__ import annotations

import numpy as np

from .compiled import MAD_TO_STD, Array, compiled

DIGIT = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)


@compiled
def parts(x: float) -> tuple[np.uint64, int]:
    """Mantissa m >= 0 and exponent e with abs(x) = m 2**e exactly."""
    word = np.array([abs(x)]).view(np.uint64)[0]
    exponent = int(word >> np.uint64(52))
    mantissa = word & np.uint64(0xFFFFFFFFFFFFF)
    if exponent == 0:
        return mantissa, -1074
    return mantissa | np.uint64(0x10000000000000), exponent - 1075


@compiled
def add_shifted(total: Array, mantissa: np.uint64, shift: int) -> None:
    """Add ``mantissa * 2**shift``."""
    place, bits = shift // 32, np.uint64(shift % 32)
    carry = np.uint64(0)
    low, high = mantissa & DIGIT, mantissa >> SHIFT
    for value in (low << bits, high << bits):
        total[place] += (value & DIGIT) + carry
        carry = (total[place] >> SHIFT) + (value >> SHIFT)
        total[place] &= DIGIT
        place += 1
    while carry:
        total[place] += carry
        carry = total[place] >> SHIFT
        total[place] &= DIGIT
        place += 1


@compiled
def subtract(a: Array, b: Array) -> Array:
    """Return ``a - b``; needs a >= b."""
    out = np.zeros_like(a)
    borrow = np.uint64(0)
    for i in range(a.size):
        taken = b[i] + borrow
        borrow = np.uint64(1) if a[i] < taken else np.uint64(0)
        out[i] = (a[i] + (borrow << SHIFT)) - taken
    return out


@compiled
def add(a: Array, b: Array) -> Array:
    """Return ``a + b``."""
    out = np.zeros_like(a)
    carry = np.uint64(0)
    for i in range(a.size):
        total = a[i] + b[i] + carry
        out[i] = total & DIGIT
        carry = total >> SHIFT
    return out


@compiled
def multiply(a: Array, b: Array) -> Array:
    """Return ``a * b``, whose digits must fit."""
    out = np.zeros_like(a)
    size = a.size
    for i in range(size):
        if a[i]:
            carry = np.uint64(0)
            for k in range(size - i):
                total = out[i + k] + a[i] * b[k] + carry
                out[i + k] = total & DIGIT
                carry = total >> SHIFT
    return out


@compiled
def compare(a: Array, b: Array) -> int:
    """Return -1, 0 or 1 as a is less than, equal to or greater than b."""
    for i in range(a.size - 1, -1, -1):
        if a[i] != b[i]:
            return 1 if a[i] > b[i] else -1
    return 0


@compiled
def distance(a: Array, b: Array) -> Array:
    """Return ``|a - b|``."""
    return subtract(a, b) if compare(a, b) >= 0 else subtract(b, a)


@compiled
def integer(value: int, size: int) -> Array:
    """Return a non-negative int64 as a number of ``size`` digits."""
    out = np.zeros(size, np.uint64)
    add_shifted(out, np.uint64(value), 0)
    return out


@compiled
def odd_parts(x: float) -> tuple[np.uint64, int]:
    """Odd mantissa and exponent with abs(x) = m 2**e; (0, 0) for zero."""
    mantissa, exponent = parts(x)
    if mantissa == np.uint64(0):
        return mantissa, 0
    while mantissa & np.uint64(1) == np.uint64(0):
        mantissa >>= np.uint64(1)
        exponent += 1
    return mantissa, exponent


@compiled
def add_value(total: Array, x: float, unit: int) -> None:
    """Add abs(x) in units of 2**unit."""
    mantissa, exponent = odd_parts(x)
    if mantissa:
        add_shifted(total, mantissa, exponent - unit)


@compiled
def digits(column: Array, spare: int) -> Array:
    """Values of a sorted column less the smallest, as integers in a common unit.

    Parameters
    ----------
    column : ndarray of float64, shape (n,)
        Finite, ascending.
    spare : int
        Bits to leave above the square of a value.

    Returns
    -------
    ndarray of uint64, shape (n, digits)
    """
    n = column.size
    unit, top = 1 << 20, -(1 << 20)
    for i in range(n):
        mantissa, exponent = odd_parts(column[i])
        if mantissa:
            unit, top = min(unit, exponent), max(top, exponent + 54)
    size = (2 * max(top - unit, 1) + spare) // 32 + 2
    numbers, offset, value = np.zeros((n, size), np.uint64), np.zeros(size, np.uint64), np.zeros(size, np.uint64)
    add_value(offset, column[0], unit)
    for i in range(n):
        value[:] = 0
        add_value(value, column[i], unit)
        if column[0] >= 0:
            numbers[i] = subtract(value, offset)
        elif column[i] >= 0:
            numbers[i] = add(value, offset)
        else:
            numbers[i] = subtract(offset, value)
    return numbers


@compiled
def middle_deviations(numbers: Array, first: int, last: int, twice_median: Array) -> Array:
    """Four times the median absolute deviation of numbers ``first`` to ``last - 1``, ascending."""
    half = (last - first) // 2
    low, high = np.zeros_like(twice_median), np.zeros_like(twice_median)
    for k in range(half):
        a, b = numbers[first + k], numbers[last - half + k]
        under, over = distance(add(a, a), twice_median), distance(add(b, b), twice_median)
        small, large = (under, over) if compare(under, over) < 0 else (over, under)
        # Pairing the deviations below with those above in opposite order splits their union in halves.
        if compare(small, low) > 0:
            low = small
        if k == 0 or compare(large, high) < 0:
            high = large
    return add(low, high) if (last - first) % 2 == 0 else add(low, low)


@compiled
def balance(a: Array, b: Array, factor: float) -> tuple[Array, Array]:
    """Return integers whose ratio is that of ``a`` and ``b * abs(factor)``."""
    mantissa, exponent = odd_parts(factor)
    b = multiply(b, integer(int(mantissa), b.size))
    power = np.zeros_like(a)
    add_shifted(power, np.uint64(1), abs(exponent))
    return (multiply(a, power), b) if exponent < 0 else (a, multiply(b, power))


@compiled
def outside(
    column: Array, first: int, last: int, i: int, side: int, about_mean: bool, by_mad: bool, sigma: float
) -> bool:
    """Whether value ``i`` lies outside a clipping bound, decided exactly.

    Parameters
    ----------
    column : ndarray of float64, shape (n,)
        Finite, ascending.
    first, last : int
        The values from which the bound is made: ``column[first:last]``.
    i : int
        The value to judge.
    side : int
        -1 for the lower bound, 1 for the upper.
    about_mean, by_mad : bool
        Centre is the mean, else the median; scale is the MAD, else the standard deviation (ddof 0).
    sigma : float
        Distance of the bound from the centre in units of the scale.
    """
    n = last - first
    numbers = digits(column, 448 + 2 * abs(odd_parts(sigma)[1]))
    size = numbers.shape[1]
    count, x = integer(n, size), numbers[i]
    twice_median = add(numbers[(first + last - 1) // 2], numbers[(first + last) // 2])
    total, squares = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
    for k in range(first, last):
        total = add(total, numbers[k])
        squares = add(squares, multiply(numbers[k], numbers[k]))
    place, centre = (multiply(x, count), total) if about_mean else (add(x, x), twice_median)
    if compare(place, centre) != side:
        return False
    away = distance(place, centre)
    if by_mad:
        # 2 |2x - 2c| or 4 |nx - nc|  against  sigma (4 MAD) (1 or n)
        bound = middle_deviations(numbers, first, last, twice_median)
        away = add(away, away)
        if about_mean:
            away, bound = add(away, away), multiply(bound, count)
        away, bound = balance(away, bound, MAD_TO_STD)
    else:
        # (nx - nc)^2 or n^2 (2x - 2c)^2  against  sigma^2 (n^2 variance) (1 or 4)
        bound = subtract(multiply(count, squares), multiply(total, total))
        if not about_mean:
            away, bound = multiply(away, count), multiply(bound, integer(4, size))
        away, bound = balance(multiply(away, away), bound, sigma)
    away, bound = balance(away, bound, sigma)
    return compare(away, bound) > 0
