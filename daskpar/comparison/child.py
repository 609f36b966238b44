"""What runs in a fresh process tree: one version, once.

    python -m daskpar.comparison.child TARGET WORKERS BEGAN FOLDER  < input

The input, a pickle, comes through a pipe from the process that started this one, and never from a disk. Rank
0 of an MPI job gets it; other ranks find nothing. The result goes to FOLDER, an ``.npy`` file an array;
``timing.json`` says how long each phase took.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import resource
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from daskpar import garbage
from daskpar.by_hand import Clock, Job
from daskpar.errors import DaskparError
from daskpar.inputs.reading_time import seconds_read

DASK = "daskpar.comparison.with_dask:run"
DASK_THREADS = "daskpar.comparison.with_dask:run_in_threads"
DASK_MPI = "daskpar.comparison.with_dask:run_on_ranks"
WITH_DASK = (DASK, DASK_THREADS, DASK_MPI)
HEADER, PIECE = 8, 32 * 1024  # bytes of the input's length, and that are sent at a time
TAKEN = "taken"


def main(target: str, workers: str, began: str, folder: str) -> None:
    """Run one version and leave its result and its times."""
    clock = Clock(float(began))
    # Other ranks are not asked: some launchers never close their standard input.
    sent = taken_in(sys.stdin.buffer, Path(folder)) if _rank() == 0 else b""
    given: dict[str, Any] = pickle.loads(sent) if sent else {"record": None, "options": None}
    notes: dict[str, Any] = {"setup": given.get("setup"), "folder": folder} if target in WITH_DASK else {}
    if target in WITH_DASK:
        garbage.sought_rarely()  # as daskpar run does
    if target in (DASK, DASK_THREADS):
        notes["setup"].begin_early()
    job = Job(given["record"], given["options"], int(workers), clock, notes)
    module, _, name = target.partition(":")
    result = getattr(importlib.import_module(module), name)(job)
    if result is None:
        return  # a rank other than 0
    clock.phase("write")
    layout = save(result, Path(folder))
    clock.phase("startup")  # its end
    clock.take("read", seconds_read(Path(folder)) / int(workers), out_of="compute")
    found = {
        "seconds": clock.stop(),
        "variables": layout,
        "cpu_seconds": _cpu_seconds(),
        "dask_loaded": "dask" in sys.modules,
        "mpi": _mpi(),
        "threads": {key: value for key, value in os.environ.items() if key.endswith("_NUM_THREADS")},
        **{key: value for key, value in job.notes.items() if key not in ("setup", "folder")},
    }
    (Path(folder) / "timing.json").write_text(json.dumps(found))


def taken_in(stream: BinaryIO, folder: Path) -> bytes:
    """Read the input, and note after each piece how much it was, for the sender waits for that."""
    size, found = int.from_bytes(stream.read(HEADER), "big"), bytearray()
    while len(found) < size:
        piece = stream.read(min(PIECE, size - len(found)))
        if not piece:
            raise EOFError("the input ends early")
        found += piece
        (folder / TAKEN).write_text(str(len(found)))
    return bytes(found)


def _rank() -> int:
    """Return the number of this rank, as launchers tell it before MPI has begun; 0 without MPI."""
    names = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
    return int(next((os.environ[name] for name in names if name in os.environ), 0))


def _mpi() -> str:
    """Say which MPI was used, if any was."""
    used = sys.modules.get("mpi4py.MPI")
    return "" if used is None else library_name(used.Get_library_version())


def library_name(text: str) -> str:
    """Return name and version of an MPI library from what it says of itself."""
    return text.split("\n")[0].split(",")[0].strip(" \0")


def _cpu_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def save(result: Any, folder: Path) -> dict[str, Any]:
    """Write every variable of a result; return file and dimensions of each."""
    if hasattr(result, "data_vars"):
        result = {str(name): (one.dims, one.values) for name, one in result.data_vars.items()}
    layout = {}
    for number, name in enumerate(sorted(result)):
        dims, array = result[name]
        file = f"{number:04d}.npy"
        np.save(folder / file, np.asarray(array), allow_pickle=False)
        layout[name] = {"file": file, "dims": list(map(str, dims))}
    return layout


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except DaskparError as error:  # it says itself what it cannot do: no traceback
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
