"""Durable nodes: graph nodes whose result may be stored, under a key that says what it is.

`durable` makes one. Without a run it is an ordinary delayed node. With a run, `daskpar.execution` finds these
nodes in the graph and stores what they compute, so that each is computed at most once.

The key is a digest of (the source code behind the function, the function's name, the caller's description of
the block). Same key, same bits: it holds nothing about the cluster, the clock or the partition over workers.
This module is a leaf: it imports only dask.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from dask._task_spec import List, Task, TaskRef
from dask.base import tokenize
from dask.delayed import Delayed, unpack_collections
from dask.highlevelgraph import HighLevelGraph
from dask.utils import ensure_dict


@dataclass(frozen=True, slots=True)
class Durable:
    """The callable inside a durable node: calls `function`, and carries the key of its result.

    Attributes
    ----------
    function : callable
        Computes the partial: a dict of arrays, or one array.
    key : str
        Hexadecimal digest under which the result is stored.
    label : str
        What the block is, for people: ``"combine rows 0:64"``.
    """

    function: Callable[..., Any]
    key: str
    label: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)


@dataclass(frozen=True)
class Stage:
    """What a `build` yields when later blocks need stored results of earlier ones.

    `build` is then a generator: ``result = yield Stage("scales", collection)`` has the run compute and store
    the collection's durable nodes, and receives the finished Dataset. What the generator returns is the last
    stage; if it returns nothing, the last one it yielded is.

    Attributes
    ----------
    name : str
        For people: ``plan``, progress, events.
    collection : dask collection
        As `build` returns it.
    scratch : bool
        Only later stages need its results: the large ones are removed when the run is done.
    then : tuple of str
        Names of the stages that will or may follow, for ``daskpar plan``, which cannot look into them.
    """

    name: str
    collection: Any
    scratch: bool = False
    then: tuple[str, ...] = ()


def durable(function: Callable[..., Any], *args: Any, key: Any, label: str) -> Delayed:
    """Return a delayed call of `function` whose result a run stores under `key`.

    Parameters
    ----------
    function : callable
        A module-level function that returns a partial: a dict of str to array (numbers, booleans, fixed-width
        strings) or one array. Its source, and the project's modules it imports, enter the key by themselves.
    *args
        Its arguments; delayed values among them become dependencies.
    key : JSON-like
        What the result is: everything that decides its bits besides the code. The options that matter, the
        identity of the input and the block, as numbers, strings, booleans, lists and dicts.
    label : str
        What the block is, for progress and error messages.

    Returns
    -------
    dask.delayed.Delayed
        Named ``durable-<word>-<key>``, `word` being the first word of the label.
    """
    digest = sys.intern(block_key(function, key))  # a driver meets it again in each record
    name = f"durable-{_word(label)}-{digest}"
    # The task is made here: a call of a delayed function looks into every argument, which costs more than
    # everything else.
    values, nodes = zip(*map(_reference, args), strict=True) if args else ((), ())
    task = Task(name, Durable(function, digest, label), *values)
    graph = HighLevelGraph.from_collections(
        name, {name: task}, dependencies=[n for some in nodes for n in some]
    )
    return Delayed(name, graph)


def _reference(value: Any) -> tuple[Any, Sequence[Any]]:
    """Return what stands for an argument in a task, and the collections it refers to."""
    if isinstance(value, Delayed):
        return TaskRef(value.key), (value,)
    if value is None or isinstance(value, int | float | str | bytes):
        return value, ()
    found: tuple[Any, Sequence[Any]] = unpack_collections(value)
    return found


@dataclass(frozen=True)
class Nodes:
    """Delayed nodes whose graphs are merged into one layer: several collections can stand on them cheaply.

    Attributes
    ----------
    keys : tuple of str
        Theirs, in order.
    layer : str
        Name of the layer.
    graph : dict
        Its tasks.
    """

    keys: tuple[str, ...]
    layer: str
    graph: Mapping[Any, Any]

    def beneath(self, name: str, tasks: Mapping[Any, Any]) -> HighLevelGraph:
        """Return the graph of a layer of tasks that refer to these nodes."""
        return HighLevelGraph({name: tasks, self.layer: self.graph}, {name: {self.layer}, self.layer: set()})


def merged(nodes: Sequence[Delayed]) -> Nodes:
    """Merge the graphs of delayed nodes, at a cost linear in their number, where dask's own is quadratic."""
    graph: dict[Any, Any] = {}
    seen: set[int] = set()
    for node in nodes:
        own = node.__dask_graph__()
        for layer in getattr(own, "layers", {"": own}).values():
            if id(layer) not in seen:
                seen.add(id(layer))
                graph.update(ensure_dict(layer))
    keys = tuple(node.key for node in nodes)
    return Nodes(keys, f"nodes-{digest_of(keys)}", graph)


def collect(function: Callable[..., Any], nodes: Sequence[Delayed] | Nodes, *args: Any) -> Delayed:
    """Return a delayed call of ``function(results, *args)``: `results` is the list of what the nodes give.

    As ``delayed(function)(nodes, *args)``, without its cost. `args` are passed as they are.
    """
    below = nodes if isinstance(nodes, Nodes) else merged(nodes)
    name = f"collect-{tokenize(function, below.keys, args)}"
    task = Task(name, function, List(*map(TaskRef, below.keys)), *args)
    return Delayed(name, below.beneath(name, {name: task}))


def block_key(function: Callable[..., Any], key: Any) -> str:
    """Return the digest that names the result of `function` for a block described by `key`."""
    code = code_digest(function)
    return digest_of([code, getattr(function, "__qualname__", ""), key])


