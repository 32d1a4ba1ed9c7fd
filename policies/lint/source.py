"""Rego text as a tree: the modules of a policy folder, and how to walk them."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regorus import Engine  # type: ignore[attr-defined]  # an extension module without stubs

Node = dict[str, Any]
_RULE_HEADS = ("Compr", "Set", "Func")


@dataclass(frozen=True, order=True)
class Finding:
    """Something wrong with a policy file."""

    path: str
    line: int
    check: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.check}: {self.message}"


@dataclass(frozen=True)
class Rule:
    """One definition of a rule or function."""

    name: str
    line: int
    last_line: int
    is_function: bool
    node: Node


@dataclass(frozen=True)
class Module:
    """A parsed Rego file."""

    path: str
    """Relative to the folder, with slashes."""
    text: str
    package: str
    """Without the leading `data.`."""
    imports: Mapping[str, str]
    """Imported path by the name it is used under."""
    rules: tuple[Rule, ...]
    tree: Node
    nodes: tuple[tuple[str, Node], ...]
    """Every node of the rules, with its kind."""

    @property
    def is_test(self) -> bool:
        """Whether the module is left out of bundles."""
        return self.path.endswith("_test.rego")


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the Rego and JSON files of a policy folder, tests included, by path."""
    found = sorted([*folder.rglob("*.rego"), *folder.rglob("*.json")])
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@functools.lru_cache(maxsize=256)
def parse_module(path: str, data: bytes) -> Module | Finding:
    """Return the module, or what keeps it from being one."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return Finding(path, 1, "text", "is not UTF-8")
    engine = Engine()
    try:
        engine.add_policy(path, text)
        tree: Node = json.loads(engine.get_ast_as_json())[0]["ast"]
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        where = next((line for line in lines if line.startswith("-->")), "")
        number = where.split(":")[1] if where.count(":") > 1 else "1"
        reason = next((line for line in lines if line.startswith("error:")), "error: unknown")
        return Finding(path, int(number), "syntax", reason.removeprefix("error:").strip())
    return module_of(path, text, tree)


def module_of(path: str, text: str, tree: Node) -> Module:
    """Return the module of a text that has been parsed."""
    imports = {}
    for item in tree["imports"]:
        target = dotted(item["refr"]) or ""
        alias = item.get("as")
        name = slice_of(text, alias) if alias else target.rpartition(".")[2]
        imports[name] = target
    return Module(
        path=path,
        text=text,
        package=dotted(tree["package"]["refr"]) or "",
        imports=imports,
        rules=tuple(_rules(tree, text.encode())),
        tree=tree,
        nodes=tuple(walk(tree["rules"])),
    )


def slice_of(text: str, span: Node) -> str:
    """Return the source text of a span, whose offsets count bytes."""
    return text.encode()[span["start"] : span["end"]].decode()


def walk(node: Any) -> Iterator[tuple[str, Node]]:
    """Yield every node below, with its kind; parents before children."""
    waiting = [node]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            for key, item in value.items():
                if isinstance(item, dict) and key[:1].isupper():
                    yield key, item
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def dotted(node: Node) -> str | None:
    """Return `a.b.c` for a reference of names alone, None for anything else."""
    if "Var" in node:
        name: str = node["Var"]["value"]
        return name
    if "RefDot" in node:
        left = dotted(node["RefDot"]["refr"])
        return None if left is None else f"{left}.{node['RefDot']['field'][1]}"
    return None


def line_of(node: Node) -> int:
    """Return the line that a node begins in."""
    line: int = node["span"]["line"]
    return line


def _rules(tree: Node, data: bytes) -> Iterator[Rule]:
    for item in tree["rules"]:
        node = item.get("Spec") or item["Default"]
        head = node.get("head", {})
        kind = next((kind for kind in _RULE_HEADS if kind in head), None)
        reference = head[kind]["refr"] if kind else node["refr"]
        name = dotted(reference) or dotted(reference.get("RefBrack", {}).get("refr", {})) or "?"
        yield Rule(
            name=name,
            line=line_of(node),
            last_line=data.count(b"\n", 0, node["span"]["end"]) + 1,
            is_function=kind == "Func",
            node=item,
        )
