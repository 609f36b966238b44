"""Pair counts by brute force, with the expressions that ARCHITECTURE.md and `binning` state."""

import numpy as np


def differences(one, two, boxsize):
    """Second minus first, minimum image, and the sum of both: each (n1, n2, 3)."""
    d = two[None, :, :] - one[:, None, :]
    if boxsize is not None:
        for axis, length in enumerate(boxsize):
            if length:
                a = d[..., axis]
                d[..., axis] = np.where(a > length / 2, a - length, np.where(a < -length / 2, a + length, a))
    return d, two[None, :, :] + one[:, None, :]


def compared(metric, d, total, los, signed):
    """The numbers that are compared with thresholds, along both axes."""
    x, y, z = np.moveaxis(d, -1, 0)
    square = (x * x + y * y) + z * z
    if metric in ("r", "theta"):
        return square, None
    if los == "midpoint":
        lx, ly, lz = np.moveaxis(total, -1, 0)
        along = (x * lx + y * ly) + z * lz
        length = (lx * lx + ly * ly) + lz * lz
        if metric == "rp_pi":
            first, second = np.maximum(square - (along * along) / length, 0.0), along / np.sqrt(length)
        else:
            first, second = square, along / np.sqrt(length * square)
    else:
        along = {"x": x, "y": y, "z": z}[los]
        a, b = {"x": (y, z), "y": (x, z), "z": (x, y)}[los]
        if metric == "rp_pi":
            first, second = a * a + b * b, along
        else:
            first, second = square, along / np.sqrt(square)
    return first, second if signed else np.abs(second)


def brute(one, two, metric, edges, second_edges=None, los="z", boxsize=None, weights=None):
    """Ordered pairs (counts, Σ w₁w₂, Σ separation); ``two`` None: self-pairs are left out."""
    edges = np.asarray(edges, float)
    auto = two is None
    two = one if auto else two
    with np.errstate(invalid="ignore", divide="ignore"):
        d, total = differences(one, two, boxsize)
        signed = second_edges is not None and second_edges[0] < 0
        first, second = compared(metric, d, total, los, signed)
    chord = 2.0 * np.sin(np.radians(edges) / 2.0)
    low = chord * chord if metric == "theta" else edges * edges
    separation = np.sqrt(first)
    if metric == "theta":
        separation = np.degrees(2 * np.arcsin(np.minimum(separation / 2, 1.0)))
    product = np.ones(first.shape) if weights is None else weights[0][:, None] * weights[1][None, :]
    keep = np.ones(first.shape, bool)
    if auto:
        np.fill_diagonal(keep, False)
    shape = (len(edges) - 1,) + (() if second_edges is None else (len(second_edges) - 1,))
    out = np.zeros((3, *shape))
    if second_edges is not None:
        limits = np.asarray(second_edges, float)
    for bin_ in np.ndindex(shape):
        inside = keep & (first >= low[bin_[0]]) & (first < low[bin_[0] + 1])
        if len(bin_) == 2:
            inside &= (second >= limits[bin_[1]]) & (second < limits[bin_[1] + 1])
        out[(0, *bin_)] = inside.sum()
        out[(1, *bin_)] = product[inside].sum()
        out[(2, *bin_)] = separation[inside].sum()
    return out[0].astype(np.int64), out[1], out[2]
