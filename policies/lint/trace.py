"""Which parts of `input` the rules of an entrypoint read, found without evaluating them.

Names are followed through rules, functions, comprehensions and iterations, from the entrypoint on;
what a rule reads through any of them is a place of `input`. The result is an upper bound: a place
is read if some way through the rules may read it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from policies.facts.schema import Path
from policies.lint.notes import EntangledError, Notes
from policies.lint.source import Finding, Module
from policies.lint.terms import Scope

_TIMES: Final = 50
"""How often a rule is read at most; one that calls itself would never end."""


@dataclass(frozen=True)
class Trace:
    """What rules read."""

    read: frozenset[Path]
    """Places that are read."""
    unread: tuple[Path, ...]
    """Places without members that no rule reads."""
    absent: tuple[Finding, ...]
    """Reads of what `input` cannot have."""


def trace(
    modules: Sequence[Module],
    schema: Mapping[str, Any],
    *,
    roots: Collection[str],
    without: Collection[str] = (),
) -> Trace:
    """Return what the rules that some roots reach read of an `input` with a schema.

    Args:
        modules: Modules of a policy folder; tests are left out.
        schema: Schema of `input`, see `policies.facts.schema.input_schema`.
        roots: Rules to begin with, as `<package>.<rule>`; those that do not exist read nothing.
        without: Names of rules that are not followed.
    """
    notes = Notes(modules, schema, without=without)
    for name in roots:
        if notes.knows(name):
            notes.value(name)
    _follow(notes)
    return Trace(
        read=frozenset(notes.read),
        unread=tuple(sorted(notes.leaves - notes.read)),
        absent=tuple(sorted(set().union(*notes.absent.values()))),
    )


def _follow(notes: Notes) -> None:
    """Read rules until nothing new is known of any that they use."""
    times: Counter[str] = Counter()
    while notes.waiting:
        name = notes.waiting.pop(0)
        notes.begin(name)
        times[name] += 1
        for module, rule in notes.rules[name]:
            try:
                if times[name] <= _TIMES:
                    Scope(notes, module).rule(name, rule)
                    continue
                message = f"{rule.name} calls itself, so what it reads has no end"
            except EntangledError:
                message = f"{rule.name} is too entangled for what it reads to be found"
                notes.waiting.clear()
            notes.absent[name].add(Finding(module.path, rule.line, "facts", message))
