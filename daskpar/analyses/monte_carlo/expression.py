"""Formulas as text, evaluated on numbers or arrays without ever running code.

A formula is parsed and checked against a list of what is allowed: numbers, names of variables and constants,
``+ - * / **``, comparisons, ``where(condition, a, b)`` and the functions in `FUNCTIONS`. Nothing else exists
in it: no attributes, no subscripts, no calls of anything not listed.
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from daskpar.errors import RecipeError

_LONGEST = 2000
_DEEPEST = 60
_LARGEST_POWER = 64

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": np.sqrt, "abs": np.abs, "minimum": np.minimum, "maximum": np.maximum, "floor": np.floor,
    "ceil": np.ceil, "sign": np.sign, "where": np.where,
    "exp": np.exp, "log": np.log, "log10": np.log10, "log2": np.log2, "expm1": np.expm1, "log1p": np.log1p,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "arcsin": np.arcsin, "arccos": np.arccos,
    "arctan": np.arctan, "arctan2": np.arctan2, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "cbrt": np.cbrt, "hypot": np.hypot,
}  # fmt: skip
# Exact or correctly rounded on every processor, unlike the others.
_SAME_EVERYWHERE = {"sqrt", "abs", "minimum", "maximum", "floor", "ceil", "sign", "where"}
_ARGUMENTS = {"minimum": 2, "maximum": 2, "where": 3, "arctan2": 2, "hypot": 2}
CONSTANTS = {"pi": np.pi, "e": np.e}

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}  # fmt: skip
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


@dataclass(frozen=True)
class Expression:
    """A checked formula.

    Parameters
    ----------
    text : str
        The formula, such as ``"4 * pi * d**2 * f"``.

    Raises
    ------
    RecipeError
        If it is no formula, or uses anything that is not allowed.
    """

    text: str

    def __post_init__(self) -> None:
        if len(self.text) > _LONGEST:
            raise RecipeError(
                f"the formula has {len(self.text)} characters", f"at most {_LONGEST} are allowed"
            )
        _check(self._tree, self.text, 0)

    @cached_property
    def _tree(self) -> ast.expr:
        try:
            return ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as fault:
            raise RecipeError(
                f"{self.text[:80]!r} is no formula: {getattr(fault, 'msg', fault)}",
                "write it as in Python, for example (a + b)**2 / sqrt(c)",
            ) from fault

    @property
    def variables(self) -> tuple[str, ...]:
        """Names that are neither functions nor constants, in alphabetic order."""
        called = {id(node.func) for node in ast.walk(self._tree) if isinstance(node, ast.Call)}
        names = {n.id for n in ast.walk(self._tree) if isinstance(n, ast.Name) and id(n) not in called}
        return tuple(sorted(names - set(CONSTANTS)))

    @property
    def same_bits(self) -> bool:
        """Whether the values have the same bits on every processor: no function but the exact ones."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id not in _SAME_EVERYWHERE:
                    return False
            if (
                isinstance(node, ast.BinOp)
                and isinstance(node.op, ast.Pow)
                and _small_power(node.right) is None
            ):
                return False
        return True

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Value of the formula.

        Parameters
        ----------
        values : mapping of str to number, array or Quantity
            One for each variable.
        """
        return _evaluate(self._tree, values)


def _check(node: ast.AST, text: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise RecipeError(f"the formula is nested deeper than {_DEEPEST} levels", "split it")
    if isinstance(node, ast.Call):
        _check_call(node, text)
        children: list[ast.AST] = list(node.args)
    elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        children = [node.left, node.right]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        children = [node.operand]
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
        children = [node.left, *node.comparators]
    elif isinstance(node, ast.Name):
        if node.id in FUNCTIONS:
            raise RecipeError(f"{node.id} is a function", f"write {node.id}(...)")
        children = []
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float) and abs(node.value) < 1e300:  # type: ignore[arg-type]
        children = []
    else:
        shown = ast.get_source_segment(text.strip(), node) or type(node).__name__
        raise RecipeError(
            f"{shown[:60]!r} is not allowed in a formula",
            "allowed are numbers, names, + - * / **, one comparison at a time, and listed functions",
        )
    for child in children:
        _check(child, text, depth + 1)


def _check_call(node: ast.Call, text: str) -> None:
    name = (
        node.func.id if isinstance(node.func, ast.Name) else ast.get_source_segment(text.strip(), node.func)
    )
    if name not in FUNCTIONS:
        close = difflib.get_close_matches(str(name), FUNCTIONS, 1)
        raise RecipeError(
            f"there is no function {str(name)[:60]!r} in formulas",
            f"did you mean {close[0]!r}?" if close else f"choose among {', '.join(FUNCTIONS)}",
        )
    wanted = _ARGUMENTS.get(str(name), 1)
    if node.keywords or len(node.args) != wanted or any(isinstance(a, ast.Starred) for a in node.args):
        raise RecipeError(f"{name} takes {wanted} argument{'s' * (wanted > 1)}", "give them by place")


def _evaluate(node: ast.AST, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return float(node.value)  # type: ignore[arg-type]
        case ast.Name():
            return CONSTANTS[node.id] if node.id in CONSTANTS else values[node.id]
        case ast.UnaryOp():
            operand = _evaluate(node.operand, values)
            return -operand if isinstance(node.op, ast.USub) else operand
        case ast.BinOp():
            left = _evaluate(node.left, values)
            power = _small_power(node.right) if isinstance(node.op, ast.Pow) else None
            if power is not None:
                return _integer_power(left, power)
            return _BINARY[type(node.op)](left, _evaluate(node.right, values))
        case ast.Compare():
            left, right = _evaluate(node.left, values), _evaluate(node.comparators[0], values)
            return _COMPARE[type(node.ops[0])](left, right)
        case ast.Call():
            name = node.func.id  # type: ignore[attr-defined]
            return FUNCTIONS[name](*(_evaluate(argument, values) for argument in node.args))
    raise AssertionError(node)  # cannot happen: the formula was checked


def _small_power(node: ast.AST) -> int | None:
    """Return the exponent if it is a whole number that multiplication can raise to."""
    sign = 1
    while isinstance(node, ast.UnaryOp):
        sign, node = (-sign if isinstance(node.op, ast.USub) else sign), node.operand
    if isinstance(node, ast.Constant) and float(node.value).is_integer():  # type: ignore[arg-type]
        if abs(node.value) <= _LARGEST_POWER:  # type: ignore[arg-type]
            return sign * int(node.value)  # type: ignore[arg-type]
    return None


def _integer_power(base: Any, power: int) -> Any:
    """Power by repeated multiplication, whose bits are the same everywhere, unlike ``numpy.power``."""
    if power < 0:
        return 1.0 / _integer_power(base, -power)
    if power == 0:
        return base * 0.0 + 1.0 if not hasattr(base, "unit") else base.value * 0.0 + 1.0
    result = None
    while power:
        if power & 1:
            result = base if result is None else result * base
        power >>= 1
        base = base * base if power else base
    return result
