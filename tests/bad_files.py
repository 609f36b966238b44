"""Files that are no images or catalogs, or no good ones, each with what the message about it must say."""

import gzip
import os

import numpy as np
from astropy.io import fits
from fits_maker import EMPTY_PRIMARY, PIXELS, card, extension, header, padded, primary, write

BAD = "bad.fits"

#: recipes of such files, ``.format(name)``
IMAGES = "name: bad\nanalysis: image_stats\ninputs: {{files: {}}}\noutputs: [combined.fits]\n"
CATALOGS = """name: bad
analysis: pair_counts
inputs: {{files: {}, columns: {{ra: ra, dec: dec, weight: w}}}}
options: {{metric: theta, edges: [0.1, 1, 2], estimator: null}}
outputs: [pairs.ecsv]
"""


def cards(**changes):
    """Write one image whose primary header is changed."""
    return lambda path: write(path, primary(**changes))


def ext(kind="IMAGE", **changes):
    """Write an empty primary HDU and one changed extension."""
    return lambda path: write(path, EMPTY_PRIMARY, None, [(extension(kind, **changes), PIXELS)])


def raw(data):
    return lambda path: path.write_bytes(data)


def cut(size):
    def make(path):
        os.truncate(write(path), size)

    return make


def order(*pairs):
    return lambda path: path.write_bytes(header(pairs) + padded(PIXELS.tobytes()))


def zipped(change):
    """Write a gzipped image after a change of the compressed bytes."""

    def make(path):
        write(path)
        path.write_bytes(change(bytearray(gzip.compress(path.read_bytes()))))

    return make


