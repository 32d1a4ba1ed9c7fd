"""Providers' own rules as commands see them: in a file, beside a draft, or at the service.

The texts of a draft `contract.json` lie in the folder `contract.rules`, one file for each module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from clients.api.errors import NotFoundError as NotAtService
from clients.api.service import ServiceClient
from clients.cli.command import Session
from clients.cli.errors import Refused, UsageError
from clients.cli.files import read_bytes, write_new
from clients.cli.tasks.offer import Offer
from clients.cli.tasks.service import connect
from policies.decide import Policy
from policies.errors import DocumentError
from policies.lint.party import checked_module
from policies.party import MAX_MODULE_BYTES, Module, read_module
from policies.wire.base import sha256
from policies.wire.contract import Contract

_DIGEST = "sha256:"


class PartyModule(NamedTuple):
    """Rules, and whose they are."""

    provider: str
    module: Module

    def to_json(self) -> dict[str, str]:
        """Return what a contract says of them."""
        digest = self.module.digest
        return {"provider": self.provider, "name": self.module.name, "digest": digest}


def read_rules(path: Path) -> Module:
    """Return the rules in a file, if nothing is wrong with them.

    Raises:
        NotFoundError: when there is no such file.
        DocumentError: naming everything that is wrong.
    """
    return checked_module(read_bytes(path, what="rules", limit=MAX_MODULE_BYTES))


def folder_of(draft: Path) -> Path:
    """Return the folder with the texts of a draft's rules."""
    return draft.with_suffix(".rules")


def offered_rules(offers: Sequence[Offer], given: Sequence[str]) -> tuple[PartyModule, ...]:
    """Return the rules under which data is offered.

    Args:
        offers: Offers, some of which have rules.
        given: More rules, as `PROVIDER=FILE`; a provider is named as in its offer.

    Raises:
        UsageError: when a text is not of that form, or names nobody who offers data.
        NotFoundError: when there is no such file.
        DocumentError: naming everything that is wrong with rules.
    """
    providers = {offer.party.name: offer.party.id for offer in offers if offer.dataset is not None}
    found = [
        PartyModule(offer.party.id, checked_module(offer.rules.encode()))
        for offer in offers
        if offer.rules is not None
    ]
    for text in given:
        name, separator, file = text.partition("=")
        provider = providers.get(name, name)
        if not separator or provider not in providers.values():
            names = ", ".join(sorted(providers)) or "none"
            raise UsageError(
                f"--rules: expected PROVIDER=FILE, got {text!r}",
                hint=f"providers are named as in their offers: {names}",
            )
        found.append(PartyModule(provider, read_rules(Path(file))))
    return tuple({(item.provider, item.module.digest): item for item in found}.values())


def write_rules(draft: Path, modules: Sequence[Module], *, overwrite: bool = False) -> None:
    """Write the texts of a draft's rules beside it.

    Raises:
        UsageError: when two of them have one name, or a file is there already.
    """
    written: dict[str, str] = {}
    for module in modules:
        if written.setdefault(module.name, module.digest) != module.digest:
            raise UsageError(
                f"two modules of rules are called {module.name}",
                hint="have a provider give its package another name",
            )
    for module in modules:
        path = folder_of(draft) / f"{module.name}.rego"
        if not path.exists() or path.read_bytes() != module.text.encode():
            write_new(path, module.text.encode(), overwrite=overwrite)


def rules_of(
    session: Session, which: str, contract: Contract, *, client: ServiceClient | None = None
) -> Mapping[str, bytes]:
    """Return the texts of the rules that a contract names, as far as they are to be had.

    Args:
        session: The command's.
        which: What the contract was named by: a file, or its digest at the service.
        contract: The contract.
        client: Of the service, if there is one already.
    """
    wanted = {rule.digest for rule in contract.policy.party_rules or ()}
    at_service = which.startswith(_DIGEST)
    texts = {} if at_service or not wanted else _beside(Path(which))
    found = {digest: texts[digest] for digest in wanted & set(texts)}
    missing = wanted - set(found)
    if missing and (at_service or client is not None):
        client = client or connect(session)
        for digest in missing:
            with suppress(NotAtService):
                found[digest] = client.rules(digest)
    return found


def policy_with_rules(session: Session, which: str, contract: Contract) -> Policy:
    """Return the policy that judges a contract, with the rules that its providers add."""
    return Policy.embedded().with_rules(rules_of(session, which, contract))


def upload_rules(client: ServiceClient, draft: Path, contract: Contract) -> None:
    """Give the service the rules that a draft names, and it lacks.

    Raises:
        Refused: when neither the service nor the draft's folder has them.
    """
    texts = _beside(draft)
    for rule in contract.policy.party_rules or ():
        if rule.digest in texts:
            client.upload_rules(texts[rule.digest])
            continue
        try:
            client.rules(rule.digest)
        except NotAtService:
            raise Refused(
                f"the rules {rule.name}, {rule.digest}, are neither in {folder_of(draft)} nor at "
                "the service",
                hint=f"ask their provider for the file and put it into {folder_of(draft)}",
            ) from None


def describe_rules(contract: Contract, texts: Mapping[str, bytes]) -> list[str]:
    """Return lines that say whose rules apply, and what they may say."""
    names = {party.id: party.name for party in contract.tdps}
    lines = []
    for rule in contract.policy.party_rules or ():
        whose = names.get(rule.provider, rule.provider)
        lines.append(f"rules       {rule.name} of {whose}, {rule.digest}")
        if rule.digest in texts:
            codes = _codes(texts[rule.digest])
            lines += [f"            {severity} {code}: {title}" for severity, code, title in codes]
        else:
            lines.append("            their text is not at hand")
    return lines


def _codes(data: bytes) -> list[tuple[str, str, str]]:
    try:
        found = read_module(data).codes
    except DocumentError as error:
        return [("", "unreadable", str(error.problems[0]))]
    return [(item.severity, code, item.title) for code, item in sorted(found.items())]


def _beside(draft: Path) -> dict[str, bytes]:
    texts = (
        read_bytes(path, what="rules", limit=MAX_MODULE_BYTES)
        for path in sorted(folder_of(draft).glob("*.rego"))
    )
    return {sha256(text): text for text in texts}
