"""What the policies see of a contract, its signatures and what happened to it since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, get_args

from policies.facts.numbers import BILLION, MICRO, TRILLION, Whole, asked, granted, microseconds
from policies.facts.signature import Signature, Signed, signature_facts
from policies.facts.tables import TableFacts, TableUseFacts, table_facts, table_use_facts
from policies.facts.trust import AttestationTerms, attestation_terms
from policies.wire.base import Document, Wire
from policies.wire.budget import Budget
from policies.wire.choices import LossName, Metric, OutputFormat
from policies.wire.constraints import MAX_SAMPLES_PER_UNIT
from policies.wire.constraints import Privacy as PrivacyTerms
from policies.wire.contract import Contract, Dataset, PolicyRef, SealedFile
from policies.wire.private_metrics import PrivateMetricsGrant
from policies.wire.texts import placeholders


class Key(Wire):
    """A key in a vault."""

    vault: str
    name: str


class Sealed(Wire):
    """A sealed file and the key that opens it."""

    id: str
    provider: str
    digest: str
    key: Key


class DatasetFacts(Sealed):
    """A sealed data set."""

    units: Whole
    """Number of privacy units in it."""
    table: TableFacts | None = None
    """Absent for data of another format."""


class Spend(Wire):
    """An epsilon in millionths at a delta in 1e-12."""

    micro_epsilon: Whole
    delta_trillionths: Whole


class PrivateMetricsFacts(Wire):
    """Metrics of a data set that may leave with noise."""

    names: tuple[str, ...]
    micro_epsilon: Whole
    """The most that those of one run may cost, in millionths."""


class PrivacyFacts(Wire):
    """What training on one data set may cost."""

    dataset: str
    run: Spend
    total: Spend
    overall: Spend
    unit: str
    adjacency: str
    max_grad_norm_micro: Whole
    """The largest clipping norm, in millionths."""
    max_steps: Whole
    max_epochs: Whole
    max_sampling_billionths: Whole
    """The largest share of the units that one step may draw on average."""
    max_samples_per_unit: Whole
    min_noise_micro: Whole
    """The least noise multiplier, in millionths."""
    private_metrics: PrivateMetricsFacts | None = None
    """Absent where no metric of the data may leave."""


class DataUseFacts(Wire):
    """What may be done with one data set."""

    dataset: str
    join: bool
    private_only: bool
    table: TableUseFacts | None = None
    """Absent for data of another format."""


class PartyRuleFacts(Wire):
    """Rules that a provider adds to the policy."""

    provider: str
    name: str
    digest: str


class PolicyFacts(Wire):
    """Which policy the parties agreed to be judged by."""

    id: str
    version: str
    digest: str
    party_rules: tuple[PartyRuleFacts, ...]


class Terms(Wire):
    """The contract as far as the policies judge it."""

    digest: str
    schema_version: str
    purpose: str
    starts_at: Whole
    expires_at: Whole
    tdc: str
    tdps: tuple[str, ...]
    ccrp: str
    datasets: tuple[DatasetFacts, ...]
    base_models: tuple[Sealed, ...]
    privacy: tuple[PrivacyFacts, ...]
    data_use: tuple[DataUseFacts, ...]
    models: tuple[str, ...]
    losses: tuple[str, ...]
    metrics: tuple[str, ...]
    outputs: tuple[str, ...]
    max_parameters: Whole
    metrics_on_private_data: str
    attestation: AttestationTerms
    policy: PolicyFacts
    recipient: str
    """Who can open the trained model."""
    unfilled: tuple[str, ...]
    """JSON pointers of the texts that are still placeholders."""


class ContractFacts(Document):
    """A contract, who has signed it and what happened to it since."""

    kind: ClassVar[str] = "contract-facts"

    now: Whole
    contract: Terms
    signatures: tuple[Signature, ...]
    executed: bool
    """Whether the ledger says that all parties have signed."""
    revoked_by: tuple[str, ...]
    superseded_by: tuple[str, ...]
    """Digests of the contracts that take this one's place."""


