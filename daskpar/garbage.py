"""How often Python looks for garbage while a command runs.

Every 700 objects more it would look through what is new, and often through all that was imported, none of
which is garbage, and once more when it ends: a quarter of the time of a short run.
"""

import gc

OBJECTS = (50_000, 20, 20)  # some 10 MB; rounds of one generation before the next is looked through


def sought_rarely() -> None:
    """Look for garbage when there is more of it."""
    gc.set_threshold(*OBJECTS)


def sought_no_more() -> None:
    """Look for none while this process ends."""
    gc.freeze()
    gc.disable()
