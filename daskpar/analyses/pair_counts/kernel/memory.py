"""Arrays by their address, for the loops over pairs.

numba counts references to arrays, and where arrays travel in tuples from function to function it does so in
every turn of the innermost loop. An address is an integer. The Python function that starts a loop keeps the
arrays alive while it runs; nothing is checked here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.kernel.compiled import instruction


def address(array: NDArray[Any]) -> int:
    """Where a contiguous array of 8-byte numbers begins."""
    if not array.flags.c_contiguous or array.dtype not in (np.float64, np.int64):
        raise TypeError("an address is taken of contiguous float64 or int64 arrays only")
    return int(array.ctypes.data)


def pointer(builder: Any, base: Any, index: Any, kind: Any) -> Any:
    """LLVM code for the pointer to item ``index`` of 8-byte items, read as ``kind``."""
    words = builder.inttoptr(base, ir.IntType(64).as_pointer())
    return builder.bitcast(builder.gep(words, [index]), kind.as_pointer())


def _reader(kind: Any, result: Any) -> Any:
    @instruction
    def read(typing: Any, base: Any, index: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.load(pointer(builder, arguments[0], arguments[1], kind), align=8)

        return result(types.intp, types.intp), code

    return read


def _writer(kind: Any, value: Any) -> Any:
    @instruction
    def write(typing: Any, base: Any, index: Any, number: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            builder.store(arguments[2], pointer(builder, arguments[0], arguments[1], kind), align=8)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, value), code

    return write


get_float = _reader(ir.DoubleType(), types.float64)
get_int = _reader(ir.IntType(64), types.int64)
put_float = _writer(ir.DoubleType(), types.float64)
put_int = _writer(ir.IntType(64), types.int64)
