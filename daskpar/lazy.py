"""`dask.array` and `xarray`, imported when they are first used.

Builders need them; workers, which import the same modules to find the function of a block, do not, and would
spend half of their start on it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr
else:

    class _Later:
        """Stands for a module until something is asked of it."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            if attribute.startswith("__"):  # an inspection must not import anything
                raise AttributeError(attribute)
            value = getattr(importlib.import_module(self._name), attribute)
            setattr(self, attribute, value)
            return value

    da = _Later("dask.array")
    xr = _Later("xarray")

__all__ = ["da", "xr"]
