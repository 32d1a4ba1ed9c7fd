"""`depa contract`: draft, check, sign and follow a contract."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from clients.api.answers import ContractRegistered, ContractStatus
from clients.api.errors import NotFoundError as NotAtService
from clients.cli.command import Session, command, new_app
from clients.cli.errors import Refused
from clients.cli.files import read_bytes, write_new
from clients.cli.identity import own_card, read_card
from clients.cli.imports import contract_import
from clients.cli.output import Answer
from clients.cli.tasks.agreement import agreement_facts, describe, load_contract, party_name
from clients.cli.tasks.confirm import confirm_digest
from clients.cli.tasks.drafting import DraftInputs, draft_contract
from clients.cli.tasks.offer import read_offer
from clients.cli.tasks.places import Places
from clients.cli.tasks.reasons import denied
from clients.cli.tasks.rules import (
    offered_rules,
    policy_with_rules,
    rules_of,
    upload_rules,
    write_rules,
)
from clients.cli.tasks.service import connect, open_identity
from policies.bundle import load_bundle
from policies.party import read_module
from policies.wire.base import sha256
from policies.wire.contract import Contract
from policies.wire.run import Revocation

app = new_app("Draft, check, sign and follow a contract.")
_Which = Annotated[str, typer.Argument(help="File of the contract, or its digest.")]


@command(
    app, "init", examples="depa contract init template.json --offer a.offer.json --ccrp c.json"
)
def init(
    session: Session,
    template: Annotated[Path, typer.Argument(help="The scenario's contract.json.")],
    *,
    offer: Annotated[list[Path] | None, typer.Option(help="Offer; repeatable.")] = None,
    ccrp: Annotated[Path | None, typer.Option(help="Card of the clean room's provider.")] = None,
    out: Annotated[Path, typer.Option(help="Draft to write.")] = Path("contract.json"),
    days: Annotated[int, typer.Option(help="How long it is valid.", min=1, max=3650)] = 90,
    output_url: Annotated[str | None, typer.Option(help="Folder for the sealed model.")] = None,
    authority: Annotated[list[str] | None, typer.Option(help="Attestation authority.")] = None,
    host_data: Annotated[list[str] | None, typer.Option(help="SHA-256 of a launch policy.")] = None,
    rules: Annotated[
        list[str] | None, typer.Option(help="PROVIDER=FILE with rules of its own; repeatable.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the draft.")] = False,
) -> Answer:
    """Draft a contract as its consumer; what is not known yet stays open in the draft."""
    settings, bundle = session.settings, load_bundle()
    now = datetime.now(UTC).replace(microsecond=0)
    launch = settings.get("launch_policy")
    policies = [sha256(read_bytes(Path(launch), what="launch policy"))[7:]] if launch else []
    offers = [read_offer(path) for path in offer or ()]
    added = offered_rules(offers, rules or ())
    inputs = DraftInputs(
        contract_id=str(uuid.uuid4()),
        start_time=now,
        expiry_time=now + timedelta(days=days),
        tdc=own_card(session.home),
        ccrp=None if ccrp is None else read_card(ccrp),
        offers=offers,
        authorities=authority or [url for url in (settings.get("attestation"),) if url],
        host_data=host_data or policies,
        policy_version=bundle.version,
        policy_digest=bundle.digest,
        output_url=output_url or settings.get("blobs") or None,
        rules=added,
    )
    draft = draft_contract(read_bytes(template, what="contract template"), inputs)
    write_new(out, draft, overwrite=overwrite)
    write_rules(out, [item.module for item in added], overwrite=overwrite)
    return Answer(
        {"file": str(out), "digest": sha256(draft)},
        f"draft in {out}\n{sha256(draft)}\ncheck it with: depa contract check {out}",
    )


command(
    app,
    "import",
    examples="depa contract import DEPA_CONTRACT.json --offer brats_A.offer.json --ccrp c.json "
    "--unit patient --max-grad-norm 1 --max-steps 1000 --model graph --max-parameters 3000000 "
    "--minimum-guest-svn 100 --days 90",
)(contract_import)


@command(app, "check", examples="depa contract check contract.json")
def check(session: Session, contract: _Which) -> Answer:
    """Check a contract's form, and its terms by the policy that all parties are judged by."""
    found = load_contract(session, contract)
    now = int(time.time())
    policy = policy_with_rules(session, contract, found)
    decision = policy.contract(agreement_facts(found, now=now))
    if not decision.allow:
        places = Places.of(contract, found, config=None, pipeline=None)
        raise denied(decision, policy, places)
    warnings = [str(reason) for reason in decision.warnings]
    return Answer(
        {"digest": found.digest(), "policy": decision.policy, "warnings": warnings},
        "\n".join([f"{found.digest()} holds under policy {decision.policy}", *warnings]),
    )


