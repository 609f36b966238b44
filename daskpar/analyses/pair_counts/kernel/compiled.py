"""How the loops are compiled: as everywhere, and inlined where they stand inside other loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from daskpar.compiled import compiled

__all__ = ["compiled", "inlined"]

inlined: Callable[..., Any] = compiled(forceinline=True)
"""Decorator of what stands inside loops: vectors then stay in registers."""
