"""Reason codes and rules in words: what a code means, who can fix it, which rule gives it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from clients.cli.errors import NotFoundError
from clients.cli.files import read_bytes
from clients.cli.output import Answer, Listing
from policies.bundle import Bundle, Explanation
from policies.lint import parse_modules, places
from policies.lint.source import Module, Rule
from policies.party import MAX_MODULE_BYTES, read_module

_OWN = "PARTY_"
_NO_RULE = "rule: none; given when an engine, or a provider's rules, cannot be evaluated"


def explain_code(bundle: Bundle, code: str) -> Answer:
    """Return what a code means and where it is given.

    Raises:
        NotFoundError: when the bundle has no such code, naming those that look alike.
    """
    found = _known(bundle.codes, code, owner=f"policy {bundle.version}")
    modules, _ = parse_modules(bundle.files)
    return _explained(found, places(modules, code))


def explain_own(path: Path, code: str) -> Answer:
    """Return what a code of a provider's own rules means.

    Raises:
        NotFoundError: when there is no such file, or it gives no such code.
        DocumentError: when it holds no such rules.
    """
    module = read_module(read_bytes(path, what="rules", limit=MAX_MODULE_BYTES))
    found = _known(module.codes, code, owner=f"depa.party.{module.name}")
    lines = enumerate(module.text.splitlines(), 1)
    return _explained(found, [(str(path), n) for n, line in lines if f'"code": "{code}"' in line])


def _known(codes: Mapping[str, Explanation], code: str, *, owner: str) -> Explanation:
    if code in codes:
        return codes[code]
    raise NotFoundError(f"reason code: {code} is none of {owner}", hint=_elsewhere(codes, code))


def _elsewhere(codes: Mapping[str, Explanation], code: str) -> str:
    """Return where else a code could be from, or how it is written."""
    # A code of the policy is never meant by this prefix, however alike the rest is.
    alike = [known for known in codes if known.startswith(_OWN) == code.startswith(_OWN)]
    close = difflib.get_close_matches(code.upper(), alike, n=3)
    if close:
        return f"did you mean {', '.join(close)}?"
    if code.startswith(_OWN):
        return "a provider's own rules may give it: depa contract show lists their codes"
    return "depa policy show lists all"


def _explained(found: Explanation, where: Sequence[tuple[str, int]]) -> Answer:
    return Answer(
        {
            "code": found.code,
            "title": found.title,
            "severity": found.severity,
            "fixedBy": list(found.fixed_by),
            "remedy": found.remedy,
            "rules": [{"file": path, "line": line} for path, line in where],
        },
        "\n".join(
            [
                f"{found.code} ({found.severity}): {found.title}",
                f"{', '.join(found.fixed_by)}: {found.remedy}",
                *(f"rule: {path}:{line}" for path, line in where),
                *([] if where else [_NO_RULE]),
            ]
        ),
    )


def show_code(bundle: Bundle, code: str) -> Answer:
    """Return a code's explanation and the text of the rules that give it.

    Raises:
        NotFoundError: when the bundle has no such code.
    """
    explained = explain_code(bundle, code)
    modules, _ = parse_modules(bundle.files)
    listings = [
        Listing(_text(module, rule), "rego", first_line=rule.line)
        for module in modules
        for rule in module.rules
        if any(
            path == module.path and rule.line <= line <= rule.last_line
            for path, line in places(modules, code)
        )
    ]
    return Answer(explained.value, explained.text, listings=listings)


def show_file(bundle: Bundle, path: str) -> Answer:
    """Return a file of a bundle."""
    text = bundle.files[path].decode()
    return Answer({"file": path, "text": text}, listings=[Listing(text, "rego")])


def show_bundle(bundle: Bundle, known: Sequence[Bundle]) -> Answer:
    """Return what is in a bundle."""
    versions = [one.version for one in known]
    return Answer(
        {
            "version": bundle.version,
            "digest": bundle.digest,
            "files": sorted(bundle.files),
            "codes": sorted(bundle.codes),
            "versions": versions,
        },
        f"depa {bundle.version}\n{bundle.digest}\n{len(bundle.codes)} reason codes",
        columns=("file", "bytes"),
        rows=[(path, str(len(data))) for path, data in bundle.files.items()],
    )


def _text(module: Module, rule: Rule) -> str:
    lines = module.text.splitlines(keepends=True)
    return "".join(lines[rule.line - 1 : rule.last_line])
