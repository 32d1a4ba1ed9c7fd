"""Check of what rules read: nothing that the facts of their entrypoint cannot have.

* facts           every place of `input` that a rule reads, directly or through rules, functions and
                  iterations, is in the schema of every entrypoint that reaches the rule; members
                  of objects are read by names that are written
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from policies.facts.schema import FACTS, input_schema, provider_schema
from policies.lint.source import Finding, Module
from policies.lint.trace import Trace, trace
from policies.wire.decision import Entrypoint

_schema: Final = functools.cache(input_schema)
_provider_schema: Final = functools.cache(provider_schema)


def facts(modules: Sequence[Module]) -> Iterator[Finding]:
    """Find reads of what is no fact: such a rule is undefined, and denies nothing."""
    for entrypoint in FACTS:
        for finding in reads(modules, entrypoint).absent:
            message = f"{finding.message} of depa.{entrypoint}"
            yield Finding(finding.path, finding.line, finding.check, message)


def provider(module: Module) -> Iterator[Finding]:
    """Find what a provider's rules read that no question has."""
    roots = [f"{module.package}.{name}" for name in ("deny", "warn")]
    yield from trace([module], _provider_schema(), roots=roots).absent


def reads(
    modules: Sequence[Module], entrypoint: Entrypoint, *, without: Collection[str] = ()
) -> Trace:
    """Return what the rules that an entrypoint reaches read of its facts."""
    root = f"depa.{entrypoint}.decision"
    return trace(modules, _schema(entrypoint), roots=[root], without=without)
