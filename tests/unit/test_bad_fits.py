"""Bad image files: each ends in one clear InputError (exit code 3) that names it, and nothing blocks."""

import contextlib
import gzip
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from astropy.io import fits
from fits_maker import EMPTY_PRIMARY, PIXELS, card, extension, header, padded, primary, write

from daskpar.errors import InputError
from daskpar.inputs import images

pytestmark = pytest.mark.timeout(20)
BAD = "bad.fits"


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
    "tiles of no size": (tiled(replaced(("ZNAXIS1", 100), ("ZNAXIS1", -1))), "damaged tiles"),
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

GOOD = "good.fits"
MEF = "mef.fits"

#: name: (arguments of the scan beside the folder, what it must say)
CALLS = {
    "no file": ({"files": []}, "no input files are given"),
    "glob without files": ({"files": "*.fit"}, r"\*\.fit files: no file matches; look into"),
    "missing file": ({"files": "gone.fits"}, "gone.fits files: there is no such file"),
    "one glob of two matches": ({"files": [GOOD, "go*e.fits"]}, "no file matches"),
    "empty name": ({"files": ""}, "no file name"),
    "zero byte in a name": ({"files": "a\0b.fits"}, r"a\\x00b.fits files: this is no file name"),
    "the same twice": ({"files": [GOOD, "./good.fits"]}, "listed 2 times"),
    "HDU number too high": (
        {"files": GOOD, "hdu": 7},
        r"\[7\]: there is no such HDU; the file has: 0 image 6 x 4",
    ),
    "HDU name": ({"files": GOOD, "hdu": "SCI"}, r"\[SCI\]: there is no such HDU"),
    "HDU behind the file": ({"files": "good.fits[SCI,2]"}, r"good.fits\[SCI,2\]: there is no such HDU"),
    "HDU malformed": ({"files": GOOD, "hdu": "a,b"}, "'a,b' names no HDU"),
    "HDU without data": ({"files": MEF, "hdu": 0}, r"mef.fits\[0\]: the HDU holds no data, not an image"),
    "HDU is a table": ({"files": MEF, "hdu": 1}, r"mef.fits\[1\]: the HDU is a BINTABLE, not an image"),
    "HDU holds groups": ({"files": "groups.fits", "hdu": 0}, "the HDU holds random groups, not an image"),
    "mask HDU missing": ({"files": GOOD, "mask": "DQ"}, r"good.fits\[DQ\]: there is no such HDU"),
    "mask file missing": ({"files": GOOD, "mask": "dq.fits"}, "dq.fits files: there is no such file"),
    "mask shape": ({"files": GOOD, "mask": "wide.fits"}, "the mask is 8 x 3, the frames are 6 x 4"),
    "mask files too many": ({"files": GOOD, "mask": ["wide.fits"] * 3}, "mask: 3 files for 1 frames"),
    "uncertainty shape": ({"files": GOOD, "uncertainty": "wide.fits"}, "the uncertainty is 8 x 3"),
    "bits of floats": ({"files": GOOD, "mask": 0, "dq_bits": 4}, "bits are chosen, but the mask is float32"),
    "bits without a mask": ({"files": GOOD, "dq_bits": 4}, "dq_bits: bits are chosen, but no mask"),
    "bits that are no flag": ({"files": GOOD, "mask": 0, "dq_bits": [3]}, "3 is not one flag; list powers"),
    "bits negative": ({"files": GOOD, "mask": 0, "dq_bits": -1}, "-1 is no flag value"),
    "bits zero": ({"files": GOOD, "mask": 0, "dq_bits": 0}, "0 is no flag value"),
    "bits fraction": ({"files": GOOD, "mask": 0, "dq_bits": [0.5]}, "0.5 is no flag value"),
    "checksum of another kind": ({"files": GOOD, "checksum": "maybe"}, "neither ignore nor verify"),
}


@pytest.mark.parametrize("name", SCAN)
def test_bad_files_are_refused_by_the_scan(tmp_path, name):
    make, what = SCAN[name]
    make(tmp_path / BAD)
    with pytest.raises(InputError, match=what if what != "damaged tiles" else "ZNAXIS1 = -1") as error:
        images.scan_images(BAD, root=tmp_path)
    assert error.value.exit_code == 3
    assert [fault.path for fault in error.value.faults] == [str(tmp_path / BAD)]


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
@pytest.mark.parametrize("name", READ)
def test_bad_data_are_refused_by_the_read(tmp_path, name):
    make, what = READ[name]
    make(tmp_path / BAD)
    stack = images.scan_images(BAD, root=tmp_path)
    with pytest.raises(InputError, match=what) as error:
        images.read_frame(stack, 0)
    assert error.value.faults[0].path == str(tmp_path / BAD)


