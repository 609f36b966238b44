"""Time the pair-count kernel against Corrfunc: one thread each, the same work, grid included.

    python tests/benchmarks/bench_pair_counts.py [--repeats 7] [--clock cpu] [r rp_pi ...]

The two alternate; the ratio is the median over the repeats of their time over ours, and a line is printed
only where the counts agree to the last integer. Corrfunc (``pip install Corrfunc==2.5.3``; needs gcc and
libgsl-dev) is optional: without it our own times are printed. ``--clock cpu`` counts processor time, for busy
machines. The last table is the time a pair at fixed density, which should be flat.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from daskpar.analyses.pair_counts.kernel.binning import Binning
from daskpar.analyses.pair_counts.kernel.cells import pack
from daskpar.analyses.pair_counts.kernel.partial import Wanted, finish, merge, partial
from daskpar.analyses.pair_counts.kernel.survey import along_axes, lay_out

try:
    from Corrfunc.mocks import DDtheta_mocks
    from Corrfunc.theory import DD, DDrppi, DDsmu
except ImportError:
    DD = None

EDGES = np.geomspace(0.1, 25.0, 21)
BOX = 420.0


def ours(sample, binning, box=None, weights=None, separations=False):
    """Count a sample with itself, as one block."""
    layout = lay_out(sample, None, binning, None if box is None else (box,) * 3)
    packed = pack(along_axes(sample, binning), layout, weights)
    wanted = Wanted(weights is not None, separations)
    return finish(merge([partial(layout, (0, layout.cells), packed, None, binning, wanted)]), doubled=True)


def uniform(n, box, seed=1):
    """Unclustered points."""
    return np.random.default_rng(seed).uniform(0, box, (n, 3))


def clustered(n, box, seed=2):
    """A quarter unclustered, the rest in clusters of a few Mpc with dense centres."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, box, (4000, 3))
    sizes = rng.gamma(2.0, 2.0, n)[:, None]
    sample = (centres[rng.integers(0, len(centres), n)] + rng.standard_normal((n, 3)) * sizes) % box
    sample[: n // 4] = rng.uniform(0, box, (n // 4, 3))
    return sample


def sky(n, seed=3):
    """Unclustered right ascensions, declinations and unit vectors."""
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    a, b = np.radians(ra), np.radians(dec)
    return ra, dec, np.stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)], axis=1)


def cases() -> dict[str, tuple[str, Callable, Callable]]:
    """Give each case its title, Corrfunc's call and ours."""
    found = {}
    radial = Binning("r", EDGES)
    small = BOX * 0.2 ** (1 / 3)
    for key, title, sample, box in (
        ("r", "r, 500 000 uniform", uniform(500_000, BOX), BOX),
        ("r_small", "r, 100 000 uniform, same density", uniform(100_000, small), small),
        ("r_sparse", "r, 100 000 uniform, same box", uniform(100_000, BOX), BOX),
        ("r_clustered", "r, 1.2 million clustered", clustered(1_200_000, BOX), BOX),
    ):
        x, y, z = np.ascontiguousarray(sample.T)
        found[key] = (
            title,
            lambda x=x, y=y, z=z, box=box: DD(1, 1, EDGES, x, y, z, boxsize=box, periodic=True),
            lambda sample=sample, box=box: ours(sample, radial, box),
        )
    sample = uniform(500_000, BOX)
    x, y, z = np.ascontiguousarray(sample.T)
    weights = np.random.default_rng(4).uniform(0, 1, len(sample))
    common = dict(boxsize=BOX, periodic=True)
    rp, pi, mu = np.geomspace(0.1, 25.0, 15), np.arange(41.0), np.arange(21) / 20
    found["rp_pi"] = (
        "rp_pi, 14 × 40",
        lambda: DDrppi(1, 1, pimax=40.0, binfile=rp, X1=x, Y1=y, Z1=z, **common),
        lambda: ours(sample, Binning("rp_pi", rp, pi), BOX),
    )
    found["s_mu"] = (
        "s_mu, 20 × 20",
        lambda: DDsmu(1, 1, EDGES, 1.0, 20, x, y, z, **common),
        lambda: ours(sample, Binning("s_mu", EDGES, mu), BOX),
    )
    found["weights"] = (
        "r, weights and mean separations",
        lambda: DD(
            1, 1, EDGES, x, y, z, weights1=weights, weight_type="pair_product", output_ravg=True, **common
        ),
        lambda: ours(sample, radial, BOX, weights, True),
    )
    ra, dec, vectors = sky(500_000)
    theta = np.geomspace(0.01, 3.0, 21)
    found["theta"] = (
        "theta, 500 000 on the sky",
        lambda: DDtheta_mocks(1, 1, theta, ra, dec),
        lambda: ours(vectors, Binning("theta", theta)),
    )
    return found


def seconds(function: Callable, clock: Callable[[], float]):
    """Time one call; its result and seconds."""
    begin = clock()
    result = function()
    return result, clock() - begin


def compare(title: str, theirs: Callable, mine: Callable, repeats: int, clock: Callable[[], float]) -> None:
    """Print the line of one case."""
    result = mine()
    if DD is None:
        own = statistics.median(seconds(mine, clock)[1] for _ in range(repeats))
        print(f"{title:36s} ours {own:7.3f} s   (Corrfunc is not installed)")
        return
    reference = theirs()
    if not np.array_equal(reference["npairs"].astype(np.int64), result["npairs"].ravel()):
        print(f"{title:36s} COUNTS DIFFER")
        return
    times = [(seconds(theirs, clock)[1], seconds(mine, clock)[1]) for _ in range(repeats)]
    first, second = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(a / b for a, b in times)
    print(f"{title:36s} Corrfunc {first:7.3f} s   ours {second:7.3f} s   ratio {ratio:5.2f}", flush=True)


def flatness(largest: int, clock: Callable[[], float]) -> None:
    """Print the time a pair from 10⁵ points on, at the density of the first case."""
    radial = Binning("r", EDGES)
    n = 100_000
    while n <= largest:
        box = BOX * (n / 500_000) ** (1 / 3)
        sample = uniform(n, box)
        times = [seconds(lambda sample=sample, box=box: ours(sample, radial, box), clock) for _ in range(4)]
        spent = statistics.median(spent for _, spent in times[1:])
        print(f"{n:9d} points   {spent / times[0][0]['npairs'].sum() * 2e9:6.3f} ns a pair", flush=True)
        n *= 10


def main() -> None:
    """Run the cases that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "cases", nargs="*", help="r r_small r_sparse r_clustered rp_pi …, flat"
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--largest", type=int, default=10_000_000, help="points in the last line of flat")
    options = parser.parse_args()
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    for key, (title, theirs, mine) in cases().items():
        if not options.cases or key in options.cases:
            compare(title, theirs, mine, options.repeats, clock)
    if not options.cases or "flat" in options.cases:
        flatness(options.largest, clock)


if __name__ == "__main__":
    main()
