"""How the loops are compiled: without the interpreter's lock, cached on disk, IEEE division, no fastmath."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

compiled: Callable[..., Any] = njit(nogil=True, cache=True, error_model="numpy")
"""Decorator of loops."""

inlined: Callable[..., Any] = njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
"""Decorator of what stands inside loops: vectors then stay in registers."""
