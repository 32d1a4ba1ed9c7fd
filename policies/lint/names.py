"""What a name means in a policy folder: which rules and functions it can lead to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.lint.source import Module, Node


def functions(modules: Sequence[Module], package: str) -> set[str]:
    """Return the names of a package's functions."""
    return {r.name for m in modules if m.package == package for r in m.rules if r.is_function}


def rules(modules: Sequence[Module], package: str) -> set[str]:
    """Return the names of a package's rules and functions."""
    return {r.name for m in modules if m.package == package for r in m.rules}


def is_rule_path(modules: Sequence[Module], name: str) -> bool:
    """Tell whether `data.<package>.<rule>` is one of the folder's."""
    package, _, rule = name.removeprefix("data.").rpartition(".")
    return name.startswith("data.") and rule in rules(modules, package)


def is_defined(module: Module, modules: Sequence[Module], name: str) -> bool:
    """Tell whether a function that is called is one of the folder's."""
    left, _, field = name.rpartition(".")
    if not left:
        return field in functions(modules, module.package)
    target = module.imports.get(left, left)
    return target.startswith("data.") and field in functions(modules, target.removeprefix("data."))


def targets(module: Module, reference: str) -> Iterator[str]:
    """Yield the rule that a reference may lead to, as `<package>.<rule>`."""
    parts = reference.split(".")
    if parts[0] == "data":
        yield ".".join(parts[1:])
    elif parts[0] in module.imports and len(parts) > 1:
        yield ".".join([module.imports[parts[0]].removeprefix("data."), *parts[1:]])
    elif len(parts) == 1:
        yield f"{module.package}.{parts[0]}"


def literal(node: Node) -> str | None:
    """Return the text of a string, None for anything else."""
    for kind in ("String", "RawString"):
        if kind in node:
            value: str = node[kind]["value"]
            return value
    return None
