"""Eight float64 numbers at once, as a numba type.

The loops that count pairs need one operation that compilers do not find by themselves: take eight
numbers and a condition, and put those that fulfil it side by side. Here is a small vector type with
that operation and the few others the kernels use. It is written in LLVM's portable vector instructions:
AVX-512 where the processor has it, AVX2, SSE or NEON elsewhere, with the same results, because every
operation is one correctly rounded IEEE operation a lane, never contracted with another.

`load` and `store` take the address of a float64 array with room for eight numbers from the index on; nothing
is checked here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import overload, register_model

from daskpar.analyses.pair_counts.kernel.compiled import instruction

LANES = 8
"""Numbers in a vector."""

_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_VECTOR = ir.VectorType(ir.DoubleType(), LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)
_UNDEFINED = ir.Constant(_VECTOR, ir.Undefined)


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(name="float64x8")


class _Mask(types.Type):
    def __init__(self) -> None:
        super().__init__(name="bool_x8")


vector: Any = _Vector()
mask: Any = _Mask()


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)  # type: ignore[no-untyped-call]


@register_model(_Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _MASK)  # type: ignore[no-untyped-call]


_declare: Callable[..., Any] = cgutils.get_or_insert_function


def _pointer(builder: Any, base: Any, index: Any) -> Any:
    words = builder.inttoptr(base, ir.DoubleType().as_pointer())
    return builder.bitcast(builder.gep(words, [index]), _VECTOR.as_pointer())


@instruction
def load(typing: Any, base: Any, index: Any) -> Any:
    """Numbers index … index + 7 of the float64 array at an address (see `memory`)."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(builder, *arguments), align=8)

    return vector(types.intp, types.intp), code


@instruction
def store(typing: Any, base: Any, index: Any, value: Any) -> Any:
    """Set numbers index … index + 7 of the float64 array at an address."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _pointer(builder, *arguments[:2]), align=8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, vector), code


@instruction
def splat(typing: Any, number: Any) -> Any:
    """Eight times the same float64 number."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = builder.insert_element(_UNDEFINED, arguments[0], ir.Constant(_I32, 0))
        return builder.shuffle_vector(first, _UNDEFINED, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))

    return vector(types.float64), code


@instruction
def lane_numbers(typing: Any) -> Any:
    """0, 1, … 7."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(_VECTOR, [float(lane) for lane in range(LANES)])

    return vector(), code


@instruction
def count(typing: Any, condition: Any) -> Any:
    """In how many lanes a condition holds."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.zext(builder.ctpop(builder.bitcast(arguments[0], ir.IntType(LANES))), _I64)

    return types.intp(condition), code


@instruction
def compress(typing: Any, value: Any, condition: Any) -> Any:
    """Move the lanes in which a condition holds to the front in their order; the rest is undefined."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_VECTOR, [_VECTOR, _MASK, _VECTOR])
        name = f"llvm.experimental.vector.compress.v{LANES}f64"
        return builder.call(_declare(builder.module, kind, name), [*arguments, _UNDEFINED])

    return vector(value, condition), code


@instruction
def copysign(typing: Any, size: Any, sign: Any) -> Any:
    """``|size|`` with the sign of the second argument, lane by lane."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_VECTOR, [_VECTOR, _VECTOR])
        name = f"llvm.copysign.v{LANES}f64"
        return builder.call(_declare(builder.module, kind, name), arguments)

    return vector(size, sign), code


def _function(name: str) -> Any:
    """One of LLVM's functions of one vector."""

    @instruction
    def call(typing: Any, value: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(_VECTOR, [_VECTOR])
            function = _declare(builder.module, kind, f"llvm.{name}.v{LANES}f64")
            return builder.call(function, arguments)

        return vector(value), code

    return call


root = _function("sqrt")
whole = _function("trunc")


@instruction
def choose(typing: Any, condition: Any, yes: Any, no: Any) -> Any:
    """One number or the other, lane by lane."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return vector(condition, yes, no), code


@instruction
def store_whole(typing: Any, base: Any, index: Any, value: Any) -> Any:
    """Set numbers index … index + 7 of the int64 array at an address to whole numbers."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        integers = builder.fptosi(arguments[2], ir.VectorType(_I64, LANES))
        place = _pointer(builder, *arguments[:2])
        builder.store(integers, builder.bitcast(place, integers.type.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, vector), code


def _operator(symbol: Callable[..., Any], operand: Any, result: Any, name: str, *first: str) -> None:
    """Give two vectors (or masks) one of Python's operators, as one LLVM instruction."""

    @instruction
    def call(typing: Any, a: Any, b: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, name)(*first, *arguments)

        return result(a, b), code

    @overload(symbol)
    def implementation(a, b):  # type: ignore[no-untyped-def]
        # numba compares this signature with the lambda's, annotations included.
        return (lambda a, b: call(a, b)) if a is operand and b is operand else None


_operator(operator.add, vector, vector, "fadd")
_operator(operator.sub, vector, vector, "fsub")
_operator(operator.mul, vector, vector, "fmul")
_operator(operator.truediv, vector, vector, "fdiv")
# Ordered comparisons: a NaN fulfils none.
_operator(operator.lt, vector, mask, "fcmp_ordered", "<")
_operator(operator.ge, vector, mask, "fcmp_ordered", ">=")
_operator(operator.and_, mask, mask, "and_")
