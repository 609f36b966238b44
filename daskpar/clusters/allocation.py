"""Scheduler, client and workers inside one Slurm job, for sites whose compute nodes may not submit.

The driver and its scheduler run in the batch script; one ``srun`` starts a worker on each task. Nanny
processes replace workers that die; a step that ends as a whole is started again.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dask
from distributed import Client, Scheduler, SpecCluster
from distributed.utils import silence_logging_cmgr

from daskpar.atomic import write_text
from daskpar.clusters.interfaces import chosen_interface
from daskpar.clusters.keys import remove_keys, security_of
from daskpar.clusters.settings import CONFIG, SCHEDULER
from daskpar.clusters.upkeep import last_words
from daskpar.clusters.worker_jobs import PARTS, scheduler_file, worker_command
from daskpar.errors import ClusterError

if TYPE_CHECKING:
    from daskpar.clusters import Place
    from daskpar.profile import SlurmProfile

ARRIVAL = 120  # seconds in which the first worker must come: the nodes are ours already
MOST_STEPS = 3


@contextmanager
def open_allocation(profile: SlurmProfile, place: Place) -> Iterator[Client]:
    """Start workers on the tasks of the job that we are in, and yield a client."""
    if "SLURM_JOB_ID" not in os.environ:
        raise ClusterError(
            "the driver is not inside a Slurm job", "start it with daskpar submit or daskpar resume"
        )
    try:
        with _opened(profile, place) as client:
            yield client
    finally:
        scheduler_file(place.folder).unlink(missing_ok=True)
        if not place.handed_over():
            remove_keys(place.keys)


@contextmanager
def _opened(profile: SlurmProfile, place: Place) -> Iterator[Client]:
    interface = chosen_interface(profile.interface)
    here = chosen_interface(profile.scheduler_interface or interface, "scheduler_interface")
    security = security_of(profile.security, place.keys)
    options = {"interface": here, "protocol": "tls://", "security": security, **SCHEDULER}
    with silence_logging_cmgr(logging.CRITICAL), dask.config.set(CONFIG):
        cluster = SpecCluster(
            workers={}, scheduler={"cls": Scheduler, "options": options}, security=security, name=place.name,
            silence_logs=logging.CRITICAL,
        )  # fmt: skip
        with cluster:
            address = {"address": cluster.scheduler.address}
            write_text(scheduler_file(place.folder), json.dumps(address), True)
            keys = security.get_tls_config_for_role("worker")
            command = worker_command(
                profile, "task", place.folder, {part: keys[part] for part in PARTS}, interface
            )
            named = command.index("--name")
            with _step(profile, [*command[:named], *command[named + 2 :]], place), Client(cluster) as client:
                try:
                    _await_workers(client, profile, place)
                    yield client
                finally:
                    client.shutdown()  # the workers leave by themselves, and srun with them


@contextmanager
def _step(profile: SlurmProfile, command: list[str], place: Place) -> Iterator[None]:
    """Keep one srun step with all workers going while the block runs."""
    stop = threading.Event()
    tasks = profile.workers // profile.processes
    launch = ["srun", f"--ntasks={tasks}", f"--cpus-per-task={profile.cores * profile.processes}"]
    launch += ["--kill-on-bad-exit=0", "--no-kill", *command]
    running: list[subprocess.Popen[bytes]] = []

    def keep() -> None:
        for _ in range(MOST_STEPS):
            with open(place.folder / "logs" / "workers.log", "ab") as log:
                running.append(subprocess.Popen(launch, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
            running[-1].wait()
            if stop.is_set():
                return

    thread = threading.Thread(target=keep, name="daskpar-srun", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        _end_step(running[-1] if running else None)
        thread.join(30)


def _end_step(step: subprocess.Popen[bytes] | None) -> None:
    if step is None:
        return
    try:
        step.wait(10)  # the scheduler is gone or going, and so are the workers
    except subprocess.TimeoutExpired:
        step.terminate()
        try:
            step.wait(10)
        except subprocess.TimeoutExpired:
            step.kill()


def _await_workers(client: Client, profile: SlurmProfile, place: Place) -> None:
    try:
        client.wait_for_workers(profile.minimum_workers or 1, timeout=ARRIVAL)
    except TimeoutError as error:
        log = place.folder / "logs" / "workers.log"
        raise ClusterError(
            f"no worker connected within {ARRIVAL} s; srun said: {last_words(log)}", "see daskpar logs"
        ) from error
