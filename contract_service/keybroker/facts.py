"""Facts about evidence of which nothing is proven, so that its refusal can be made again."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from policies.attestation.maa import EvidenceClaims
from policies.facts import AttestationFacts, attestation_facts
from policies.wire.contract import Contract

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING: Final = EvidenceClaims(
    issuer="",
    token_digest="",
    token_id="",
    issued_at=_EPOCH,
    expires_at=_EPOCH,
    compliance=None,
    debuggable=True,
    migratable=True,
    vmpl=0,
    host_data="",
    report_data="",
    measurement="",
    guest_svn=0,
    tcb=MappingProxyType({"bootloader": 0, "tee": 0, "snpfw": 0, "microcode": 0}),
    runtime=MappingProxyType({}),
    claims=MappingProxyType({}),
)


def nothing_proven(
    contract: Contract, *, run: str, pipeline_digest: str, now: int
) -> AttestationFacts:
    """Return the facts about a token that does not verify: nobody vouches for anything."""
    return attestation_facts(
        _NOTHING, contract, run=run, pipeline_digest=pipeline_digest, nonce="", now=now
    )
