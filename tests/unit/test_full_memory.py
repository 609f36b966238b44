"""Workers that dask pauses: they go on where waiting frees no memory."""

import time

import dask
import numpy as np
from distributed import wait

import daskpar
from daskpar.block import memory_bytes
from daskpar.clusters import full_memory
from daskpar.profile import LocalProfile

NO_DISK = {"distributed.worker.memory.target": False, "distributed.worker.memory.spill": False}


def test_a_worker_full_of_results_that_cannot_move_goes_on(monkeypatch):
    monkeypatch.setattr(full_memory, "PATIENCE", 0.5)
    monkeypatch.setattr(full_memory, "PERIOD", 0.1)
    result = 200_000_000
    memory = int((memory_bytes() + result / 2) / 0.8)  # dask pauses a worker at 80 %
    profile = LocalProfile(workers=1, cores=1, processes=False, dashboard=False, memory=memory)
    with dask.config.set(NO_DISK), daskpar.open_client(profile) as client:
        held = client.submit(np.ones, result // 8)
        others = [client.submit(time.sleep, 0.5, pure=False) for _ in range(3)]
        wait([held, *others], timeout=20)  # else the last of them would wait for ever
