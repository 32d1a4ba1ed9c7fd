"""What is known so far of the rules of a policy folder, and what is known of each `input`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from policies.facts.schema import ANY, Path, places
from policies.lint.source import Finding, Module, Rule
from policies.lint.value import NOTHING, Value, at, join, texts

MAX_VALUE: Final = 10_000
MAX_STEPS: Final = 1_000_000
"""A provider's rules are followed too, in the service; they may be made to be hard to follow."""


class EntangledError(Exception):
    """Rules are too entangled to be followed."""


class Notes:
    """What rules may be, what functions are called with, and which places of `input` are read.

    Args:
        modules: Modules of a policy folder; tests are left out.
        schema: Schema of `input`, see `policies.facts.schema.input_schema`.
        without: Names of rules that are not followed.
    """

    def __init__(
        self, modules: Sequence[Module], schema: Mapping[str, Any], *, without: Collection[str]
    ) -> None:
        self._places, self._without = places(schema), without
        self._leaves = {path: self._ends(path) for path in self._places}
        self._values: dict[str, Value] = {}
        self._arguments: dict[str, Value] = {}
        self._readers: dict[str, set[str]] = {}
        self._reading = ""
        self._spent = 0
        self.rules: dict[str, list[tuple[Module, Rule]]] = {}
        """Definitions of each rule, by `<package>.<rule>`."""
        self.waiting: list[str] = []
        """Rules of which something new is known."""
        self.read: set[Path] = set()
        self.absent: dict[str, set[Finding]] = {}
        """Reads of what `input` cannot have, by the rule that was being read."""
        for module in modules:
            if not module.is_test:
                for rule in module.rules:
                    name = f"{module.package}.{rule.name}"
                    self.rules.setdefault(name, []).append((module, rule))

    @property
    def leaves(self) -> frozenset[Path]:
        """Places of `input` that have no members."""
        return self._leaves[()]

    def spend(self, value: Value) -> Value:
        """Return a value that was found, unless there is too much of it or of all together.

        Raises:
            EntangledError: if there is.
        """
        self._spent += value.size
        if value.size > MAX_VALUE or self._spent > MAX_STEPS:
            raise EntangledError
        return value

    def begin(self, name: str) -> None:
        """Note which rule is being read; what was absent before is forgotten.

        Names are known only once nothing new is, so the last time is what counts.
        """
        self._reading, self.absent[name] = name, set()

    def knows(self, name: str) -> bool:
        """Tell whether there is a rule `<package>.<rule>`."""
        return name in self.rules

    def value(self, name: str) -> Value:
        """Return what a rule may be, and follow it."""
        if name.rpartition(".")[2] in self._without:
            return NOTHING
        if name not in self._readers:
            self.waiting.append(name)
        self._readers.setdefault(name, set()).add(self._reading)
        return self._values.get(name, NOTHING)

    def arguments(self, name: str) -> Value:
        """Return what a function may be called with, in order."""
        return self._arguments.get(name, NOTHING)

    def may_be(self, name: str, value: Value) -> None:
        """Note what a rule may be."""
        if self._note(self._values, name, value):
            self._again(self._readers.get(name, set()) - {""})

    def called(self, name: str, arguments: Sequence[Value]) -> None:
        """Note what a function is called with."""
        if self._note(self._arguments, name, Value(slots=tuple(arguments))):
            self._again({name})

    def _note(self, where: dict[str, Value], name: str, value: Value) -> bool:
        known = where.get(name, NOTHING)
        where[name] = self.spend(join([known, value]))
        return where[name] != known

    def _again(self, names: set[str]) -> None:
        self.waiting += sorted(names - set(self.waiting))

    def field(self, value: Value, name: str, *, module: Module, line: int) -> Value:
        """Return the member of that name, and note it as read or as absent."""
        found = {(*path, name) for path in value.paths}
        known = found & self._places.keys()
        for path in found - known:
            self._absent(path, "is no fact", module=module, line=line)
        self.read |= known
        return join([at(*known), value.field(name)])

    def chosen(self, value: Value, *, module: Module, line: int) -> Value:
        """Return the member of an array at some index; of an object it would be any at all."""
        lists = {path for path in value.paths if ANY in self._places[path]}
        for path in value.paths - lists:
            self._absent(path, "is read by a name that is not written", module=module, line=line)
        return self.members(replace(value, paths=frozenset(lists)))

    def members(self, value: Value) -> Value:
        """Return what the members of a value may be, and note them as read."""
        found = {(*path, part) for path in value.paths for part in self._places[path]}
        self.read |= found
        return join([at(*found), value.inside])

    def keys(self, value: Value) -> Value:
        """Return what the keys of a value may be."""
        names = {part for path in value.paths for part in self._places[path]} - {ANY}
        return join([texts(*names), value.keys or NOTHING])

    def whole(self, value: Value) -> None:
        """Note everything in a value as read: it is compared, or printed."""
        for path in value.paths:
            self.read |= self._leaves[path]
        for part in (*value.slots, *(v for _, v in value.fields), value.members, value.keys):
            if part is not None:
                self.whole(part)

    def _ends(self, path: Path) -> frozenset[Path]:
        return frozenset(
            each for each, below in self._places.items() if not below and each[: len(path)] == path
        )

    def _absent(self, path: Path, why: str, *, module: Module, line: int) -> None:
        place = ".".join(("input", *path)).replace(f".{ANY}", "[_]")
        self.absent[self._reading].add(Finding(module.path, line, "facts", f"{place} {why}"))
