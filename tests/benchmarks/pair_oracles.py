"""Compare pair counts with Corrfunc, and jackknife covariances with TreeCorr, on a catalog with weights.

    python tests/benchmarks/pair_oracles.py corrfunc DATA.fits [RANDOMS.fits]
    python tests/benchmarks/pair_oracles.py treecorr

DATA and RANDOMS are FITS tables with the columns X, Y, Z and WEIGHT; they are opened as catalogs, as a user
does. ``corrfunc`` counts DD, DR and RR, weighted, by r, rp_pi and s_mu, with linear and logarithmic edges and
some from 0 on, and without RANDOMS DD alone: counts must be equal to the last integer and sums of weights to
1e-12. ``treecorr`` compares Landy-Szalay and its jackknife covariance of made-up points in a grid of patches,
and prints the numbers that ``tests/unit/test_pair_oracles.py`` has; TreeCorr keeps weights in single
precision. A line is printed for each comparison; the exit code is 1 if one fails.

Needs ``pip install Corrfunc==2.5.3`` (with gcc and libgsl-dev) or ``pip install TreeCorr``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

import numpy as np

import daskpar
from daskpar.analyses.pair_counts import steps

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from pair_samples import EDGES, GRID, patch_numbers, weighted_samples, with_self_pairs  # type: ignore[import-not-found]

RADIAL = {
    "linear": np.linspace(0.0, 40.0, 21),
    "logarithmic": np.geomspace(0.5, 30.0, 16),
    "uneven": np.array([0.3, 1.0, 1.5, 7.0, 22.0, 35.0]),
}
TABLED = ("r uneven", "rp_pi uneven × 4", "s_mu uneven × 4")
ROLES = {"x": "X", "y": "Y", "z": "Z", "weight": "WEIGHT"}


def forms():
    """Yield a title, our settings and Corrfunc's call of each comparison."""
    from Corrfunc.theory import DD, DDrppi, DDsmu

    for name, edges in RADIAL.items():
        yield f"r {name}", {"edges": edges}, lambda auto, edges=edges, **k: DD(auto, 1, edges, **k)
        for n_pi in (1, 4, 40):
            pi = np.arange(n_pi + 1.0)
            yield (
                f"rp_pi {name} × {n_pi}",
                {"edges": edges, "metric": "rp_pi", "pi_edges": pi},
                lambda auto, edges=edges, n=n_pi, **k: DDrppi(auto, 1, pimax=float(n), binfile=edges, **k),
            )
        for n_mu in (1, 4, 20):
            yield (
                f"s_mu {name} × {n_mu}",
                {"edges": edges, "metric": "s_mu", "mu_edges": np.arange(n_mu + 1) / n_mu},
                lambda auto, edges=edges, n=n_mu, **k: DDsmu(auto, 1, edges, 1.0, n, **k),
            )


def columns(path: str) -> list[np.ndarray]:
    """Read X, Y, Z and WEIGHT."""
    from astropy.io import fits

    table = fits.getdata(path)
    return [np.asarray(table[name], np.float64) for name in ROLES.values()]


def corrfunc(data: str, randoms: str | None = None) -> bool:
    """Compare counts and sums of weights; whether all agree."""
    paths = {"d": data} | ({} if randoms is None else {"r": randoms})
    raw = {letter: columns(path) for letter, path in paths.items()}
    ours = {letter: daskpar.open_catalog(path, columns=ROLES) for letter, path in paths.items()}
    good = True
    for title, settings, count in forms():
        for one, two in ("dd",) if randoms is None else ("dd", "dr", "rr"):
            auto = one == two
            x, y, z, w = raw[one]
            arguments = dict(X1=x, Y1=y, Z1=z, weights1=w, weight_type="pair_product", periodic=False)
            if not auto:
                x, y, z, w = raw[two]
                arguments |= dict(X2=x, Y2=y, Z2=z, weights2=w)
            theirs = count(int(auto), **arguments)
            mine = daskpar.count_pairs(
                ours[one], None if auto else ours[two], separations=False, **settings
            ).compute(scheduler="threads")
            pairs = theirs["npairs"].astype(np.int64)
            sums = theirs["weightavg"] * pairs
            ours_pairs, ours_sums = (mine[name].values.ravel() for name in ("npairs", "weight_sum"))
            if auto and settings["edges"][0] == 0:  # Corrfunc counts self-pairs there
                # and their weights, but in DDrppi and DDsmu. Added to ours: taken from theirs, they would
                # leave what rounding made of a much larger number.
                own = (raw[one][3] ** 2).sum() if title.startswith("r ") else 0.0
                first = np.arange(len(pairs)) == 0
                ours_pairs, ours_sums = ours_pairs + first * len(raw[one][0]), ours_sums + first * own
            equal = np.array_equal(pairs, ours_pairs)
            apart = np.abs(ours_sums - sums) / np.maximum(np.abs(sums), 1e-300)
            apart = float(apart[pairs > 0].max(initial=0.0))
            good &= equal and apart < 1e-12
            verdict = "equal" if equal else "COUNTS DIFFER"
            if title in TABLED and auto and one == "d":
                print("  counts", mine["npairs"].values.ravel().tolist(), "\n  sums", sums.tolist())
            print(
                f"{title:24s} {one}{two} {pairs.sum():12d} pairs {verdict}, weights to {apart:.1e}",
                flush=True,
            )
    return good


def treecorr() -> bool:
    """Compare ξ and its covariance for two treatments of the pairs across patches; whether all agree."""
    import treecorr as tc

    (d, wd), (r, wr) = weighted_samples()
    catalogs = [
        tc.Catalog(x=p[:, 0], y=p[:, 1], z=p[:, 2], w=w, patch=patch_numbers(p, r))
        for p, w in ((d, wd), (r, wr))
    ]
    good = True
    for theirs, cross in (("simple", 1.0), ("match", "matched")):
        counts = []
        for one, two in ((0, None), (0, 1), (1, None)):
            pairs = tc.NNCorrelation(
                min_sep=EDGES[0], max_sep=EDGES[-1], nbins=len(EDGES) - 1, bin_type="Log", brute=True,
                var_method="jackknife", cross_patch_weight=theirs,
            )  # fmt: skip
            pairs.process(catalogs[one], None if two is None else catalogs[two])
            counts.append(pairs)
        dd, dr, rr = counts
        xi, _ = dd.calculateXi(rr=rr, dr=dr)
        with mock.patch.object(steps, "patch_weights", with_self_pairs):
            mine = daskpar.correlation(
                d, r, EDGES, weights=wd, weights_randoms=wr, patch_grid=GRID, cross_weight=cross
            ).compute(scheduler="threads")
        apart = [
            float(np.abs(a - b).max() / np.abs(b).max())
            for a, b in ((mine["xi"].values, xi), (mine["covariance"].values, dd.cov))
        ]
        good &= max(apart) < 1e-6
        print(f"{theirs}: ξ to {apart[0]:.1e}, covariance to {apart[1]:.1e} of the largest")
        print("  xi =", np.array2string(xi, separator=", ", floatmode="unique"))
        print("  covariance =", np.array2string(dd.cov, separator=", ", floatmode="unique"))
    return good


if __name__ == "__main__":
    which, *paths = sys.argv[1:] or ["none"]
    if which not in ("corrfunc", "treecorr"):
        sys.exit(__doc__)
    sys.exit(0 if (corrfunc(*paths) if which == "corrfunc" else treecorr()) else 1)