@pytest.mark.parametrize("name", CALLS)
def test_bad_calls_are_refused(tmp_path, name):
    arguments, what = CALLS[name]
    write(tmp_path / "good.fits")
    groups = {"NAXIS1": 0, "NAXIS2": 3, "NAXIS3": 4, "GROUPS": True, "PCOUNT": 2, "GCOUNT": 1}
    write(tmp_path / "groups.fits", primary(NAXIS=3, **groups))
    write(tmp_path / "wide.fits", primary(NAXIS1=8, NAXIS2=3))
    table = extension("BINTABLE", BITPIX=8, NAXIS1=24, EXTNAME="CAT")
    write(tmp_path / "mef.fits", EMPTY_PRIMARY, None, [(table, PIXELS), (extension(EXTNAME="SCI"), PIXELS)])
    with pytest.raises(InputError, match=what) as error:
        images.scan_images(root=tmp_path, **arguments)
    assert error.value.exit_code == 3


def test_there_are_enough_cases():
    assert len(SCAN) + len(READ) + len(CALLS) >= 60


@pytest.mark.parametrize(
    ("odd", "what"),
    [
        (primary(NAXIS1=8, NAXIS2=3), "the frame is 8 x 3 float32; 9 of 16 frames are 6 x 4 float32"),
        (primary(BITPIX=32), "the frame is 6 x 4 int32"),
        (primary(BITPIX=32, BZERO=2147483648), "the frame is 6 x 4 uint32"),
        (primary(BITPIX=24), "BITPIX = 24"),
    ],
)
def test_the_first_five_offenders_are_shown(tmp_path, odd, what):
    for i in range(16):
        write(tmp_path / f"f{i}.fits", odd if i % 2 and i != 1 else None)
    with pytest.raises(InputError, match=what) as error:
        images.scan_images("*.fits", root=tmp_path)
    shown = [os.path.basename(fault.path) for fault in error.value.faults]
    assert shown == ["f3.fits", "f5.fits", "f7.fits", "f9.fits", "f11.fits", ""]
    assert str(error.value).endswith("and 2 more like these")


@pytest.mark.skipif(os.getuid() == 0, reason="the superuser may read everything")
def test_an_unreadable_file_is_refused(tmp_path):
    write(tmp_path / BAD).chmod(0)
    with pytest.raises(InputError, match="may not be read"):
        images.scan_images(BAD, root=tmp_path)


def test_refused_permission_is_told(tmp_path, monkeypatch):
    write(tmp_path / BAD)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError, match="may not be read; ask its owner"):
        images.scan_images(BAD, root=tmp_path)


def test_an_error_of_the_disk_names_the_file(tmp_path, monkeypatch):
    stack = images.scan_images(write(tmp_path / BAD))

    def fail(*args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(InputError, match=r"bad\.fits: it cannot be read: Input/output error"):
        images.read_frame(stack, 0)
    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(InputError, match=r"bad\.fits: it cannot be read: Input/output error"):
        images.scan_images(BAD, root=tmp_path)


def test_bad_files_need_little_memory(tmp_path):
    bomb(tmp_path / "bomb.fits.gz")
    huge = header(primary(NAXIS1=100_000, NAXIS2=100_000))
    (tmp_path / "huge.fits").write_bytes(huge)
    os.truncate(tmp_path / "huge.fits", 10**10)
    (tmp_path / "endless.fits").write_bytes(card("SIMPLE", True))
    os.truncate(tmp_path / "endless.fits", 10**11)
    code = f"""
        from daskpar.errors import InputError
        from daskpar.inputs import images
        for name in ("bomb.fits.gz", "huge.fits", "endless.fits"):
            try:
                images.scan_images(name, root={str(tmp_path)!r})
            except InputError:
                # ru_maxrss would start at that of the parent process
                status = open("/proc/self/status").read().split()
                print(status[status.index("VmHWM:") + 1])
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peaks = [int(line) for line in done.stdout.split()]
    assert len(peaks) == 3
    assert max(peaks) < 200_000


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
def test_headers_of_noise_never_end_in_anything_but_an_input_error(tmp_path):
    rng = np.random.default_rng(5)
    good = bytearray(HEAD + padded(PIXELS.tobytes()))
    for trial in range(300):
        bad = good.copy()
        for place in rng.integers(0, 480, rng.integers(1, 6)):
            bad[place] = rng.integers(32, 127)
        (tmp_path / BAD).write_bytes(bad)
        os.utime(tmp_path / BAD, ns=(0, trial))
        with contextlib.suppress(InputError):
            images.read_frame(images.scan_images(BAD, root=tmp_path), 0)
