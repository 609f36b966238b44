"""The lock of a run: a lease with host, pid, job and heartbeat, right on a disk that several hosts share.

A driver takes it, renews it from a thread, and gives it up. Who finds it held refuses and names the holder. A
holder that died is recognised: on its own host by pid and start time, elsewhere by a heartbeat that stands
still.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from daskpar.atomic import write_text
from daskpar.errors import UsageError

BEAT = 5.0  # seconds between heartbeats
STALE = (
    60.0  # a heartbeat older than this, of another host, is a dead driver's: NFS shows files up to 60 s late
)


@dataclass(frozen=True)
class Lease:
    """The lease file of a run.

    Attributes
    ----------
    path : Path
        Where it is.
    """

    path: Path

    def holder(self) -> dict[str, Any] | None:
        """Return who holds it as written, dead or alive; None where nobody does."""
        try:
            return dict(json.loads(self.path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def is_held(self) -> bool:
        """Whether a live driver holds it."""
        holder = self.holder()
        return holder is not None and is_alive(holder)

    @contextmanager
    def hold(self) -> Iterator[threading.Event]:
        """Hold the lease while the block runs.

        Yields
        ------
        threading.Event
            Set if another driver has taken over, as after a long standstill of this one, which must stop.

        Raises
        ------
        daskpar.errors.UsageError
            A live driver holds it; the message names its host and pid.
        """
        mine = describe(os.getpid())
        self._take(mine)
        stop, lost = threading.Event(), threading.Event()
        beating = threading.Thread(
            target=self._beat, args=(mine, stop, lost), name="daskpar-lease", daemon=True
        )
        beating.start()
        try:
            yield lost
        finally:
            stop.set()
            beating.join()
            if (self.holder() or {}).get("token") == mine["token"]:
                self.path.unlink(missing_ok=True)

    def _take(self, mine: dict[str, Any]) -> None:
        # The flock makes looking and taking one step; the lease itself outlives processes and crosses hosts.
        with open(self.path.with_suffix(".lock"), "ab") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            holder = self.holder()
            if holder is not None and is_alive(holder):
                raise UsageError(
                    f"another driver runs it: pid {holder['pid']} on {holder['host']}",
                    "wait for it, or stop it with daskpar cancel",
                    path=self.path.parent,
                )
            write_text(self.path, json.dumps(mine))

    def _beat(self, mine: dict[str, Any], stop: threading.Event, lost: threading.Event) -> None:
        while not stop.wait(BEAT):
            if (self.holder() or mine).get("token") != mine["token"]:
                lost.set()
                return
            try:
                write_text(self.path, json.dumps({**mine, "heartbeat": time.time()}))
            except Exception:  # a full disk must not end the run's heart; the next beat tries again
                continue


def is_alive(holder: dict[str, Any]) -> bool:
    """Whether the process that a lease names still lives, as far as can be known from here."""
    try:
        if holder.get("host") == socket.gethostname():
            return _started(int(holder["pid"])) == holder.get("started")
        return abs(time.time() - float(holder.get("heartbeat", 0))) < STALE
    except (KeyError, TypeError, ValueError):
        return False  # damaged


def describe(pid: int) -> dict[str, Any]:
    """Return what a lease holds about a process of this host."""
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "started": _started(pid),
        "job": os.environ.get("SLURM_JOB_ID"),
        "token": uuid4().hex,
        "heartbeat": time.time(),
    }


def _started(pid: int) -> str | None:
    """Return what tells a process from a later one with the same pid: its boot and start time."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _exists(pid)
    return None if fields[0] == "Z" else f"{boot}:{fields[19]}"


def _exists(pid: int) -> str | None:
    """Return the same where there is no /proc: the pid alone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return f"pid:{pid}"
