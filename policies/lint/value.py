"""What a term of a rule may hold, as far as it can be told without evaluating it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, reduce

from policies.facts.schema import Path


@dataclass(frozen=True)
class Value:
    """Places of `input` that a term may be, texts that it may be, and what it may contain."""

    paths: frozenset[Path] = frozenset()
    texts: frozenset[str] = frozenset()
    slots: tuple[Value, ...] = ()
    """Of an array that is written out, its members in order."""
    fields: tuple[tuple[str, Value], ...] = ()
    """Of an object that is written out, its members by name."""
    members: Value | None = None
    keys: Value | None = None

    @cached_property
    def size(self) -> int:
        """How much there is to compare."""
        parts = [*self.slots, *(value for _, value in self.fields), self.members, self.keys]
        inside = sum(part.size for part in parts if part is not None)
        return 1 + len(self.paths) + len(self.texts) + inside

    @property
    def inside(self) -> Value:
        """What its members may be, apart from those that `input` has at `paths`."""
        return join([self.members or NOTHING, *self.slots, *(v for _, v in self.fields)])

    def field(self, name: str) -> Value:
        """What the member of that name may be, apart from what `input` has at `paths`."""
        return dict(self.fields).get(name, self.members or NOTHING)


NOTHING = Value()


def texts(*found: str) -> Value:
    """Return the value that is one of these texts."""
    return Value(texts=frozenset(found))


def at(*paths: Path) -> Value:
    """Return the value that is at one of these places."""
    return Value(paths=frozenset(paths))


def join(values: Iterable[Value]) -> Value:
    """Return the value that may be any of these."""
    return reduce(_both, values, NOTHING)


def _both(left: Value, right: Value) -> Value:
    if right in (left, NOTHING):
        return left
    if left == NOTHING:
        return right
    if len(left.slots) != len(right.slots):
        left, right = _without_order(left), _without_order(right)
    names = sorted({name for name, _ in (*left.fields, *right.fields)})
    return Value(
        left.paths | right.paths,
        left.texts | right.texts,
        tuple(_both(a, b) for a, b in zip(left.slots, right.slots, strict=True)),
        tuple((name, _both(left.field(name), right.field(name))) for name in names),
        _either(left.members, right.members),
        _either(left.keys, right.keys),
    )


def _without_order(value: Value) -> Value:
    if not value.slots:
        return value
    return replace(value, slots=(), members=join([value.members or NOTHING, *value.slots]))


def _either(left: Value | None, right: Value | None) -> Value | None:
    if left is None or right is None:
        return left or right
    return _both(left, right)
