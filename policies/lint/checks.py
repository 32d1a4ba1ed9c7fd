"""What makes a policy portable between engines, closed on error, and explained.

Each check is a function of the whole folder, so that it can see what other files define.

* syntax, text    parses; UTF-8, line feeds, a newline at the end
* package         the package is the folder; the file says what it is in METADATA
* imports         other packages are imported for their functions; a rule read through an import
                  makes regorus evaluate its whole package, and undefined if that is in progress
* negation        `not` stands before a named rule or a function of bound names: OPA hoists anything
                  else out of the negation, and a missing field then makes the rule disappear
* names           no rule is called like a builtin or an operator: OPA takes `div` for `/`
* builtins        an allow-list: no clock, network, randomness, cryptography, environment or output
* numbers         whole numbers alone, since engines print and add floating-point ones differently
* formats         `sprintf` with %v alone, one for each argument: engines differ in all other verbs
* patterns        regular expressions are anchored
* overrides       no `with` outside tests
* entrypoints     one `decision` a package, `default allow := false`, a positive `complete`
* defaults        nothing is true by default
* codes           every reason has a code that `codes.json` explains, and the other way round
* unused          every rule and function is used
* tests           every package has tests
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from posixpath import dirname
from typing import Final

from policies.lint.source import (
    Finding,
    Module,
    Node,
    dotted,
    line_of,
    parse_module,
    slice_of,
    walk,
)

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
        *("max", "minus", "mul", "neq", "or", "plus", "rem", "union"),
    }
)
"""Names that OPA gives to operators and to builtins that are not allowed here."""
ENTRYPOINTS: Final = ("contract", "training", "attestation", "release")
_ROOTS: Final = frozenset({"decision", "deny", "warn", "allow"})
_CODES: Final = "codes.json"
_WHOLE: Final = re.compile(r"-?\d+")
_VERB: Final = re.compile(r"%(.)")
_BOUND: Final = ("Var", "String", "RawString", "Number", "Bool", "True", "False")


def lint(files: Mapping[str, bytes]) -> list[Finding]:
    """Return everything that is wrong with a policy folder, sorted by place."""
    findings: list[Finding] = []
    modules: list[Module] = []
    for path, data in files.items():
        if path.endswith(".rego"):
            parsed = parse_module(path, data)
            if isinstance(parsed, Finding):
                findings.append(parsed)
            else:
                modules.append(parsed)
    for module in modules:
        for check in (
            _text,
            _package,
            _imports,
            _shadows,
            _negation,
            _calls,
            _numbers,
            _overrides,
            _defaults,
        ):
            findings.extend(check(module, modules))
    findings.extend(_entrypoints(modules))
    findings.extend(_codes(modules, files.get(_CODES, b"{}")))
    findings.extend(_unused(modules))
    findings.extend(_tests(modules))
    return sorted(set(findings))


def _text(module: Module, _: Sequence[Module]) -> Iterator[Finding]:
    if "\r" in module.text or not module.text.endswith("\n"):
        yield Finding(module.path, 1, "text", "has carriage returns, or no newline at its end")
    if not module.text.startswith("# METADATA\n# title: "):
        yield Finding(module.path, 1, "package", "does not begin with METADATA and a title")


def _package(module: Module, _: Sequence[Module]) -> Iterator[Finding]:
    expected = dirname(module.path).replace("/", ".")
    allowed = {expected, expected + "_test"} if module.is_test else {expected}
    if module.package not in allowed:
        yield Finding(module.path, 1, "package", f"is {module.package}, expected {expected}")


def _imports(module: Module, modules: Sequence[Module]) -> Iterator[Finding]:
    for name, target in module.imports.items():
        package = target.removeprefix("data.")
        if not target.startswith("data.") or all(m.package != package for m in modules):
            yield Finding(module.path, 1, "imports", f"{target} is no package of the bundle")
        functions = _functions(modules, package)
        for kind, node in module.nodes:
            reference = dotted({kind: node}) if kind == "RefDot" else None
            if reference and reference.startswith(name + "."):
                field = reference.split(".")[1]
                if field not in functions:
                    message = f"{reference} reads a rule through an import; write {target}.{field}"
                    yield Finding(module.path, line_of(node), "imports", message)


def _shadows(module: Module, _: Sequence[Module]) -> Iterator[Finding]:
    for rule in module.rules:
        if rule.name in BUILTINS | OPERATORS:
            yield Finding(module.path, rule.line, "names", f"{rule.name} is a builtin's name")


def _functions(modules: Sequence[Module], package: str) -> set[str]:
    return {r.name for m in modules if m.package == package for r in m.rules if r.is_function}


def _names(modules: Sequence[Module], package: str) -> set[str]:
    return {r.name for m in modules if m.package == package for r in m.rules}


def _negation(module: Module, modules: Sequence[Module]) -> Iterator[Finding]:
    if module.is_test:
        return
    rules = _names(modules, module.package)
    for kind, node in module.nodes:
        if kind != "NotExpr":
            continue
        problem = _negated(module, modules, node["expr"], rules)
        if problem:
            yield Finding(module.path, line_of(node), "negation", problem)


def _negated(
    module: Module, modules: Sequence[Module], expression: Node, rules: set[str]
) -> str | None:
    if "Call" in expression:
        call = expression["Call"]
        name = dotted(call["fcn"]) or ""
        if not _is_defined(module, modules, name):
            return f"`not {name}(...)` negates a builtin; name a rule of it"
        for argument in call["params"]:
            bound = any(kind in argument for kind in _BOUND)
            if not bound or dotted(argument) in {"input", "data", *rules}:
                return f"`not {name}(...)` has an argument that may be undefined; bind it before"
        return None
    name = dotted(expression) or ""
    if name in rules or _is_rule_path(modules, name):
        return None
    return "`not` stands before an expression; give it a name as a rule"


def _is_rule_path(modules: Sequence[Module], name: str) -> bool:
    package, _, rule = name.removeprefix("data.").rpartition(".")
    return name.startswith("data.") and rule in _names(modules, package)


def _is_defined(module: Module, modules: Sequence[Module], name: str) -> bool:
    left, _, field = name.rpartition(".")
    if not left:
        return field in _functions(modules, module.package)
    target = module.imports.get(left, left)
    return target.startswith("data.") and field in _functions(modules, target.removeprefix("data."))


def _calls(module: Module, modules: Sequence[Module]) -> Iterator[Finding]:
    allowed = TEST_BUILTINS if module.is_test else BUILTINS
    for kind, node in module.nodes:
        if kind != "Call":
            continue
        name, line = dotted(node["fcn"]) or "?", line_of(node)
        if not _is_defined(module, modules, name) and name not in allowed:
            yield Finding(module.path, line, "builtins", f"{name} is not one of those allowed")
        if name == "sprintf":
            yield from _format(module, node)
        if name == "regex.match" and not _is_anchored(node["params"][0]):
            message = r"expected a literal pattern from \A to \z"
            yield Finding(module.path, line, "patterns", message)


def _literal(node: Node) -> str | None:
    for kind in ("String", "RawString"):
        if kind in node:
            value: str = node[kind]["value"]
            return value
    return None


def _is_anchored(node: Node) -> bool:
    pattern = _literal(node)
    return pattern is not None and pattern.startswith(r"\A") and pattern.endswith(r"\z")


def _format(module: Module, node: Node) -> Iterator[Finding]:
    text, values = _literal(node["params"][0]), node["params"][1].get("Array")
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


def _numbers(module: Module, _: Sequence[Module]) -> Iterator[Finding]:
    for kind, node in module.nodes:
        if kind == "Number" and not _WHOLE.fullmatch(slice_of(module.text, node["span"])):
            message = f"{slice_of(module.text, node['span'])} is not a whole number"
            yield Finding(module.path, line_of(node), "numbers", message)


def _overrides(module: Module, _: Sequence[Module]) -> Iterator[Finding]:
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


def _defaults(module: Module, _: Sequence[Module]) -> Iterator[Finding]:
    for rule in module.rules:
        value = rule.node.get("Default", {}).get("value")
        if (
            value is not None
            and value.get("Bool", value.get("False", {})).get("value") is not False
        ):
            message = f"{rule.name} is not false by default"
            yield Finding(module.path, rule.line, "defaults", message)


def _entrypoints(modules: Sequence[Module]) -> Iterator[Finding]:
    for module in modules:
        marked = [n for n, x in enumerate(module.text.splitlines(), 1) if x == "# entrypoint: true"]
        decisions = [rule for rule in module.rules if rule.name == "decision"]
        if len(marked) != len(decisions):
            message = "expected `# entrypoint: true` on the decision rule alone"
            yield Finding(module.path, (marked or [1])[0], "entrypoints", message)
    for name in ENTRYPOINTS:
        package = f"depa.{name}"
        rules = [r for m in modules if m.package == package for r in m.rules]
        path = f"depa/{name}/decision.rego"
        if sum(rule.name == "decision" for rule in rules) != 1:
            yield Finding(path, 1, "entrypoints", f"{package} has not exactly one decision")
        if not any(rule.name == "allow" and "Default" in rule.node for rule in rules):
            yield Finding(path, 1, "entrypoints", f"{package} has no `default allow := false`")
        if not any(rule.name == "complete" for rule in rules):
            yield Finding(path, 1, "entrypoints", f"{package} has no rule `complete`")


def _codes(modules: Sequence[Module], data: bytes) -> Iterator[Finding]:
    known = json.loads(data).get("codes", {})
    used: dict[str, str] = {}
    for module in modules:
        if module.is_test:
            continue
        for rule in module.rules:
            for kind, node in walk(rule.node):
                if kind != "Call" or (dotted(node["fcn"]) or "").rpartition(".")[2] != "reason":
                    continue
                code = _literal(node["params"][0])
                if code is not None:
                    used[code] = "warn" if rule.name == "warn" else "deny"
                    yield from _explained(module, line_of(node), code, used[code], known)
    for code in sorted(set(known) - set(used)):
        yield Finding(_CODES, 1, "codes", f"{code} is given by no rule")


def _explained(
    module: Module, line: int, code: str, severity: str, known: Mapping[str, Mapping[str, str]]
) -> Iterator[Finding]:
    if code not in known:
        yield Finding(module.path, line, "codes", f"{code} is not explained in {_CODES}")
    elif known[code].get("severity") != severity:
        message = f"{code} is a {known[code].get('severity')} in {_CODES}, a {severity} here"
        yield Finding(module.path, line, "codes", message)


def _unused(modules: Sequence[Module]) -> Iterator[Finding]:
    shipped = [module for module in modules if not module.is_test]
    used: set[str] = set()
    for module in shipped:
        for rule in module.rules:
            for kind, node in walk(_without_name(rule.node)):
                if kind in {"Var", "RefDot"}:
                    used |= set(_targets(module, dotted({kind: node}) or ""))
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


def _targets(module: Module, reference: str) -> Iterator[str]:
    parts = reference.split(".")
    if parts[0] == "data":
        yield ".".join(parts[1:])
    elif parts[0] in module.imports and len(parts) > 1:
        yield ".".join([module.imports[parts[0]].removeprefix("data."), *parts[1:]])
    elif len(parts) == 1:
        yield f"{module.package}.{parts[0]}"


def _tests(modules: Sequence[Module]) -> Iterator[Finding]:
    tested = {m.package.removesuffix("_test") for m in modules if m.is_test}
    for module in modules:
        if not module.is_test and module.package not in tested:
            yield Finding(module.path, 1, "tests", f"{module.package} has no tests")
