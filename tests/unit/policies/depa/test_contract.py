from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from policies.depa.contract import import_contract
from policies.errors import DocumentError
from policies.wire.budget import Budget
from tests.depa import HOSPITALS, document, given, imported
from tests.samples import did
from tests.unit.policies.good import change


def bent(scenario: str, *changes: tuple[str, Any]) -> dict[str, Any]:
    value = document(scenario, "contract")
    for pointer, new in changes:
        change(value, pointer, new)
    return value


def refused(scenario: str, *changes: tuple[str, Any], **said: Any) -> list[str]:
    with pytest.raises(DocumentError) as error:
        imported(scenario, bent(scenario, *changes), **said)
    return [str(problem) for problem in error.value.problems]


def changes(scenario: str, *bends: tuple[str, Any], **said: Any) -> list[str]:
    return [str(one) for one in imported(scenario, bent(scenario, *bends), **said).changes]


def test_texts_become_numbers_and_each_data_set_keeps_its_own_limits() -> None:
    contract = imported("brats").contract
    assert [limit.dataset for limit in contract.constraints.privacy] == [
        "brats_A",
        "brats_B",
        "brats_C",
        "brats_D",
    ]
    (first, *_) = contract.constraints.privacy
    assert (first.run.epsilon, first.run.delta) == (1.5, 0.01)
    assert (first.total.epsilon, first.overall.epsilon) == (3.0, 3.0)


def test_everything_that_depa_does_not_say_is_listed() -> None:
    listed = " ".join(changes("brats"))
    for word in (
        "unit patient",
        "adjacency add-remove",
        "clipping norm at most 1",
        "at most 1000 steps",
        "as much as 2 run",
        "models graph",
        "launch policies",
        "valid from 2026-05-01",
        "Developer, by its card",
        *HOSPITALS,
    ):
        assert word in listed


def test_every_contract_gets_an_id_of_its_own() -> None:
    assert imported("brats").contract.id != document("brats", "contract")["id"]
    assert document("brats", "contract")["id"] == document("mnist", "contract")["id"]


def test_missing_parties_come_from_the_cards_and_offers() -> None:
    contract = imported("brats").contract
    assert [party.name for party in contract.parties] == ["Developer", *HOSPITALS, "Cloud"]


def test_a_party_that_contradicts_its_card_is_refused() -> None:
    (tdc,) = refused("brats", ("/tdc", "did:web:other.example"))
    assert tdc.startswith("/tdc: says did:web:other.example, the card says")
    (ccrp,) = refused("brats", ("/ccrp", "did:web:other.example"))
    assert ccrp.startswith("/ccrp: says")
    (tdp,) = refused("brats", ("/tdps", ["did:web:other.example"]))
    assert tdp == "/tdps/0: did:web:other.example offers no data set"
    (provider,) = refused("brats", ("/datasets/1/provider", did("Hospital-A")))
    assert provider.startswith("/datasets/1/provider: says")


def test_a_party_that_agrees_with_its_card_is_kept() -> None:
    listed = changes("brats", ("/tdc", did("Developer")), ("/tdps", [did("Hospital-A")]))
    assert not any("/tdc" in one or "Hospital-A, who" in one for one in listed)


def test_a_file_at_another_place_than_the_offers_is_refused() -> None:
    (url,) = refused("brats", ("/datasets/0/url", "https://attacker.example/data.img"))
    assert url.startswith("/datasets/0/url: says https://attacker.example/data.img, the offer")
    (vault,) = refused("brats", ("/datasets/0/key/properties/endpoint", "https://v.example"))
    assert vault.startswith("/datasets/0/key/properties/endpoint: says")


def test_another_attestation_authority_is_listed_and_not_taken() -> None:
    at = "/datasets/0/key/properties/authority/endpoint"
    other = bent("brats", (at, "attest.attacker.example"))
    found = imported("brats", other)
    assert [str(one) for one in found.changes if "attacker" in one.message] == [
        f"changed {at}: evidence of attest.attacker.example is not accepted, "
        "that of https://sharedneu.neu.attest.azure.net is"
    ]
    assert found.contract.attestation == imported("brats").contract.attestation


def test_a_window_that_is_over_has_to_be_given() -> None:
    assert refused("brats", expiry_time=None) == [
        "/expiryTime: was 2024-03-14, which is over (give --days to agree on a new window)"
    ]
    open_still = bent("brats", ("/expiryTime", "2026-09-01T00:00:00.000Z"))
    kept = imported("brats", open_still, expiry_time=None).contract
    assert kept.expiry_time == datetime(2026, 9, 1, tzinfo=UTC)


def test_data_without_limits_is_not_taken_for_open_data() -> None:
    (said,) = refused("mnist", unlimited=None)
    assert said.startswith("/datasets/0: the contract has no privacy limits for it")
    (use,) = imported("mnist", open_data=frozenset()).contract.constraints.data_use
    assert use.private_only
    (use,) = imported("mnist").contract.constraints.data_use
    assert not use.private_only


