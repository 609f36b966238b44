"""Absent, or old, or complete: through errors, full disks, signals and kills."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daskpar import atomic
from daskpar.errors import OutputError, UsageError


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def run_python(code: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


def test_writes_and_replaces(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "a.txt", "one\r\n")
    atomic.write_bytes(tmp_path / "a.txt", b"two\n")
    assert (tmp_path / "a.txt").read_bytes() == b"two\n"
    assert names(tmp_path) == ["a.txt"]


def test_an_existing_file_is_kept_without_overwrite(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(UsageError, match="exists already"):
        atomic.write_text(target, "new", overwrite=False)
    assert target.read_text() == "old"


def test_a_file_that_appears_meanwhile_is_kept_without_overwrite(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with pytest.raises(UsageError), atomic.replacing(target, overwrite=False):
        target.write_text("theirs")
    assert target.read_text() == "theirs"
    assert names(tmp_path) == ["a.txt"]


def half_write(target: Path, error: BaseException) -> None:
    with atomic.replacing(target) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(1)])
def test_any_exception_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(type(error)):
        half_write(target, error)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_permissions_follow_the_umask_and_never_widen(tmp_path: Path) -> None:
    earlier = os.umask(0o022)
    try:
        atomic.write_text(tmp_path / "new", "x")
        atomic.write_text(tmp_path / "secret", "x", mode=0o600)
        atomic.write_text(tmp_path / "secret", "y")
    finally:
        os.umask(earlier)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_a_missing_folder_names_path_and_bytes(tmp_path: Path) -> None:
    target = tmp_path / "gone" / "a.txt"
    with pytest.raises(OutputError, match=r"a\.txt: cannot write 3 bytes: No such file") as caught:
        atomic.write_text(target, "abc")
    assert caught.value.exit_code == 5
    assert "make the folder" in str(caught.value)


def test_a_folder_that_goes_away_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    with pytest.raises(OutputError, match="cannot write"), atomic.replacing(folder / "a.txt"):
        shutil.rmtree(folder)


def test_errors_of_other_files_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic.replacing(tmp_path / "a.txt"):
        open(tmp_path / "input")
    assert names(tmp_path) == []


def test_no_space_names_the_bytes(tmp_path: Path) -> None:
    code = """
import resource, sys
from daskpar.atomic import write_bytes
from daskpar.errors import OutputError
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_bytes(sys.argv[1], b"x" * 10000)
except OutputError as error:
    print(error)
"""
    (tmp_path / "a.bin").write_bytes(b"old")
    done = run_python(code, tmp_path / "a.bin")
    assert "cannot write 10000 bytes: File too large" in done.stdout, done.stderr
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_unwritable_folder(tmp_path: Path) -> None:
    code = """
import os, sys
from daskpar.atomic import write_bytes
from daskpar.errors import OutputError
os.chdir(sys.argv[1])
os.setuid(65534)
try:
    write_bytes("a.bin", b"xx")
except OutputError as error:
    print(error)
"""
    tmp_path.chmod(0o755)
    done = run_python(code, tmp_path)
    assert "a.bin: cannot write 2 bytes: Permission denied" in done.stdout, done.stderr
    assert names(tmp_path) == []


def waiting_writer(tmp_path: Path) -> subprocess.Popen[bytes]:
    code = """
import sys, time
from daskpar.atomic import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a.txt")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_signals_clean_up(tmp_path: Path, number: int, status: int) -> None:
    (tmp_path / "a.txt").write_text("old")
    with waiting_writer(tmp_path) as process:
        process.send_signal(number)
        assert process.wait(timeout=30) == status
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_the_sigterm_handler_is_put_back(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "a.txt", "x")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_sweep_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / ".daskpar-00000000-1-00000000.tmp").write_text("of another host")
    with waiting_writer(tmp_path) as process:
        assert atomic.sweep(tmp_path) == []  # it runs still
        process.kill()
    assert len(names(tmp_path)) == 3
    assert len(atomic.sweep(tmp_path)) == 1
    assert names(tmp_path) == [".daskpar-00000000-1-00000000.tmp", "a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_sweep_puts_back_a_folder_that_was_set_aside(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    mark = f"daskpar-{atomic._host()}-{child.pid}-00000000.old"
    (tmp_path / f".cube.zarr.{mark}").mkdir()
    (tmp_path / f".other.zarr.{mark}").mkdir()
    (tmp_path / "other.zarr").mkdir()
    assert len(atomic.sweep(tmp_path)) == 2
    assert names(tmp_path) == ["cube.zarr", "other.zarr"]


@pytest.mark.parametrize("exchange", [True, False])
def test_folders_are_replaced_whole(tmp_path: Path, exchange: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchange:
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    target = tmp_path / "cube"
    for text in ("one", "two"):
        with atomic.replacing_folder(target) as temporary:
            (temporary / "part").mkdir()
            (temporary / "part" / text).write_text(text)
        assert names(target / "part") == [text]
    assert names(tmp_path) == ["cube"]
    with pytest.raises(UsageError), atomic.replacing_folder(target, overwrite=False):
        pass
    with pytest.raises(OutputError, match="File exists"), atomic.replacing_folder(target) as temporary:
        shutil.copytree(target, temporary)
    assert names(target / "part") == ["two"]
    assert names(tmp_path) == ["cube"]


def test_a_folder_takes_the_place_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cube").symlink_to("elsewhere")
    with atomic.replacing_folder(tmp_path / "cube") as temporary:
        (temporary / "x").write_text("x")
    assert names(tmp_path) == ["cube", "elsewhere"]
    assert names(tmp_path / "elsewhere") == []


def test_killed_at_any_time_the_file_is_old_or_new(tmp_path: Path) -> None:
    code = """
import sys
from daskpar.atomic import write_text
for i in range(10**9):
    write_text(sys.argv[1], str(i % 10) * 200_000)
"""
    target = tmp_path / "a.txt"
    target.write_text("0" * 200_000)
    for attempt in range(10):
        process = subprocess.Popen([sys.executable, "-c", code, str(target)])
        time.sleep(0.15 + 0.013 * attempt)
        process.kill()
        process.wait()
        text = target.read_text()
        assert len(text) == 200_000
        assert set(text) == {text[0]}
    atomic.sweep(tmp_path)
    assert names(tmp_path) == ["a.txt"]
