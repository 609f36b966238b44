"""Start a driver elsewhere and keep track of it: submit, status, wait, logs, cancel.

Where the profile has no batch system the driver is a child process in a session of its own, so that it
outlives the terminal; on Slurm it is a job.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskpar import lease
from daskpar.atomic import write_text
from daskpar.clusters import slurm_commands
from daskpar.errors import ClusterError, UsageError
from daskpar.launching import cancel_worker_jobs, is_launched, launch, launched
from daskpar.rundir import EMPTY_STATE, ENDED, RunDirectory, find_run, list_runs, now, runs_folder

if TYPE_CHECKING:
    from daskpar.preparation import Prepared
    from daskpar.profile import Profile
    from daskpar.recipe import Recipe
    from daskpar.result import Result

# Seconds; a run is watched through files, which no event announces across hosts, and through the queue.
POLL, JOB_POLL = 0.2, 1.0
BEGINNING = 30.0  # seconds from a run being made to its driver being started


@dataclass(frozen=True)
class Run:
    """A handle on a run, wherever its driver is.

    Attributes
    ----------
    directory : RunDirectory
        Where everything about it is.
    """

    directory: RunDirectory

    @property
    def name(self) -> str:
        """The run's name."""
        return self.directory.name

    @property
    def is_job(self) -> bool:
        """Whether its driver is a batch job, which goes on without us."""
        return self._process() is None and launched(self.directory) is not None

    def status(self) -> dict[str, Any]:
        """Return name, state, profile, progress, times, result hash, error and path, and more."""
        status = self.directory.status()
        # A job that ended in good order may have been put back into the queue.
        if status["state"] not in ("pending", "interrupted"):
            return status
        if self.directory.lease.is_held():
            status = self.directory.status()
            if status["state"] == "interrupted" and self.is_job:  # its next start has not written yet
                status.update(state="pending", error=None)
            return status
        job = self._job()
        if job is not None:
            status.update(state="pending", error=None)
            status["queue"] = {"job": job[0], "state": job[1].state, "reason": job[1].reason}
        elif status["state"] == "pending" and not self._driver_lives():
            status.update(self.directory.read_state())  # it may have begun or ended since
            if status["state"] == "pending" and not self.directory.lease.is_held() and not self._begins():
                status["state"] = "interrupted"
                status["error"] = "the driver did not start; see daskpar logs, then daskpar resume"
        return status

    def wait(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait until the run has ended and its driver is gone; return the status.

        Raises
        ------
        TimeoutError
            It still runs after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            status = self.status()
            if status["state"] in ENDED and not self.directory.lease.is_held() and not self._driver_lives():
                return self.status()
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} is {status['state']} after {timeout} s")
            time.sleep(JOB_POLL if self.is_job else POLL)

    def watch(self, timeout: float | None = None) -> dict[str, Any]:
        """Show the progress until the run ends; return the status.

        In a notebook a bar in the cell's output, which needs no extension; elsewhere on stderr.

        Raises
        ------
        TimeoutError
            It still runs after `timeout` seconds.
        """
        from daskpar.dashboard.notebook import watch

        return watch(self, timeout)

    def _repr_html_(self) -> str:
        from daskpar.dashboard.notebook import run_html

        return run_html(self.status())

    def logs(self) -> str:
        """Return the logs of driver and workers, one after the other."""
        return "".join(text for _, text in read_logs(self.directory))

    def cancel(self, timeout: float = 30.0) -> dict[str, Any]:
        """Stop the run; what is stored is kept, and ``daskpar resume`` goes on from there.

        Raises
        ------
        daskpar.errors.ClusterError
            The driver is a process of another host, or does not end; or jobs stay in the queue.
        """
        write_text(self.directory.path / "cancel", now() + "\n")
        job, driver = self._job(), self._driver()
        if job is not None:
            self._cancel_job(job[0], job[1].waits, timeout)
        elif driver is not None:
            self._cancel_process(driver, timeout)
        cancel_worker_jobs(self.directory)
        self.directory.remove_keys()
        state = self.directory.read_state()
        if state["state"] not in ENDED:
            ended = {"state": "cancelled", "ended": now(), "error": "cancelled", "workers": 0, "queue": None}
            self.directory.write_state({**state, **ended})
        return self.status()

    def _cancel_process(self, driver: dict[str, Any], timeout: float) -> None:
        if driver["host"] != socket.gethostname():
            raise ClusterError(
                f"the driver is pid {driver['pid']} on {driver['host']}",
                "cancel it there",
                path=self.directory.path,
            )
        os.kill(int(driver["pid"]), signal.SIGTERM)
        try:
            self.wait(timeout)
        except TimeoutError as error:
            raise ClusterError(
                f"the driver, pid {driver['pid']}, did not end within {timeout:.0f} s", "end it with kill -9"
            ) from error

    def _cancel_job(self, job: str, waits: bool, timeout: float) -> None:
        """End the driver's job: with a signal first, so that it ends its workers' jobs itself."""
        if not waits:
            slurm_commands.scancel([job], ["--batch", "--signal=TERM"])
            try:
                self.wait(timeout)
            except TimeoutError:
                pass  # it had its chance
        slurm_commands.cancel_for_good([job])

    def interrupt(self, number: int = signal.SIGINT, timeout: float = 90.0) -> dict[str, Any]:
        """Hand Ctrl-C, or another signal, on to a driver of this host, and wait until it has ended."""
        driver = self._driver()
        if driver is not None and driver["host"] == socket.gethostname():
            os.kill(int(driver["pid"]), number)
            with suppress(TimeoutError):  # it had its chance
                return self.wait(timeout)
        return self.status()

    def driven_by(self) -> str:
        """Say who drives it, or will: a process of a host, or a job that queues."""
        driver, job = self._driver(), self._job()
        if driver is not None:
            return f"pid {driver['pid']} on {driver['host']}"
        return f"job {job[0]}, {job[1].state}, {job[1].reason}" if job is not None else "it was just begun"

    def result(self) -> Result:
        """Return the result of a finished run."""
        from daskpar.result import Result

        return Result(self.directory)

    def _driver(self) -> dict[str, Any] | None:
        for holder in (self.directory.lease.holder(), self._process()):
            if holder is not None and lease.is_alive(holder):
                return holder
        return None

    def _process(self) -> dict[str, Any] | None:
        started = launched(self.directory)
        return started if started is not None and "pid" in started else None

    def _job(self) -> tuple[str, slurm_commands.Job] | None:
        """Return the driver's job and how the queue shows it; None where there is none, or it is over."""
        started = launched(self.directory)
        if started is None or "job" not in started or "pid" in started:
            return None
        try:
            found = slurm_commands.queue().get(started["job"])
        except ClusterError:  # silence says nothing about the job
            found = slurm_commands.Job("UNKNOWN", "Slurm does not answer")
        return None if found is None else (started["job"], found)

    def _begins(self) -> bool:
        """Whether the run was made a moment ago, and its driver is still to be started."""
        made = (self.directory.path / "run.json").stat().st_mtime
        return launched(self.directory) is None and abs(time.time() - made) < BEGINNING

    def _driver_lives(self) -> bool:
        started = self._process()
        if started is None:
            return self._job() is not None
        _reap(int(started["pid"]))
        return lease.is_alive(started)


