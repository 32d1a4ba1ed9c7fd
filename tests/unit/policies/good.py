"""Documents and facts that every policy allows, for tests to bend."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from policies.accounting import delta_trillionths, event_to_json, micro_epsilon, training_event
from policies.attestation.maa import EvidenceClaims
from policies.bundle import Bundle, build, load_bundle
from policies.facts import (
    AttestationFacts,
    BudgetAfter,
    ContractFacts,
    ReleaseFacts,
    Signed,
    TrainingFacts,
    attestation_facts,
    contract_facts,
    release_facts,
    training_facts,
)
from policies.population import most_units
from policies.wire.base import Document, canonical_json
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from policies.wire.run import Approval, Charge
from tests.samples import contract_json, pipeline_json

NOW = 1_780_000_000
"""2026-05-28, in the middle of the contract."""
RUN = "run-" + "a" * 26
NONCE = "N" * 42 + "A"
TOKEN = b"header.payload.signature"
ENTRYPOINTS = ("contract", "training", "attestation", "release")


def contract_document() -> dict[str, Any]:
    """Return a contract that agrees to the policy that is shipped."""
    document = contract_json()
    document["constraints"] |= {
        "losses": ["BCEWithLogitsLoss"],
        "metrics": ["dice_score"],
        "outputs": ["safetensors"],
    }
    document["policy"] = {
        "id": "depa",
        "version": load_bundle().version,
        "digest": load_bundle().digest,
    }
    return document


def contract(document: dict[str, Any] | None = None) -> Contract:
    return Contract.from_json(document or contract_document())


def signed() -> Signed:
    """Return a signature by a key that is valid for a day around it."""
    at = NOW - 1000
    return Signed(at=at, key_valid_from=at - 43_200, key_valid_until=at + 43_200)


def contract_case(agreed: Contract | None = None) -> ContractFacts:
    agreed = agreed or contract()
    return contract_facts(
        agreed,
        signatures={party.id: signed() for party in agreed.parties},
        executed=True,
        revoked_by=[],
        now=NOW,
    )


def pipeline_document() -> dict[str, Any]:
    return pipeline_json(contract().digest(), steps=100, batchSize=80)


def charges(pipeline: Pipeline, agreed: Contract | None = None) -> tuple[Charge, ...]:
    """Return what a private run costs each of its data sets, as far as the policies look at it."""
    agreed, train = agreed or contract(), pipeline.train
    units = most_units(pipeline, agreed)
    if train.privacy_params is None or units == 0:
        return ()
    mechanism = training_event(
        noise_multiplier=0.9, sampling_rate=min(1.0, train.batch_size / units), steps=train.steps
    )
    return tuple(
        Charge(
            dataset=dataset,
            tdc=agreed.tdc.id,
            micro_epsilon=micro_epsilon(train.privacy_params.epsilon),
            delta_trillionths=delta_trillionths(train.privacy_params.delta),
            event=event_to_json(mechanism),
        )
        for dataset in pipeline.datasets
    )


def training_case(document: dict[str, Any] | None = None) -> TrainingFacts:
    pipeline = Pipeline.from_json(document or pipeline_document())
    return training_facts(
        contract_case(),
        pipeline,
        parameters=120_000,
        charges=charges(pipeline),
        budgets=[
            BudgetAfter("mri-a", tdc_after_micro_epsilon=8_000_000, overall_after_micro_epsilon=9),
            BudgetAfter("mri-b", tdc_after_micro_epsilon=8_000_000, overall_after_micro_epsilon=9),
        ],
    )


def claims(**changes: Any) -> EvidenceClaims:
    fields: dict[str, Any] = {
        "issuer": "https://127.0.0.1:9443",
        "token_digest": "sha256:" + "1" * 64,
        "token_id": "id",
        "issued_at": datetime.fromtimestamp(NOW - 10, UTC),
        "expires_at": datetime.fromtimestamp(NOW + 600, UTC),
        "compliance": "azure-compliant-uvm",
        "debuggable": False,
        "migratable": False,
        "vmpl": 0,
        "host_data": "b" * 64,
        "report_data": "0" * 128,
        "measurement": "c" * 96,
        "guest_svn": 100,
        "tcb": MappingProxyType({"bootloader": 4, "tee": 0, "snpfw": 24, "microcode": 219}),
        "runtime": {
            "keys": [{"kid": "release"}, {"kid": "report"}],
            "depa": {
                "contract": contract().digest(),
                "run": RUN,
                "pipeline": Pipeline.from_json(pipeline_document()).digest(),
                "nonce": NONCE,
            },
        },
        "claims": {"x-ms-attestation-type": "sevsnpvm"},
    }
    return EvidenceClaims(**{**fields, **changes})


def attestation_case(**changes: Any) -> AttestationFacts:
    return attestation_facts(
        claims(**changes),
        contract(),
        run=RUN,
        pipeline_digest=Pipeline.from_json(pipeline_document()).digest(),
        nonce=NONCE,
        now=NOW,
    )


def approval() -> Approval:
    pipeline = Pipeline.from_json(pipeline_document())
    return Approval(
        run=RUN,
        contract=pipeline.contract,
        pipeline=pipeline.digest(),
        decision="dec-1",
        approved_at=datetime.fromtimestamp(NOW - 100, UTC),
        expires_at=datetime.fromtimestamp(NOW + 3600, UTC),
        charges=charges(pipeline),
    )


def release_case(**changes: Any) -> ReleaseFacts:
    agreed, pipeline = contract(), Pipeline.from_json(pipeline_document())
    fields: dict[str, Any] = {
        "run": RUN,
        "state": "approved",
        "contract": pipeline.contract,
        "pipeline": pipeline.digest(),
        "approval": approval(),
        "reads": pipeline,
        "files": pipeline.files(agreed),
        "token": TOKEN,
        "nonce": NONCE,
        "reserved": ["mri-a", "mri-b"],
    }
    return release_facts(contract_case(), **{**fields, **changes})


def case(entrypoint: str) -> dict[str, Any]:
    """Return good facts of an entrypoint, as JSON."""
    builders: dict[str, Callable[[], Document]] = {
        "contract": contract_case,
        "training": training_case,
        "attestation": attestation_case,
        "release": release_case,
    }
    return builders[entrypoint]().to_json()


def change(facts: dict[str, Any], pointer: str, value: Any = None, *, remove: bool = False) -> None:
    """Replace, append (`-`) or remove the node that a JSON pointer names."""
    *way, last = pointer.split("/")[1:]
    node: Any = facts
    for part in way:
        node = node[int(part)] if isinstance(node, list) else node[part]
    key: Any = int(last) if isinstance(node, list) and last != "-" else last
    if remove:
        del node[key]
    elif last == "-":
        node.append(value)
    else:
        node[key] = value


def other_bundle() -> Bundle:
    """Return the shipped policy under another version, and so under another digest."""
    files = dict(load_bundle().files)
    for path in ("codes.json", "depa/lib/policy.rego"):
        files[path] = files[path].replace(b'"version": "1.0.0"', b'"version": "1.0.1"')
    return build(files)


def document(facts: dict[str, Any]) -> bytes:
    return canonical_json(facts)
