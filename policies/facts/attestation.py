"""What the policies see of a clean room's evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from policies.attestation.maa import EvidenceClaims
from policies.attestation.runtime import RELEASE_KEY, REPORT_KEY
from policies.facts.contract import PolicyFacts, policy_terms
from policies.facts.numbers import MICRO, Whole, microseconds
from policies.facts.trust import AttestationTerms, TcbFacts, attestation_terms
from policies.wire.base import Document, Wire, sha256
from policies.wire.contract import Contract


class TrustTerms(Wire):
    """The part of the contract that says which clean rooms are trusted."""

    digest: str
    attestation: AttestationTerms
    policy: PolicyFacts


class Binding(Wire):
    """For what a clean room was started."""

    contract: str
    run: str
    pipeline: str
    nonce: str
    """Digest of the nonce's text."""


class ClaimFacts(Wire):
    """What the authority vouches for."""

    issuer: str
    type: str
    compliance: str
    """Empty if nobody vouches for the guest's firmware."""
    debuggable: bool
    migratable: bool
    vmpl: Whole
    host_data: str
    guest_svn: Whole
    tcb: TcbFacts
    """Of the processor's firmware, as the report states it."""
    measurement: str
    issued_at: Whole
    expires_at: Whole
    bound: Binding
    """What the attested runtime data says; empty texts where it says nothing."""
    keys: tuple[str, ...]
    """Key ids in the attested runtime data."""


class AttestationFacts(Document):
    """Evidence, what it is expected to be bound to, and the contract's terms of trust."""

    kind: ClassVar[str] = "attestation-facts"

    now: Whole
    contract: TrustTerms
    claims: ClaimFacts
    expected: Binding


def attestation_facts(
    claims: EvidenceClaims,
    contract: Contract,
    *,
    run: str,
    pipeline_digest: str,
    nonce: str,
    now: int,
) -> AttestationFacts:
    """Return the facts about evidence for one run.

    Args:
        claims: Claims of a token. The caller MUST have verified the token, and with
            `runtime.attested_runtime` that the report commits to its runtime data.
        contract: The contract that the run is under.
        run: Id of the run.
        pipeline_digest: Digest of the run's approved pipeline.
        nonce: The challenge that the service gave out, base64url as in the runtime data.
        now: Unix seconds.
    """
    kind = claims.claims.get("x-ms-attestation-type")
    return AttestationFacts(
        now=now * MICRO,
        contract=TrustTerms(
            digest=contract.digest(),
            attestation=attestation_terms(contract.attestation),
            policy=policy_terms(contract.policy),
        ),
        claims=ClaimFacts(
            issuer=claims.issuer,
            type=kind if isinstance(kind, str) else "",
            compliance=claims.compliance or "",
            debuggable=claims.debuggable,
            migratable=claims.migratable,
            vmpl=claims.vmpl,
            host_data=claims.host_data,
            guest_svn=claims.guest_svn,
            tcb=_tcb(claims.tcb),
            measurement=claims.measurement,
            issued_at=microseconds(claims.issued_at),
            expires_at=microseconds(claims.expires_at),
            bound=_bound(claims.runtime),
            keys=_keys(claims.runtime),
        ),
        expected=Binding(
            contract=contract.digest(),
            run=run,
            pipeline=pipeline_digest,
            nonce=sha256(nonce.encode()),
        ),
    )


def _tcb(levels: Mapping[str, int]) -> TcbFacts:
    # The authority calls the firmware of SEV-SNP itself `snpfw`.
    return TcbFacts(
        bootloader=levels["bootloader"],
        tee=levels["tee"],
        snp=levels["snpfw"],
        microcode=levels["microcode"],
    )


def _bound(runtime: Mapping[str, object]) -> Binding:
    scope = runtime.get("depa")
    fields: Mapping[str, object] = scope if isinstance(scope, Mapping) else {}
    nonce = _text(fields, "nonce")
    return Binding(
        contract=_text(fields, "contract"),
        run=_text(fields, "run"),
        pipeline=_text(fields, "pipeline"),
        nonce=sha256(nonce.encode()) if nonce else "",
    )


def _keys(runtime: Mapping[str, object]) -> tuple[str, ...]:
    entries = runtime.get("keys")
    if not isinstance(entries, list):
        return ()
    found = {entry.get("kid") for entry in entries if isinstance(entry, Mapping)}
    return tuple(name for name in (RELEASE_KEY, REPORT_KEY) if name in found)


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
