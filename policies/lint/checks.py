"""What makes a policy portable between engines, closed on error, and explained.

Each check is a function of the whole folder, so that it can see what other files define. Those of a
rule's text are in `portable`, those of files, packages and entrypoints in `frame`, those of reason
codes in `codes`, that of what rules read in `facts`; what keeps a file from being parsed is found
by `source`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from policies.lint import codes, facts, frame, portable
from policies.lint.source import Finding, Module, parse_module

_Check = Callable[[Module, Sequence[Module]], Iterator[Finding]]
_OF_MODULE: Final[tuple[_Check, ...]] = (
    frame.text,
    frame.package,
    frame.imports,
    frame.references,
    frame.defaults,
    frame.marks,
    portable.shadows,
    portable.negation,
    portable.calls,
    portable.numbers,
    portable.overrides,
)


def lint(files: Mapping[str, bytes]) -> list[Finding]:
    """Return everything that is wrong with a policy folder, sorted by place."""
    modules, findings = parse_modules(files)
    for module in modules:
        for check in _OF_MODULE:
            findings.extend(check(module, modules))
    findings.extend(frame.entrypoints(modules))
    findings.extend(codes.codes(modules, files.get(codes.CODES, b"")))
    findings.extend(facts.facts(modules))
    findings.extend(frame.unused(modules))
    findings.extend(frame.tests(modules))
    return sorted(set(findings))


def parse_modules(files: Mapping[str, bytes]) -> tuple[list[Module], list[Finding]]:
    """Return the modules of a folder, and what keeps the other files from being one."""
    modules: list[Module] = []
    findings: list[Finding] = []
    for path, data in files.items():
        if not path.endswith(".rego"):
            if path != codes.CODES:
                findings.append(Finding(path, 1, "package", "is no file of a policy bundle"))
            continue
        parsed = parse_module(path, data)
        if isinstance(parsed, Finding):
            findings.append(parsed)
        else:
            modules.append(parsed)
    return modules, findings
