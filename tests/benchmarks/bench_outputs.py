"""FITS output, band by band with checksums, against astropy from memory; and its peak memory.

    python tests/benchmarks/bench_outputs.py [--side 4096] [--repeats 5] [--folder DIR]

Both write one float32 image of side × side pixels with DATASUM and CHECKSUM. daskpar reads it lazily from a
`.npy` file in the page cache and flushes what it writes (fsync); astropy has it in memory, in native byte
order, and does not flush, so a third row shows astropy followed by fsync. Each repeat is a fresh process,
interleaved. The file system sets the wall time; the time of the processor says more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

DASKPAR = """
import json, sys, time
import dask, dask.array as da, numpy as np, xarray as xr
from daskpar.outputs import write_outputs
source, folder = sys.argv[1:]
head = np.load(source, mmap_mode="r")
rows = max(1, 32 * 1024**2 // head[0].nbytes)
def read(a, b):
    return np.array(np.load(source, mmap_mode="r")[a:b])
parts = [(a, min(a + rows, len(head))) for a in range(0, len(head), rows)]
lazy = da.concatenate(
    [da.from_delayed(dask.delayed(read)(a, b), (b - a, head.shape[1]), head.dtype) for a, b in parts]
)
dataset = xr.Dataset({"combined": (("y", "x"), lazy)})
write_outputs(dataset.isel(y=slice(0, 10)), ["warm.fits"], folder, overwrite=True, provenance={})
start = time.perf_counter(), time.process_time()
write_outputs(dataset, ["a.fits"], folder, overwrite=True, provenance={})
seconds = time.perf_counter() - start[0], time.process_time() - start[1]
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([*seconds, 1024 * int(peak.split()[1])]))
"""

ASTROPY = """
import json, os, sys, time
import numpy as np
from astropy.io import fits
source, folder = sys.argv[1:3]
data = np.load(source)
start = time.perf_counter(), time.process_time()
hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, name="SCI")])
hdus.writeto(folder + "/a.fits", overwrite=True, checksum=True)
if sys.argv[3:]:
    with open(folder + "/a.fits", "rb") as written:
        os.fsync(written)
seconds = time.perf_counter() - start[0], time.process_time() - start[1]
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([*seconds, 1024 * int(peak.split()[1])]))
"""

VERSIONS = {"daskpar": [DASKPAR], "astropy": [ASTROPY], "astropy + fsync": [ASTROPY, "sync"]}


def once(version: str, source: Path, folder: Path) -> tuple[float, float, int]:
    """Return seconds, seconds of the processor and peak bytes of one write in a fresh process."""
    code, *more = VERSIONS[version]
    command = [sys.executable, "-c", code, str(source), str(folder), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, processor, peak = json.loads(done.stdout)
    return float(seconds), float(processor), int(peak)


def main() -> None:
    """Print medians, ratios and peaks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        source = folder / "image.npy"
        image = np.lib.format.open_memmap(source, "w+", np.float32, (arguments.side, arguments.side))
        for row in range(0, arguments.side, 256):
            part = image[row : row + 256]
            part[:] = np.random.default_rng(row).random(part.shape, np.float32)
        image.flush()
        runs = [{v: once(v, source, folder) for v in VERSIONS} for _ in range(arguments.repeats)]
    megabytes = arguments.side**2 * 4 / 1e6
    print(f"{arguments.side} x {arguments.side} float32, {megabytes:.0f} MB, {os.cpu_count()} cores")
    for version in VERSIONS:
        wall, processor = (
            f"{statistics.median(run[version][i] for run in runs):7.2f} s "
            f"({statistics.median(run[version][i] / run['daskpar'][i] for run in runs):.2f} x)"
            for i in (0, 1)
        )
        peak = max(run[version][2] for run in runs) / 1e6
        print(f"{version:16s} wall {wall}   processor {processor}   peak {peak:5.0f} MB")


if __name__ == "__main__":
    main()
