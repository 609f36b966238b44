"""How kernels are compiled: without the interpreter's lock, cached on disk, safe for many processes.

numba's cache has two gaps that matter here. It looks only at the file of the function itself, so a change in
another file, whose code was inlined, goes unseen. And it updates its index without a lock: of two processes
that compile different types at once, one can be given the code of the other. So the cache of our kernels is
stamped with all sources of their package, and read and written under a lock.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, overload

from numba import njit, types
from numba.core.caching import IndexDataCacheFile
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def compiled(function: Function, /) -> Function: ...
@overload
def compiled(function: None = None, /, **options: Any) -> Callable[[Function], Function]: ...
def compiled(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Compile a function when it is first called: IEEE arithmetic in the order written, no Python lock.

    Parameters
    ----------
    function : callable
        The kernel; without it, a decorator with the given options is returned.
    **options
        Further options of `numba.njit`, for example ``forceinline=True``.
    """
    if function is None:
        return functools.partial(compiled, **options)
    dispatcher = njit(**{"nogil": True, "cache": True, "error_model": "numpy", **options})(function)
    file = dispatcher._cache._cache_file
    file.__class__ = _LockedCacheFile
    file._source_stamp = (file._source_stamp, sources_digest(Path(function.__code__.co_filename).parent))
    dispatcher.compile = functools.partial(_compile_once, dispatcher.compile, file._index_path)
    return dispatcher


@overload
def inner(function: Function, /) -> Function: ...
@overload
def inner(function: None = None, /, **options: Any) -> Callable[[Function], Function]: ...
def inner(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Compile a function that only compiled functions call: no entry for Python, nothing cached of its own.

    The entries, which take arguments apart, and the cache of a small function cost more time than its code,
    and that code stands in the cache of its callers. Python itself cannot call such a function.

    Parameters
    ----------
    function : callable
        The kernel; without it, a decorator with the given options is returned.
    **options
        Further options of `numba.njit`.
    """
    if function is None:
        return functools.partial(inner, **options)
    plain = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    dispatcher = njit(**{**plain, **options})(function)
    dispatcher._insert = _no_entry  # else a call from Python would jump to nowhere
    dispatcher._compile_for_args = functools.partial(_refuse, function.__name__)
    return dispatcher


def _no_entry(*_: Any, **__: Any) -> None:
    """Leave the table of what Python can call as it is."""


def _refuse(name: str, *_: Any, **__: Any) -> None:
    """Raise TypeError: Python called an inner function."""
    raise TypeError(f"{name} can be called by compiled functions only")


def _compile_once(compile_now: Callable[[Any], Any], index: str, signature: Any) -> Any:
    """Compile under a lock, so that of workers that start together one compiles and the others find its code.

    The lock of numba's compiler comes first: with the file locks of functions that call each other taken
    inside it, threads cannot wait for each other in a circle.
    """
    with global_compiler_lock, _locked(f"{index}.compile"):
        return compile_now(signature)


@functools.cache
def sources_digest(folder: Path) -> str:
    """Return a digest of all Python sources below a folder, and of this file, which compiles them."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class _LockedCacheFile(IndexDataCacheFile):
    """numba's cache of one function, read and written under a lock between processes."""

    def save(self, key: Any, data: Any) -> None:
        with _locked(self._index_path):
            super().save(key, data)  # type: ignore[no-untyped-call]

    def _load_index(self) -> Any:
        try:
            return super()._load_index()  # type: ignore[no-untyped-call]
        except Exception:  # it refers to modules that are gone, or is damaged: as good as empty
            return {}

    def load(self, key: Any) -> Any:
        if not os.path.exists(self._index_path):
            return None
        with _locked(self._index_path):
            return super().load(key)  # type: ignore[no-untyped-call]


@contextmanager
def _locked(index: str) -> Iterator[None]:
    """Hold the lock of a cache file; where files cannot be locked or made, go on without."""
    try:
        file = open(f"{index}.lock", "ab")
    except OSError:
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks
        yield


def make_ready() -> None:
    """Have numba import now what it otherwise imports when a kernel is first called."""
    with global_compiler_lock:
        cpu_target.typing_context.refresh()
        cpu_target.target_context.refresh()


def _wide_vectors(typing_context: Any) -> Any:
    """Let the function that calls this be compiled to the widest vectors the processor has.

    By default LLVM uses half of those of AVX-512, which suits code that does little else than this does.
    The bits of the results are the same. The stack is aligned for them, see `aligned_stack`.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _add_attribute(builder.function, '"prefer-vector-width"="512"')
        _add_attribute(builder.function, '"stackrealign"')
        return context.get_dummy_value()

    return types.none(), generate


def _aligned_stack(typing_context: Any) -> Any:
    """Let vectors on the stack of the function that calls this begin at cache lines.

    LLVM keeps vectors that have no register on the stack, aligned to 16 bytes only. Most of them then lie in
    two cache lines, and for some callers, whose frames decide where this one begins, in two pages: a loop
    that reads such a vector takes twice the time.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _add_attribute(builder.function, '"stackrealign"')
        return context.get_dummy_value()

    return types.none(), generate


def _add_attribute(function: Any, attribute: str) -> None:
    # llvmlite checks names against a list of its own, which holds no attributes in quotes.
    set.add(function.attributes, attribute)


wide_vectors: Any = intrinsic(_wide_vectors)
aligned_stack: Any = intrinsic(_aligned_stack)