def submit(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    profile: str | Path | Profile = "local",
    *,
    settings: Sequence[str] = (),
    allow_code: bool = False,
    runs: str | Path | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> Run:
    """Make the run directory of a recipe and start its driver where the profile says; return at once.

    Parameters and errors are those of `daskpar.run`.

    Returns
    -------
    Run
        With ``status()``, ``wait()``, ``logs()``, ``cancel()`` and ``result()``.
    """
    from daskpar.preparation import begin

    prepared = begin(
        recipe,
        profile,
        settings=settings,
        allow_code=allow_code,
        runs=runs,
        output=output,
        overwrite=overwrite,
    )
    return start_driver(prepared)


def start_driver(prepared: Prepared) -> Run:
    """Start the driver of a prepared run where its profile says, its output in ``logs/driver.log``."""
    run = prepared.run
    state = run.read_state()
    run.write_state({**EMPTY_STATE, **state, "state": "pending", "error": None, "ended": None})
    try:
        launch(run, prepared.profile)
    except ClusterError as error:
        run.write_state({**state, "state": "failed", "error": str(error), "exit_code": error.exit_code})
        raise
    return Run(run)


def resume_elsewhere(
    run: RunDirectory,
    profile: str | Path | Profile | None = None,
    *,
    settings: Sequence[str] = (),
    as_begun: bool = False,
) -> Run | None:
    """Go on with a run in a batch job or as MPI ranks, where its profile says so; else return None.

    Raises
    ------
    daskpar.errors.UsageError
        A driver has it already.
    """
    from daskpar.driver import damaged_result
    from daskpar.loading import profile_model
    from daskpar.preparation import reopen

    if not is_launched(profile_model(profile if profile is not None else run.path / "profile.yaml")):
        return None
    handle = Run(run)
    status = handle.status()
    if status["state"] in ("running", "pending"):
        raise UsageError(
            f"is {status['state']} already: {handle.driven_by()}",
            "wait for it, or stop it with daskpar cancel",
            path=run.path,
        )
    prepared = reopen(run, profile, settings=settings, as_begun=as_begun)
    if status["state"] == "done" and not settings and not damaged_result(run):
        return handle
    return start_driver(prepared)


def open_run(token: str | Path, runs: str | Path | None = None) -> Run:
    """Return the handle of a run: by path, unique prefix of its name, or ``"last"``."""
    return Run(find_run(str(token), runs_folder(runs)))


def all_runs(runs: str | Path | None = None) -> list[Run]:
    """Return the handles of all runs in a folder, oldest first."""
    return [Run(directory) for directory in list_runs(runs_folder(runs))]


def read_logs(run: RunDirectory, offsets: dict[str, int] | None = None) -> Iterator[tuple[str, str]]:
    """Yield (file name, new text) of each log, from the offsets on, which are advanced."""
    offsets = {} if offsets is None else offsets
    for path in sorted(run.logs.glob("*.log")):
        with open(path, "rb") as file:
            file.seek(offsets.get(path.name, 0))
            data = file.read()
        offsets[path.name] = offsets.get(path.name, 0) + len(data)
        if data:
            yield path.name, data.decode(errors="replace")


def clean(run: RunDirectory, everything: bool = False) -> int:
    """Remove what a finished run no longer needs, its ledger and scratch; return the bytes freed.

    Parameters
    ----------
    run : RunDirectory
        The run.
    everything : bool
        Remove the whole directory, finished or not, results in it included.

    Raises
    ------
    daskpar.errors.UsageError
        A driver works on it; or it is not done, and could not be resumed without its ledger.
    """
    import shutil

    from daskpar.rundir import folder_bytes

    status = Run(run).status()
    if status["state"] in ("running", "pending"):
        raise UsageError(f"is {status['state']}", "daskpar cancel it first", path=run.path)
    if status["state"] != "done" and not everything:
        raise UsageError(
            f"is {status['state']}, and its ledger is what resume needs",
            "pass --all to remove it",
            path=run.path,
        )
    before = folder_bytes(run.path)
    for folder in [run.path] if everything else [run.ledger, run.path / "scratch"]:
        shutil.rmtree(folder, ignore_errors=True)
    return before - folder_bytes(run.path)


def _reap(pid: int) -> None:
    """Collect a child of ours that has ended, so that it is not taken for alive."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # not our child
