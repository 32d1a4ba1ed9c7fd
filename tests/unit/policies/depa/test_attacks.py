"""DEPA's own documents before our policy: the honest ones pass, every attack is refused.

The attacks are those that DEPA's policy was probed with, written in DEPA's own format. Each is
refused either by the import, at a field of DEPA's, or by the policy, with a code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from policies.decide import Policy
from policies.errors import DocumentError
from policies.facts import BudgetAfter, attestation_facts, contract_facts, training_facts
from policies.parameters import most_parameters
from policies.wire.contract import Contract
from policies.wire.decision import Decision
from policies.wire.pipeline import Pipeline
from policies.wire.tables import CategoryFeature, TableDataset
from tests.depa import TABLE, document, imported, imported_pipeline
from tests.unit.policies.good import NONCE, NOW, RUN, change, charges, claims, contract_case

TRAIN = "/pipeline/1/config"


def judged(policy: Policy, contract: Contract, pipeline: Pipeline) -> Decision:
    """Return the decision on a pipeline under a contract that all parties have signed."""
    agreement = contract_case(contract)
    private = pipeline.datasets if pipeline.train.is_private else ()
    budgets = [BudgetAfter(name, 1_500_000, 1_500_000) for name in private]
    parameters = most_parameters(pipeline, contract)
    return policy.training(
        training_facts(
            agreement,
            pipeline,
            parameters=parameters,
            charges=charges(pipeline, contract),
            budgets=budgets,
        )
    )


@pytest.mark.parametrize("scenario", ["mnist", "brats", "tables"])
def test_honest_documents_are_allowed_once_they_are_signed(policy: Policy, scenario: str) -> None:
    contract = imported(scenario).contract
    decision = judged(policy, contract, imported_pipeline(scenario, contract=contract).pipeline)
    assert decision.allow, [str(reason) for reason in decision.reasons]


@pytest.mark.parametrize("scenario", ["mnist", "brats"])
def test_honest_documents_are_refused_until_they_are_signed(policy: Policy, scenario: str) -> None:
    contract = imported(scenario).contract
    facts = contract_facts(contract, signatures={}, executed=False, revoked_by=[], now=NOW)
    assert {reason.code for reason in policy.contract(facts).reasons} == {"SIGNATURE_MISSING"}


@dataclass(frozen=True)
class Attack:
    """Documents of DEPA with other values, and where or with which code they are refused."""

    refused: str
    """A code of the policy, or a pointer into DEPA's document."""
    scenario: str = "brats"
    contract: tuple[tuple[str, Any], ...] = ()
    pipeline: tuple[tuple[str, Any], ...] = ()
    said: dict[str, Any] = field(default_factory=dict)
    also: frozenset[str] = frozenset()
    """Further codes of the policy."""
    takes: TableDataset | None = None
    """What training takes of tables."""


