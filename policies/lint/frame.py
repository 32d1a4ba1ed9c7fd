"""Checks of what surrounds the rules: files, packages, imports, entrypoints, tests.

* text            UTF-8, line feeds, a newline at the end, indented with tabs, nothing after a line
* package         the package is the folder; the file says what it is in METADATA
* imports         other packages are imported for their functions; a rule read through an import
                  makes regorus evaluate its whole package, and undefined if that is in progress
* references      `data` leads to a rule of the bundle, by a written name; OPA would take anything
                  else for a document that somebody may load beside the bundle
* entrypoints     one `decision` a package, with a title and `scope: document`; it answers `allow`,
                  `reasons`, `warnings` and whose answer it is; `allow` is false by default and true
                  for one cause only: a positive `complete`, and no denial; no rule but `complete`
                  meets facts that are not
* defaults        nothing is true by default
* unused          every rule and function is used
* tests           every package has tests, which stand in files of their own, each under one name
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from posixpath import dirname
from typing import Final

from policies.lint.names import functions, literal, rules, targets
from policies.lint.source import Finding, Module, Node, Rule, dotted, line_of, slice_of, walk

ENTRYPOINTS: Final = ("contract", "training", "attestation", "release")
_ROOTS: Final = frozenset({"decision", "deny", "warn", "allow"})
_INDENTED: Final = re.compile(r"\t* +\S")
_ANSWERS: Final = {
    "allow": "allow",
    "reasons": "reasons",
    "warnings": "warnings",
    "policy": "data.depa.lib.identity",
}
_ALLOWING: Final = ["complete", "count(deny) == 0"]
_GUARDED: Final = {
    "reasons": ["reasons := deny if complete", "reasons := incomplete if not complete"],
    "warnings": ["warnings := {warning | complete; some warning in warn}"],
}
_MARK: Final = "# entrypoint: true"


def text(module: Module, _: Sequence[Module]) -> Iterator[Finding]:
    """Find text that editors and engines may read differently, and files without a title."""
    if "\r" in module.text or not module.text.endswith("\n"):
        yield Finding(module.path, 1, "text", "has carriage returns, or no newline at its end")
    for number, line in enumerate(module.text.split("\n"), 1):
        if line != line.rstrip():
            yield Finding(module.path, number, "text", "has blanks at the end of a line")
        elif _INDENTED.match(line):
            yield Finding(module.path, number, "text", "is not indented with tabs alone")
    if not module.text.startswith("# METADATA\n# title: "):
        yield Finding(module.path, 1, "package", "does not begin with METADATA and a title")


def package(module: Module, _: Sequence[Module]) -> Iterator[Finding]:
    """Find a package that is not called like its folder."""
    expected = dirname(module.path).replace("/", ".")
    allowed = {expected, expected + "_test"} if module.is_test else {expected}
    if module.package not in allowed or not expected.startswith("depa."):
        wanted = expected if expected.startswith("depa.") else "one below depa"
        yield Finding(module.path, 1, "package", f"is {module.package}, expected {wanted}")


def imports(module: Module, modules: Sequence[Module]) -> Iterator[Finding]:
    """Find imports of what is not there, or for what they should not be used for."""
    for name, target in module.imports.items():
        wanted = target.removeprefix("data.")
        if not target.startswith("data.") or all(m.package != wanted for m in modules):
            yield Finding(module.path, 1, "imports", f"{target} is no package of the bundle")
        known = functions(modules, wanted)
        for kind, node in module.nodes:
            reference = dotted({kind: node}) if kind == "RefDot" else None
            if reference and reference.startswith(name + "."):
                field = reference.split(".")[1]
                if field not in known:
                    message = f"{reference} reads a rule through an import; write {target}.{field}"
                    yield Finding(module.path, line_of(node), "imports", message)


def references(module: Module, modules: Sequence[Module]) -> Iterator[Finding]:
    """Find reads of `data` that lead out of the bundle, or out of what ships."""
    seen = modules if module.is_test else [m for m in modules if not m.is_test]
    packages = {m.package for m in seen}
    known = {f"{name}.{rule}" for name in packages for rule in rules(seen, name)}
    inner: set[int] = set()
    for kind, node in module.nodes:
        if kind == "RefDot":
            # Parents come first: what is left of a dot has been looked at as a whole.
            inner |= {id(value) for value in node["refr"].values()}
        if id(node) in inner or kind not in {"Var", "RefDot"}:
            continue
        name = dotted({kind: node}) or ""
        if name.partition(".")[0] != "data":
            continue
        path = name.removeprefix("data").lstrip(".")
        if not any(path == rule or path.startswith(rule + ".") for rule in known):
            message = f"{name} is no rule of the bundle"
            yield Finding(module.path, line_of(node), "references", message)


def defaults(module: Module, _: Sequence[Module]) -> Iterator[Finding]:
    """Find rules that hold by default."""
    for rule in module.rules:
        value = rule.node.get("Default", {}).get("value")
        if (
            value is not None
            and value.get("Bool", value.get("False", {})).get("value") is not False
        ):
            message = f"{rule.name} is not false by default"
            yield Finding(module.path, rule.line, "defaults", message)


def marks(module: Module, _: Sequence[Module]) -> Iterator[Finding]:
    """Find decisions that are not marked as what others ask for, and marks elsewhere."""
    lines = module.text.splitlines()
    marked = [number for number, line in enumerate(lines, 1) if line == _MARK]
    decisions = [rule for rule in module.rules if rule.name == "decision"]
    if len(marked) != len(decisions):
        message = f"expected `{_MARK}` on the decision rule alone"
        yield Finding(module.path, (marked or [1])[0], "entrypoints", message)
    for rule in decisions:
        block = _comments_above(lines, rule.line)
        titled = any(line.startswith("# title: ") for line in block)
        if not {"# METADATA", _MARK, "# scope: document"} <= set(block) or not titled:
            message = f"decision has no METADATA with title, `{_MARK}` and `# scope: document`"
            yield Finding(module.path, rule.line, "entrypoints", message)


def _comments_above(lines: Sequence[str], line: int) -> list[str]:
    above = line - 1
    while above > 0 and lines[above - 1].startswith("#"):
        above -= 1
    return list(lines[above : line - 1])


def entrypoints(modules: Sequence[Module]) -> Iterator[Finding]:
    """Find packages that lack an answer, or give one for another cause than they should."""
    for name in ENTRYPOINTS:
        owner = f"depa.{name}"
        path = f"depa/{name}/decision.rego"
        own = [(m, r) for m in modules if m.package == owner for r in m.rules]
        decisions = [(m, r) for m, r in own if r.name == "decision"]
        if len(decisions) != 1:
            yield Finding(path, 1, "entrypoints", f"{owner} has not exactly one decision")
        if not any(rule.name == "complete" for _, rule in own):
            yield Finding(path, 1, "entrypoints", f"{owner} has no rule `complete`")
        if not any(rule.name == "allow" and "Default" in rule.node for _, rule in own):
            yield Finding(path, 1, "entrypoints", f"{owner} has no `default allow := false`")
        for module, rule in decisions:
            if not _answers(rule):
                named = ", ".join(f"{key}: {name}" for key, name in _ANSWERS.items())
                message = f"decision is not {{{named}}}"
                yield Finding(module.path, rule.line, "entrypoints", message)
        yield from _guards(path, own)
        causes = [(m, r) for m, r in own if r.name == "allow" and "Spec" in r.node]
        for number, (module, rule) in enumerate(causes):
            if number or _statements(module, rule) != [_ALLOWING]:
                message = f"allow has another cause than {' and '.join(_ALLOWING)}"
                yield Finding(module.path, rule.line, "entrypoints", message)


def _guards(path: str, own: Sequence[tuple[Module, Rule]]) -> Iterator[Finding]:
    for field, expected in _GUARDED.items():
        texts = [
            (m, r, slice_of(m.text, r.node["Spec"]["span"]) if "Spec" in r.node else "")
            for m, r in own
            if r.name == field
        ]
        message = f"{field} is not {' and '.join(f'`{text}`' for text in expected)}"
        for module, rule, text in texts:
            if text not in expected:
                yield Finding(module.path, rule.line, "entrypoints", message)
        if not {text for _, _, text in texts} >= set(expected):
            yield Finding(path, 1, "entrypoints", message)


def _answers(rule: Rule) -> bool:
    value = rule.node.get("Spec", {}).get("head", {}).get("Compr", {}).get("assign") or {}
    fields = value.get("value", {}).get("Object", {}).get("fields", [])
    found = {literal(key): dotted(item) for _, key, item in fields}
    return found == _ANSWERS


def _statements(module: Module, rule: Rule) -> list[list[str]]:
    bodies = rule.node["Spec"]["bodies"]
    return [
        [slice_of(module.text, part["span"]) for part in body["query"]["stmts"]] for body in bodies
    ]


def unused(modules: Sequence[Module]) -> Iterator[Finding]:
    """Find rules and functions that no rule reads."""
    shipped = [module for module in modules if not module.is_test]
    used: set[str] = set()
    for module in shipped:
        for rule in module.rules:
            for kind, node in walk(_without_name(rule.node)):
                if kind in {"Var", "RefDot"}:
                    used |= set(targets(module, dotted({kind: node}) or ""))
    for module in shipped:
        for rule in module.rules:
            if rule.name not in _ROOTS and f"{module.package}.{rule.name}" not in used:
                yield Finding(module.path, rule.line, "unused", f"nothing uses {rule.name}")


def _without_name(node: Node) -> Node:
    """Return a rule without the reference in its head, which names it."""
    spec = node.get("Spec", {})
    head = {
        kind: {key: value for key, value in part.items() if key != "refr"}
        for kind, part in spec.get("head", {}).items()
    }
    return {"head": head, "bodies": spec.get("bodies", [])}


def tests(modules: Sequence[Module]) -> Iterator[Finding]:
    """Find packages without tests, tests that ship, and tests of which one hides another."""
    tested = {m.package.removesuffix("_test") for m in modules if m.is_test}
    count = Counter(
        (m.package, r.name) for m in modules for r in m.rules if r.name.startswith("test_")
    )
    for module in modules:
        if not module.is_test and module.package not in tested:
            yield Finding(module.path, 1, "tests", f"{module.package} has no tests")
        for rule in module.rules:
            if not rule.name.startswith("test_"):
                continue
            if not module.is_test:
                message = f"{rule.name} stands in a file that ships"
                yield Finding(module.path, rule.line, "tests", message)
            elif count[module.package, rule.name] > 1:
                message = f"{rule.name} is defined more than once, and holds if one of them does"
                yield Finding(module.path, rule.line, "tests", message)
