"""What the tests of a session need more than once, and is made once, whichever process needs it first."""

import fcntl
import json
import os

import pytest

__all__ = ["shared"]


class Shared:
    """A folder that all processes of a test session share.

    Attributes
    ----------
    folder : Path
        Empty at the session's begin.
    """

    def __init__(self, folder):
        self.folder = folder

    def once(self, name, make):
        """Return what `make`, given a new folder, returned when a test first asked for it by this name."""
        place = self.folder / name
        place.mkdir(parents=True, exist_ok=True)
        found = place / "found.json"
        with open(place / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not found.exists():
                tried = place / str(len(list(place.iterdir())))
                tried.mkdir()
                found.write_text(json.dumps(make(tried)))
        return json.loads(found.read_text())


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """What the session shares; of pytest-xdist each process has a folder below the one for all."""
    base = tmp_path_factory.getbasetemp()
    return Shared((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once")
