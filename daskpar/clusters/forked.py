"""The first module that the fork server of local workers imports: it ends when its driver does.

By itself it would look for the driver only once all its imports are done.
"""

import ctypes
import gc
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2): the signal that the parent's end sends; not inherited by forked workers


def end_with_parent() -> None:
    """Have this process killed when its parent ends; nothing where the system has no such thing."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended meanwhile
        os._exit(0)


end_with_parent()
gc.disable()  # while modules are imported, of which none is garbage; workers turn it on again
