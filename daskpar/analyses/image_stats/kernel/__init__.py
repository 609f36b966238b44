"""Kernels of image statistics: pure functions on arrays, numpy and numba only."""

from .band import combine_band
from .options import METHODS, REJECTIONS, Rejection, rejection

__all__ = ["METHODS", "REJECTIONS", "Rejection", "combine_band", "rejection"]
