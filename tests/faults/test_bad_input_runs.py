"""Bad input on the command line, the rows of faults in turn: exit code, message, in time, nothing written."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table
from bad_files import BAD, CATALOG_READ, CATALOG_SCAN, CATALOGS, IMAGES, READ, SCAN, catalog, sky
from bad_recipes import written
from conftest import environment
from fits_maker import PIXELS, primary, wcs_keys, write, write_mef
from processes import AS_USER
from timed import timed, within

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

SITE = "kind: local\nworkers: 1\nprocesses: false\ndashboard: false\n"
# At the end of a command: the most memory it had, and whether it came as far as to load distributed.
NOTE = """
import atexit, sys

@atexit.register
def note():
    status = open("/proc/self/status").read().split()
    with open(__file__.replace("sitecustomize.py", "noted"), "w") as file:
        file.write(f"{status[status.index('VmHWM:') + 1]} {'distributed' in sys.modules}")
"""


@dataclasses.dataclass
class Case:
    """Input to be refused.

    ``make`` writes it into a folder, where the command stands; ``says`` must be found in the message.
    ``recipe`` is text, a mapping, or None where `make` writes it. ``late``: found when the run has begun.
    """

    make: Callable[[Path], object]
    recipe: object
    says: tuple[str, ...]
    code: int = 3
    seconds: float = 5
    megabytes: float = math.inf
    late: bool = False
    more: tuple[str, ...] = ()
    before: list[str] = dataclasses.field(default_factory=list)


def image(says, make, inputs=None, options=None, **more):
    recipe = {
        "name": "bad", "analysis": "image_stats", "inputs": {"files": "*.fits", **(inputs or {})},
        "options": options or {}, "outputs": ["combined.fits", "frame_stats.ecsv"],
    }  # fmt: skip
    return Case(make, recipe, says, **more)


def bad_file(name, **more):
    make, what = (SCAN | READ)[name]
    said = (rf"^error: \S*{BAD}", what)
    return Case(lambda folder: make(folder / BAD), IMAGES.format(BAD), said, late=name in READ, **more)


def bad_catalog(name):
    file, make, what = (CATALOG_SCAN | CATALOG_READ)[name]
    said = (rf"^error: \S*{re.escape(file)}", what)
    return Case(lambda folder: make(folder / file), CATALOGS.format(file), said, late=name in CATALOG_READ)


def bad_recipe(name):
    def make(folder):
        case.says = (r"^error: r\.yaml:\d+:\d+", *map(re.escape, written(folder / "r.yaml", name)))

    case = Case(make, None, (), 2, 1, 100)
    return case


def offenders(what, **cards):
    """Sixteen frames, every other one of another kind: the first five and how many more are told."""

    def make(folder):
        for i in range(16):
            write(folder / f"f{i:02d}.fits", primary(**cards) if i % 2 else None)

    shown = tuple(rf"f{i:02d}\.fits\S* .*{what}" for i in (1, 3, 5, 7, 9))
    return image((*shown, "and 3 more like these"), make, seconds=1, megabytes=200)


def summed(folder):
    """Write a frame with its checksum, one bit of whose data then flips."""
    fits.PrimaryHDU(PIXELS).writeto(folder / BAD, checksum=True)
    with open(folder / BAD, "r+b") as file:
        file.seek(2880 + 50)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 4]))


def edges(values, what):
    recipe = {
        "name": "bad", "analysis": "pair_counts", "inputs": {"files": "good.csv"},
        "options": {"edges": values, "estimator": None}, "outputs": ["pairs.ecsv"],
    }  # fmt: skip
    said = (rf"^error: r\.yaml:\d+:\d+ options: edges: .*{what}",)
    return Case(lambda folder: catalog(sky())(folder / "good.csv"), recipe, said, 2, 1)


def carlo(key, value):
    recipe = {"name": "bad", "analysis": "monte_carlo", "options": {key: value}, "outputs": ["pi.nc"]}
    return Case(lambda folder: None, recipe, (rf"^error: r\.yaml:\d+:\d+ options\.{key}: ",), 2, 1)


# What a task of it needs cannot go to another process.
LOCKED = """
import threading

