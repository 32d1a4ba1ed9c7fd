"""Checks of a provider's own rules, which are one module that stands by itself.

* module          says which package it is, and explains each code; not too large
* syntax          parses, in a process that may not survive it
* text            as in a bundle
* apart           no imports, and no `data`: whoever reads the module has read everything
* rules           `deny` and `warn` are sets of objects of a literal code, a path and a msg; nothing
                  allows or decides
* codes           every reason's code is explained, as what it is, and is not one of the bundle's
* portable        negation, names, builtins, numbers, formats, patterns and overrides as in a bundle
* defaults, unused  as in a bundle
* facts           every place of `input` that a rule reads is a fact of some question, or `question`
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from policies.bundle import load_bundle
from policies.engine.workers import shared_workers
from policies.errors import DocumentError, PolicyError, Problem
from policies.lint import facts, frame, portable
from policies.lint.names import literal
from policies.lint.source import Finding, Node, Rule, line_of, module_of
from policies.lint.source import Module as Parsed
from policies.party import Module, read_module

PATH: Final = "rules.rego"
_Check = Callable[[Parsed, Sequence[Parsed]], Iterator[Finding]]
_CHECKS: Final[tuple[_Check, ...]] = (
    frame.text,
    frame.defaults,
    portable.shadows,
    portable.negation,
    portable.calls,
    portable.numbers,
    portable.overrides,
)
_GIVEN: Final = ("deny", "warn")
_FIELDS: Final = frozenset({"code", "path", "msg"})
_NOT_THEIRS: Final = frozenset({"allow", "decision"})
_LINE: Final = re.compile(rf"{re.escape(PATH)}:(\d+)")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def checked_module(data: bytes) -> Module:
    """Return a provider's rules, if nothing is wrong with them.

    Raises:
        DocumentError: naming everything that is.
    """
    findings = lint_module(data)
    if findings:
        problems = [Problem("", str(finding)) for finding in findings]
        raise DocumentError("provider's rules", problems)
    return read_module(data)


def lint_module(data: bytes) -> list[Finding]:
    """Return everything that is wrong with a provider's rules, sorted by place."""
    try:
        module = read_module(data)
    except DocumentError as error:
        return [Finding(PATH, 1, "module", _said(problem)) for problem in error.problems]
    try:
        tree = json.loads(shared_workers().parse(module.text))[0]["ast"]
        parsed = module_of(PATH, module.text, tree)
        return sorted(set(_findings(module, parsed)))
    except PolicyError as error:
        line = _LINE.search(str(error))
        return [Finding(PATH, int(line[1]) if line else 1, "syntax", str(error))]
    except RecursionError:
        return [Finding(PATH, 1, "syntax", "is nested too deeply")]


def _findings(module: Module, parsed: Parsed) -> Iterator[Finding]:
    for check in _CHECKS:
        yield from check(parsed, [parsed])
    yield from frame.unused([parsed])
    yield from _apart(module, parsed)
    yield from _rules(parsed)
    yield from _codes(module, parsed)
    yield from facts.provider(parsed)


def _said(problem: Problem) -> str:
    return problem.message + (f" ({problem.hint})" if problem.hint else "")


def _apart(module: Module, parsed: Parsed) -> Iterator[Finding]:
    if parsed.package != f"depa.party.{module.name}":
        yield Finding(PATH, 1, "apart", f"is {parsed.package}, not depa.party.{module.name}")
    for target in parsed.imports.values():
        yield Finding(PATH, 1, "apart", f"imports {target}; a provider's rules import nothing")
    for kind, node in parsed.nodes:
        if kind == "Var" and node["value"] == "data":
            message = "reads `data`; a rule is read by its name, and facts from `input`"
            yield Finding(PATH, line_of(node), "apart", message)


def _rules(parsed: Parsed) -> Iterator[Finding]:
    if all(rule.name != "deny" for rule in parsed.rules):
        yield Finding(PATH, 1, "rules", "has no rule `deny contains {...}`")
    for rule in parsed.rules:
        if rule.name in _NOT_THEIRS or not _NAME.fullmatch(rule.name):
            message = (
                f"{rule.name}: a provider's rules deny and warn; they allow and decide nothing"
            )
            yield Finding(PATH, rule.line, "rules", message)
        if rule.name in _GIVEN and set(_reason(rule)) != _FIELDS:
            message = (
                f'{rule.name} is not `{rule.name} contains {{"code": …, "path": …, "msg": …}}`'
            )
            yield Finding(PATH, rule.line, "rules", message)


def _codes(module: Module, parsed: Parsed) -> Iterator[Finding]:
    given: dict[str, str] = {}
    for rule in parsed.rules:
        reason = _reason(rule)
        if rule.name not in _GIVEN or "code" not in reason:
            continue
        code = literal(reason["code"])
        if code is None:
            yield Finding(PATH, rule.line, "codes", "expected a literal code")
        elif code not in module.codes:
            message = f"{code} is not explained by METADATA before its rule"
            yield Finding(PATH, rule.line, "codes", message)
        elif module.codes[code].severity != rule.name:
            yield Finding(PATH, rule.line, "codes", f"{code} is given by both deny and warn")
        elif code in load_bundle().codes:
            yield Finding(PATH, rule.line, "codes", f"{code} is a code of the policy itself")
        given[code or ""] = rule.name
    for code in sorted(set(module.codes) - set(given)):
        yield Finding(PATH, 1, "codes", f"{code} is given by no rule")


def _reason(rule: Rule) -> dict[str, Node]:
    """Return the fields of the object that a rule's head puts into its set."""
    key = rule.node.get("Spec", {}).get("head", {}).get("Set", {}).get("key") or {}
    fields = key.get("Object", {}).get("fields", [])
    return {literal(name) or "": value for _, name, value in fields}
