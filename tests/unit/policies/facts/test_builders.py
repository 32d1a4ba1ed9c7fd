from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from policies.decide import Policy
from policies.facts import attestation_facts, release_facts, training_facts
from policies.facts.numbers import asked, granted, microseconds
from policies.wire.base import Document, sha256
from policies.wire.pipeline import Pipeline
from tests.unit.policies.good import (
    NONCE,
    NOW,
    RUN,
    TOKEN,
    approval,
    attestation_case,
    change,
    claims,
    contract,
    contract_case,
    contract_document,
    pipeline_document,
    release_case,
    training_case,
)

CASES = [contract_case, training_case, attestation_case, release_case]


def leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


@pytest.mark.parametrize("build", CASES)
def test_facts_hold_no_floating_point_number_and_no_null(build: Callable[[], Document]) -> None:
    assert {type(leaf) for leaf in leaves(json.loads(build().canonical()))} <= {int, str, bool}


@pytest.mark.parametrize("build", CASES)
def test_facts_read_back_from_their_canonical_bytes(build: Callable[[], Document]) -> None:
    facts = build()
    assert type(facts).parse(facts.canonical()) == facts


@pytest.mark.parametrize("build", [attestation_case, release_case])
def test_facts_hold_neither_token_nor_nonce(build: Callable[[], Document]) -> None:
    text = build().canonical()
    assert NONCE.encode() not in text
    assert sha256(NONCE.encode()).encode() in text
    assert TOKEN not in text


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [(8.0, 8_000_000, 8_000_000), (0.1, 100_000, 100_000), (1.0000005, 1_000_000, 1_000_001)],
)
def test_what_is_granted_is_rounded_down_and_what_is_asked_up(
    value: float, least: int, most: int
) -> None:
    assert granted(value, scale=10**6) == least
    assert asked(value, scale=10**6) == most


def test_small_deltas_are_exact() -> None:
    assert granted(1e-12, scale=10**12) == asked(1e-12, scale=10**12) == 1
    assert granted(0.0005, scale=10**12) == asked(0.0005, scale=10**12) == 500_000_000


def test_times_are_whole_microseconds() -> None:
    assert microseconds(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)) == 1_000_005
    assert contract_case().now == NOW * 1_000_000


def test_facts_say_what_the_contract_says() -> None:
    facts = contract_case()
    agreed = contract()
    assert facts.contract.digest == agreed.digest()
    assert [party.id for party in agreed.tdps] == list(facts.contract.tdps)
    (limit, _) = facts.contract.privacy
    assert (limit.run.micro_epsilon, limit.run.delta_trillionths) == (8_000_000, 500_000_000)
    assert limit.max_grad_norm_micro == 1_000_000
    assert facts.contract.attestation.max_token_age == 600_000_000


def test_the_training_stage_reads_what_the_join_hands_on() -> None:
    join, train = training_case().pipeline.stages
    assert join.path == "/pipeline/0"
    assert train.path == "/pipeline/1"
    assert join.datasets == train.datasets == ("mri-a", "mri-b")


def test_a_stage_without_privacy_says_nothing_about_it() -> None:
    bent = pipeline_document()
    change(bent, "/pipeline/1/config/isPrivate", False)
    change(bent, "/pipeline/1/config/privacyParams", remove=True)
    facts = training_case(bent)
    assert "privacy" not in facts.to_json()["pipeline"]["stages"][1]


def test_layers_that_couple_a_batch_reach_the_policy() -> None:
    facts = training_facts(
        contract_case(),
        Pipeline.from_json(pipeline_document()),
        parameters=1,
        charges=[],
        budgets=[],
        batch_coupled=["bn1"],
    )
    assert facts.to_json()["pipeline"]["stages"][1]["batchCoupled"] == ["bn1"]


@pytest.mark.parametrize(
    "runtime",
    [{}, {"depa": 7, "keys": 7}, {"depa": {"nonce": 1, "run": None}, "keys": ["release"]}],
)
def test_runtime_data_of_another_shape_binds_to_nothing(runtime: dict[str, object]) -> None:
    facts = attestation_case(runtime=runtime)
    assert set(facts.claims.bound.to_json().values()) == {""}
    assert facts.claims.keys == ()


def test_evidence_without_a_type_has_none() -> None:
    facts = attestation_facts(
        claims(claims={}, compliance=None),
        contract(),
        run=RUN,
        pipeline_digest="sha256:" + "0" * 64,
        nonce=NONCE,
        now=NOW,
    )
    assert (facts.claims.type, facts.claims.compliance) == ("", "")


def test_a_run_without_approval_has_none_in_its_facts() -> None:
    assert release_case(approval=None).approvals == ()


def test_each_key_is_asked_for_with_the_file_that_it_opens() -> None:
    agreed = contract()
    facts = release_case(files=[*agreed.datasets, *agreed.base_models])
    kinds = [(key.kind, key.file, key.digest) for key in facts.request.keys]
    assert kinds == [
        *(("datasets", item.id, item.digest) for item in agreed.datasets),
        *(("baseModels", item.id, item.digest) for item in agreed.base_models),
    ]


def test_base_weights_are_among_the_files_that_are_read() -> None:
    bent = pipeline_document()
    change(bent, "/pipeline/1/config/baseWeights", contract().base_models[0].id)
    facts = release_case(reads=Pipeline.from_json(bent))
    assert facts.run.reads.base_models == (contract().base_models[0].id,)


def test_a_key_that_opens_two_files_is_asked_for_each(policy: Policy) -> None:
    document = contract_document()
    document["datasets"][1]["key"] = document["datasets"][0]["key"]
    agreed, pipeline = contract(document), Pipeline.from_json(pipeline_document())
    facts = release_facts(
        contract_case(agreed),
        run=RUN,
        state="approved",
        contract=agreed.digest(),
        pipeline=pipeline.digest(),
        approval=approval().model_copy(update={"contract": agreed.digest()}),
        reads=pipeline,
        files=pipeline.files(agreed),
        token=TOKEN,
        nonce=NONCE,
        reserved=["mri-a", "mri-b"],
    )
    assert policy.release(facts).allow


FLOOR = {"bootloader": 4, "tee": 0, "snp": 24, "microcode": 219}


@pytest.mark.parametrize(
    ("terms", "codes"),
    [
        ({"minimumTcb": FLOOR, "measurements": ["c" * 96]}, set()),
        ({"minimumTcb": FLOOR | {"snp": 25, "microcode": 220}}, {"EVIDENCE_TCB"}),
        ({"measurements": ["d" * 96]}, {"EVIDENCE_MEASUREMENT"}),
    ],
)
def test_optional_terms_of_trust_are_judged_once_stated(
    policy: Policy, terms: dict[str, object], codes: set[str]
) -> None:
    document = contract_document()
    document["attestation"] |= terms
    agreed, pipeline = contract(document), Pipeline.from_json(pipeline_document()).digest()
    runtime = claims().runtime
    bound = {**runtime, "depa": {**runtime["depa"], "contract": agreed.digest()}}
    facts = attestation_facts(
        claims(runtime=bound), agreed, run=RUN, pipeline_digest=pipeline, nonce=NONCE, now=NOW
    )
    decision = policy.attestation(facts)
    assert {reason.code for reason in decision.reasons} == codes


def test_an_integer_that_a_double_cannot_hold_is_refused() -> None:
    document = contract_document()
    document["datasets"][0]["units"] = 2**60
    with pytest.raises(Exception, match="units"):
        contract_case(contract(document))
