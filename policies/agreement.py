"""What a clean room must be sure of before it asks for keys.

It trusts neither the service nor the connection: everything is read from the log's record, proven
up to the root whose fingerprint is measured into the hardware's evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

from policies.dossier import Dossier, Recorded, RecordRefused
from policies.facts import contract_facts, training_facts
from policies.facts.draft import unspent
from policies.formats import check_formats
from policies.parameters import most_parameters
from policies.releases import Policies
from policies.wire.contract import Contract, SealedFile
from policies.wire.decision import Denied
from policies.wire.pipeline import Pipeline
from policies.wire.run import Approval


@dataclass(frozen=True)
class Agreement:
    """A contract that all parties signed, and a pipeline that was approved under it."""

    contract: Contract
    contract_digest: str
    pipeline: Pipeline
    pipeline_digest: str
    approval: Approval
    run: str
    service: str
    """DID of the service that approved."""

    @property
    def files(self) -> tuple[SealedFile, ...]:
        """The sealed files that the pipeline reads: data sets, then base weights."""
        return self.pipeline.files(self.contract)


def verify_agreement(dossier: Dossier, *, run: str, policies: Policies, now: int) -> Agreement:
    """Return the contract and the pipeline that `run` may execute now.

    (1) All parties have signed, and the service has decided and said so. (2) Exactly one approval
    is for this run, and it has not expired. (3) It follows an allowing decision on the same
    pipeline. (4) No key has gone out for the run. (5) The policy, asked here and now, allows it
    too.

    Args:
        dossier: What the log proves about the contract.
        run: Id of the run that this clean room was started for.
        policies: The policies that came with this code; the contract names one by digest.
        now: Unix seconds.

    Raises:
        RecordRefused: when the record does not show an agreement.
        DocumentError: when the pipeline is not one.
        Denied: when the policy says no.
    """
    # (1)
    if dossier.missing:
        names = ", ".join(party.name for party in dossier.missing)
        raise RecordRefused(f"the contract is not signed by {names}")
    if dossier.executed is None:
        raise RecordRefused("the log does not say that all parties have signed")
    executed = dossier.executed
    dossier.permitted(
        executed.document.decision,
        entrypoint="contract",
        before=executed.index,
        what="the execution of the contract",
    )
    # (2)
    approval = _approval(dossier, run=run, now=now)
    # (3)
    pipeline = _approved_pipeline(dossier, approval)
    # (4)
    if any(item.document.run == run and item.document.allowed for item in dossier.releases):
        raise RecordRefused(f"keys were released for {run} before; a run happens once")
    # (5)
    check_formats(pipeline, dossier.contract)
    facts = training_facts(
        contract_facts(
            dossier.contract,
            signatures=dossier.signatures,
            executed=True,
            revoked_by=dossier.revoked_by,
            now=now,
        ),
        pipeline,
        parameters=most_parameters(pipeline, dossier.contract),
        charges=approval.document.charges,
        # What other runs have booked is known to the service alone, whose reservation is checked
        # when keys are released. Here the run must fit on its own.
        budgets=unspent(approval.document.charges),
    )
    policy = policies.of(dossier.contract.policy.digest).with_rules(dossier.documents)
    decision = policy.training(facts)
    if not decision.allow:
        raise Denied(decision)
    return Agreement(
        contract=dossier.contract,
        contract_digest=dossier.digest,
        pipeline=pipeline,
        pipeline_digest=pipeline.digest(),
        approval=approval.document,
        run=run,
        service=dossier.service,
    )


def _approval(dossier: Dossier, *, run: str, now: int) -> Recorded[Approval]:
    found = [item for item in dossier.approvals if item.document.run == run]
    if len(found) != 1:
        raise RecordRefused(f"the record holds {len(found)} approvals of {run}, not one")
    expires_at = found[0].document.expires_at.timestamp()
    if now >= expires_at:
        raise RecordRefused(f"the approval of {run} expired {now - int(expires_at)} seconds ago")
    if dossier.executed is None or found[0].index < dossier.executed.index:
        raise RecordRefused(f"{run} was approved before all parties had signed")
    return found[0]


def _approved_pipeline(dossier: Dossier, approval: Recorded[Approval]) -> Pipeline:
    document = approval.document
    dossier.permitted(
        document.decision,
        entrypoint="training",
        before=approval.index,
        what=f"the approval of {document.run}",
        run=document.run,
        pipeline=document.pipeline,
    )
    pipeline = Pipeline.parse(dossier.document(document.pipeline, what="the approved pipeline"))
    if pipeline.digest() != document.pipeline:
        raise RecordRefused("the pipeline's bytes are not in canonical form")
    return pipeline
