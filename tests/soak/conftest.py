"""The long tests: a row of the table each, in tries that are noted one by one.

bash tests/run.sh --part soak -- --soak-scale 0.05 -k workers
"""

from pathlib import Path

import numpy as np
import pytest
from tally import SEED, Tally, table, wanted


@pytest.fixture
def tally(request):
    """Return a function that opens the tally of a row."""

    def opened(name):
        scale, folder = request.config.getoption("--soak-scale"), request.config.getoption("--soak-folder")
        one = Tally(Path(folder), name, wanted(name, scale))
        if request.config.getoption("--soak-fresh"):
            one.path.unlink(missing_ok=True)
        return one

    return opened


@pytest.fixture
def random():
    """Return a function that gives the random numbers of a try, the same each time."""
    return lambda number: np.random.default_rng([SEED, number])


def pytest_collection_modifyitems(items):
    """Begin with the row that takes longest; others run beside it."""
    items.sort(key=lambda item: item.name != "test_fault_repeats")


def pytest_terminal_summary(terminalreporter, config):
    """Print the table."""
    if config.getoption("--soak"):
        terminalreporter.write_line(f"\n{table(config.getoption('--soak-folder'))}\n")