import dask.array as da
import numpy as np
import xarray as xr

from daskpar.analysis import Analysis


def build(files, options):
    lock = threading.Lock()

    def chunk(block_id):
        with lock:
            return np.full((1, 4), block_id[0])

    image = da.map_blocks(chunk, chunks=((1,) * 4, (4,)), dtype=float, meta=np.empty((0, 0)))
    return xr.Dataset({"image": (("y", "x"), image)})


ANALYSIS = Analysis(build=build)
"""


def code(text, *says, analysis="map", late=False, **options):
    """A recipe that names code of the user's."""
    recipe = {
        "name": "bad", "analysis": analysis, "options": options,
        "inputs": {"grid": {"x": [1]}} if analysis == "map" else {"files": "mine.py"},
    }  # fmt: skip

    def make(folder):
        (folder / "mine.py").write_text(text)

    return Case(make, recipe, says, 2, seconds=60 if late else 5, late=late, more=("--allow-code",))


def unreadable(folder):
    write(folder / BAD).chmod(0)


def shifted(folder):
    for i, shift in enumerate((0, 0.1, 3)):
        write(folder / f"f{i}.fits", primary(**wcs_keys(shift=shift)))


def large(folder):
    (folder / "r.yaml").write_bytes(b"name: large\n" + b"# nothing\n" * 5_000_000)


CASES = {
    "18 header cut": bad_file("header cut in a card"),
    "18 data cut": bad_file("data cut in a row"),
    "19 bit flip": image((rf"{BAD}\[0\]", "DATASUM|CHECKSUM"), summed, {"checksum": "verify"}),
    "20 shapes": offenders("the frame is 8 x 3 float32", NAXIS1=8, NAXIS2=3),
    "20 dtypes": offenders("the frame is 6 x 4 int32", BITPIX=32),
    "20 BITPIX 24": offenders("BITPIX = 24", BITPIX=24),
    "20 NAXIS negative": offenders("NAXIS = -2", NAXIS=-2),
    "20 NAXIS1 negative": offenders("NAXIS1 = -6", NAXIS1=-6),
    "20 absurd width": offenders("the data are cut off", NAXIS1=10**15),
    "20 absurd area": offenders("the data are cut off", NAXIS1=2**62, NAXIS2=2**62),
    "22 HDU missing": image((r"mef\.fits\[7\].*1 SCI.*5 CAT.* BINTABLE",), write_mef, {"hdu": 7}),
    "22 HDU without data": image((r"mef\.fits\[0\].* no data.*5 CAT.* BINTABLE",), write_mef, {"hdu": 0}),
    "22 table as image": image((r"mef\.fits\[5\].* is a BINTABLE.*1 SCI.*5 CAT",), write_mef, {"hdu": 5}),
    "23 empty glob": image((r"inputs.files: no file matches '\*.fits'",), lambda folder: None),
    "23 folder": bad_file("folder"),
    "23 fifo": bad_file("fifo"),
    "23 dangling link": bad_file("dangling link"),
    "23 empty file": bad_file("empty"),
    "23 not FITS": bad_file("garbage"),
    "23 unreadable": image((rf"{BAD}.* may not be read; ask its owner",), unreadable, before=AS_USER),
    "24 gzip bomb": bad_file("gzip bomb", megabytes=200),
    "24 gzip broken": bad_file("gzip of another method"),
    "24 gzip cut": bad_file("gzip cut off"),
    **{f"28 {name}": bad_recipe(name) for name in (
        "unknown key", "option as text", "duplicate", "python tag", "anchor bomb", "deep flow", "tab",
        "empty", "documents",
    )},
    "28 50 MB": Case(large, None, (r"^error: r\.yaml:1:1", "above the limit"), 2, 1, 100),
    "29 output above": bad_recipe("output above"),
    "30 not importable": code("import nowhere", "mine", "nowhere", function="mine:work"),
    "30 no such function": code("x = 1", "mine", "'work'", function="mine:work"),
    "30 signature": code("def work(a, b): pass", r"'mine:work' is called with 1", function="mine:work"),
    "30 signature of build": code(
        "from daskpar.analysis import Analysis\nANALYSIS = Analysis(build=lambda: None)\n",
        r"'mine:ANALYSIS' is called with 2", analysis="mine:ANALYSIS",
    ),
    "30 not picklable": code(
        LOCKED, "block 'image 0 0' cannot be sent to a worker", "open files, locks and clients inside",
        analysis="mine:ANALYSIS", late=True,
    ),
    "31 unsorted": edges([3, 1], "finite and strictly increasing"),
    "31 equal": edges([1, 1], "finite and strictly increasing"),
    "31 NaN": edges([1, float("nan")], "finite and strictly increasing"),
    "31 one": edges([1], "at least two are needed"),
    "31 negative": edges([-1, 1], "must lie between 0"),
    **{f"32 {name}": bad_catalog(name) for name in (
        "ra outside", "dec outside", "ra NaN", "no rows", "no column dec", "unequal lengths",
        "weight negative",
    )},
    "34 no samples": carlo("n_samples", 0),
    "34 samples negative": carlo("n_samples", -5),
    "34 seed negative": carlo("seed", -1),
    "34 seed fractional": carlo("seed", 1.5),
    "36a WCS apart": image(
        (r"f2\.fits align: its WCS is 3\.\d+ pixels off that of f0\.fits", "wcs_shift"), shifted
    ),
}  # fmt: skip


