"""Image inputs against astropy and fitsio: scanning headers, reading row bands.

    python tests/benchmarks/bench_inputs.py [--frames 10000] [--repeats 7]

Prints interleaved medians and their ratios; everything is in the page cache. Sparse files hold no pixels on
disk, so that ten thousand frames of 4k x 4k fit anywhere.
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits

from daskpar.inputs.images import read_band, read_band_raw, scan_images

try:
    import fitsio
except ImportError:
    fitsio = None


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    if fitsio is None:
        print("fitsio is not installed: left out")
    with tempfile.TemporaryDirectory() as folder:
        scanning(Path(folder), options.frames, options.repeats)
        reading(Path(folder), options.repeats)


def scanning(folder: Path, frames: int, repeats: int) -> None:
    """Scan sparse files of 4096 x 4096 float32 with 35 cards; the peers get a tenth of them."""
    for i in range(frames):
        make_sparse(folder / f"f{i:05d}.fits", i)
    pattern, few = str(folder / "f*.fits"), sorted(folder.glob("f*.fits"))[:: 10]
    versions = {
        "daskpar": lambda: scan_images(pattern),
        "astropy": lambda: [fits.getheader(path) for path in few],
    }
    if fitsio:
        versions["fitsio"] = lambda: [fitsio.read_header(str(path)) for path in few]
    times = interleave(versions, repeats)
    ours = times["daskpar"] / frames
    stack = scan_images(pattern)
    megabytes = len(pickle.dumps(stack)) / 1e6
    print(f"scan of {frames} frames: {times['daskpar']:.2f} s, record {megabytes:.1f} MB pickled")
    for name, seconds in times.items():
        a_file = seconds / (frames if name == "daskpar" else len(few))
        print(f"  {name:10} {a_file * 1e6:8.0f} µs a file   {a_file / ours:6.1f} x daskpar")


def reading(folder: Path, repeats: int) -> None:
    """Read 64 rows of 32 frames of 2048 x 2048, float32 and uint16."""
    for dtype in ("float32", "uint16"):
        paths = [folder / f"{dtype}_{i:02d}.fits" for i in range(32)]
        rng = np.random.default_rng(0)
        for path in paths:
            fits.PrimaryHDU(rng.normal(1000, 30, (2048, 2048)).astype(dtype)).writeto(path)
        stack = scan_images(paths)
        versions = {
            "read_band": lambda stack=stack: read_band(stack, 512, 576),
            "read_band_raw": lambda stack=stack: read_band_raw(stack, 512, 576),
            "astropy": lambda paths=paths: np.stack([astropy_section(path) for path in paths]),
        }
        if fitsio:
            versions["fitsio"] = lambda paths=paths: np.stack([fitsio_section(path) for path in paths])
        assert np.array_equal(versions["read_band"](), versions["astropy"]())
        times = interleave(versions, repeats)
        print(f"64 rows of 32 frames of 2048 x 2048 {dtype}")
        for name, seconds in times.items():
            ratio = seconds / times["read_band"]
            print(f"  {name:14} {seconds * 1e3:8.2f} ms   {ratio:6.2f} x read_band")


def astropy_section(path: Path) -> np.ndarray:
    """Read rows the way astropy recommends."""
    with fits.open(path) as hdus:
        return hdus[0].section[512:576]


def fitsio_section(path: Path) -> np.ndarray:
    """Read rows with fitsio."""
    with fitsio.FITS(str(path)) as hdus:
        return hdus[0][512:576, :]


def interleave(versions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each version, run in turns after one turn of warming up."""
    times: dict[str, list[float]] = {name: [] for name in versions}
    for turn in range(repeats + 1):
        for name, version in versions.items():
            begin = time.perf_counter()
            version()
            if turn:
                times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def make_sparse(path: Path, number: int) -> None:
    """Write a header and a hole of 64 MiB."""
    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2)])
    header.update({"NAXIS1": 4096, "NAXIS2": 4096})
    header.update({f"KEY{i}": i * 1.5 for i in range(15)}, EXPTIME=30.0, FILTER="V", BUNIT="adu")
    header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10 + number * 1e-7, "CRVAL2": 20.0})
    header.update({"CRPIX1": 2048.0, "CRPIX2": 2048.0, "CDELT1": -1e-4, "CDELT2": 1e-4})
    header["DATE-OBS"] = f"2020-01-01T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}"
    raw = header.tostring().encode()
    path.write_bytes(raw)
    os.truncate(path, len(raw) + -(-4096 * 4096 * 4 // 2880) * 2880)


if __name__ == "__main__":
    main()