OPEN_THEN_DECOY = [
    document("brats", "pipeline_config")["pipeline"][0],
    {
        "name": "Train_DL",
        "config": document("brats", "pipeline_config")["pipeline"][1]["config"]
        | {"is_private": False, "privacy_params": None},
    },
    {"name": "Noop", "config": {"is_private": True, "privacy_params": {"epsilon": 0.1}}},
]
WITH_NAMES = TABLE.model_copy(
    update={
        "features": (
            *TABLE.features,
            CategoryFeature(kind="category", table="tests", column="name", levels=("a",)),
        )
    }
)
ATTACKS = {
    "epsilon 2.0 where 1.5 is granted": Attack(
        "EPSILON_EXCEEDED", pipeline=((f"{TRAIN}/privacy_params/epsilon", 2.0),)
    ),
    "delta 0.9": Attack(
        f"{TRAIN}/privacy_params/delta", pipeline=((f"{TRAIN}/privacy_params/delta", 0.9),)
    ),
    "a clipping norm of 1e9": Attack(
        f"{TRAIN}/privacy_params/max_grad_norm",
        pipeline=((f"{TRAIN}/privacy_params/max_grad_norm", 1e9),),
    ),
    "a clipping norm of 999": Attack(
        "GRAD_NORM_EXCEEDED", pipeline=((f"{TRAIN}/privacy_params/max_grad_norm", 999.0),)
    ),
    "500 epochs": Attack("STEPS_EXCEEDED", pipeline=((f"{TRAIN}/total_epochs", 500),)),
    "less noise than the contract asks for": Attack(
        "NOISE_TOO_SMALL", contract=(("/constraints/0/privacy/0/noise_multiplier", "99.0"),)
    ),
    "open training, then a private decoy": Attack(
        "/pipeline/2/name", pipeline=(("/pipeline", OPEN_THEN_DECOY),)
    ),
    "open training on limited data": Attack(
        "PRIVACY_REQUIRED",
        pipeline=((f"{TRAIN}/is_private", False), (f"{TRAIN}/privacy_params", None)),
    ),
    "a join that copies data into the output": Attack(
        "/pipeline/0/config/joined_dataset",
        pipeline=(
            ("/pipeline/0/config/joined_dataset", "/mnt/remote/output/stolen"),
            (f"{TRAIN}/paths/input_dataset_path", "/mnt/remote/output/stolen"),
        ),
    ),
    "a loss that runs a command": Attack(
        f"{TRAIN}/loss_config/class",
        pipeline=(
            (
                f"{TRAIN}/loss_config",
                {"class": "torch.os.system", "params": {"command": "id"}},
            ),
        ),
    ),
    "a layer operation that runs a command": Attack(
        f"{TRAIN}/model_config/forward/0/ops/0",
        pipeline=(
            (f"{TRAIN}/model_config/forward/0/ops/0", ["F.torch.os.system", {"command": "id"}]),
        ),
    ),
    "a table join that keeps identifiers": Attack(
        "IDENTIFIER_KEPT",
        scenario="tables",
        pipeline=(
            ("/pipeline/0/config/joined_dataset/drop_columns", []),
            ("/pipeline/0/config/joined_dataset/identifiers", []),
            ("/pipeline/0/config/datasets/0/select_variables/-", "name"),
        ),
        takes=WITH_NAMES,
        also=frozenset({"COLUMN_NOT_GRANTED"}),
    ),
    "a query that reads more than the tables": Attack(
        "/pipeline/0/config/joined_dataset/joining_query",
        scenario="tables",
        pipeline=(
            (
                "/pipeline/0/config/joined_dataset/joining_query",
                "select * from csv.`/mnt/remote/doses/raw.csv`",
            ),
        ),
    ),
    "a contract that expired in 1999": Attack(
        "/expiryTime",
        contract=(("/expiryTime", "1999-01-01T00:00:00.000Z"),),
        said={"expiry_time": None},
    ),
    "another purpose": Attack("/purpose", contract=(("/purpose", "MARKETING"),)),
    "nobody's contract": Attack(
        "/datasets/0",
        scenario="mnist",
        contract=(("/tdps", []), ("/tdc", "")),
        said={"datasets": []},
    ),
    "open training under a contract without limits": Attack(
        "PRIVACY_REQUIRED", scenario="mnist", said={"open_data": frozenset()}
    ),
    "a contract without limits, and nobody says what it means": Attack(
        "/datasets/0", scenario="mnist", said={"unlimited": None}
    ),
    "a contract without data": Attack("/datasets", contract=(("/datasets", []),)),
    "a pipeline that brings its own mounts": Attack(
        "/azure_filesystems",
        pipeline=(
            (
                "/azure_filesystems",
                [{"mount_point": "/mnt/remote/brats_A", "read_write": False}],
            ),
        ),
    ),
    "data at another place": Attack(
        "/datasets/0/url", contract=(("/datasets/0/url", "https://attacker.example/data.img"),)
    ),
    "a model fine-tuned by another trainer": Attack(
        "/pipeline/1/name",
        pipeline=(
            ("/pipeline/1", {"name": "LLM_Finetune", "config": {"privacy": {"epsilon": 1.0}}}),
        ),
    ),
    "a model fine-tuned behind keys that nobody reads": Attack(
        "/pipeline/1/name",
        pipeline=(
            (
                "/pipeline/1",
                {
                    "name": "LLM_Finetune",
                    "config": {"is_private": True, "privacy_params": {"epsilon": 0.1}},
                },
            ),
        ),
    ),
    "one data set of four": Attack(
        "DATASET_NOT_USED",
        pipeline=(
            (
                "/pipeline/0/config/datasets",
                document("brats", "pipeline_config")["pipeline"][0]["config"]["datasets"][:2],
            ),
        ),
    ),
    "batch statistics in a private run": Attack(
        "BATCH_COUPLED",
        pipeline=(
            (
                f"{TRAIN}/model_config/submodules/ConvBlock2d/layers/norm1",
                {"class": "nn.BatchNorm2d", "params": {"num_features": "$mid_ch"}},
            ),
        ),
    ),
    "a network that is larger than granted": Attack(
        "PARAMETERS_EXCEEDED", said={"max_parameters": 1_000_000}
    ),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_in_depas_own_format_is_refused_with_a_reason(
    policy: Policy, attack: Attack
) -> None:
    contract = document(attack.scenario, "contract")
    pipeline = document(attack.scenario, "pipeline_config")
    for bent, changes in ((contract, attack.contract), (pipeline, attack.pipeline)):
        for pointer, value in changes:
            change(bent, pointer, value)
    found = reasons(policy, attack, contract, pipeline)
    assert attack.refused in found
    # The policy gives no other reason; an import may find more of what is wrong.
    assert attack.refused.startswith("/") or found == {attack.refused, *attack.also}


def reasons(policy: Policy, attack: Attack, contract: Any, pipeline: Any) -> set[str]:
    """Return the pointers at which the import ends, or the codes of the policy."""
    try:
        agreed = imported(attack.scenario, contract, **attack.said).contract
        takes = {} if attack.takes is None else {"table": attack.takes}
        made = imported_pipeline(attack.scenario, pipeline, contract=agreed, **takes).pipeline
    except DocumentError as error:
        return {problem.pointer for problem in error.problems}
    return {reason.code for reason in judged(policy, agreed, made).reasons}


def test_evidence_of_another_authority_is_refused(policy: Policy) -> None:
    contract = imported("brats").contract
    pipeline = imported_pipeline("brats", contract=contract).pipeline
    facts = attestation_facts(
        claims(issuer="https://attest.attacker.example"),
        contract,
        run=RUN,
        pipeline_digest=pipeline.digest(),
        nonce=NONCE,
        now=NOW,
    )
    codes = {reason.code for reason in policy.attestation(facts).reasons}
    assert "EVIDENCE_ISSUER" in codes
