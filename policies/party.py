"""A provider's own rules: a Rego module that its contract names by digest.

The module says no and warns, on top of the bundle that all parties are judged by; it can allow
nothing. It sees the same facts, and `question`, which says what is decided. Its text is nobody's to
trust: it is evaluated by itself, within limits, and whatever goes wrong with it denies.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from policies.bundle import Explanation
from policies.engine.protocol import PartyEngine, PartyVerdict, RawReason
from policies.errors import DocumentError, PolicyError, Problem
from policies.facts.contract import PartyRuleFacts
from policies.wire.base import sha256

MAX_MODULE_BYTES: Final = 32 * 1024
FAILED: Final = "PARTY_RULE_FAILED"
UNKNOWN: Final = "PARTY_RULE_UNKNOWN"
RESERVED: Final = frozenset({FAILED, UNKNOWN})
"""Codes that are given about a module, and never by one."""
PACKAGE: Final = re.compile(r"^package depa\.party\.([a-z][a-z0-9_]{0,30})$", re.MULTILINE)
_CODE: Final = re.compile(r"PARTY_[A-Z0-9_]{2,58}")
_POINTER: Final = re.compile(r"(/[A-Za-z0-9_.~-]{0,64}){0,16}")
_RULE: Final = re.compile(r"(deny|warn) contains ")
_FIELD: Final = re.compile(r"#(?: (title)|   (code|remedy)): ([^\"'{}\[\]|>&*#].*)")
_METADATA: Final = "# METADATA"
_FIXED_BY: Final = ("tdc", "tdp")


@dataclass(frozen=True)
class Module:
    """The text of a provider's rules, and what it says about them."""

    name: str
    """Last part of its package's name."""
    text: str = field(repr=False)
    digest: str
    codes: Mapping[str, Explanation]
    """Every reason that it may give."""


@dataclass(frozen=True)
class PartyRules:
    """The texts that are at hand, and the engine that evaluates them."""

    engine: PartyEngine
    texts: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """By digest; there may be more than a contract names, and others."""

    def judge(
        self, rules: Sequence[PartyRuleFacts], *, document: str, top: str, taken: Collection[str]
    ) -> PartyVerdict:
        """Return what the providers' rules say about facts; whatever goes wrong is a denial.

        Args:
            rules: Those that the contract names.
            document: JSON that the rules see as `input`.
            top: JSON pointer to the contract in what is judged.
            taken: Codes that are not a provider's to give.
        """
        deny: list[RawReason] = []
        warn: list[RawReason] = []
        for index, rule in enumerate(rules):
            try:
                found = self._ask(rule, document, taken)
            except PolicyError as error:
                code = UNKNOWN if isinstance(error, _AbsentError) else FAILED
                message = f"rules {rule.name} of {rule.provider}: {error}"
                path = f"/contract/policy/partyRules/{index}"
                deny.append(RawReason(code=code, path=path, msg=message))
            else:
                deny += found.deny
                warn += found.warn
        return PartyVerdict(
            deny=tuple(_below(item, top) for item in deny),
            warn=tuple(_below(item, top) for item in warn),
        )

    def _ask(self, rule: PartyRuleFacts, document: str, taken: Collection[str]) -> PartyVerdict:
        module = self.module(rule)
        found = self.engine.evaluate(module.text, package=module.name, document=document)
        return PartyVerdict(
            deny=tuple(_attributed(item, module, taken) for item in found.deny),
            warn=tuple(_attributed(item, module, taken) for item in found.warn),
        )

    def module(self, rule: PartyRuleFacts) -> Module:
        """Return the module that a contract names.

        Raises:
            PolicyError: if its text is not at hand, or is no module of that name.
        """
        data = self.texts.get(rule.digest)
        if data is None:
            raise _AbsentError(f"expected the text of {rule.digest}, got none")
        if (got := sha256(data)) != rule.digest:
            raise _AbsentError(f"expected the text of {rule.digest}, got that of {got}")
        try:
            module = read_module(data)
        except DocumentError as error:
            raise PolicyError(f"it is no module: {error.problems[0]}") from None
        if module.name != rule.name:
            raise PolicyError(f"expected package depa.party.{rule.name}, got {module.name}")
        return module

    def explain(self, code: str) -> Explanation | None:
        """Return what a code means by the texts that are at hand."""
        for data in self.texts.values():
            try:
                found = read_module(data).codes.get(code)
            except DocumentError:
                # Among the texts may be documents of any kind.
                continue
            if found is not None:
                return found
        return None


