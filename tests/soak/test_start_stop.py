"""Clusters that come and go, many times: nothing stays behind, and strangers stay outside."""

import contextlib
import json
import re
import socket
import subprocess
import sys
import time

import parts
import psutil
import pytest
from processes import ROOT, environment

import daskpar
from daskpar.clusters.keys import PARTS, security_of
from daskpar.errors import ClusterError
from daskpar.profile import AddressProfile

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

LISTENERS = "listen or foreign or stranger or loopback"


def test_start_stop(tally, tmp_path):
    row = tally("start_stop")
    (tmp_path / "tmp").mkdir()
    missing = row.missing()
    if missing:
        command = [sys.executable, str(ROOT / "tests" / "cycles.py"), str(len(missing))]
        variables = environment(TMPDIR=str(tmp_path / "tmp"))
        with subprocess.Popen(
            command, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, text=True
        ) as process:
            first = json.loads(process.stdout.readline())
            clock = time.monotonic()
            for number in missing:
                state = json.loads(process.stdout.readline())
                more = {name: value for name, value in state.items() if left(name, first[name], value)}
                row.add(number, time.monotonic() - clock, str(more) if more else "")
                clock = time.monotonic()
        assert process.returncode == 0
    row.check()


def left(name, before, after):
    return after > before + 2 if name == "handles" else after != before if name == "files" else after > before


def test_start_stop_slurm(tally, slurm, tmp_path):
    sys.path.insert(0, str(ROOT / "tests" / "slurm"))
    from site_of import Site, run_of

    def attempt(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        site = Site(slurm, folder, blocks=4, seconds=0)
        site.submit()
        assert site.wait()["state"] == "done"
        slurm.wait_until_empty(90)
        assert not (run_of(site) / "keys").exists()
        alive = [
            p.info
            for p in psutil.process_iter(["cmdline"])
            if str(folder) in " ".join(p.info["cmdline"] or ())
        ]
        assert alive == []

    tally("start_stop_slurm").each(attempt)


def test_strangers(tally, tmp_path):
    row = tally("strangers")
    if not row.missing():
        return row.check()
    security_of("temporary", tmp_path / "foreign")
    keys = {part: str(tmp_path / "foreign" / f"{part}.pem") for part in PARTS}
    with daskpar.open_client("local", workers=1) as client:
        address = client.scheduler.address

        def attempt(number):
            seconds = plain(address) if number % 2 else foreign(address, keys)
            assert client.submit(sum, [number, 1], pure=False).result() == number + 1
            assert seconds <= 3
            return {"refused_after": round(seconds, 3)}

        return row.each(attempt)


def foreign(address, keys):
    """Knock with another certificate; return the seconds until refused."""
    clock = time.monotonic()
    with (
        pytest.raises(ClusterError, match="cannot be reached with these keys"),
        daskpar.open_client(AddressProfile(address=address, security=keys)),
    ):
        pass
    return time.monotonic() - clock


def plain(address):
    """Talk to a scheduler without TLS; return the seconds until it hangs up."""
    host, port = re.fullmatch(r"tls://(.*):(\d+)", address).groups()
    clock = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(b"\0" * 64)
        with contextlib.suppress(ConnectionResetError):
            while line.recv(1024):  # an alert of TLS, then the end
                pass
    return time.monotonic() - clock


def test_listeners(tally, tmp_path):
    command = [sys.executable, "-m", "pytest", "-q", "-k", LISTENERS, "-p", "no:cacheprovider"]
    local = ["tests/unit/test_local_cluster.py", "tests/unit/test_other_clusters.py"]

    def attempt(number):
        # Each place by itself: files of one name lie in several.
        found = [outcome_of([*command, *place]) for place in (local, ["tests/slurm"], ["tests/mpi"])]
        return {word: sum(figures[word] for figures in found) for word in ("passed", "failed")}

    tally("listeners").each(attempt)


def outcome_of(command):
    """Run pytest; return how many tests passed and failed."""
    done = subprocess.run(
        command,
        cwd=parts.ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=2 * 3600,
        check=False,
    )
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|error)", done.stdout[-600:])}
    figures = {"passed": counts.get("passed", 0), "failed": counts.get("failed", 0) + counts.get("error", 0)}
    names = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    assert done.returncode == 0, f"{figures}: {names} {done.stdout[-300:] if not names else ''}"
    return figures