def contract_facts(
    contract: Contract,
    *,
    signatures: Mapping[str, Signed],
    executed: bool,
    revoked_by: Sequence[str],
    now: int,
    superseded_by: Sequence[str] = (),
) -> ContractFacts:
    """Return the facts about a contract at `now`.

    Args:
        contract: The contract.
        signatures: Signatures by their signer. The caller MUST have verified each over this
            contract; whether its key was valid at that time is for the policy.
        executed: Whether the ledger holds the statement that all parties have signed.
        revoked_by: Parties whose verified revocations the ledger holds.
        now: Unix seconds.
        superseded_by: Digests of executed contracts that replace this one.
    """
    return ContractFacts(
        now=now * MICRO,
        contract=_terms(contract),
        signatures=signature_facts(signatures),
        executed=executed,
        revoked_by=tuple(sorted(revoked_by)),
        superseded_by=tuple(sorted(superseded_by)),
    )


def _terms(contract: Contract) -> Terms:
    limits = contract.constraints
    return Terms(
        digest=contract.digest(),
        schema_version=contract.schema_version,
        purpose=contract.purpose,
        starts_at=microseconds(contract.start_time),
        expires_at=microseconds(contract.expiry_time),
        tdc=contract.tdc.id,
        tdps=tuple(party.id for party in contract.tdps),
        ccrp=contract.ccrp.id,
        datasets=tuple(map(_dataset, contract.datasets)),
        base_models=tuple(map(_sealed, contract.base_models)),
        privacy=tuple(map(_privacy, limits.privacy)),
        data_use=tuple(
            DataUseFacts(
                dataset=use.dataset,
                join=use.join,
                private_only=use.private_only,
                table=table_use_facts(use),
            )
            for use in limits.data_use
        ),
        models=limits.models,
        losses=limits.losses or get_args(LossName),
        metrics=limits.metrics or get_args(Metric),
        outputs=limits.outputs or get_args(OutputFormat),
        max_parameters=limits.max_parameters,
        metrics_on_private_data=limits.metrics_on_private_data,
        attestation=attestation_terms(contract.attestation),
        policy=policy_terms(contract.policy),
        recipient=contract.output.recipient,
        unfilled=tuple(at for at, _ in placeholders(contract.to_json())),
    )


def policy_terms(policy: PolicyRef) -> PolicyFacts:
    """Return which policy a contract agrees to, as the policies see it."""
    return PolicyFacts(
        id=policy.id,
        version=policy.version,
        digest=policy.digest,
        party_rules=tuple(
            PartyRuleFacts(provider=rule.provider, name=rule.name, digest=rule.digest)
            for rule in policy.party_rules or ()
        ),
    )


def _sealed(item: SealedFile) -> Sealed:
    return Sealed(id=item.id, provider=item.provider, digest=item.digest, key=_key(item))


def _dataset(item: Dataset) -> DatasetFacts:
    return DatasetFacts(
        id=item.id,
        provider=item.provider,
        digest=item.digest,
        key=_key(item),
        units=item.units,
        table=table_facts(item.table),
    )


def _key(item: SealedFile) -> Key:
    return Key(vault=item.key.vault, name=item.key.name)


def _privacy(limit: PrivacyTerms) -> PrivacyFacts:
    return PrivacyFacts(
        dataset=limit.dataset,
        run=_spend(limit.run),
        total=_spend(limit.total),
        overall=_spend(limit.overall),
        unit=limit.unit,
        adjacency=limit.adjacency,
        max_grad_norm_micro=granted(limit.max_grad_norm, scale=MICRO),
        max_steps=limit.max_steps,
        # No run takes more epochs than steps, no step more than all units.
        max_epochs=limit.max_epochs or limit.max_steps,
        max_sampling_billionths=granted(limit.max_sampling_rate or 1.0, scale=BILLION),
        max_samples_per_unit=limit.max_samples_per_unit or MAX_SAMPLES_PER_UNIT,
        min_noise_micro=asked(limit.min_noise_multiplier or 1 / MICRO, scale=MICRO),
        private_metrics=_private_metrics(limit.private_metrics),
    )


def _private_metrics(grant: PrivateMetricsGrant | None) -> PrivateMetricsFacts | None:
    if grant is None:
        return None
    return PrivateMetricsFacts(
        names=grant.metrics, micro_epsilon=granted(grant.epsilon, scale=MICRO)
    )


def _spend(budget: Budget) -> Spend:
    return Spend(
        micro_epsilon=granted(budget.epsilon, scale=MICRO),
        delta_trillionths=granted(budget.delta, scale=TRILLION),
    )
