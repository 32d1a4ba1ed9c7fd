"""The gate: nothing is decrypted unless agreement, hardware and log all say so.

Until `verify` returns, nothing that came from outside is believed. Until `confirm` returns, no
released key is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from clients.api.attestation import attest_snp
from ledger.bundle import Bundle
from ledger.did import did_jwk_for
from ledger.identity import Identity
from ledger.verify import VerifiedLog, verify_bundle
from policies.agreement import Agreement, verify_agreement
from policies.attestation.report import parse_report
from policies.attestation.runtime import report_data_of
from policies.dossier import RecordRefused, read_dossier
from policies.errors import EvidenceError
from policies.releases import Policies
from policies.wire.base import load_json, sha256
from policies.wire.run import Approval
from trainer.keys import RoomKeys
from trainer.room import Room
from trainer.tee.protocol import Tee


@dataclass(frozen=True)
class Attested:
    """A clean room that its hardware vouches for."""

    token: str = field(repr=False)
    keys: RoomKeys = field(repr=False)
    nonce: str
    """The service's challenge, which the vaults sign along."""
    reporter: Identity
    """Signs the run report."""
    host_data: str
    measurement: str


def verify(bundle: bytes, *, room: Room, policies: Policies, now: int) -> Agreement:
    """Return what this clean room was approved to do.

    (1) The bundle is proven up to the measured root. (2) It holds one approval of this run, which
    names the contract. (3) The contract's record shows a full agreement on that run.

    Raises:
        LedgerError: when the bundle does not verify.
        RecordRefused: when it shows no agreement.
        Denied: when the policy says no.
    """
    # (1)
    log = _proven(bundle, room=room, now=now)
    # (2)
    contract = _contract_of(log, run=room.run)
    # (3)
    dossier = read_dossier(log, contract_digest=contract)
    return verify_agreement(dossier, run=room.run, policies=policies, now=now)


def attest(agreement: Agreement, *, room: Room, tee: Tee, nonce: str) -> Attested:
    """Return the hardware's word, and an authority's, that this code runs this agreement.

    Raises:
        EvidenceError: when the contract does not accept the authority that this room was given.
        TeeError: when the hardware gives no report.
        NetworkError: when the authority cannot be reached.
    """
    accepted = agreement.contract.attestation.authorities
    if room.attestation_url not in accepted:
        raise EvidenceError(
            "attestation authority", expected=list(accepted), got=room.attestation_url
        )
    keys = RoomKeys.make()
    runtime = keys.runtime_data(
        contract=agreement.contract_digest,
        run=agreement.run,
        pipeline=agreement.pipeline_digest,
        nonce=nonce,
    )
    report = tee.report(report_data_of(runtime))
    token = attest_snp(
        room.attestation_url,
        report=report,
        certs_pem=tee.certificates,
        uvm=tee.endorsements,
        runtime_data=runtime,
        ca_file=room.ca_file,
    )
    parsed = parse_report(report)
    return Attested(
        token=token,
        keys=keys,
        nonce=nonce,
        reporter=Identity(
            did=did_jwk_for(keys.report.public_key()), chain=(), private_key=keys.report
        ),
        host_data=parsed.host_data.hex(),
        measurement=parsed.measurement.hex(),
    )


def confirm(
    bundle: bytes, *, room: Room, agreement: Agreement, attested: Attested, now: int
) -> None:
    """Check that the release of keys to this very clean room is on the log.

    Raises:
        RecordRefused: when it is not; the keys MUST NOT be used then.
    """
    log = _proven(bundle, room=room, now=now)
    dossier = read_dossier(log, contract_digest=agreement.contract_digest)
    if dossier.revocations:
        raise RecordRefused("a party has revoked the contract")
    mine = [
        item.document
        for item in dossier.releases
        if item.document.run == room.run and item.document.allowed
    ]
    wanted = (sha256(attested.token.encode()), attested.reporter.did, agreement.pipeline_digest)
    if [(each.token, each.report_key, each.pipeline) for each in mine] != [wanted]:
        raise RecordRefused(f"the log does not show that keys of {room.run} went to this room")


def _proven(bundle: bytes, *, room: Room, now: int) -> VerifiedLog:
    return verify_bundle(Bundle.parse(bundle), root_fingerprint=room.root_fingerprint, at=now)


def _contract_of(log: VerifiedLog, *, run: str) -> str:
    found = set()
    for entry in log.of_kind(Approval.kind, issuer=log.log.service):
        if entry.document is None:
            raise RecordRefused(f"entry {entry.index}: the record lacks its approval")
        approval = Approval.from_json(load_json(entry.document, kind=Approval.kind))
        if approval.run == run:
            found.add(approval.contract)
    if len(found) != 1:
        raise RecordRefused(f"the record holds approvals of {run} under {len(found)} contracts")
    return found.pop()
