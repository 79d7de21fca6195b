"""Arithmetic in block definitions, such as ``$filters * 4``: evaluated over a closed set of operations.

An expression may use parameters (``$name``), numbers, quoted text, ``true``/``false``, the operators
``+ - * / // %``, comparisons, ``and``/``or``/``not``, ``a if condition else b``, ``min`` and ``max``.
It is parsed by Python's own parser and walked here: nothing is ever executed.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from cnngen.errors import brief

MAX_LENGTH = 200
_PARAMETER = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_PREFIX = "parameter_"
_LARGEST = 2**63


class ExpressionError(ValueError):
    """An expression that cannot be evaluated; the text says why."""


def parameters_in(text: str) -> list[str]:
    """Names of the parameters that `text` mentions."""
    return _PARAMETER.findall(text)


def evaluate(text: str, variables: Mapping[str, Any]) -> Any:
    """The value of `text`. A text that is one parameter alone may have a value of any kind.

    Raises `ExpressionError`.
    """
    for name in parameters_in(text):
        if name not in variables:
            name = brief(name)
            near = difflib.get_close_matches(name, variables, 1, 0.5)
            known = (
                f"did you mean ${near[0]}?" if near else f"known are {', '.join(f'${n}' for n in sorted(variables))}"
            )
            raise ExpressionError(f"${name} is no parameter of this block: {known}")
    if alone := _PARAMETER.fullmatch(text.strip()):
        return variables[alone.group(1)]
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression of {len(text)} characters, at most {MAX_LENGTH} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, of odd literals such as 1if
            tree = ast.parse(_PARAMETER.sub(rf"{_PREFIX}\1", text.strip()), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ExpressionError(f"`{brief(text)}` is no expression") from None
    return _value(tree.body, variables)


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max}
_CONSTANTS = {"true": True, "false": False, "null": None}


def _value(node: ast.expr, variables: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.Name(id=name) if name.startswith(_PREFIX):
            return variables[name.removeprefix(_PREFIX)]
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.Name(id=name):
            raise ExpressionError(f"{name} is unknown: parameters are written ${name}, text in quotes")
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(op, _number(left, variables), _number(right, variables))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand, variables)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _truth(operand, variables)
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_truth(value, variables) for value in values)
        case ast.BoolOp(values=values):
            return any(_truth(value, variables) for value in values)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _value(body if _truth(test, variables) else orelse, variables)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            return _compare(op, _value(left, variables), _value(right, variables))
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as args, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](_number(argument, variables) for argument in args)
        case _:
            raise ExpressionError(
                f"`{ast.unparse(node).replace(_PREFIX, '$')}` is not allowed: use + - * / // %, comparisons, "
                "and, or, not, `a if c else b`, min, max"
            )


def _binary(op: ast.operator, left: float, right: float) -> float:
    try:
        if isinstance(op, ast.Div):
            # Channels divide evenly or not at all: 64 / 4 is the whole number 16.
            both_whole = isinstance(left, int) and isinstance(right, int)
            result: float = left // right if both_whole and left % right == 0 else left / right
        elif type(op) in _BINARY:
            result = _BINARY[type(op)](left, right)
        else:
            raise ExpressionError("only + - * / // % are allowed")
    except (ZeroDivisionError, OverflowError) as error:
        raise ExpressionError(str(error)) from None
    if not math.isfinite(result) or abs(result) >= _LARGEST:
        raise ExpressionError("the result is too large")
    return result


def _compare(op: ast.cmpop, left: Any, right: Any) -> bool:
    try:
        return bool(_COMPARE[type(op)](left, right))
    except TypeError:
        raise ExpressionError(f"{brief(repr(left))} and {brief(repr(right))} have no order") from None


def _number(node: ast.expr, variables: Mapping[str, Any]) -> Any:
    value = _value(node, variables)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExpressionError(f"{brief(repr(value))} is not a number")
    return value


def _truth(node: ast.expr, variables: Mapping[str, Any]) -> bool:
    value = _value(node, variables)
    if not isinstance(value, bool):
        raise ExpressionError(f"{brief(repr(value))} is neither true nor false: compare it with something")
    return value
