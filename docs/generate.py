"""Write the pages of docs/reference that follow from the code.

    python docs/generate.py

A test fails when a page is not what this would write.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import typer.main  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from clients.cli.main import NOUNS  # noqa: E402
from clients.cli.settings import KNOWN, environment_name  # noqa: E402
from contract_service.settings import Settings  # noqa: E402
from docs.accounting import accounting_page  # noqa: E402
from docs.engine import engine_page  # noqa: E402
from docs.markdown import page, table  # noqa: E402
from docs.policy import policy_page  # noqa: E402
from ledger.errors import LedgerError  # noqa: E402
from policies.errors import DepaError  # noqa: E402
from policies.facts.schema import FACTS, Judging, input_schema, provider_schema  # noqa: E402
from policies.wire import base  # noqa: E402
from policies.wire.contract import Contract  # noqa: E402
from policies.wire.pipeline import PARTS, Pipeline  # noqa: E402

_PACKAGES = ("ledger", "policies", "clients", "trainer", "contract_service", "deploy")
_FAMILY = re.compile(r"^class \w+\([^)]*(?:Error|Refused|Denied|Problem)\):", re.MULTILINE)
_WIDTH = 100


def pages() -> dict[str, str]:
    """Return each page's text by its path under docs/reference."""
    return {
        "accounting.md": accounting_page(),
        "cli.md": _cli(),
        "contract.md": _contract(),
        "engine.md": engine_page(),
        "errors.md": _errors(),
        "pipeline.md": _pipeline(),
        "policy.md": policy_page(),
        "settings.md": _settings(),
        **dict(_schemas()),
    }


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command of `depa` with its words."""
    for noun in NOUNS:
        command = typer.main.get_command(importlib.import_module(f"clients.cli.{noun}").app)
        verbs = getattr(command, "commands", None)
        if verbs is None:
            yield (noun,), command
        else:
            yield from (((noun, verb), found) for verb, found in verbs.items())


def _cli() -> str:
    nouns = [(f"`depa {noun}`", text) for noun, text in NOUNS.items()]
    parts = [
        "Results go to standard output, everything else to standard error. With `--json` the "
        "result is one JSON object, and an error is a problem object on standard error. Settings: "
        "flag, then `DEPA_*`, then `depa.toml` in the role's home ([settings](settings.md)). "
        "Exit codes: [errors](errors.md).",
        table("command", "what for", rows=nouns),
    ]
    for words, command in commands():
        name = " ".join(("depa", *words))
        context = command.context_class(
            command, info_name=name, terminal_width=_WIDTH, max_content_width=_WIDTH
        )
        parts.append(f"## {name}\n\n```text\n{command.get_help(context).rstrip()}\n```")
    return page("Command line", *parts)


def _errors() -> str:
    for path in sorted(p for name in _PACKAGES for p in (ROOT / name).rglob("*.py")):
        if _FAMILY.search(path.read_text(encoding="utf-8")):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    exits = [
        ("0", "ok"),
        ("1", "a bug, or a step that failed"),
        ("2", "usage: the command, a setting or a document is wrong"),
        ("3", "not found, or not there yet"),
        ("4", "refused: a check or a policy said no"),
        ("5", "network: trying again may help"),
        ("6", "sign-in: the passphrase or identity was not accepted"),
        ("130", "Ctrl-C"),
    ]
    rows = sorted({_error_row(found) for top in (DepaError, LedgerError) for found in _tree(top)})
    return page(
        "Errors",
        "The command line says `error:`, `because:` and, where there is one, `hint:`; over HTTP an "
        "error is an RFC 9457 problem document whose `type` is `urn:depa:problem:` and a code. "
        "What a policy denies has reason codes of its own: [policy](policy.md#reason-codes).",
        "## Exit codes\n\n" + table("exit code", "meaning", rows=exits),
        "## Error classes\n\n*As raised*: each place has a code of its own; those of the service "
        "stand in the last table.\n\n"
        + table("code", "exit code", "HTTP status", "class", "meaning", rows=rows),
        "## Problem types of the contract service\n\n"
        + table("type", "HTTP status", rows=_problem_types()),
    )


def _tree(top: type) -> Iterator[Any]:
    yield top
    for found in top.__subclasses__():
        if found.__module__.split(".")[0] in _PACKAGES:
            yield from _tree(found)


def _error_row(found: Any) -> tuple[str, ...]:
    meaning = inspect.cleandoc(found.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    name = f"`{found.__module__}.{found.__name__}`"
    inherited = found.code == DepaError.code and found is not DepaError
    code = "as raised" if inherited else f"`{found.code}`"
    return (code, str(found.exit_code), str(found.http_status), name, meaning)


def _problem_types() -> list[tuple[str, ...]]:
    from contract_service import problems  # noqa: PLC0415

    family = {found.__name__: found for found in _tree(problems.ServiceProblem)}
    rows = set()
    for path in sorted((ROOT / "contract_service").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
                continue
            kind, first = family.get(node.func.id), node.args[0]
            if kind is not None and isinstance(first, ast.Constant):
                prefix = "no-such-" if kind is problems.MissingError else ""
                rows.add((f"`{prefix}{first.value}`", str(kind.http_status)))
    return sorted(rows)


def _schemas() -> Iterator[tuple[str, str]]:
    """Yield the schemas of what rules see, with what the code says about each field."""
    models = [found for top in (*FACTS.values(), Judging) for found in _models(top)]
    schemas = {**{name: input_schema(name) for name in FACTS}, "party": provider_schema()}
    for name, schema in schemas.items():
        parts = {**schema["$defs"], **({FACTS[name].__name__: schema} if name in FACTS else {})}
        for model in models:
            properties = parts.get(model.__name__, {}).get("properties", {})
            for field, text in _field_docs(model).items():
                info = model.model_fields.get(field)
                if info is not None and properties:
                    properties[info.alias or field]["description"] = text
        yield f"facts/{name}.schema.json", json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _contract() -> str:
    return page(
        "Contract",
        "A JSON document, closed (an unknown field is refused) and strict (no coercion). Its "
        "digest is the SHA-256 of its RFC 8785 form; that digest is what parties sign. How to fill "
        "it in: "
        "[write a contract](../how-to/write-a-contract.md).",
        _texts(),
        *_sections(Contract),
    )


def _pipeline() -> str:
    parts = ", ".join(f"`{part}_config.json`" for part in PARTS)
    return page(
        "Pipeline",
        f"What one run does. `depa run check` puts it together from the parts {parts}: `join` "
        "holds the fields of the DirectoryJoin stage, the fields of all other parts go into "
        "Train_DL, and no field may stand in two parts. Every choice is one of a closed list; "
        "there are no paths, no devices and no names that are looked up.",
        _texts(),
        *_sections(Pipeline),
    )


_NAMED = {"Digest", "Did", "RunId", "Hex32", "Hex48", "Name", "Slug"}
_MEANT = {
    "Digest": "`sha256:` and 64 lower-case hexadecimal digits",
    "Did": "a decentralised identifier: did:x509, did:web or did:jwk",
    "Hex32": "64 lower-case hexadecimal digits",
    "Name": "text for people: one line of 1 to 200 characters, no control characters",
    "Slug": "1 to 127 of letters, digits, `.`, `_`, `-`, not beginning with a sign",
    "UTC time": "RFC 3339 with `Z`, such as `2026-01-31T00:00:00Z`",
    "Url": "`https://` or `file:///`, up to 1,000 characters",
}


def _texts() -> str:
    kinds = "; ".join(f"**{name}** {text}" for name, text in _MEANT.items())
    return f"Kinds of text: {kinds}."


def _patterns() -> dict[str, str]:
    return {getattr(base, name).__metadata__[0].pattern: name for name in sorted(_NAMED)}


def _sections(top: type[BaseModel]) -> Iterator[str]:
    classes = {found.__name__: found for found in _models(top)}
    for name, model in classes.items():
        schema = model.model_json_schema(by_alias=True)
        docs = _field_docs(model)
        needed = set(schema.get("required", ()))
        rows = []
        for field, info in model.model_fields.items():
            alias = info.alias or field
            shape = _shape(schema["properties"][alias])
            default = "required" if alias in needed else _default(schema["properties"][alias])
            rows.append((f"`{alias}`", shape, default, docs.get(field, "")))
        about = inspect.cleandoc(model.__doc__ or "")
        fields = table("field", "value", "default", "meaning", rows=rows) if rows else "No fields."
        yield f"## {name}\n\n{about}\n\n{fields}"


def _models(top: type[BaseModel]) -> list[type[BaseModel]]:
    """Return a document's classes in the order in which they are first used."""
    found: list[type[BaseModel]] = []

    def visit(kind: Any) -> None:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if kind not in found:
                found.append(kind)
                for info in kind.model_fields.values():
                    visit(info.annotation)
            return
        for part in getattr(kind, "__args__", ()):
            visit(part)

    visit(top)
    return found


