"""Bad image files: each ends in one clear InputError (exit code 3) that names it, and nothing blocks."""

import contextlib
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from bad_files import BAD, HEAD, READ, SCAN, bomb
from fits_maker import EMPTY_PRIMARY, PIXELS, card, extension, header, padded, primary, write

from daskpar.errors import InputError
from daskpar.inputs import images

pytestmark = pytest.mark.timeout(20)

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
    "HDU without data": (
        {"files": MEF, "hdu": 0},
        r"mef.fits\[0\]: the HDU holds no data, not an image; .*the file has: 0 empty, 1 \S* BINTABLE",
    ),
    "HDU is a table": (
        {"files": MEF, "hdu": 1},
        r"mef.fits\[1\]: the HDU is a BINTABLE, not an image; .*the file has: 0 empty, 1 \S* BINTABLE",
    ),
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
    with pytest.raises(InputError, match=what) as error:
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
