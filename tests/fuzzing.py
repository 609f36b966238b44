"""Good inputs with random bytes changed: each is refused with an error of ours, or read as others read it.

    python tests/fuzzing.py SEED SECONDS

What may not happen: any other exception, a crash, a hang, or numbers that no independent reader (astropy,
numpy, ruamel) finds in the same bytes. Data bytes that changed in a file without checksums are other
data, which nobody can know. With checksums, the numbers are those of the undamaged file, or it is refused.
"""

import csv
import json
import os
import signal
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
HANG = 10  # seconds of CPU time
HEAD = 3000  # bytes at the beginning, where most of the meaning is


class Hung(BaseException):
    """An input that is still being read after `HANG` seconds of CPU time."""


def changed(data, rng):
    """Return data with one to four random changes."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, min(len(data), HEAD) if rng.random() < 0.7 else len(data)) if data else 0)
        size = int(rng.integers(1, 81))
        match rng.integers(0, 9):
            case 0:
                data[at : at + 1] = bytes([data[at] ^ 1 << int(rng.integers(0, 8))]) if data else b""
            case 1 | 2:
                data[at : at + 1] = rng.bytes(1)
            case 3:
                data[at : at + 1] = bytes([int(rng.choice(list(b"0123456789-+.eE:'/ \n")))])
            case 4:
                data[at:at] = rng.bytes(int(rng.integers(1, 5)))
            case 5:
                del data[at : at + size]
            case 6:
                data[at:at] = data[at : at + size]
            case 7 if rng.random() < 0.3:
                del data[at:]
            case 8:  # a card of FITS in the place of another, or before it
                card, place = at - at % 80, 80 * int(rng.integers(0, 40))
                data[place : place + int(rng.choice([0, 80]))] = data[card : card + 80]
    return bytes(data)


def one_byte(data, rng):
    """Return data with one byte changed, which any checksum finds."""
    at = int(rng.integers(0, len(data)))
    return data[:at] + bytes([data[at] ^ int(rng.integers(1, 256))]) + data[at + 1 :]


# --- images


def images(folder):
    """Write good images; return their names."""
    from astropy.io import fits

    rng = np.random.default_rng(0)
    sky = rng.normal(1000, 30, (12, 10)).astype(np.float32)
    counts = rng.integers(0, 60000, (12, 10)).astype(np.uint16)
    scaled = fits.PrimaryHDU(rng.integers(-300, 300, (12, 10)).astype(np.int16))
    scaled.header["BSCALE"], scaled.header["BZERO"], scaled.header["BLANK"] = 0.5, 10.0, 7
    made = {
        "plain.fits": fits.HDUList([fits.PrimaryHDU(sky)]),
        "unsigned.fits": fits.HDUList([fits.PrimaryHDU(counts)]),
        "extension.fits": fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(sky, name="SCI")]),
        "zipped.fits.gz": fits.HDUList([fits.PrimaryHDU(sky)]),
        "tiles.fits": fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(counts.astype(np.int16))]),
        "summed.fits": fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(sky, name="SCI")]),
    }
    for name, hdus in made.items():
        hdus.writeto(folder / name, checksum=name == "summed.fits")
    return list(made)


def image_case(path, good):
    """Read one image both ways."""
    from astropy.io import fits

    from daskpar.inputs import images as ours

    verify = good.name == "summed.fits"
    stack = ours.scan_images(str(path), checksum="verify" if verify else "ignore")
    read = ours.read_frame(stack, 0)
    if verify:
        with fits.open(good) as hdus:
            return _same(read, hdus[1].data)
    hdu = int(stack.data.hdu[0])
    try:
        with fits.open(path, memmap=False) as hdus:
            expected = hdus[hdu].data
    except Exception:
        return "alone"
    return _same(read, expected)


def _same(read, expected):
    if expected is None:
        return "alone"
    np.testing.assert_array_equal(read, np.asarray(expected).astype(read.dtype))
    assert read.shape == expected.shape
    return "same"


# --- catalogs


def catalogs(folder):
    """Write good catalogs; return their names."""
    from astropy.table import Table

    table = Table({name: np.random.default_rng(i).random(40) for i, name in enumerate("xyz")})
    table["w"] = np.arange(40)
    table.write(folder / "t.fits")
    table.write(folder / "t.ecsv")
    table.write(folder / "t.csv")
    table.to_pandas().to_parquet(folder / "t.parquet")
    table.write(folder / "t.h5", path="table", serialize_meta=False)
    np.save(folder / "t.npy", np.array(table["x", "y", "z"].as_array()))
    return ["t.fits", "t.ecsv", "t.csv", "t.parquet", "t.h5", "t.npy"]


def catalog_case(path, good):
    """Read the positions in one catalog both ways."""
    from daskpar.inputs.catalogs import read_piece, scan_catalog

    catalog = scan_catalog(str(path), {name: name for name in "xyz"})
    read = np.concatenate([read_piece(catalog, piece).positions for piece in catalog.pieces()])
    if path.suffix not in OTHERS:
        return "alone"
    try:
        expected = OTHERS[path.suffix](path)
    except Exception:
        return "alone"
    np.testing.assert_array_equal(read, expected)
    return "same"


def _astropy(path):
    from astropy.table import Table

    table = Table.read(path)
    return np.column_stack([np.ma.filled(table[name].astype(float), np.nan) for name in "xyz"])


def _numpy(path):
    array = np.load(path, allow_pickle=False)
    return np.column_stack([array[name] for name in "xyz"]).astype(float)


def _plain_text(path):
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file)]
    return np.array([[float(row[name]) for name in "xyz"] for row in rows])


OTHERS = {".fits": _astropy, ".npy": _numpy, ".csv": _plain_text, ".ecsv": _astropy}


# --- recipes and profiles


def recipes(folder):
    """Copy the recipes and profiles that ship; return their names."""
    names = []
    for path in [*sorted((ROOT / "recipes").glob("*.yaml")), *sorted((ROOT / "conf").glob("*.yaml"))]:
        names.append(f"{path.parent.name}-{path.name}")
        (folder / names[-1]).write_bytes(path.read_bytes())
    return names


def recipe_case(path, good):
    """Read one recipe or profile; what was read must be what another YAML reader reads."""
    from ruamel.yaml import YAML

    from daskpar.loading import load_recipe
    from daskpar.settings.profile_lookup import load_profile
    from daskpar.settings.yaml_file import read_yaml

    data = read_yaml(path).data
    with open(path, encoding="utf-8") as file:
        other = YAML(typ="base", pure=True).load(file)
    assert _agree(data, other), f"{data} is not {other}"
    load_recipe(path) if good.name.startswith("recipes") else load_profile(path)
    return "same"


def _agree(ours, other):
    if isinstance(ours, dict):
        return list(ours) == list(other) and all(_agree(ours[key], other[key]) for key in ours)
    if isinstance(ours, list):
        return len(ours) == len(other) and all(map(_agree, ours, other))
    if ours is None or isinstance(ours, bool):
        words = {None: ("", "~", "null"), True: ("true",), False: ("false",)}
        return str(other or "").lower() in words[ours]
    if isinstance(ours, str):
        return ours == (other or "")
    return ours == (
        int(other, 0) if isinstance(ours, int) and not other.lstrip("+-").isdigit() else float(other)
    )


KINDS = {
    "images": (images, image_case),
    "catalogs": (catalogs, catalog_case),
    "recipes": (recipes, recipe_case),
}


def fuzz(kind, folder, seed, cases=10**9, seconds=10**9):
    """Try so many changed inputs of a kind, or for so long; return how many were refused, and so on."""
    from daskpar.errors import DaskparError

    make, case = KINDS[kind]
    good = folder / f"good-{kind}"
    if not good.exists():
        good.mkdir(parents=True)
        make(good)
    names = sorted(path.name for path in good.iterdir())
    counts, end = Counter(cases=0), time.monotonic() + seconds
    while counts["cases"] < cases and time.monotonic() < end:
        number = counts["cases"]
        rng = np.random.default_rng([seed, number])
        name = names[int(rng.integers(len(names)))]
        path = folder / f"bad-{name}"
        change = one_byte if name == "summed.fits" else changed
        path.write_bytes(change((good / name).read_bytes(), rng))
        os.utime(path, ns=(0, number))
        try:
            with _watched():
                counts[case(path, good / name)] += 1
        except DaskparError:
            counts["refused"] += 1
        except (Exception, Hung) as error:
            raise AssertionError(f"{kind} {name}, seed {seed}, case {number}: {error!r}") from error
        counts["cases"] += 1
    return counts


class _watched:
    """Raise in code that takes too long; silence what other readers warn of."""

    def __enter__(self):
        self.quiet = warnings.catch_warnings()
        self.quiet.__enter__()
        warnings.simplefilter("ignore")
        self.before = signal.signal(signal.SIGPROF, self.ring)
        signal.setitimer(signal.ITIMER_PROF, HANG)  # of CPU time: the machine may have other things to do

    def __exit__(self, *error):
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, self.before)
        self.quiet.__exit__(*error)

    @staticmethod
    def ring(number, frame):
        raise Hung(f"it takes more than {HANG} s")


def main(seed, seconds):
    """Fuzz all kinds in turn; print the counts."""
    import tempfile

    total = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            total += fuzz(kind, Path(folder), int(seed), seconds=float(seconds) / len(KINDS))
    print(json.dumps(total))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(*sys.argv[1:])
