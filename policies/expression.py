"""Arithmetic over named terms: + - * / ** and unary minus, and nothing else.

The text is parsed into a syntax tree, the tree is checked node by node against the list above, and
evaluation walks that checked tree; no text is ever handed to the interpreter. Terms are whatever
supports the operators: numbers in the checks, tensors of per-sample losses in the clean room.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

MAX_CHARACTERS: Final = 200
MAX_NODES: Final = 64
MAX_NUMBER: Final = 1e6

_BINARY: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


@dataclass(frozen=True)
class Expression:
    """A checked expression; build it with `parse`."""

    text: str
    names: frozenset[str]
    """The terms that the expression uses."""
    _root: ast.expr

    def evaluate(self, terms: Mapping[str, Any]) -> Any:
        """Return the value of the expression.

        Raises:
            KeyError: if a term is missing.
        """
        return _evaluate(self._root, terms)


def parse(text: str, *, names: frozenset[str]) -> Expression:
    """Check the text of an expression whose terms must be among `names`.

    Raises:
        ValueError: saying which part is not allowed.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"expression has {len(text)} characters, the limit is {MAX_CHARACTERS}")
    try:
        root = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(
            "expression is not arithmetic: expected terms joined by + - * / **"
        ) from None
    used: set[str] = set()
    nodes = 0
    pending: list[ast.expr] = [root]
    while pending:
        node = pending.pop()
        nodes += 1
        if nodes > MAX_NODES:
            raise ValueError(f"expression has more than {MAX_NODES} terms and operators")
        match node:
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                pending += [left, right]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                pending.append(operand)
            case ast.Constant(value=int() | float() as value) if _is_small(value):
                pass
            case ast.Name(id=name) if name in names:
                used.add(name)
            case ast.Name(id=name):
                raise ValueError(f"expression names {name!r}; the terms are {sorted(names)}")
            case _:
                raise ValueError(
                    f"expression contains {ast.unparse(node)[:60]!r}; "
                    "only numbers, terms and + - * / ** are allowed"
                )
    return Expression(text=text, names=frozenset(used), _root=root)


def _is_small(value: float) -> bool:
    return not isinstance(value, bool) and abs(value) <= MAX_NUMBER


def _evaluate(node: ast.expr, terms: Mapping[str, Any]) -> Any:
    match node:
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_evaluate(left, terms), _evaluate(right, terms))
        case ast.UnaryOp(operand=operand):
            return -_evaluate(operand, terms)
        case ast.Constant(value=value):
            # A float, so that a power of two large integers cannot fill the memory.
            return float(str(value))
        case ast.Name(id=name):
            return terms[name]
    raise ValueError("expression was not checked")