@pytest.fixture
def begin(tmp_path):
    """Return a function that writes the input of a case and runs it; limits are the case's."""
    (tmp_path / "site.yaml").write_text(SITE)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NOTE)
    variables = environment(DASKPAR_RUNS=str(tmp_path / "runs"))
    variables["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "site"), variables["PYTHONPATH"]])

    def run(case):
        folder = tmp_path / "here"
        if not folder.exists():
            folder.mkdir()
            case.make(folder)
            if case.recipe is not None:
                text = case.recipe if isinstance(case.recipe, str) else yaml.safe_dump(case.recipe)
                (folder / "r.yaml").write_text(text)
        command = [*case.before, sys.executable, "-m", "daskpar", "run", "r.yaml", "-p", "../site.yaml"]
        return within(case.seconds, lambda: timed([*command, *case.more], cwd=folder, env=variables))

    return run


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused(tmp_path, begin, name):
    case = CASES[name]
    ended = begin(case)
    assert ended.code == case.code, ended.stderr
    assert "Traceback" not in ended.stderr
    for what in case.says:
        assert re.search(what, ended.stderr, re.MULTILINE), ended.stderr
    peak, cluster = (tmp_path / "site" / "noted").read_text().split()
    assert int(peak) / 1e3 < case.megabytes
    if case.late:
        assert not list(tmp_path.glob("runs/*/results/*"))
    else:
        assert cluster == "False"
        assert not (tmp_path / "runs").exists()


def padding_cut(folder):
    os.truncate(write(folder / "a.fits"), 2880 + PIXELS.nbytes + 7)
    write(folder / "b.fits")


def odd_names(folder):
    for name in ("two words.fits", "two\nlines.fits", "größe.fits"):
        write(folder / name, primary(OBSERVER=b"OBSERVER= 'Bj\xf6rk'"))


WORK = {
    "18 padding cut": (image((), padding_cut), 2, r"^warning: the padding at the end .*\(1: a\.fits\)"),
    "23 one file": (bad_file("empty"), 1, ""),
    "25 odd names": (image((), odd_names), 3, ""),
    "36a aligned": (image((), shifted, options={"combine": {"align": "wcs_shift"}}), 3, ""),
}


@pytest.mark.parametrize("name", WORK)
def test_odd_input_works(tmp_path, begin, name):
    case, frames, said = WORK[name]
    case = dataclasses.replace(case, seconds=200)
    if name == "23 one file":
        case = dataclasses.replace(case, make=lambda folder: write(folder / BAD))
    ended = begin(case)
    assert ended.code == 0, ended.stderr
    assert re.search(said, ended.stderr, re.MULTILINE), ended.stderr
    (combined,) = tmp_path.glob("runs/*/results/combined.fits")
    with fits.open(combined) as hdus:
        assert hdus["COUNT"].data.max() == frames


@pytest.mark.parametrize(
    ("form", "cards"),
    [
        ("f4", {"BITPIX": -32}),
        ("i2", {"BITPIX": 16, "BLANK": 7, "BSCALE": 0.5, "BZERO": 3.0}),
        ("u1", {"BITPIX": 8, "BLANK": 7}),
        ("i2", {"BITPIX": 16, "BZERO": 32768}),
    ],
    ids=["floats", "scaled", "bytes", "unsigned"],
)
def test_pixels_without_a_value_are_not_used_but_counted(tmp_path, begin, form, cards):
    """A pixel of all frames, and others of some; astropy reads the files whole."""
    pixels = np.random.default_rng(3).integers(8, 120, (3, 4, 6)).astype(form)
    if form == "f4" or "BLANK" in cards:
        odd = (np.nan, np.inf, -np.inf) if form == "f4" else 3 * (7,)
        pixels[:, 1, 1], pixels[0, 2, 2], pixels[1, 3, :3] = odd

    def make(folder):
        for i, frame in enumerate(pixels):
            write(folder / f"f{i}.fits", primary(**cards), frame)

    ended = begin(image((), make, options={"combine": {"rejection": "none"}}, seconds=200))
    assert ended.code == 0, ended.stderr
    (results,) = tmp_path.glob("runs/*/results")
    whole = np.stack([fits.getdata(tmp_path / "here" / f"f{i}.fits").astype(float) for i in range(3)])
    used = np.isfinite(whole)
    assert (~used).sum() == (7 if form == "f4" or "BLANK" in cards else 0)
    sums, counts = np.where(used, whole, 0).sum(0), used.sum(0)
    with fits.open(results / "combined.fits") as hdus:
        np.testing.assert_array_equal(hdus["COUNT"].data, counts)
        np.testing.assert_allclose(hdus["SCI"].data, sums / np.where(counts, counts, np.nan), rtol=1e-6)
    table = Table.read(results / "frame_stats.ecsv")
    assert table["count"].tolist() == used.sum((1, 2)).tolist()
    assert table["nan_count"].tolist() == (~used).sum((1, 2)).tolist()
    np.testing.assert_allclose(table["mean"], np.where(used, whole, 0).sum((1, 2)) / used.sum((1, 2)))


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_output_that_exists_is_kept_unless_told(tmp_path, cli):
    (tmp_path / "site.yaml").write_text(SITE)
    recipe = "name: pi\nanalysis: monte_carlo\noptions: {n_samples: 1000}\noutputs: [pi.nc, pi.ecsv]\n"
    (tmp_path / "r.yaml").write_text(recipe)
    command = ["run", "r.yaml", "-p", "site.yaml", "--output", "out"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pi.ecsv").write_text("by hand")
    before = digests(tmp_path / "out")
    refused = cli(*command)
    assert refused.code == 2, refused.stderr
    assert re.search(r"out/pi\.ecsv.*--overwrite", refused.stderr)
    assert "Traceback" not in refused.stderr
    assert digests(tmp_path / "out") == before
    assert not (tmp_path / "runs").exists()
    done = cli(*command, "--overwrite")
    assert done.code == 0, done.stderr
    after = digests(tmp_path / "out")
    assert sorted(after) == ["pi.ecsv", "pi.nc"]
    assert after["pi.ecsv"] != before["pi.ecsv"]
    assert cli(*command).code == 2
    assert digests(tmp_path / "out") == after


def test_a_catalog_of_one_row_has_no_pairs(tmp_path, begin):
    case = bad_catalog("weight negative")
    case.make = lambda folder: catalog({"ra": [1.0], "dec": [2.0], "w": [1.0]})(folder / "bad.fits")
    case.seconds = 200
    ended = begin(case)
    assert ended.code == 0, ended.stderr
    (path,) = tmp_path.glob("runs/*/results/pairs.ecsv")
    assert Table.read(path)["npairs"].tolist() == [0, 0]


def in_a_box():
    """Points of a grid, some twice, others on both of the sides of a periodic box that are one."""
    grid = np.stack(np.meshgrid(*[np.arange(0, 9, 2)] * 3), -1).reshape(-1, 3)
    points = np.concatenate([grid, grid[::10]])
    apart = np.abs(points[:, None] - points)
    squares = (np.minimum(apart, 8 - apart) ** 2).sum(-1)
    return points, squares, [0, 1, 6.25, 15.21], {"metric": "r", "edges": [0, 1, 2.5, 3.9], "boxsize": 8}


def on_the_sky():
    """Points at both poles, which have any right ascension, at 0 and 360 degrees, and some twice."""
    sky = np.stack(np.meshgrid([0, 0.25, 120, 359.75, 360], [-90, -89.75, 0, 0.25, 90]), -1).reshape(-1, 2)
    ra, dec = np.deg2rad(np.concatenate([sky, sky[::3]])).T
    place = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], -1)
    squares = ((place[:, None] - place) ** 2).sum(-1)
    edges = [0, 0.1, 0.3, 2]
    return np.rad2deg(np.stack([ra, dec], -1)), squares, (2 * np.sin(np.deg2rad(edges) / 2)) ** 2, {
        "metric": "theta", "edges": edges,
    }  # fmt: skip


