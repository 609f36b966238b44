"""What tasks of this analysis import: local workers are forked from a process that imported this."""

from daskpar.analyses.monte_carlo import tasks, trials
from daskpar.compiled import make_ready

__all__ = ["tasks", "trials"]

make_ready()