def read_module(data: bytes) -> Module:
    """Return a module as its comments describe it; its rules are checked by `policies.lint.party`.

    Raises:
        DocumentError: if it is too large, is no text, or does not name its package or its codes.
    """
    if len(data) > MAX_MODULE_BYTES:
        raise _refused(f"is {len(data)} bytes, the limit is {MAX_MODULE_BYTES}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise _refused("is not UTF-8") from None
    packages = PACKAGE.findall(text)
    if len(packages) != 1:
        raise _refused(
            f"has {len(packages)} lines `package depa.party.<name>`, not one",
            "the name has at most 31 of a-z, 0-9 and _, and begins with a letter",
        )
    codes = dict(_explained(text.splitlines()))
    if not codes:
        raise _refused(
            "explains no code", "write METADATA with title, custom code and remedy before a rule"
        )
    return Module(packages[0], text, sha256(data), MappingProxyType(codes))


def _explained(lines: Sequence[str]) -> Iterator[tuple[str, Explanation]]:
    """Yield what each METADATA block that has a code says about it, and of which rule it is."""
    for start, line in enumerate(lines):
        if line != _METADATA:
            continue
        fields: dict[str, str] = {}
        end = start + 1
        while end < len(lines) and lines[end].startswith("#"):
            if found := _FIELD.fullmatch(lines[end]):
                fields[found[1] or found[2]] = found[3].strip()
            end += 1
        code = fields.get("code")
        rule = _RULE.match(lines[end]) if end < len(lines) else None
        if code is None:
            continue
        if rule is None or not _CODE.fullmatch(code) or code in RESERVED:
            raise _refused(
                f"explains {code[:80]} in line {start + 1}, where no reason of it can be",
                "a code begins with PARTY_ and stands in the METADATA just before `deny contains`",
            )
        if "title" not in fields or "remedy" not in fields:
            raise _refused(f"explains {code} in line {start + 1} without title and remedy")
        yield (
            code,
            Explanation(
                code=code,
                title=fields["title"],
                severity="warn" if rule[1] == "warn" else "deny",
                fixed_by=_FIXED_BY,
                remedy=fields["remedy"],
            ),
        )


class _AbsentError(PolicyError):
    """The text of a module is not at hand."""


def _below(reason: RawReason, top: str) -> RawReason:
    """Return a reason whose place is in what is judged, which may be the contract alone."""
    if not f"{reason.path}/".startswith("/contract/"):
        return reason
    return reason.model_copy(update={"path": top + reason.path.removeprefix("/contract")})


def _attributed(reason: RawReason, module: Module, taken: Collection[str]) -> RawReason:
    """Return a reason as the decision has it, which says whose it is.

    Raises:
        PolicyError: if the module does not explain its code, or may not, or if it points nowhere.
    """
    if reason.code in taken or reason.code not in module.codes:
        raise PolicyError(f"it gives {reason.code[:80]!r}, which it may not")
    if not _POINTER.fullmatch(reason.path):
        raise PolicyError(f"{reason.code}: expected a JSON pointer, got {reason.path[:80]!r}")
    return RawReason(
        code=reason.code, path=reason.path, msg=f"by the rules {module.name}: {reason.msg}"
    )


def _refused(message: str, hint: str = "") -> DocumentError:
    return DocumentError("provider's rules", [Problem("", message, hint)])
