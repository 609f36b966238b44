"""What each MPI rank executes: ``mpiexec -n N python -m mpi4py -m daskpar.ranks RUN``.

Rank 0 becomes the scheduler, ranks from 2 on become workers, and rank 1 drives the run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from daskpar.clusters import mpi
from daskpar.errors import DaskparError
from daskpar.rundir import RunDirectory
from daskpar.settings.profile_lookup import load_profile


def main(path: str) -> None:
    """Take this rank's part in a run; every rank ends with the driver's exit code as far as MPI allows."""
    run = Path(path)
    try:
        mpi.join(load_profile(run / "profile.yaml"), run)  # type: ignore[arg-type]
    except DaskparError as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        mpi.abort(error.exit_code)
    from daskpar.cli import run_command

    try:
        code = run_command(["run", path, "--as-begun"])
    finally:
        mpi.end(run, keep_keys=RunDirectory(run).read_state()["state"] == "pending")  # another job goes on
    sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
