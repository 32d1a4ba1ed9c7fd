"""Checks that keep a rule's answer the same in every engine, and refusing when a field is missing.

* negation        `not` stands before a named rule or a function of bound names: OPA hoists anything
                  else out of the negation, and a missing field then makes the rule disappear
* names           no rule is called like a builtin or an operator: OPA takes `div` for `/`; a field
                  that is called like a keyword stands in brackets
* builtins        an allow-list: no clock, network, randomness, cryptography, environment or output
* numbers         whole numbers alone, since engines print and add floating-point ones differently
* division        `/` only where nothing is left over, for the same reason
* formats         `sprintf` with %v alone, one for each argument: engines differ in all other verbs
* patterns        regular expressions are anchored
* overrides       no `with` outside tests
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from policies.lint.names import functions, is_defined, is_rule_path, literal, rules
from policies.lint.source import Finding, Module, Node, dotted, line_of, slice_of

BUILTINS: Final = frozenset(
    [
        "array.concat",
        "concat",
        "count",
        "floor",
        "format_int",
        "is_array",
        "is_boolean",
        "is_number",
        "is_object",
        "is_string",
        "max",
        "min",
        "object.union",
        "regex.match",
        "sort",
        "sprintf",
        "startswith",
        "substring",
        "sum",
        "trim_right",
    ]
)
"""Functions that all engines compute alike; tests may also use those of `TEST_BUILTINS`."""
TEST_BUILTINS: Final = BUILTINS | {"json.patch", "numbers.range"}
OPERATORS: Final = frozenset(
    {
        *("and", "assign", "div", "eq", "equal", "gt", "gte", "intersection", "lt", "lte"),
        *("minus", "mul", "neq", "or", "plus", "rem", "union"),
    }
)
"""Names that OPA gives to operators and to builtins that are not allowed here."""
KEYWORDS: Final = frozenset(
    {
        *("as", "contains", "default", "else", "every", "false", "if", "import", "in"),
        *("not", "null", "package", "some", "true", "with"),
    }
)
_WHOLE: Final = re.compile(r"-?\d+")
_VERB: Final = re.compile(r"%(.)")
_EXACT: Final = re.compile(r"\((\w+) - \(\1 % (\w+)\)\) / \2")
_BOUND: Final = ("Var", "String", "RawString", "Number", "Bool", "True", "False")


def shadows(module: Module, _: Sequence[Module]) -> Iterator[Finding]:
    """Find rules that have a builtin's name, and fields that have a keyword's."""
    for rule in module.rules:
        if rule.name in BUILTINS | OPERATORS:
            yield Finding(module.path, rule.line, "names", f"{rule.name} is a builtin's name")
    for kind, node in module.nodes:
        if kind == "RefDot" and node["field"][1] in KEYWORDS:
            message = f'.{node["field"][1]} is a keyword; write ["{node["field"][1]}"]'
            yield Finding(module.path, line_of(node), "names", message)


def negation(module: Module, modules: Sequence[Module]) -> Iterator[Finding]:
    """Find negations that a missing field would make undefined in OPA."""
    if module.is_test:
        return
    known = rules(modules, module.package)
    for kind, node in module.nodes:
        if kind != "NotExpr":
            continue
        problem = _negated(module, modules, node["expr"], known)
        if problem:
            yield Finding(module.path, line_of(node), "negation", problem)


def _negated(
    module: Module, modules: Sequence[Module], expression: Node, known: set[str]
) -> str | None:
    if "Call" in expression:
        call = expression["Call"]
        name = dotted(call["fcn"]) or ""
        if not is_defined(module, modules, name):
            return f"`not {name}(...)` negates a builtin; name a rule of it"
        for argument in call["params"]:
            bound = any(kind in argument for kind in _BOUND)
            if not bound or dotted(argument) in {"input", "data", *known}:
                return f"`not {name}(...)` has an argument that may be undefined; bind it before"
        return None
    name = dotted(expression) or ""
    if is_rule_path(modules, name):
        return None
    if name in known - functions(modules, module.package):
        return None
    return "`not` stands before an expression; give it a name as a rule"


def calls(module: Module, modules: Sequence[Module]) -> Iterator[Finding]:
    """Find calls of builtins that are not allowed, or are used in a way that is not."""
    allowed = TEST_BUILTINS if module.is_test else BUILTINS
    for kind, node in module.nodes:
        if kind != "Call":
            continue
        name, line = dotted(node["fcn"]) or "?", line_of(node)
        if not is_defined(module, modules, name) and name not in allowed:
            yield Finding(module.path, line, "builtins", f"{name} is not one of those allowed")
        if name == "sprintf":
            yield from _format(module, node)
        if name == "regex.match" and not _is_anchored(node["params"][0]):
            message = r"expected a literal pattern from \A to \z"
            yield Finding(module.path, line, "patterns", message)


def _is_anchored(node: Node) -> bool:
    pattern = literal(node)
    return pattern is not None and pattern.startswith(r"\A") and pattern.endswith(r"\z")


def _format(module: Module, node: Node) -> Iterator[Finding]:
    text, values = literal(node["params"][0]), node["params"][1].get("Array")
    verbs = _VERB.findall(text or "")
    if text is None or values is None:
        message = "expected a literal format and an array of values"
    elif set(verbs) - {"v"}:
        message = f"%{min(set(verbs) - {'v'})} is not %v"
    elif len(verbs) != len(values["items"]):
        message = f"{len(verbs)} verbs for {len(values['items'])} values"
    else:
        return
    yield Finding(module.path, line_of(node), "formats", message)


def numbers(module: Module, _: Sequence[Module]) -> Iterator[Finding]:
    """Find numbers that are not whole, and divisions that may leave something over."""
    for kind, node in module.nodes:
        if kind == "Number" and not _WHOLE.fullmatch(slice_of(module.text, node["span"])):
            message = f"{slice_of(module.text, node['span'])} is not a whole number"
            yield Finding(module.path, line_of(node), "numbers", message)
        if kind == "ArithExpr" and node["op"] == "Div" and not module.is_test:
            text = slice_of(module.text, node["span"])
            if not _EXACT.fullmatch(text):
                message = f"`{text}` may leave something over; write (a - (a % b)) / b"
                yield Finding(module.path, line_of(node), "division", message)


def overrides(module: Module, _: Sequence[Module]) -> Iterator[Finding]:
    """Find `with` outside tests."""
    if module.is_test:
        return
    for line in _lines_with(module.tree["rules"], "with_mods"):
        yield Finding(module.path, line, "overrides", "`with` belongs into tests")


def _lines_with(node: object, key: str) -> Iterator[int]:
    if isinstance(node, dict):
        if node.get(key):
            yield line_of(node)
        for value in node.values():
            yield from _lines_with(value, key)
    elif isinstance(node, list):
        for item in node:
            yield from _lines_with(item, key)