def flipped(data):
    data[len(data) // 2] ^= 0xFF
    return data


def wrong_crc(data):
    data[-8] ^= 1
    return data


def bomb(path):
    head = header(primary(NAXIS1=10_000, NAXIS2=10_000))
    body = gzip.compress(bytes(1 << 20), 9)
    path.write_bytes(gzip.compress(head) + body * 382)


def tail_bomb(path):
    path.write_bytes(gzip.compress(write(path).read_bytes()) + gzip.compress(bytes(1 << 20), 9) * 200)


def tiled(change):
    def make(path):
        fits.CompImageHDU(np.arange(10_000, dtype=np.int16).reshape(100, 100)).writeto(path)
        data = bytearray(path.read_bytes())
        path.write_bytes(change(data))

    return make


def replaced(old, new):
    return lambda data: bytes(data).replace(card(*old), card(*new))


def fifo(path):
    os.mkfifo(path)


def socket(path):
    import socket as module

    here = os.getcwd()
    os.chdir(path.parent)  # the address of a socket is short
    try:
        with module.socket(module.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


GARBAGE = np.random.default_rng(0).bytes(30_000)
HEAD = header(primary())

#: name: (how to write bad.fits, what the scan must say)
SCAN = {
    # files
    "empty": (raw(b""), "the file is empty"),
    "one byte": (raw(b"S"), "not a FITS file"),
    "garbage": (raw(GARBAGE), "not a FITS file"),
    "text": (raw(b"x, y\n1, 2\n"), "not a FITS file"),
    "folder": (lambda path: path.mkdir(), r"a folder, not a file; name the files in it"),
    "fifo": (fifo, "a named pipe, not a file"),
    "socket": (socket, "a socket, not a file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "a device, not a file"),
    "dangling link": (lambda path: path.symlink_to("gone.fits"), r"leads nowhere: gone\.fits"),
    "loop of links": (lambda path: path.symlink_to(BAD), "cannot be opened"),
    "bzip2": (raw(b"BZh91AY&SY" + GARBAGE), "this is a bzip2 file; convert"),
    "zip": (raw(b"PK\x03\x04" + GARBAGE), "this is a zip file"),
    "hdf5": (raw(b"\x89HDF\r\n\x1a\n" + GARBAGE), "this is a HDF5 file"),
    "xz": (raw(b"\xfd7zXZ\x00" + GARBAGE), "this is a xz file"),
    # headers
    "header of one card": (raw(card("SIMPLE", True)), "header is cut off before its END"),
    "header cut in a card": (cut(200), "header is cut off before its END"),
    "header cut after END": (cut(6 * 80 + 10), "header is cut off inside the padding"),
    "header without END": (raw(HEAD.replace(b"END", b"AND")), "header is cut off before its END"),
    "endless header": (raw(HEAD.replace(b"END", b"AND") * 6000), "no END card within 16 MiB"),
    "END not at a card": (raw(HEAD[:400].ljust(2840) + b"END".ljust(40)), "header is cut off before its END"),
    "SIMPLE is F": (cards(SIMPLE=False), "SIMPLE is not T"),
    "SIMPLE is text": (cards(SIMPLE="T"), "SIMPLE is not T"),
    "BITPIX 24": (cards(BITPIX=24), r"BITPIX: BITPIX = 24; FITS allows 8, 16, 32, 64, -32, -64"),
    "BITPIX 0": (cards(BITPIX=0), "BITPIX = 0"),
    "BITPIX text": (cards(BITPIX="16"), "BITPIX = 16"),
    "BITPIX fraction": (cards(BITPIX="=16.5"), "BITPIX = 16.5"),
    "BITPIX twice": (
        order(("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", 6), ("NAXIS2", 4), ("BITPIX", -32)),
        "BITPIX stands there twice",
    ),
    "END of the primary header lost": (
        lambda path: path.write_bytes(
            header(EMPTY_PRIMARY).replace(b"END     ", b"AND     ")
            + header(extension())
            + padded(PIXELS.tobytes())
        ),
        "another header begins inside this one",
    ),
    "no BITPIX": (cards(BITPIX=None), "BITPIX is missing"),
    "BITPIX without value": (cards(BITPIX="=  / nothing"), "BITPIX is missing"),
    "no NAXIS": (cards(NAXIS=None), "NAXIS is missing"),
    "no NAXIS2": (cards(NAXIS2=None), "NAXIS2 is missing"),
    "NAXIS negative": (cards(NAXIS=-2), "NAXIS = -2 is outside what FITS allows"),
    "NAXIS 1000": (cards(NAXIS=1000), "NAXIS = 1000 is outside"),
    "NAXIS1 negative": (cards(NAXIS1=-2), "NAXIS1 = -2 is outside"),
    "both axes negative": (cards(NAXIS1=-6, NAXIS2=-4), "is outside what FITS allows"),
    "NAXIS1 fraction": (cards(NAXIS1=6.0), r"NAXIS1 is 6\.0, not a whole number"),
    "NAXIS1 logical": (cards(NAXIS1=True), "NAXIS1 is True, not a whole number"),
    "NAXIS1 text": (cards(NAXIS1="six"), "NAXIS1 is 'six'"),
    "NAXIS1 malformed": (cards(NAXIS1="=6 4"), "NAXIS1: the value '6 4' is no FITS value"),
    "absurd width": (cards(NAXIS1=10**15), "the data are cut off"),
    "absurd area": (cards(NAXIS1=2**62, NAXIS2=2**62), "the data are cut off"),
    "number of 60 digits": (cards(NAXIS1=10**59), "the data are cut off"),
    "number of 68 digits": (cards(NAXIS1="=" + "9" * 68), "the data are cut off"),
    "one axis": (cards(NAXIS=1, NAXIS2=None, NAXIS1=24), "has 1 axis; frames have two"),
    "cube": (cards(NAXIS=3, NAXIS1=3, NAXIS2=4, NAXIS3=2), "a cube of 3 x 4 x 2; split it"),
    "cube of empty planes": (cards(NAXIS=3, NAXIS3=0), "no HDU holds an image"),
    "no columns": (cards(NAXIS1=0), "no HDU holds an image"),
    "no rows": (cards(NAXIS2=0), "no HDU holds an image"),
    "no image at all": (
        lambda path: write(path, EMPTY_PRIMARY, None),
        "no HDU holds an image; the file has: 0 empty",
    ),
    "random groups": (
        cards(NAXIS=3, NAXIS1=0, NAXIS2=3, NAXIS3=4, GROUPS=True, PCOUNT=2, GCOUNT=1),
        "no HDU holds an image; the file has: 0 groups",
    ),
    "BZERO text": (cards(BZERO="much"), r"BZERO: BZERO is 'much', not a number"),
    "BSCALE logical": (cards(BSCALE=True), "BSCALE is True, not a number"),
    "BSCALE overflows": (cards(BSCALE="=1E999"), "BSCALE is inf"),
    "BZERO malformed": (cards(BZERO="=1..5"), "the value '1..5' is no FITS value"),
    "open string": (cards(BZERO="='12"), "no closing quote"),
    # data
    "data cut to nothing": (cut(2880), r"\[0\]: the data are cut off: 96 bytes by the header, 0 in the file"),
    "data cut in a row": (cut(2880 + 95), "96 bytes by the header, 95 in the file"),
    "only a table": (ext("BINTABLE", BITPIX=8, NAXIS1=24, EXTNAME="CAT"), "0 empty, 1 CAT,1 BINTABLE 24 x 4"),
    "extension of no known kind": (ext("IMaGE"), "no HDU holds an image"),
    "ASCII table": (ext("TABLE", BITPIX=8, NAXIS1=24), "1 TABLE 24 x 4"),
    "extension without BITPIX": (ext(BITPIX=None), r"bad.fits\[1\] BITPIX: BITPIX is missing"),
    "extension with NAXIS1 negative": (ext(NAXIS1=-1), r"bad.fits\[1\] NAXIS1: NAXIS1 = -1"),
    "PCOUNT negative": (ext(PCOUNT=-8), "PCOUNT = -8 is outside"),
    "GCOUNT absurd": (ext(GCOUNT=10**12), "the data are cut off"),
    "extension cut in its header": (
        lambda path: os.truncate(write(path, EMPTY_PRIMARY, None, [(extension(), PIXELS)]), 3000),
        r"\[1\]: the header is cut off",
    ),
    # compressed
    "gzip of garbage": (raw(gzip.compress(GARBAGE)), "not a FITS file"),
    "gzip of nothing": (raw(gzip.compress(b"")), "not a FITS file"),
    "gzip head only": (zipped(lambda data: data[:15]), "the gzip stream is cut off"),
    "gzip of another method": (zipped(lambda data: data[:2] + b"\x07" + data[3:]), "gzip stream is damaged"),
    "gzip flipped": (zipped(flipped), "gzip stream is damaged|no FITS value|not a FITS file|missing|header"),
    "gzip bomb": (bomb, "would inflate to 400 MB; decompress it yourself"),
    "tiles cut off": (tiled(lambda data: data[:9000]), "the data are cut off"),
    "tiles of no size": (tiled(replaced(("ZNAXIS1", 100), ("ZNAXIS1", -1))), "ZNAXIS1 = -1"),
    "absurd tiles": (tiled(replaced(("ZNAXIS1", 100), ("ZNAXIS1", 10**9))), "would inflate to"),
}

#: name: (how to write bad.fits, what reading a frame must say; the headers look right)
READ = {
    "gzip cut off": (zipped(lambda data: data[:-20]), "gzip stream is cut off|inflated data end too early"),
    "gzip checksum wrong": (zipped(wrong_crc), "gzip stream is damaged: CRC"),
    "gzip of cut data": (raw(gzip.compress(HEAD + PIXELS.tobytes()[:50])), "inflated data end too early"),
    "gzip without data": (raw(gzip.compress(HEAD)), "inflated data end too early"),
    "bomb behind the data": (tail_bomb, "would inflate to"),
    "tiles overwritten": (
        tiled(lambda data: data[:8640] + b"\xff" * (len(data) - 8640)),
        "cannot be decompressed",
    ),
}


def sky(rows=20, **changed):
    """A table of points on the sky; a change is ``(rows, value)``, or None for no such column."""
    columns = {"ra": np.linspace(0, 359, rows), "dec": np.linspace(-90, 90, rows), "w": np.ones(rows)}
    for name, change in changed.items():
        if change is None:
            del columns[name]
        else:
            columns[name][list(change[0])] = change[1]
    return columns


def as_fits(columns, path):
    fits.BinTableHDU.from_columns(
        [fits.Column(name, "D", array=values) for name, values in columns.items()]
    ).writeto(path)


def as_parquet(columns, path):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def as_hdf5(columns, path):
    import h5py

    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values


def as_npy(columns, path):
    np.save(path, np.rec.fromarrays(list(columns.values()), names=list(columns)))


def as_csv(columns, path):
    rows = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(rows) + "\n")


WRITERS = {".fits": as_fits, ".parquet": as_parquet, ".h5": as_hdf5, ".npy": as_npy, ".csv": as_csv}


def catalog(columns, change=bytes):
    """Write a table in the format that the name asks for, after a change of its bytes."""

    def make(path):
        WRITERS[path.suffix](columns, path)
        path.write_bytes(change(path.read_bytes()))

    return make


def half(data):
    return data[: len(data) // 2]


def overwritten(data):
    """Return data with a part changed that holds rows, not what the file says of itself."""
    return data[:64] + b"\xff" * 2000 + data[2064:]


ODD = range(1, 20, 2)
FIVE = "row 1: {0}, row 3: {0}, row 5: {0}, row 7: {0}, row 9: {0}, and 5 more"
LONG = sky(2000)  # rows enough to be cut or overwritten

#: name: (file, how to write it, what the scan must say); columns are ra, dec and the weight w
CATALOG_SCAN = {
    "no rows": ("bad.csv", raw(b"ra,dec,w\n"), "no rows"),
    "no rows, fits": ("bad.fits", catalog(sky(0)), "no rows"),
    "no rows, parquet": ("bad.parquet", catalog(sky(0)), "no rows"),
    "no column dec": ("bad.fits", catalog(sky(dec=None)), r"bad\.fits\[1\] columns: .*'dec'"),
    "no column w": ("bad.parquet", catalog(sky(w=None)), r"bad\.parquet columns: .*'w'"),
    "no column ra": ("bad.csv", catalog(sky(ra=None)), r"bad\.csv columns: .*'ra'"),
    "unequal lengths": ("bad.h5", catalog({**sky(), "w": np.ones(7)}), "different lengths: .*20.*7"),
    "catalog empty": ("bad.parquet", raw(b""), "the file is empty"),
    "catalog is a fifo": ("bad.csv", fifo, "a named pipe, not a file"),
    "catalog is an image": ("bad.fits", lambda path: write(path), "no HDU holds a binary table.*0 image"),
    "parquet is garbage": ("bad.parquet", raw(GARBAGE), "no Parquet file"),
    "parquet cut": ("bad.parquet", catalog(LONG, half), "no Parquet file"),
    "hdf5 is garbage": ("bad.h5", raw(GARBAGE), "no HDF5 file"),
    "hdf5 cut": ("bad.h5", catalog(LONG, half), "no HDF5 file"),
    "fits table cut": ("bad.fits", catalog(LONG, half), r"bad\.fits\[1\]: .*cut off"),
    "npy cut": ("bad.npy", catalog(LONG, half), r"bad\.npy"),
}

#: the same, for what only reading the rows can find
CATALOG_READ = {
    "ra outside": ("bad.fits", catalog(sky(ra=(ODD, 361.0))), "ra is outside.*" + FIVE.format(361)),
    "dec outside": ("bad.parquet", catalog(sky(dec=(ODD, -91.0))), "dec is outside.*" + FIVE.format(-91)),
    "ra NaN": ("bad.h5", catalog(sky(ra=(ODD, np.nan))), "ra is not finite in " + FIVE.format("nan")),
    "dec infinite": ("bad.npy", catalog(sky(dec=([7], np.inf))), "dec is not finite in row 7: inf"),
    "weight negative": ("bad.fits", catalog(sky(w=(ODD, -0.5))), "weight is below 0 in " + FIVE.format(-0.5)),
    "weight NaN": ("bad.parquet", catalog(sky(w=([3], np.nan))), "weight is not finite in row 3"),
    "no number": ("bad.csv", raw(b"ra,dec,w\n1,2,1\n1,two,1\n"), r"bad\.csv\[near line 2\].*'two'"),
    "no value": ("bad.csv", raw(b"ra,dec,w\n1,2,1\n1,,1\n"), r"bad\.csv dec: dec has no value in line 3"),
    "parquet overwritten": ("bad.parquet", catalog(LONG, overwritten), r"bad\.parquet"),
}
