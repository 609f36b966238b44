"""Correlation functions from pair counts.

Every function here takes *normalised* counts: the pairs of a bin over all pairs of the two samples, as
`auto_pairs` and `cross_pairs` count them, weighted or not. All are plain numpy on whole arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.polynomial import Legendre
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ESTIMATORS = ("natural", "davis_peebles", "landy_szalay", "hamilton")


def auto_pairs(weights: Floats) -> float:
    """Weighted number of ordered pairs of a sample with itself, self-pairs left out: (Σw)² - Σw².

    Parameters
    ----------
    weights : float64, shape (n,)
    """
    return float(weights.sum()) ** 2 - float((weights * weights).sum())


def cross_pairs(weights1: Floats, weights2: Floats) -> float:
    """Weighted number of pairs of two samples: Σw₁ Σw₂.

    Parameters
    ----------
    weights1, weights2 : float64, shapes (n,) and (m,)
    """
    return float(weights1.sum()) * float(weights2.sum())


def estimate(
    estimator: str,
    dd: Floats,
    *,
    rr: Floats | None = None,
    dr: Floats | None = None,
    rd: Floats | None = None,
) -> Floats:
    """Estimate a correlation function; NaN where a bin has no random pairs.

    ================  ===================================  ===================================
    ``natural``       DD / RR - 1                          Peebles & Hauser 1974
    ``davis_peebles`` DD / DR - 1                          Davis & Peebles 1983
    ``landy_szalay``  (DD - DR - RD + RR) / RR             Landy & Szalay 1993
    ``hamilton``      DD RR / (DR RD) - 1                  Hamilton 1993
    ================  ===================================  ===================================

    Parameters
    ----------
    estimator : {"natural", "davis_peebles", "landy_szalay", "hamilton"}
    dd, rr, dr, rd : float64, one shape
        Normalised counts of data with data, randoms with randoms, data with randoms and randoms with data.
        ``rd`` is ``dr`` where not given; it differs for signed separations and for two samples of data.

    Raises
    ------
    ValueError
        An unknown estimator, or one whose counts are not all given.
    """
    needed = {"natural": "rr", "davis_peebles": "dr", "landy_szalay": "dr rr", "hamilton": "dr rr"}
    given = {"rr": rr, "dr": dr}
    if estimator not in needed:
        raise ValueError(f"estimator {estimator!r} is none of {', '.join(ESTIMATORS)}")
    missing = [name for name in needed[estimator].split() if given[name] is None]
    if missing:
        raise ValueError(f"{estimator} needs {' and '.join(missing)}")
    zero = np.zeros_like(dd, dtype=np.float64)
    rr = zero if rr is None else rr
    dr = zero if dr is None else dr
    rd = dr if rd is None else rd
    if estimator == "natural":
        return _ratio(dd, rr) - 1.0
    if estimator == "davis_peebles":
        return _ratio(dd, dr) - 1.0
    if estimator == "hamilton":
        return _ratio(dd * rr, dr * rd) - 1.0
    return _ratio(((dd - dr) - rd) + rr, rr)


def _ratio(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b != 0))


def random_pairs_in_box(
    metric: str, edges: Floats, boxsize: tuple[float, float, float], second_edges: Floats | None = None
) -> Floats:
    """Normalised counts of unclustered points in a periodic box: the volume of a bin over that of the box.

    Parameters
    ----------
    metric : {"r", "rp_pi", "s_mu"}
    edges : float64, shape (n + 1,)
    boxsize : 3 floats
        All positive.
    second_edges : float64, shape (m + 1,), optional
        Of π or µ; below zero means signed.

    Returns
    -------
    float64, shape (n,) or (n, m)

    Raises
    ------
    ValueError
        ``theta``, or a box that is not periodic in every direction: neither has an analytic answer.
    """
    volume = float(np.prod(boxsize))
    if not volume > 0 or metric not in ("r", "rp_pi", "s_mu"):
        raise ValueError("random pairs are known without counting in a fully periodic box only")
    shells = 4.0 / 3.0 * np.pi * np.diff(_power(edges, 3)) / volume
    if metric == "r":
        return np.asarray(shells)
    if second_edges is None:
        raise ValueError(f"{metric} has two axes")
    # Absolute separations stand for both signs.
    widths = np.diff(second_edges) * (1.0 if second_edges[0] < 0 else 2.0)
    if metric == "s_mu":
        return np.asarray(shells[:, None] * (widths / 2.0))
    rings = np.pi * np.diff(_power(edges, 2)) / volume
    return np.asarray(rings[:, None] * widths)


def _power(edges: Floats, exponent: int) -> Floats:
    """Multiply, as ``**`` rounds differently on different processors."""
    values = np.asarray(edges, dtype=np.float64)
    return values * values if exponent == 2 else values * values * values


def projected(xi: Floats, pi_edges: Floats) -> Floats:
    """Projected correlation function wp(rp) = Σ ξ(rp, π) Δπ over both signs of π (Davis & Peebles 1983).

    Parameters
    ----------
    xi : float64, shape (..., n, m)
        Over bins of rp and π.
    pi_edges : float64, shape (m + 1,)

    Returns
    -------
    float64, shape (..., n)
        In the unit of π.
    """
    widths = np.diff(pi_edges) * (1.0 if pi_edges[0] < 0 else 2.0)
    return np.asarray((xi * widths).sum(axis=-1))


def multipoles(xi: Floats, mu_edges: Floats, orders: tuple[int, ...] = (0, 2, 4)) -> Floats:
    """Multipoles ξ_ℓ(s) = (2ℓ + 1)/2 ∫ ξ(s, µ) P_ℓ(µ) dµ from -1 to 1 (Hamilton 1992).

    ξ is taken as constant within a bin and the Legendre polynomial is integrated exactly, so that an
    isotropic ξ has no multipoles but the first.

    Parameters
    ----------
    xi : float64, shape (..., n, m)
        Over bins of s and µ.
    mu_edges : float64, shape (m + 1,)
        From 0 to 1, or from -1 to 1.
    orders : ints
        ℓ; odd ones need signed µ.

    Returns
    -------
    float64, shape (..., n, number of orders)

    Raises
    ------
    ValueError
        Bins that do not cover µ, or an odd order from absolute µ.
    """
    mu_edges = np.asarray(mu_edges, dtype=np.float64)
    signed = bool(mu_edges[0] < 0)
    if mu_edges[-1] != 1.0 or mu_edges[0] not in (0.0, -1.0):
        raise ValueError("multipoles need bins of µ from 0 to 1, or from -1 to 1")
    if not signed and any(order % 2 for order in orders):
        raise ValueError("odd multipoles need signed µ")
    result = []
    for order in orders:
        primitive: Any = Legendre.basis(order).integ()
        share = (2 * order + 1) * np.diff(primitive(mu_edges)) * (0.5 if signed else 1.0)
        result.append((xi * share).sum(axis=-1))
    return np.stack(result, axis=-1)
