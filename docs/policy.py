"""Write the page about the policy: what is asked, what is answered, codes, files, checks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from docs.markdown import page, table
from policies.bundle import Bundle, load_bundle
from policies.facts.schema import FACTS
from policies.lint import codes, facts, frame, parse_modules, party, places, portable
from policies.lint.__main__ import MIN_COVERAGE
from policies.wire.base import Wire
from policies.wire.decision import Decision, Reason

_ROOT = Path(__file__).resolve().parent.parent
_ASKED = {
    "contract": "when a contract is checked, and before it counts as executed",
    "training": "when a pipeline is checked, and when it is submitted",
    "attestation": "when a clean room shows its evidence",
    "release": "before keys are asked of a vault",
}
_CHECK = re.compile(r"^\* ([a-z, ]+?)  +(.*(?:\n {3,}.*)*)", re.MULTILINE)


def policy_page() -> str:
    """Return the page."""
    bundle = load_bundle()
    return page(
        "Policy",
        f"Version {bundle.version} of the rules that a contract names by digest. {_ABOUT}",
        "## Questions\n\n" + _FACTS,
        table("entrypoint", "asked", "decides", rows=list(_questions(bundle))),
        "## Decision\n\n" + _fields(Decision),
        "## Reason\n\n" + _fields(Reason),
        "## Engines\n\n" + table("engine", "setting", "for", rows=_ENGINES),
        _FAILURES,
        "## Bundle\n\n" + _BUNDLE,
        "## Files\n\n" + table("file", "what it decides", rows=list(_files(bundle))),
        f"## Lint\n\n{_LINT} Besides, tests have to reach {MIN_COVERAGE:.0%} of all lines.",
        table("check", "what it asks for", rows=list(_checks())),
        "A provider's own rules, one file, are held to these:",
        table("check", "what it asks for", rows=list(_described(party.__doc__))),
        f"## Reason codes\n\n{len(bundle.codes)} codes. A warning denies nothing.",
        table(*_CODE_HEAD, rows=list(_codes(bundle))),
    )


_CODE_HEAD = ("code", "severity", "meaning", "fixed by", "remedy", "given in")
_ABOUT = (
    "All parties agree to them by signing it. The same rules are evaluated by the command "
    "line, the service, the clean room and auditors. `depa policy check` asks them, `depa "
    "policy explain` says what a reason code means, `depa policy show` prints the rules. How "
    "to change them, and how a provider adds its own: "
    "[write a rule](../how-to/write-a-rule.md)."
)
_FACTS = (
    "Each package has one entrypoint, `decision`. It sees facts that Python has verified and "
    "normalised: whole numbers (ε in millionths, δ in 1e-12), times in microseconds, no "
    "tokens and no signatures. It allows only if nothing denies *and* the facts are complete. "
    "Reasons about the contract stand under `/contract` where more than the contract is "
    "judged. JSON Schemas of what the rules read as `input`: "
    + ", ".join(f"[{name}](facts/{name}.schema.json)" for name in FACTS)
    + "; of what a provider's own rules read: [party](facts/party.schema.json)."
)
_ENGINES = [
    (
        "`regorus-…`",
        "`DEPA_SERVICE_POLICY_ENGINE=embedded`",
        "the command line, the clean room, auditors, and the service unless told otherwise",
    ),
    (
        "`opa-…`",
        "`DEPA_SERVICE_POLICY_ENGINE=opa`",
        "a service whose operator runs an OPA server; see [settings](settings.md)",
    ),
]
_FAILURES = (
    "Both evaluate the same text. An engine that fails, answers too late or in another shape, "
    "or holds another text, denies with `POLICY_ERROR`, `POLICY_UNAVAILABLE` or "
    "`POLICY_MISMATCH`; no other engine is asked instead."
)
_BUNDLE = (
    "The digest of a policy is the SHA-256 of the canonical JSON map from path to SHA-256 of "
    "each Rego file and of `codes.json`, without tests. It depends on the text alone. `depa "
    "policy build` writes the archive: a gzip-compressed tar, the same bytes for the same "
    "files, which an OPA server loads (`opa run --server --bundle policy.tar.gz`) and whose "
    "revision is the digest.\n\n"
    "`.signatures.json` in it is optional: one JWT (ES256, ES384 or RS256) over the SHA-256 "
    "of every other file, in the form of OPA's own bundle signing. An OPA server checks it "
    "with `--verification-key`, `depa policy verify` with `--key` or `--root`. A contract "
    "agrees to the digest; a signature says who vouches for the text, and is no part of the "
    "digest."
)
_LINT = (
    "`depa policy lint` finds what could fail open, differ between engines, or deny without "
    "an explanation."
)


def _questions(bundle: Bundle) -> Iterator[tuple[str, ...]]:
    for name, asked in _ASKED.items():
        title, description = _metadata(bundle.rules[f"depa/{name}/decision.rego"])
        yield f"`depa/{name}/decision`", asked, f"**{title}.** {description}"


def _metadata(text: str) -> tuple[str, str]:
    """Return title and description of a file, from the comments at its beginning."""
    lines = [line.removeprefix("#") for line in text.partition("\npackage ")[0].splitlines()[1:]]
    title = lines[0].removeprefix(" title: ")
    first, *rest = lines[1:] or [""]
    inline = first.removeprefix(" description:").strip().removeprefix("|").strip()
    return title, " ".join([inline, *(line.strip() for line in rest)]).strip()


def _fields(model: type[Wire]) -> str:
    rows = []
    for name, info in model.model_fields.items():
        schema = model.model_json_schema(by_alias=True)["properties"][info.alias or name]
        kind = "list of reasons" if schema.get("type") == "array" else _kind(schema)
        rows.append((f"`{info.alias or name}`", kind, _MEANT[name]))
    return table("field", "value", "meaning", rows=rows)


_MEANT = {
    "entrypoint": "what was asked",
    "allow": "true only without any reason",
    "reasons": "every rule that was not met, by place",
    "warnings": "what does not deny, but should be seen",
    "policy": "digest of the bundle that decided",
    "policy_version": "its version",
    "engine": "name and version of what evaluated it",
    "code": "one of the codes below, or one of a provider's own rules, which begins with `PARTY_`",
    "path": "JSON pointer into the document that was judged",
    "msg": "what was expected, and what came",
}


def _kind(schema: dict[str, object]) -> str:
    if isinstance(choices := schema.get("enum"), list):
        return ", ".join(f"`{choice}`" for choice in choices)
    if "sha256" in str(schema.get("pattern", "")):
        return "digest"
    return {"boolean": "true or false", "string": "text"}[str(schema["type"])]


def _files(bundle: Bundle) -> Iterator[tuple[str, ...]]:
    for path, text in bundle.rules.items():
        title, description = _metadata(text)
        yield f"`{path}`", f"{title}. {description}" if description else title


def _checks() -> Iterator[tuple[str, ...]]:
    yield "`syntax`", "the file parses"
    for module in (frame, portable, codes, facts):
        yield from _described(module.__doc__)


def _described(text: str | None) -> Iterator[tuple[str, ...]]:
    for name, meaning in _CHECK.findall(text or ""):
        yield ", ".join(f"`{part}`" for part in name.split(", ")), " ".join(meaning.split())


def _codes(bundle: Bundle) -> Iterator[tuple[str, ...]]:
    modules, _ = parse_modules(bundle.files)
    for code, found in bundle.codes.items():
        given = sorted({path for path, _ in places(modules, code)})
        where = ", ".join(f"`{path.removeprefix('depa/')}`" for path in given) or "Python"
        fixers = ", ".join(found.fixed_by)
        yield f"`{code}`", found.severity, found.title, fixers, found.remedy, where
