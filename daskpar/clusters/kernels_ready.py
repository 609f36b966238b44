"""The last import of the fork server: what numba would import in each worker when it first calls a kernel."""

from numba.core.registry import cpu_target

cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()
