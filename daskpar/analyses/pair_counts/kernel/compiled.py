"""How the loops of this kernel are compiled."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import intrinsic
from numpy.typing import NDArray

from daskpar.compiled import aligned_stack, compiled

__all__ = ["aligned_stack", "compiled", "given", "inlined", "instruction"]

inlined: Callable[..., Any] = functools.partial(compiled, forceinline=True)
"""Decorator of what stands inside loops: vectors then stay in registers."""

instruction: Callable[..., Any] = intrinsic
"""Decorator of what is written in LLVM's instructions: gives the types of a call, and the code for it."""


def given(array: NDArray[Any]) -> NDArray[np.float64]:
    """Return an array as kernels take it: float64, in C order, and read-only whether or not the caller's is.

    Each kind would be compiled by itself.
    """
    view = np.ascontiguousarray(array, np.float64).view()
    view.flags.writeable = False
    return view
