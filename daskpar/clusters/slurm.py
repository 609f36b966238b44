"""Workers as Slurm jobs, on `dask_jobqueue.SLURMCluster`.

Over TLS, replaced when they die, as many as there is work for. The scheduler runs here, in the driver. Jobs
find it through a file in the run directory and present keys from there, so that jobs still in the queue when
one driver ends serve the next one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
from distributed import Client
from distributed.core import Status
from distributed.utils import silence_logging_cmgr

from daskpar.atomic import write_text
from daskpar.clusters import slurm_commands
from daskpar.clusters.allocation import open_allocation
from daskpar.clusters.interfaces import chosen_interface
from daskpar.clusters.keys import remove_keys, security_of
from daskpar.clusters.settings import CONFIG, SCHEDULER
from daskpar.clusters.upkeep import Upkeep
from daskpar.clusters.worker_jobs import PARTS, scheduler_file, worker_memory, worker_script
from daskpar.errors import ClusterError

if TYPE_CHECKING:
    from daskpar.clusters import Place
    from daskpar.profile import SlurmProfile


@contextmanager
def open_slurm(profile: SlurmProfile, place: Place) -> Iterator[Client]:
    """Submit the worker jobs that a profile describes, wait for the first workers and yield a client."""
    if profile.driver.mode == "allocation":
        with open_allocation(profile, place) as client:
            yield client
        return
    interface = chosen_interface(profile.interface)
    here = chosen_interface(profile.scheduler_interface or interface, "scheduler_interface")
    security = security_of(profile.security, place.keys)
    config = {**CONFIG, "distributed.scheduler.no-workers-timeout": None}  # they may wait in the queue
    with silence_logging_cmgr(logging.CRITICAL), dask.config.set(config):
        cluster = _cluster(profile, place, interface, here, security)
        upkeep = Upkeep(cluster, profile, place)
        try:
            write_text(scheduler_file(place.folder), json.dumps({"address": cluster.scheduler.address}), True)
            upkeep.start()
            with Client(cluster) as client:
                upkeep.wait(client)
                yield client
        except ClusterError as error:
            if upkeep.reason:
                raise ClusterError(upkeep.reason, "daskpar resume continues the run") from error
            raise
        finally:
            _end(cluster, upkeep, place)


def _end(cluster: Any, upkeep: Upkeep, place: Place) -> None:
    """Close everything; where the run goes on in another job, leave it the jobs that still wait."""
    upkeep.stop()
    kept = upkeep.waiting_jobs() if place.handed_over() else set()
    for job in cluster.workers.values():
        job.kept = job.job_id in kept
    submitted = upkeep.job_ids()
    upkeep.remember(kept or None)
    try:
        cluster.close(timeout=30)
        slurm_commands.cancel_for_good(submitted - kept)
    finally:
        if not kept:  # also where Slurm does not answer: workers without a scheduler end by themselves
            remove_keys(place.keys)
    if not kept:
        (place.folder / "jobs.json").unlink(missing_ok=True)
        scheduler_file(place.folder).unlink(missing_ok=True)


def _cluster(profile: SlurmProfile, place: Place, interface: str, here: str, security: Any) -> Any:
    cluster_class, job_class = _classes()
    keys = security.get_tls_config_for_role("worker")
    (place.folder / "logs").mkdir(exist_ok=True)

    def script(name: str) -> str:
        return worker_script(profile, name, place.folder, {part: keys[part] for part in PARTS}, interface)

    return cluster_class(
        job_cls=job_class,
        n_workers=0,
        cores=profile.cores * profile.processes,
        memory=worker_memory(profile) * profile.processes,
        processes=profile.processes,
        interface=interface,
        security=security,
        protocol="tls://",
        shared_temp_directory=str(place.folder),
        scheduler_options={"interface": here, **SCHEDULER},
        silence_logs=logging.CRITICAL,
        name=place.name,
        script=script,
        logs=place.folder / "logs",
        adoptable=_adoptable(place.folder),
    )


def _adoptable(folder: Path) -> dict[str, str]:
    """Return the jobs of a driver before us that still wait in the queue, by worker name."""
    try:
        left = dict(json.loads((folder / "jobs.json").read_text()))
    except (OSError, ValueError):
        return {}
    waiting = {job for job, state in slurm_commands.queue().items() if state.waits}
    slurm_commands.scancel(set(left.values()) - waiting)  # started meanwhile, for a scheduler that is gone
    return {name: job for name, job in left.items() if job in waiting}


def _classes() -> tuple[Any, Any]:
    """Import dask-jobqueue, which takes SIGINT for itself, and return our kinds of its cluster and job."""
    before = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue.slurm import SLURMCluster, SLURMJob
    finally:
        if before is not None and signal.getsignal(signal.SIGINT) is not before:
            signal.signal(signal.SIGINT, before)

    class WorkerJob(SLURMJob):  # type: ignore[misc]
        """A job whose script is ours, and whose end is made sure of."""

        kept = False
        failure: Exception | None = None

        def __init__(self, *arguments: Any, script: Any, logs: Path, adoptable: dict[str, str], **more: Any):
            super().__init__(*arguments, **more)
            self._script, self._logs, self._adoptable = script, logs, adoptable
            self.submitted = time.monotonic()

        def job_script(self) -> str:
            text: str = self._script(str(self.name))
            return text

        async def start(self) -> None:
            try:
                await super().start()
            except Exception as error:  # heard by the upkeep; nobody awaits this
                self.failure = error
                raise

        async def _submit_job(self, script_filename: str) -> str:
            adopted = self._adoptable.pop(str(self.name), None)
            if adopted is not None:
                return adopted
            log = str(self._logs).replace("%", "%%")
            arguments = [f"--output={log}/worker-job-%j.log", "--open-mode=append"]
            job = await asyncio.to_thread(slurm_commands.sbatch, self.job_script(), arguments)
            self.submitted = time.monotonic()
            return job

        async def close(self) -> None:
            if self.job_id and not self.kept:
                await asyncio.to_thread(slurm_commands.scancel, [self.job_id])
            self.status = Status.closed

    class WorkerJobs(SLURMCluster):  # type: ignore[misc]
        """A cluster whose first names are those of the jobs that it takes over."""

        job_cls = WorkerJob

        def new_worker_spec(self) -> dict[str, Any]:
            for name in self.new_spec["options"]["adoptable"]:
                if name not in self.worker_spec:
                    return {name: self.new_spec}
            spec: dict[str, Any] = super().new_worker_spec()
            return spec

    return WorkerJobs, WorkerJob
