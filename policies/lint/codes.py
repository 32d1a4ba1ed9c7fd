"""Checks that every reason can be explained: rules and `codes.json` have the same codes.

* codes           every denial and warning is a `lib.reason` with a code that `codes.json` explains,
                  and a JSON pointer; every explanation is complete, and some rule or the engine
                  gives its code
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from policies.errors import PolicyError, PolicyUnavailableError
from policies.lint.names import literal
from policies.lint.source import Finding, Module, Node, Rule, dotted, line_of, walk
from policies.party import RESERVED

CODES: Final = "codes.json"
ENGINE_CODES: Final = RESERVED | {PolicyError.reason, PolicyUnavailableError.reason}
"""Reasons that no rule gives: an engine did not answer, or not with a decision."""
ACTORS: Final = frozenset({"tdc", "tdp", "ccrp", "operator"})
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{2,63}")
_FIELDS: Final = frozenset({"title", "severity", "fixedBy", "remedy"})
_GIVEN: Final = frozenset({"deny", "warn"})


def codes(modules: Sequence[Module], data: bytes) -> Iterator[Finding]:
    """Find codes without explanation, explanations without a rule, and nameless reasons."""
    known = _read(data)
    if isinstance(known, Finding):
        yield known
        known = {}
    for code, entry in known.items():
        yield from _entry(code, entry)
    if list(known) != sorted(known):
        yield Finding(CODES, 1, "codes", "the codes are not sorted")
    used: set[str] = set()
    for module in modules:
        if module.is_test:
            continue
        for rule in module.rules:
            yield from _nameless(module, rule)
            for node in _reasons(rule.node):
                given = literal(node["params"][0])
                severity = "warn" if rule.name == "warn" else "deny"
                if given is not None:
                    used.add(given)
                    yield from _explained(module, line_of(node), given, severity, known)
                yield from _computed(module, node)
    for code in sorted(set(known) - used - ENGINE_CODES):
        yield Finding(CODES, 1, "codes", f"{code} is given by no rule")


def places(modules: Sequence[Module], code: str) -> list[tuple[str, int]]:
    """Return file and line of each rule that gives a code."""
    return sorted(
        (module.path, line_of(node))
        for module in modules
        if not module.is_test
        for rule in module.rules
        for node in _reasons(rule.node)
        if literal(node["params"][0]) == code
    )


def _read(data: bytes) -> dict[str, Any] | Finding:
    try:
        value = json.loads(data)
        found = value["codes"]
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, dict):
        return Finding(CODES, 1, "codes", "is not a JSON object with version and codes")
    return found


def _entry(code: str, entry: object) -> Iterator[Finding]:
    if not _CODE.fullmatch(code):
        yield Finding(CODES, 1, "codes", f"{code[:80]!r} is not upper case with underscores")
    if not isinstance(entry, dict) or set(entry) != _FIELDS or not all(entry.values()):
        yield Finding(CODES, 1, "codes", f"{code} lacks one of {', '.join(sorted(_FIELDS))}")
        return
    if entry["severity"] not in _GIVEN:
        yield Finding(CODES, 1, "codes", f"{code} is neither deny nor warn")
    fixers = entry["fixedBy"]
    if not isinstance(fixers, list) or set(map(str, fixers)) - ACTORS:
        message = f"{code}: expected fixedBy of {', '.join(sorted(ACTORS))}"
        yield Finding(CODES, 1, "codes", message)


def _reasons(node: Node) -> Iterator[Node]:
    for kind, call in walk(node):
        if kind == "Call" and (dotted(call["fcn"]) or "").rpartition(".")[2] == "reason":
            yield call


def _nameless(module: Module, rule: Rule) -> Iterator[Finding]:
    """Find a denial or warning that is neither a reason nor a name for one."""
    if rule.name not in _GIVEN:
        return
    key = rule.node.get("Spec", {}).get("head", {}).get("Set", {}).get("key") or {}
    called = dotted(key["Call"]["fcn"]) if "Call" in key else None
    if "Var" not in key and (called or "").rpartition(".")[2] != "reason":
        message = f"{rule.name} contains something else than a lib.reason"
        yield Finding(module.path, rule.line, "codes", message)


def _computed(module: Module, node: Node) -> Iterator[Finding]:
    code, path = node["params"][:2]
    name = dotted(code) or ""
    if literal(code) is None and (not name.endswith(".code") or name.startswith("input.")):
        message = "expected a literal code, or that of another reason"
        yield Finding(module.path, line_of(node), "codes", message)
    pointer = literal(path)
    if pointer and not pointer.startswith("/"):
        message = f"expected a JSON pointer, got {pointer[:80]!r}"
        yield Finding(module.path, line_of(node), "codes", message)


def _explained(
    module: Module, line: int, code: str, severity: str, known: Mapping[str, Any]
) -> Iterator[Finding]:
    entry = known.get(code)
    if entry is None:
        yield Finding(module.path, line, "codes", f"{code} is not explained in {CODES}")
    elif isinstance(entry, dict) and entry.get("severity") != severity:
        message = f"{code} is a {entry.get('severity')} in {CODES}, a {severity} here"
        yield Finding(module.path, line, "codes", message)
