"""A disk that is full while an output is written, in each format: the one that was there stays."""

import os

import pytest
import xarray as xr
from outputs_data import SUFFIXES, record, snapshot, stack_result

from daskpar.errors import OutputError
from daskpar.outputs import write_outputs

pytestmark = pytest.mark.fault


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk(small_disk, suffix):
    disk = small_disk("disk", 256)
    small = xr.Dataset({"mean": ("row", [1.0])})
    write_outputs(small, [f"a{suffix}"], disk, overwrite=False, provenance={"recipe": {}})
    before = snapshot(disk)
    (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * 4096))
    with pytest.raises(OutputError, match=r"cannot write more than \d+ bytes.*bytes free") as caught:
        write_outputs(stack_result(), [f"a{suffix}"], disk, overwrite=True, provenance=record())
    assert caught.value.faults[0].path == str(disk / f"a{suffix}")
    (disk / "filler").unlink()
    assert snapshot(disk) == before
