"""Write outputs and be killed, or meet a full disk, again and again; print a line of JSON a try.

    python tests/soak/cut_writing.py {killed,full} FOLDER NUMBER...

For ``full`` it mounts small disks, so it is started in a mount namespace of its own (``unshare --mount``).
This process itself writes nothing but forks those that do: none is impressed by what killed the last.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from outputs_data import map_result, record, stack_result  # noqa: E402

from daskpar.atomic import sweep  # noqa: E402
from daskpar.errors import OutputError  # noqa: E402
from daskpar.outputs import FORMATS, import_early, verify_output, write_outputs  # noqa: E402
from daskpar.outputs.names import ENGINES, engine  # noqa: E402

NAMES = [f"a{suffix}" for suffix in FORMATS if suffix not in ENGINES or engine(suffix)]
DISK = 8 << 20
REFUSED = 5


class First(NamedTuple):
    """How long an output took to write, and how large it is."""

    seconds: float
    size: int


def forked(work):
    """Return the process id of a child that does some work and ends with the code that this returns."""
    process = os.fork()
    if process:
        return process
    code = 99
    try:
        code = work() or 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def result_of(work):
    """Run some work in a child to its end, and return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(forked(work), 0)[1])


def write(folder, names, data, version):
    write_outputs(data, names, folder, overwrite=True, provenance=record(version=version))


def digests(folder):
    """Return what each visible output in a folder holds; of a folder, all files together."""
    found = {}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and path.name != "filler":
            files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
            found[path.name] = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return found


def check(folder, names):
    """Return a function for a child: it ends with the number of outputs that are not complete."""

    def look():
        broken = 0
        for name in names:
            try:
                verify_output(folder / name)
            except Exception as error:
                print(f"{name}: {error}", file=sys.stderr, flush=True)
                broken += 1
        return broken

    return look


def after(folder, name, before):
    """Compare what is there with what was; sweep; count half-written and lost outputs."""
    found = digests(folder)
    lost = sum(found.get(other) != digest for other, digest in before.items() if other != name)
    sweep(folder)
    lost += name not in digests(folder)
    hidden = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    half = result_of(check(folder, [other for other in NAMES if (folder / other).exists()])) + len(hidden)
    return {"half": half, "lost": lost}


def killed(number, folder, data, first):
    """Kill a process at a random moment while it writes the same output over and over."""
    rng, name = random.Random(number), NAMES[number % len(NAMES)]
    before = digests(folder)
    reading, writing = os.pipe()

    def write_on():
        for version in range(10**6):
            os.write(writing, b"x")
            write(folder, [name], data[version % 2], version)

    process = forked(write_on)
    os.read(reading, 1)
    os.close(writing)
    time.sleep(rng.uniform(0, 3 * first[name].seconds))
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    os.close(reading)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"{name}: it ended by itself"
    midway = any(path.name.startswith(".") for path in folder.iterdir())
    return {"name": name, "midway": int(midway), **after(folder, name, before)}


def full(number, folder, data, first):
    """Fill a disk but for a random rest, and try to write an output again that needs more than this."""
    rng, name = random.Random(number), NAMES[number % len(NAMES)]
    disk = folder / f"disk{number}"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(disk)], check=True)
    try:
        assert result_of(lambda: write(disk, NAMES, data[1], 0)) == 0
        before = digests(disk)
        page = os.sysconf("SC_PAGE_SIZE")
        rest = int(rng.uniform(0, 0.8) * first[name].size) // page
        blocks = os.statvfs(disk).f_bavail - rest
        (disk / "filler").write_bytes(bytes(max(0, blocks) * page))
        code = result_of(lambda: refused(disk, name, data))
        assert digests(disk) == before, f"{name}: something changed"
        (disk / "filler").unlink()
        assert code == REFUSED, f"{name}: ended with {code}"
        counts = after(disk, name, before)
        assert result_of(lambda: write(disk, [name], data[0], 2)) == 0
        return {"name": name, "refused": 1, **counts}
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def refused(disk, name, data):
    """Write to a full disk: the exit code of the error that says so, with path and bytes."""
    try:
        write(disk, [name], data[0], 1)
    except OutputError as error:
        told = str(error)
        hidden = [path for path in disk.iterdir() if path.name.startswith(".")]
        return error.exit_code if str(disk / name) in told and "bytes" in told and not hidden else 98
    return 0


def main(mode, where, *numbers):
    folder = Path(where)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    import_early(NAMES)
    data = (stack_result().load(), map_result().load())
    first = {}
    for name in NAMES:  # in children: some libraries start threads when they write, and these are not forked
        clock = time.monotonic()
        assert result_of(lambda name=name: write(folder, [name], data[0], -1)) == 0
        size = sum(p.stat().st_size for p in [folder / name, *(folder / name).rglob("*")] if p.is_file())
        first[name] = First(time.monotonic() - clock, size)
    for number in map(int, numbers):
        clock, fault, figures = time.monotonic(), "", {}
        try:
            figures = {"killed": killed, "full": full}[mode](number, folder, data, first)
            fault = "not as it should be" if figures["half"] or figures["lost"] else ""
        except AssertionError as error:
            fault = str(error)
        print(json.dumps([number, time.monotonic() - clock, fault, figures]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
