"""How the loops of this kernel are compiled."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from numba.extending import intrinsic

from daskpar.compiled import aligned_stack, compiled

__all__ = ["aligned_stack", "compiled", "inlined", "instruction"]

inlined: Callable[..., Any] = functools.partial(compiled, forceinline=True)
"""Decorator of what stands inside loops: vectors then stay in registers."""

instruction: Callable[..., Any] = intrinsic
"""Decorator of what is written in LLVM's instructions: gives the types of a call, and the code for it."""
