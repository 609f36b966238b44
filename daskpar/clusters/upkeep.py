"""Keeps the worker jobs of a cluster as they should be: lost ones replaced, as many as there is work for.

It asks the queue, since only the queue knows of a job that ended before its worker said a word.
"""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskpar.atomic import write_text
from daskpar.clusters import slurm_commands
from daskpar.errors import ClusterError, DaskparError

if TYPE_CHECKING:
    from distributed import Client

    from daskpar.clusters import Place
    from daskpar.profile import SlurmProfile

PERIOD = 2.0  # seconds between looks at the queue
UNSEEN = 5.0  # seconds after which a submitted job must show in the queue
SILENT = 120.0  # seconds without any worker of a job that had one, after which it is replaced
MOST_STILLBORN = 3  # jobs in a row that end before a worker of theirs connects
LOOKS_BEFORE_FEWER = 8  # that must agree before workers without work are let go


class Upkeep:
    """Looks after the jobs of one cluster, from a thread of its own.

    Parameters
    ----------
    cluster : SLURMCluster
        Ours, of `daskpar.clusters.slurm`.
    profile : SlurmProfile
        How many workers.
    place : Place
        Where job ids are kept, and whom to tell.
    """

    def __init__(self, cluster: Any, profile: SlurmProfile, place: Place) -> None:
        self.cluster, self.place, self.reason = cluster, place, ""
        self._grouped, self._threads = profile.processes, profile.processes * profile.cores
        self._minimum = profile.minimum_workers or 1
        self._jobs = (
            math.ceil(self._minimum / profile.processes),
            math.ceil(profile.workers / profile.processes),
            math.ceil((profile.maximum_workers or profile.workers) / profile.processes),
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="daskpar-upkeep", daemon=True)
        self._heard: dict[str, float] = {}  # when a worker of a job was last seen
        self._stillborn = self._fewer = 0
        self._queue: dict[str, slurm_commands.Job] = {}

    def start(self) -> None:
        """Ask for the first workers and begin to look."""
        self.cluster.scale(jobs=self._jobs[1])
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def wait(self, client: Client) -> None:
        """Wait until as many workers are there as a run starts with.

        Raises
        ------
        daskpar.errors.ClusterError
            They will not come, or come with other versions than ours.
        """
        while not self.reason:
            try:
                client.wait_for_workers(self._minimum, timeout=PERIOD)
            except TimeoutError:
                continue
            break
        if self.reason:
            raise ClusterError(self.reason)
        try:
            client.get_versions(check=True)
        except ValueError as error:
            raise ClusterError(
                f"the workers have other packages: {error}", "set python: in the profile"
            ) from error

    def job_ids(self) -> set[str]:
        """Return the ids of all jobs that were submitted and not yet seen to end."""
        return {job.job_id for job in list(self.cluster.workers.values()) if job.job_id}

    def waiting_jobs(self) -> set[str]:
        """Return the ids of those that still wait in the queue."""
        try:
            self._queue = slurm_commands.queue()
        except ClusterError:
            return set()
        return {job for job in self.job_ids() if job in self._queue and self._queue[job].waits}

    def remember(self, only: set[str] | None = None) -> None:
        """Write the ids of our jobs, by worker name, for a driver after us."""
        jobs = {str(name): job.job_id for name, job in list(self.cluster.workers.items()) if job.job_id}
        kept = {name: job for name, job in jobs.items() if only is None or job in only}
        write_text(self.place.folder / "jobs.json", json.dumps(kept), True)

    def _run(self) -> None:
        while not self._stop.wait(PERIOD):
            try:
                self._look()
            except DaskparError:
                continue  # the controller is silent; the next look may hear it
            except Exception as error:
                self._give_up(f"the worker jobs cannot be looked after: {error}")
            if self.reason:
                return

    def _look(self) -> None:
        refused = [job.failure for job in list(self.cluster.workers.values()) if job.failure]
        if refused:
            return self._give_up(str(refused[0]))
        self._queue = slurm_commands.queue()
        names = [info["name"] for info in list(self.cluster.scheduler_info["workers"].values())]
        self._heard |= dict.fromkeys((self._job_name(str(name)) for name in names), time.monotonic())
        slurm_commands.scancel(self._silent())
        gone = [name for name, job in list(self.cluster.workers.items()) if self._is_gone(job)]
        for name in gone:
            self._stillborn = 0 if str(name) in self._heard else self._stillborn + 1
            if self._stillborn >= MOST_STILLBORN:
                return self._give_up(self._stillbirth(self.cluster.workers[name].job_id))
        if gone:
            self.cluster.sync(self._forget, gone)
        self._resize(len(names))
        self.remember()
        self._tell(len(names))
        return None

    def _is_gone(self, job: Any) -> bool:
        seen = self._queue.get(job.job_id)
        if seen is not None:
            return seen.state == "COMPLETING"
        return bool(job.job_id) and time.monotonic() - job.submitted > UNSEEN

    def _silent(self) -> set[str]:
        """Return the ids of running jobs whose workers are gone and do not come back: a node may hang."""
        now, silent = time.monotonic(), set()
        for name, job in list(self.cluster.workers.items()):
            seen = self._queue.get(job.job_id)
            if str(name) not in self._heard:
                continue
            if seen is None or seen.waits:  # a requeued job has to start again first
                self._heard[str(name)] = now
            elif now - self._heard[str(name)] > SILENT:
                silent.add(job.job_id)
        return silent

    async def _forget(self, names: list[str]) -> None:
        for name in names:
            self.cluster.workers.pop(name, None)
            self.cluster.worker_spec.pop(name, None)

    def _job_name(self, worker: str) -> str:
        return worker.rpartition("-")[0] if self._grouped > 1 else worker

    def _resize(self, workers: int) -> None:
        planned = len(self.cluster.worker_spec)
        wanted = self._wanted()
        self._fewer = self._fewer + 1 if wanted < planned else 0
        if wanted > planned:
            self.cluster.scale(jobs=wanted)
        elif self._fewer >= LOOKS_BEFORE_FEWER:
            self._fewer = 0
            self.cluster.sync(self._let_go, planned - wanted)

    def _wanted(self) -> int:
        least, first, most = self._jobs
        tasks: int = sum(task.state != "memory" for task in list(self.cluster.scheduler.tasks.values()))
        if not tasks:  # between two stages, or before the first
            return max(least, min(first, len(self.cluster.worker_spec) or first))
        return max(least, min(most, math.ceil(tasks / self._threads)))

    async def _let_go(self, number: int) -> None:
        """Close jobs that have no work: first those that still wait in the queue."""
        scheduler = self.cluster.scheduler
        busy = {self._job_name(str(w.name)) for w in scheduler.workers.values() if w.processing}
        idle = [name for name in self.cluster.worker_spec if str(name) not in busy]
        idle.sort(key=lambda name: str(name) in self._heard)
        await self.cluster.scale_down(idle[:number])

    def _tell(self, workers: int) -> None:
        ours = [self._queue[job] for job in self.job_ids() if job in self._queue]
        waiting = [job for job in ours if job.waits]
        reasons = sorted({job.reason for job in waiting} - {"None"})
        queue = {"running": len(ours) - len(waiting), "pending": len(waiting), "reason": ", ".join(reasons)}
        self.place.tell(workers=workers, queue=queue)
        if waiting and len(waiting) == len(ours) and not workers and set(reasons) & slurm_commands.HOPELESS:
            self._give_up(f"the worker jobs cannot start: Slurm says {', '.join(reasons)}")

    def _stillbirth(self, job: str) -> str:
        log = self.place.folder / "logs" / f"worker-job-{job}.log"
        return (
            f"{MOST_STILLBORN} worker jobs in a row ended before their workers connected; "
            f"the last one, {job}, said: {last_words(log)}"
        )

    def _give_up(self, reason: str) -> None:
        """Ask for no more jobs; the run ends when no worker is left."""
        self.reason = reason
        self.cluster.scheduler.no_workers_timeout = 1.0


def last_words(log: Path, lines: int = 3) -> str:
    """Return the last lines of a log in one line."""
    try:
        text = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "nothing"
    return " / ".join(line.strip() for line in text[-lines:]) or "nothing"
