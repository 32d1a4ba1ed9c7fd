"""Run the tests that are written in Rego, and count the lines that they reach."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from regorus import Engine  # type: ignore[attr-defined]  # an extension module without stubs

from policies.lint.source import Finding, Module, Rule, line_of, parse_module


@dataclass(frozen=True)
class Report:
    """What the tests of a policy folder came to."""

    passed: tuple[str, ...]
    """Paths of the rules that held."""
    failed: tuple[Finding, ...]
    covered: int
    """Lines of rules that some test evaluated."""
    missed: Mapping[str, tuple[int, ...]]
    """Lines that none did, by file."""

    @property
    def coverage(self) -> float:
        """Share of lines covered, from 0 to 1."""
        missed = sum(map(len, self.missed.values()))
        return self.covered / max(1, self.covered + missed)


def run_tests(files: Mapping[str, bytes]) -> Report:
    """Evaluate every rule `test_*` of the test modules; a test passes if it is true.

    Args:
        files: Files of a policy folder by path, see `source.read_folder`.
    """
    engine = _engine()
    tests: dict[str, tuple[Module, list[Rule]]] = {}
    failed: list[Finding] = []
    modules: list[Module] = []
    for path, data in sorted(files.items()):
        if not path.endswith(".rego"):
            continue
        module = parse_module(path, data)
        if isinstance(module, Finding):
            failed.append(module)
            continue
        engine.add_policy(path, module.text)
        modules.append(module)
        for rule in module.rules if module.is_test else ():
            if rule.name.startswith("test_"):
                tests.setdefault(f"data.{module.package}.{rule.name}", (module, []))[1].append(rule)
    passed = []
    for name, (module, rules) in tests.items():
        problem = _outcome(engine, name)
        if problem is None:
            passed.append(name)
        else:
            line, where = _stopped(modules, name, module, rules)
            failed.append(Finding(module.path, line, "test", f"{name} {problem}{where}"))
    covered, missed = _coverage(engine, modules)
    return Report(tuple(passed), tuple(failed), covered, missed)


def _engine() -> Engine:
    engine = Engine()
    engine.set_enable_coverage(True)
    engine.set_input_json("{}")
    return engine


def _outcome(engine: Engine, name: str) -> str | None:
    try:
        result = engine.eval_rule_as_json(name)
    except RuntimeError as error:
        return "raised: " + " ".join(str(error).partition("Stack backtrace")[0].split())
    return None if result == "true" else "is not true"


def _stopped(
    modules: Sequence[Module], name: str, module: Module, rules: Sequence[Rule]
) -> tuple[int, str]:
    """Return the line at which a test that fails stopped, and its text."""
    alone = _engine()
    for each in modules:
        alone.add_policy(each.path, each.text)
    _outcome(alone, name)
    files = json.loads(alone.get_coverage_report_as_json())["files"]
    reached: list[int] = next(
        (file["covered"] for file in files if file["path"] == module.path), []
    )
    # Statements are evaluated in order, and none after the first that does not hold.
    within = [line for rule in rules for line in reached if rule.line < line <= rule.last_line]
    if not within:
        return rules[0].line, ""
    return max(within), f"; this does not hold: {module.text.splitlines()[max(within) - 1].strip()}"


def _coverage(
    engine: Engine, modules: Sequence[Module]
) -> tuple[int, Mapping[str, tuple[int, ...]]]:
    report = {f["path"]: f for f in json.loads(engine.get_coverage_report_as_json())["files"]}
    covered, missed = 0, {}
    for module in modules:
        if module.is_test:
            continue
        entry = report.get(module.path)
        # A file of which nothing was evaluated does not stand in the report.
        missed[module.path] = tuple(entry["not_covered"]) if entry else _lines(module)
        covered += len(entry["covered"]) if entry else 0
    return covered, {path: lines for path, lines in missed.items() if lines}


def _lines(module: Module) -> tuple[int, ...]:
    found = {rule.line for rule in module.rules}
    for rule in module.rules:
        for body in rule.node.get("Spec", {}).get("bodies", []):
            found |= {line_of(statement) for statement in body["query"]["stmts"]}
    return tuple(sorted(found))