def test_data_with_limits_cannot_be_given_as_open() -> None:
    (said,) = refused("brats", open_data=frozenset({"brats_B"}))
    assert said.startswith("/constraints/0/privacy/1: limits a data set that is given as open")


def test_a_delta_that_grants_a_record_is_tightened() -> None:
    source = given("brats")
    larger = [item.model_copy(update={"units": 220}) for item in source.datasets]
    found = imported("brats", datasets=larger)
    assert {limit.run.delta for limit in found.contract.constraints.privacy} == {0.0004}
    (first, *_) = (one for one in found.changes if one.kind == "tightened")
    assert str(first) == (
        "tightened /constraints/0/privacy/0/delta: 0.01 is not below 1/220, one over the number "
        "of units; 0.0004 is granted"
    )


@pytest.mark.parametrize("units", [2, 9, 10, 99, 12_345, 10**9])
def test_a_tightened_delta_is_below_one_in_the_units(units: int) -> None:
    source = given("mnist", unlimited=Budget(epsilon=1.0, delta=0.9999))
    (item,) = source.datasets
    said = replace(source, datasets=[item.model_copy(update={"units": units})])
    data = json.dumps(document("mnist", "contract")).encode()
    (limit,) = import_contract(data, said).contract.constraints.privacy
    assert 0 < limit.run.delta * units < 1


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/constraints/0/privacy/0/epsilon_threshold", "1.5; drop"),
        ("/constraints/0/privacy/0/epsilon_threshold", "nan"),
        ("/constraints/0/privacy/0/epsilon_threshold", "1e999"),
        ("/constraints/0/privacy/0/epsilon_threshold", "-1"),
        ("/constraints/0/privacy/0/epsilon_threshold", "0"),
        ("/constraints/0/privacy/0/epsilon_threshold", True),
        ("/constraints/0/privacy/0/delta", "1.0"),
        ("/constraints/0/privacy/0/delta", None),
        ("/constraints/0/privacy/0/extra", "1"),
        ("/constraints/0/compute", {}),
        ("/purpose", "MARKETING"),
        ("/schemaVersion", "0.2"),
        ("/datasets", []),
        ("/datasets/0/key/type", "none"),
        ("/jurisdiction", "IN"),
        ("/terms/penalty", {}),
        ("/startTime", "yesterday"),
    ],
)
def test_a_field_that_is_wrong_or_unknown_is_refused_by_its_name(pointer: str, value: Any) -> None:
    said = refused("brats", (pointer, value))
    assert any(one.startswith(f"{pointer}: ") for one in said)


def test_limits_must_be_those_of_a_data_set_and_stand_once() -> None:
    (unknown, missing) = refused("brats", ("/constraints/0/privacy/0/dataset", "other"))
    assert "/constraints/0/privacy/0/dataset: other is no data set" in (unknown, missing)
    source = document("brats", "contract")
    twice = source["constraints"][0]["privacy"][0]
    said = refused("brats", ("/constraints/0/privacy/-", {**twice, "epsilon_threshold": "99"}))
    assert said == ["/constraints/0/privacy/4/dataset: has limits already (keep one)"]


def test_each_data_set_needs_one_offer_and_each_offer_a_data_set() -> None:
    source = given("brats")
    (said,) = refused("brats", datasets=source.datasets[:3])
    assert said.startswith("/datasets/3: 0 offers are for it, expected one (seal it under the id")
    extra = source.datasets[0].model_copy(update={"id": "other", "name": "Other"})
    assert refused("brats", datasets=[*source.datasets, extra]) == [
        "/datasets: the offer other is for 0 data sets, expected one"
    ]
    assert "/datasets/0/id: is not unique (give each data set its own id)" in refused(
        "brats", ("/datasets/0/id", document("brats", "contract")["datasets"][1]["id"])
    )


def test_an_offer_is_found_by_depas_id_owner_or_name() -> None:
    (item,) = given("mnist").datasets
    source = document("mnist", "contract")["datasets"][0]
    for update in (
        {"id": source["id"]},
        {"id": source["owner"]},
        {"id": "digits", "name": source["name"]},
    ):
        found = imported("mnist", datasets=[item.model_copy(update=update)]).contract
        assert found.datasets[0].id == update["id"]


@pytest.mark.parametrize(("said", "agreed"), [("2.0", 2.0), ("1.23451", 1.2346), (0.5, 0.5)])
def test_a_least_noise_is_agreed_on_and_never_less(said: object, agreed: float) -> None:
    source = bent("brats", ("/constraints/0/privacy/0/noise_multiplier", said))
    first, second, *_ = imported("brats", source).contract.constraints.privacy
    assert first.min_noise_multiplier == agreed
    assert second.min_noise_multiplier is None


def test_texts_that_say_too_much_are_refused() -> None:
    assert refused("brats", ("/datasets/0/name", "x" * 1001))
    with pytest.raises(DocumentError, match="the limit is"):
        import_contract(b" " * 300_000, given("brats"))