def _field_docs(model: type) -> dict[str, str]:
    """Return the texts that stand below a class's fields."""
    docs: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if owner.__module__.split(".")[0] not in _PACKAGES:
            continue
        body = ast.parse(inspect.getsource(owner)).body[0].body  # type: ignore[attr-defined]
        for field, text in pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                docs[field.target.id] = " ".join(str(text.value.value).split())
    return docs


def _default(schema: dict[str, Any]) -> str:
    return f"`{json.dumps(schema['default'])}`" if "default" in schema else "see there"


def _shape(schema: dict[str, Any]) -> str:
    """Return a JSON schema in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(item)}`" for item in schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(_shape(item) for item in schema[key])
    return _plain_shape(schema)


def _plain_shape(schema: dict[str, Any]) -> str:
    match schema.get("type"):
        case "array" if "prefixItems" in schema:
            return "[" + ", ".join(_shape(item) for item in schema["prefixItems"]) + "]"
        case "array":
            return f"list of {_shape(schema['items'])}" + _count(schema, "Items")
        case "object":
            values = _shape(next(iter(schema["patternProperties"].values())))
            return f"object of {values}" + _count(schema, "Properties")
        case "string":
            return _text_shape(schema)
        case other:
            return str(other or "anything") + _bounds(schema)


def _text_shape(schema: dict[str, Any]) -> str:
    if schema.get("format") == "date-time":
        return "UTC time"
    if "pattern" in schema:
        known = _patterns().get(schema["pattern"])
        return known or ("https URL" if "https" in schema["pattern"] else f"`{schema['pattern']}`")
    return "Url" if schema.get("minLength") == 8 else "text" + _count(schema, "Length")


def _count(schema: dict[str, Any], what: str) -> str:
    low, high = schema.get(f"min{what}"), schema.get(f"max{what}")
    if low is None and high is None:
        return ""
    return f" ({low or 0} to {high})" if high is not None else f" (at least {low})"


def _bounds(schema: dict[str, Any]) -> str:
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    found = [f"{sign} {_number(schema[key])}" for key, sign in signs.items() if key in schema]
    return f", {' and '.join(found)}" if found else ""


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _settings() -> str:
    roles = [
        (f"`{name}`", f"`{environment_name(name)}`", known.help) for name, known in KNOWN.items()
    ]
    docs = _field_docs(Settings)
    service = []
    for name, info in Settings.model_fields.items():
        variable = info.validation_alias or f"DEPA_SERVICE_{name.upper()}"
        default = "required" if info.is_required() else f"`{info.default}`"
        service.append((f"`{variable}`", default, docs.get(name, "")))
    return page(
        "Settings",
        "## Of a role\n\nSet by `depa config set NAME VALUE`, by the environment, or in "
        "`depa.toml` in the role's home. The environment wins over the file. "
        "`depa config show --origin` says where each value comes from.\n\n"
        + table("name", "variable", "meaning", rows=roles),
        "`DEPA_HOME` names the home (`~/.depa` without it), `DEPA_PASSPHRASE` opens the keys where "
        "nobody is at a terminal.",
        "## Of the contract service\n\n" + table("variable", "default", "meaning", rows=service),
    )


def main() -> None:
    """Write all pages."""
    folder = ROOT / "docs" / "reference"
    for name, text in pages().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
