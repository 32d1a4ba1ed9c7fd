"""How the terms of a rule are read: what each may be, and which places of `input` it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from policies.lint.names import literal, targets
from policies.lint.notes import Notes
from policies.lint.source import Module, Node, Rule, dotted, line_of, slice_of
from policies.lint.value import NOTHING, Value, at, join, texts

_Env = dict[str, Value]
_SAME: Final = frozenset({"array.concat", "object.union", "sort"})
"""Builtins that return what they are given, in another order or together."""
_SHAPES: Final = frozenset({"count", "is_array", "is_object"})
"""Builtins that look at a value without reading its members."""


class Scope:
    """The names of one rule's module, and how its terms are read."""

    def __init__(self, notes: Notes, module: Module) -> None:
        self._notes, self._module = notes, module
        self._unbound: set[str] = set()
        """Names that were used before they were bound."""
        self._terms: dict[str, Callable[[Node, _Env], Value]] = {
            "Var": self._var,
            "String": lambda node, _: texts(node["value"]),
            "RawString": lambda node, _: texts(node["value"]),
            "RefDot": self._dot,
            "RefBrack": self._brackets,
            "Call": self._call,
            "Array": self._array,
            "Set": lambda node, env: Value(members=join(self._each(node["items"], env))),
            "Object": self._object,
            "ArrayCompr": self._list,
            "SetCompr": self._list,
            "ObjectCompr": self._map,
            "BoolExpr": self._compared,
            "ArithExpr": self._combined,
            "BinExpr": self._combined,
            "Membership": self._membership,
            "AssignExpr": self._assigned,
            "SomeIn": self._some,
            "Every": self._every,
        }

    def rule(self, name: str, rule: Rule) -> None:
        """Read one definition of a rule or function."""
        if "Default" in rule.node:
            self._notes.may_be(name, self.term(rule.node["Default"]["value"], {}))
            return
        spec = rule.node["Spec"]
        for body in spec["bodies"] or [None]:
            env: _Env = {}
            for index, argument in enumerate(spec["head"].get("Func", {}).get("args", ())):
                slots = self._notes.arguments(name).slots
                self._bind(argument, slots[index] if index < len(slots) else NOTHING, env)
            if body is not None:
                self._query(body["query"], env)
                if body.get("assign"):
                    self._notes.may_be(name, self.term(body["assign"]["value"], env))
            self._notes.may_be(name, self._head(spec["head"], env))

    def _head(self, head: Node, env: _Env) -> Value:
        if "Set" in head:
            key = head["Set"].get("key")
            return Value(members=self.term(key, env)) if key else NOTHING
        part = head.get("Compr") or head["Func"]
        value = self.term(part["assign"]["value"], env) if part.get("assign") else NOTHING
        index = part["refr"].get("RefBrack", {}).get("index")
        return Value(members=value, keys=self.term(index, env)) if index else value

    def _query(self, query: Node, env: _Env) -> None:
        # Statements have no order, so a name may be bound below its use.
        outside = self._unbound
        for _ in query["stmts"]:
            self._unbound = set()
            for statement in query["stmts"]:
                self.term(statement["literal"], env)
            if self._unbound.isdisjoint(env):
                break
        self._unbound |= outside

    def term(self, node: Any, env: _Env) -> Value:
        """Return what a term may be, and note what it reads."""
        if isinstance(node, list):
            return join(self._each(node, env))
        if not isinstance(node, dict):
            return NOTHING
        for kind, value in node.items():
            read = self._terms.get(kind)
            if read is not None:
                return self._notes.spend(read(value, env))
            if kind != "span" and isinstance(value, dict | list):
                self.term(value, env)
        return NOTHING

    def _each(self, nodes: Sequence[Node], env: _Env) -> Iterator[Value]:
        return (self.term(node, env) for node in nodes)

    def _named(self, name: str) -> str | None:
        return next((t for t in targets(self._module, name) if self._notes.knows(t)), None)

    def _var(self, node: Node, env: _Env) -> Value:
        name = node["value"]
        if name in env:
            return env[name]
        if name == "input":
            return at(())
        rule = self._named(name)
        if rule is None:
            self._unbound.add(name)
            return NOTHING
        return self._notes.value(rule)

    def _dot(self, node: Node, env: _Env) -> Value:
        name = dotted({"RefDot": node})
        if name is not None and name.partition(".")[0] not in env:
            rule = self._named(name)
            if rule is not None:
                return self._notes.value(rule)
        value = self.term(node["refr"], env)
        return self._notes.field(
            value, node["field"][1], module=self._module, line=node["field"][0]["line"]
        )

    def _brackets(self, node: Node, env: _Env) -> Value:
        value, index = self.term(node["refr"], env), self.term(node["index"], env)
        number = node["index"].get("Number", {}).get("value")
        if value.slots and isinstance(number, int) and number < len(value.slots):
            return value.slots[number]
        line = line_of(node)
        if not index.texts:
            return self._notes.chosen(value, module=self._module, line=line)
        return join(
            self._notes.field(value, name, module=self._module, line=line) for name in index.texts
        )

    def _call(self, node: Node, env: _Env) -> Value:
        name = dotted(node["fcn"]) or ""
        arguments = list(self._each(node["params"], env))
        function = self._named(name)
        if function is not None:
            value = self._notes.value(function)
            self._notes.called(function, arguments)
            return value
        if name not in _SHAPES:
            for argument in arguments:
                self._notes.whole(argument)
        return join(arguments) if name in _SAME else NOTHING

    def _array(self, node: Node, env: _Env) -> Value:
        return Value(slots=tuple(self._each(node["items"], env)))

    def _object(self, node: Node, env: _Env) -> Value:
        pairs = [(self.term(key, env), self.term(value, env)) for _, key, value in node["fields"]]
        keys = join(key for key, _ in pairs)
        if all(len(key.texts) == 1 for key, _ in pairs):
            fields = sorted((min(key.texts), value) for key, value in pairs)
            return Value(fields=tuple(fields), keys=keys)
        return Value(members=join(value for _, value in pairs), keys=keys)

    def _list(self, node: Node, env: _Env) -> Value:
        inner = dict(env)
        self._query(node["query"], inner)
        return Value(members=self.term(node["term"], inner))

    def _map(self, node: Node, env: _Env) -> Value:
        inner = dict(env)
        self._query(node["query"], inner)
        return Value(members=self.term(node["value"], inner), keys=self.term(node["key"], inner))

    def _compared(self, node: Node, env: _Env) -> Value:
        self._notes.whole(join([self.term(node["lhs"], env), self.term(node["rhs"], env)]))
        return NOTHING

    def _combined(self, node: Node, env: _Env) -> Value:
        value = join([self.term(node["lhs"], env), self.term(node["rhs"], env)])
        self._notes.whole(value)
        return value

    def _membership(self, node: Node, env: _Env) -> Value:
        for part in ("key", "value", "collection"):
            self._notes.whole(self.term(node[part], env))
        return NOTHING

    def _assigned(self, node: Node, env: _Env) -> Value:
        value = self.term(node["rhs"], env)
        if node["op"] == "ColEq":
            self._bind(node["lhs"], value, env)
            return NOTHING
        other = self.term(node["lhs"], env)
        self._notes.whole(join([value, other]))
        self._bind(node["lhs"], value, env, only_new=True)
        self._bind(node["rhs"], other, env, only_new=True)
        return NOTHING

    def _some(self, node: Node, env: _Env) -> Value:
        collection = self.term(node["collection"], env)
        if node["key"] is not None:
            self._bind(node["key"], self._notes.keys(collection), env)
        self._bind(node["value"], self._notes.members(collection), env)
        return NOTHING

    def _every(self, node: Node, env: _Env) -> Value:
        domain, inner = self.term(node["domain"], env), dict(env)
        if node["key"] is not None:
            inner[slice_of(self._module.text, node["key"])] = self._notes.keys(domain)
        inner[slice_of(self._module.text, node["value"])] = self._notes.members(domain)
        self._query(node["query"], inner)
        return NOTHING

    def _bind(self, pattern: Node, value: Value, env: _Env, *, only_new: bool = False) -> None:
        if "Var" in pattern:
            name = pattern["Var"]["value"]
            if not only_new or (self._named(name) is None and name != "input"):
                env[name] = join([env.get(name, NOTHING), value])
        elif "Array" in pattern:
            parts = pattern["Array"]["items"]
            ordered = value.slots if len(value.slots) == len(parts) else ()
            for index, part in enumerate(parts):
                inside = ordered[index] if ordered else self._notes.members(value)
                self._bind(part, inside, env, only_new=only_new)
        elif literal(pattern) is None:
            self.term(pattern, env)
