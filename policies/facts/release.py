"""What the policies see when a clean room asks for keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from policies.facts.contract import ContractFacts, Key
from policies.facts.numbers import Whole, microseconds
from policies.wire.base import Wire, sha256
from policies.wire.contract import Dataset, SealedFile
from policies.wire.pipeline import Pipeline
from policies.wire.run import Approval


class KeyAsked(Key):
    """A key, and the sealed file that it is asked for."""

    kind: str
    """Where the contract lists the file: `datasets` or `baseModels`."""
    file: str
    digest: str


class ReadFacts(Wire):
    """Ids of the sealed files that the pipeline reads."""

    datasets: tuple[str, ...]
    base_models: tuple[str, ...]


class RunFacts(Wire):
    """The run that the keys are asked for."""

    id: str
    state: str
    contract: str
    pipeline: str
    reads: ReadFacts
    releasing_to: tuple[str, ...]
    """Digest of the token that the release began with, once it has begun."""
    reserved: tuple[str, ...]
    """Data sets on which the budget of the run is reserved."""


class ApprovalFacts(Wire):
    """The permission for one run."""

    run: str
    contract: str
    pipeline: str
    approved_at: Whole
    expires_at: Whole
    charged: tuple[str, ...]
    """Data sets that the run may spend budget on."""


class RequestFacts(Wire):
    """What the clean room asks for."""

    keys: tuple[KeyAsked, ...]
    """One for each file, though the same key may open several."""
    token: str
    """Digest of the attestation token."""
    nonce: str
    """Digest of the nonce in the attested runtime data."""
    nonce_used_with: tuple[str, ...]
    """Digests of the tokens that carried this nonce before."""


class ReleaseFacts(ContractFacts):
    """A request for keys under a contract; `approvals` is empty if the run has none."""

    kind: ClassVar[str] = "release-facts"

    run: RunFacts
    approvals: tuple[ApprovalFacts, ...]
    request: RequestFacts


def release_facts(
    agreement: ContractFacts,
    *,
    run: str,
    state: str,
    contract: str,
    pipeline: str,
    approval: Approval | None,
    reads: Pipeline,
    files: Sequence[SealedFile],
    token: bytes,
    nonce: str,
    reserved: Sequence[str],
    nonce_used_with: Sequence[str] = (),
    releasing_to: str | None = None,
) -> ReleaseFacts:
    """Return the facts about a request for keys.

    Args:
        agreement: The facts about the contract that the run is under.
        run: Id of the run.
        state: State that the run is in.
        contract: Digest of the contract that the run was submitted under.
        pipeline: Digest of the run's pipeline.
        approval: The permission for the run, its signature and receipt verified.
        reads: The run's pipeline, which says what it reads.
        files: The sealed files whose keys are asked for, each with the key that will be asked.
        token: The attestation token, which the caller MUST have verified; only its digest is kept.
        nonce: Nonce of the attested runtime data, as it stands there.
        reserved: Ids of the data sets on which the run's budget is reserved.
        nonce_used_with: Digests of the tokens that were presented with this nonce before.
        releasing_to: Digest of the token that the release began with, if it has begun.
    """
    return ReleaseFacts(
        now=agreement.now,
        contract=agreement.contract,
        signatures=agreement.signatures,
        executed=agreement.executed,
        revoked_by=agreement.revoked_by,
        superseded_by=agreement.superseded_by,
        run=RunFacts(
            id=run,
            state=state,
            contract=contract,
            pipeline=pipeline,
            reads=ReadFacts(datasets=reads.datasets, base_models=reads.base_models),
            releasing_to=() if releasing_to is None else (releasing_to,),
            reserved=tuple(sorted(reserved)),
        ),
        approvals=() if approval is None else (_approval(approval),),
        request=RequestFacts(
            keys=tuple(map(_asked, files)),
            token=sha256(token),
            nonce=sha256(nonce.encode()),
            nonce_used_with=tuple(sorted(nonce_used_with)),
        ),
    )


def _asked(file: SealedFile) -> KeyAsked:
    return KeyAsked(
        vault=file.key.vault,
        name=file.key.name,
        kind="datasets" if isinstance(file, Dataset) else "baseModels",
        file=file.id,
        digest=file.digest,
    )


def _approval(approval: Approval) -> ApprovalFacts:
    return ApprovalFacts(
        run=approval.run,
        contract=approval.contract,
        pipeline=approval.pipeline,
        approved_at=microseconds(approval.approved_at),
        expires_at=microseconds(approval.expires_at),
        charged=tuple(sorted({charge.dataset for charge in approval.charges})),
    )