@command(app, "show", examples="depa contract show sha256:... --out contract.json")
def show(
    session: Session,
    contract: _Which,
    *,
    out: Annotated[Path | None, typer.Option(help="Also write its canonical bytes here.")] = None,
) -> Answer:
    """Print a contract in words, and what the rules of its providers may say."""
    found = load_contract(session, contract)
    texts = rules_of(session, contract, found)
    if out is not None:
        write_new(out, found.canonical())
        write_rules(out, [read_module(text) for text in texts.values()])
    return Answer({"digest": found.digest(), "contract": found.to_json()}, describe(found, texts))


@command(app, "propose", examples="depa contract propose contract.json")
def propose(session: Session, contract: Annotated[Path, typer.Argument(help="Draft.")]) -> Answer:
    """Hand a checked draft to the service, so that the other parties can read and sign it."""
    found = load_contract(session, str(contract))
    client = connect(session)
    upload_rules(client, contract, found)
    return _registered(client.propose(found), found)


@command(app, "sign", examples="depa contract sign sha256:...")
def sign(
    session: Session,
    contract: _Which,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")] = False,
) -> Answer:
    """Show what the contract says, ask, and register this party's signature."""
    identity = open_identity(session)
    client = connect(session, identity)
    found = load_contract(session, contract, client=client)
    if identity.card.id not in {party.id for party in found.parties}:
        raise Refused(f"{identity.card.name} is no party of this contract")
    session.out.note(describe(found, rules_of(session, contract, found, client=client)))
    if not yes:
        confirm_digest(found.digest())
    statement = identity.signer.issue(
        payload_hash=bytes.fromhex(found.digest()[7:]),
        kind="signature",
        subject=found.urn,
        issued_at=int(time.time()),
    )
    try:
        registered = client.sign(found.digest(), statement)
    except NotAtService:
        # The consumer's signature on a draft that nobody has seen yet proposes it.
        if identity.card.id != found.tdc.id:
            raise
        upload_rules(client, Path(contract), found)
        client.propose(found)
        registered = client.sign(found.digest(), statement)
    return _registered(registered, found)


@command(app, "status", examples="depa contract status sha256:...")
def status(
    session: Session, contract: Annotated[str, typer.Argument(help="Digest or file.")]
) -> Answer:
    """Say how far a contract is, and who has not signed."""
    client = connect(session)
    digest = (
        contract if contract.startswith("sha256:") else load_contract(session, contract).digest()
    )
    return _status(client.contract_status(digest))


@command(app, "list", examples="depa contract list")
def list_(session: Session) -> Answer:
    """List the contracts that this role is a party of."""
    found = connect(session).contracts().contracts
    return Answer(
        {"contracts": [item.to_json() for item in found]},
        columns=("digest", "state", "until", "title"),
        rows=[(c.digest, c.state, f"{c.expiry_time:%Y-%m-%d}", c.title) for c in found],
    )


@command(app, "revoke", examples="depa contract revoke sha256:... --reason 'study ended'")
def revoke(
    session: Session,
    contract: Annotated[str, typer.Argument(help="Digest.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; public.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")] = False,
) -> Answer:
    """Take this party's consent back: no run is approved and no key released after it."""
    identity = open_identity(session)
    client = connect(session, identity)
    found = load_contract(session, contract, client=client)
    if not yes:
        confirm_digest(found.digest(), action="revoke")
    now = datetime.now(UTC).replace(microsecond=0)
    document = Revocation(contract=found.digest(), reason=reason, revoked_at=now)
    statement = identity.signer.issue(
        payload_hash=bytes.fromhex(document.digest()[7:]),
        kind="revocation",
        subject=found.urn,
        issued_at=int(now.timestamp()),
    )
    return _registered(client.revoke(found.digest(), document, statement), found)


def _registered(answer: ContractRegistered, contract: Contract) -> Answer:
    missing = [party_name(contract, did) for did in answer.missing]
    entry = answer.executed or answer.registered
    text = f"{contract.digest()} is {answer.state}; in the log at {entry.entry_id}"
    return Answer(
        {
            "digest": contract.digest(),
            "state": answer.state,
            "missing": missing,
            "entry": answer.registered.entry_id,
            "executed": None if answer.executed is None else answer.executed.entry_id,
        },
        f"{text}\nmissing: {', '.join(missing)}" if missing else text,
    )


def _status(found: ContractStatus) -> Answer:
    names = {party.id: party.name for party in found.parties}
    return Answer(
        found.to_json() | {"missing": [names[did] for did in found.missing]},
        f"{found.title}\n{found.digest} is {found.state}",
        columns=("role", "party", "signed", "entry"),
        rows=[
            (party.role, party.name, "yes" if party.signed else "missing", party.entry_id or "-")
            for party in found.parties
        ],
    )
