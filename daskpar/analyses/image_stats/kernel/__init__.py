"""Kernels of image statistics: pure functions on arrays, numpy and numba only."""

from .band import combine_band, joined_bands
from .frame_statistics import frame_statistics
from .options import METHODS, REJECTIONS, Rejection, rejection

__all__ = [
    "METHODS", "REJECTIONS", "Rejection", "combine_band", "frame_statistics", "joined_bands", "rejection",
]  # fmt: skip