@pytest.mark.parametrize("points_of", [in_a_box, on_the_sky])
def test_pairs_of_points_in_odd_places_equal_brute_force(tmp_path, begin, points_of):
    points, squares, bounds, options = points_of()
    np.fill_diagonal(squares, -1)
    names = ["x", "y", "z"] if points.shape[1] == 3 else ["ra", "dec"]
    columns = dict(zip(names, points.T.astype(float), strict=True))
    recipe = {
        "name": "odd", "analysis": "pair_counts", "inputs": {"files": "odd.npy"},
        "options": {"estimator": None, **options}, "outputs": ["pairs.ecsv"],
    }  # fmt: skip
    ended = begin(Case(lambda folder: catalog(columns)(folder / "odd.npy"), recipe, (), seconds=200))
    assert ended.code == 0, ended.stderr
    (path,) = tmp_path.glob("runs/*/results/pairs.ecsv")
    expected = [int(((low <= squares) & (squares < high)).sum()) for low, high in itertools.pairwise(bounds)]
    assert expected[0] > 0
    assert Table.read(path)["npairs"].tolist() == expected


BATCHES, BAD_BATCH = 12, 7
TRIAL = """
from pathlib import Path


def trial(rng, n):
    number = rng.bit_generator.seed_seq.spawn_key[0]
    mark(number)
    values = rng.random(n)
    if number == {bad} and not Path({mended!r}).exists():
        {hook}
    return values
"""


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("raise RuntimeError('no luck')", "raised RuntimeError: no luck"),
        ("values = values[1:]", r"returned an array of shape \(99,\) instead of \(100,\)"),
        ("values[3] = float('nan')", "not finite"),
    ],
    ids=["raises", "shape", "NaN"],
)
def test_a_bad_batch_is_named_and_the_others_are_saved(tmp_path, cli, runs, count, hook, said):
    (tmp_path / "site.yaml").write_text(SITE)
    trial = TRIAL.format(bad=BAD_BATCH, mended=str(tmp_path / "mended"), hook=hook)
    (tmp_path / "mine.py").write_text(count.source + trial)
    recipe = {
        "name": "carlo", "analysis": "monte_carlo", "outputs": ["result.nc"],
        "options": {
            "trial": {"kind": "function", "function": "mine:trial"}, "seed": 5,
            "n_samples": 100 * BATCHES, "batch_size": 100, "block_batches": 1,
        },
    }  # fmt: skip
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    done = cli("run", "r.yaml", "-p", "site.yaml", "--allow-code")
    assert done.code == 2, done.stderr
    assert re.search(said, done.stderr)
    assert f"batch {BAD_BATCH}" in done.stderr
    assert f"SeedSequence(5, spawn_key=({BAD_BATCH},))" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(runs.glob("*/results/*"))
    drawn = count.each()
    assert set(drawn) == set(map(str, range(BATCHES)))
    (tmp_path / "mended").touch()
    resumed = cli("resume", "last")
    assert resumed.code == 0, resumed.stderr
    assert count.each() - drawn == {str(BAD_BATCH): 1}  # the others were saved