def digest_of(value: Any) -> str:
    """Return the SHA-256 (40 hexadecimal digits of it) of a JSON-like value, in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _plain(value: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()  # a numpy scalar
    raise TypeError(
        f"a durable key may hold numbers, strings, booleans, lists and dicts, not {type(value).__name__}"
    )


def _word(label: str) -> str:
    word = "".join(c if c.isalnum() or c == "_" else "_" for c in label.split(" ", 1)[0][:32])
    return word or "block"


def code_digest(function: Callable[..., Any]) -> str:
    """Return a digest of the source behind a function: its module and the modules beside it that it imports.

    What its module does not know by its name, as lambdas, closures, methods of an object and functions typed
    into a notebook, is known by its bytecode and the values it holds, too.
    """
    if isinstance(function, partial):
        return digest_of([code_digest(function.func), tokenize(function.args, function.keywords)])
    if _is_named(function):
        return _source_digest(function)
    return digest_of([_source_digest.__wrapped__(function), _state(function, ())])


def _state(value: Any, seen: tuple[int, ...]) -> Any:
    """Return what a function or object without a name of its own is, as JSON.

    Not its pickle, whose bytes differ between a module compiled just now and one read from its ``.pyc``.
    """
    if not isinstance(value, FunctionType):
        owner = getattr(value, "__self__", None)
        if isinstance(value, MethodType):
            return ["method", _state(value.__func__, seen), tokenize(owner)]
        return tokenize(value)
    if id(value) in seen:
        return "recursion"
    seen = (*seen, id(value))
    held = [value.__defaults__ or (), [cell.cell_contents for cell in value.__closure__ or ()]]
    named = {} if code_files(value) else _globals_of(value)  # a source file says what its globals are
    return [
        _code_state(value.__code__),
        [[_state(one, seen) for one in some] for some in held],
        {name: _state(one, seen) for name, one in {**(value.__kwdefaults__ or {}), **named}.items()},
    ]


def _globals_of(function: FunctionType) -> dict[str, Any]:
    """Return the global values that a function uses, besides modules, whose names its code holds."""
    used = function.__code__.co_names
    values = {name: function.__globals__[name] for name in used if name in function.__globals__}
    return {name: value for name, value in values.items() if not isinstance(value, ModuleType)}


def _code_state(code: CodeType) -> Any:
    """Return all of a compiled function that decides what it does, as JSON."""
    constants = [_code_state(one) if isinstance(one, CodeType) else _constant(one) for one in code.co_consts]
    return [code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars, constants]


def _constant(value: Any) -> str:
    inner = sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)
    return f"{type(value).__name__} {inner}"


def _is_named(function: Callable[..., Any]) -> bool:
    """Whether a function with a source file is what its module has under its name."""
    found: Any = sys.modules.get(getattr(function, "__module__", "") or "")
    if getattr(found, "__file__", None) is None:
        return False
    for name in getattr(function, "__qualname__", "<none>").split("."):
        found = getattr(found, name, None)
    return found is function


@lru_cache(maxsize=1024)
def _source_digest(function: Callable[..., Any]) -> str:
    files = code_files(function)
    return digest_of([(name, hashlib.sha256(path.read_bytes()).hexdigest()) for name, path in files.items()])


def code_files(function: Callable[..., Any]) -> dict[str, Path]:
    """Return the source files behind a function, by module name: the closure of imports inside its project.

    For a module of a package the project is that package; for a single module, the folder it lies in.
    """
    module = sys.modules.get(getattr(function, "__module__", "") or "")
    file = getattr(module, "__file__", None)
    if module is None or file is None or not file.endswith(".py"):
        return {}
    spec = getattr(module, "__spec__", None)
    name = spec.name if spec is not None else Path(file).stem
    root = Path(file).resolve().parents[name.count(".") + (Path(file).name == "__init__.py")]
    top = name.partition(".")[0] if "." in name or _installed(root) else ""
    return dict(sorted(_closure(name, root, top).items()))


def _installed(root: Path) -> bool:
    """Whether `root` holds installed distributions, whose neighbours are not one project."""
    return root.name in ("site-packages", "dist-packages") or root == Path(json.__file__).resolve().parents[1]


def _closure(name: str, root: Path, top: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    waiting, seen = [name], {""}
    while waiting:
        module = waiting.pop()
        if module in seen or (top and module.partition(".")[0] != top):
            continue
        seen.add(module)
        path = _module_file(root, module)
        if path is None:
            continue
        found[module] = path
        waiting += [*_imports(path, module), module.rpartition(".")[0]]  # a package's own code runs first
    return found


def _module_file(root: Path, module: str) -> Path | None:
    base = root.joinpath(*module.split("."))
    for path in (base.with_name(base.name + ".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imports(path: Path, module: str) -> Iterator[str]:
    """Yield the absolute names of all modules that a source file may import, wherever it does so."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in _import_statements(path.read_bytes()):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@lru_cache(maxsize=1024)
def _import_statements(source: bytes) -> tuple[ast.Import | ast.ImportFrom, ...]:
    found = _statements(ast.parse(source))
    return tuple(node for node in found if isinstance(node, ast.Import | ast.ImportFrom))


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all statements of a syntax tree except those under ``if TYPE_CHECKING``, which never run."""
    for child in ast.iter_child_nodes(tree):
        if (
            isinstance(child, ast.If)
            and isinstance(child.test, ast.Name)
            and child.test.id == "TYPE_CHECKING"
        ):
            continue
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):  # expressions import nothing
            yield child
            yield from _statements(child)
