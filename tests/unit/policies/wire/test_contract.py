from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from policies.errors import DocumentError
from policies.wire.base import MAX_DOCUMENT_BYTES, canonical_json
from policies.wire.contract import Contract
from tests.samples import contract_json, dataset_json, did

Json = dict[str, Any]


def parse(document: object) -> Contract:
    return Contract.parse(json.dumps(document).encode())


def refusal(document: object) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        parse(document)
    return caught.value


def fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from fields(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from fields(item, (*path, index))


def pointer(path: tuple[Any, ...]) -> str:
    return "".join(f"/{part}" for part in path)


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        document = document[part]
    return document


def parent(document: Any, path: tuple[Any, ...]) -> Any:
    return at(document, path[:-1])


ALL_FIELDS = list(fields(contract_json()))
CLOSED_OBJECTS = [
    path
    for path in [(), *ALL_FIELDS]
    if isinstance(at(contract_json(), path), dict) and path[:1] != ("terms",)
]
OPTIONAL = {
    ("schemaVersion",),
    ("baseModels",),
    ("terms",),
    ("terms", "payment"),
    ("terms", "revocation"),
    ("constraints", "metricsOnPrivateData"),
    ("constraints", "dataUse", 0, "privateOnly"),
    ("constraints", "dataUse", 1, "privateOnly"),
}


def test_canonical_bytes_are_a_fixed_point() -> None:
    contract = parse(contract_json())
    again = Contract.parse(contract.canonical())
    assert again == contract
    assert again.digest() == contract.digest()
    assert contract.canonical() == canonical_json(contract_json())


@pytest.mark.parametrize("path", [p for p in ALL_FIELDS if p not in OPTIONAL], ids=pointer)
def test_a_missing_field_is_named(path: tuple[Any, ...]) -> None:
    document = contract_json()
    del parent(document, path)[path[-1]]
    assert pointer(path) in {problem.pointer for problem in refusal(document).problems}


@pytest.mark.parametrize("path", ALL_FIELDS, ids=pointer)
@pytest.mark.parametrize("wrong", [None, {"x": {"y": 1}}, [[]], "x" * 3000, -1])
def test_a_field_of_the_wrong_type_is_named(path: tuple[Any, ...], wrong: object) -> None:
    document = contract_json()
    parent(document, path)[path[-1]] = wrong
    error = refusal(document)
    assert any(problem.pointer.startswith(pointer(path)) for problem in error.problems)


@pytest.mark.parametrize("path", CLOSED_OBJECTS, ids=pointer)
def test_an_unknown_field_is_refused(path: tuple[Any, ...]) -> None:
    document = contract_json()
    at(document, path)["surprise"] = 1
    assert pointer((*path, "surprise")) in {p.pointer for p in refusal(document).problems}


def _placeholder(document: Json) -> str:
    document["datasets"][0]["name"] = "https://$AZURE_STORAGE_ACCOUNT_NAME/data.img"
    return "/datasets/0/name"


def _empty_party(document: Json) -> str:
    document["tdc"]["id"] = ""
    return "/tdc/id"


def _no_providers(document: Json) -> str:
    document["tdps"] = []
    return "/tdps"


def _no_datasets(document: Json) -> str:
    document["datasets"] = []
    return "/datasets"


def _duplicate_dataset(document: Json) -> str:
    document["datasets"].append(dataset_json("mri-a", provider=did("Hospital-A")))
    return "/datasets/2/id"


def _duplicate_party(document: Json) -> str:
    document["tdps"].append(copy.deepcopy(document["tdps"][0]))
    return "/tdps/2/id"


def _closed_window(document: Json) -> str:
    document["expiryTime"] = document["startTime"]
    return "/expiryTime"


def _stranger_provides(document: Json) -> str:
    document["datasets"][0]["provider"] = did("Stranger")
    return "/datasets/0/provider"


def _party_without_data(document: Json) -> str:
    document["tdps"].append({"id": did("Idle"), "name": "Idle"})
    return "/tdps"


def _unlimited_dataset(document: Json) -> str:
    del document["constraints"]["privacy"][1]
    return "/constraints/privacy"


def _unknown_limit(document: Json) -> str:
    document["constraints"]["privacy"][1]["dataset"] = "mri-z"
    return "/constraints/privacy"


def _total_below_run(document: Json) -> str:
    document["constraints"]["privacy"][0]["total"]["epsilon"] = 1.0
    return "/constraints/privacy/0/total"


def _publishing_delta(document: Json) -> str:
    for scope in ("run", "total", "overall"):
        document["constraints"]["privacy"][0][scope]["delta"] = 0.01
    return "/constraints/privacy/0/run/delta"


def _output_to_stranger(document: Json) -> str:
    document["output"]["recipient"] = did("Stranger")
    return "/output/recipient"


def _string_number(document: Json) -> str:
    document["constraints"]["privacy"][0]["run"]["epsilon"] = "1.5"
    return "/constraints/privacy/0/run/epsilon"


def _negative_epsilon(document: Json) -> str:
    document["constraints"]["privacy"][0]["run"]["epsilon"] = -1
    return "/constraints/privacy/0/run/epsilon"


def _too_precise_epsilon(document: Json) -> str:
    document["constraints"]["privacy"][0]["run"]["epsilon"] = 1.00000001
    return "/constraints/privacy/0/run/epsilon"


def _credentials_in_url(document: Json) -> str:
    document["datasets"][0]["url"] = "https://user:secret@blobs.example/data?sig=abc"
    return "/datasets/0/url"


def _climbing_url(document: Json) -> str:
    document["datasets"][0]["url"] = "file:///blobs/../../etc/passwd"
    return "/datasets/0/url"


def _local_time(document: Json) -> str:
    document["startTime"] = "2026-01-01T00:00:00+05:30"
    return "/startTime"


def _other_purpose(document: Json) -> str:
    document["purpose"] = "MARKETING"
    return "/purpose"


@pytest.mark.parametrize(
    "bend",
    [
        _placeholder,
        _empty_party,
        _no_providers,
        _no_datasets,
        _duplicate_dataset,
        _duplicate_party,
        _closed_window,
        _stranger_provides,
        _party_without_data,
        _unlimited_dataset,
        _unknown_limit,
        _total_below_run,
        _publishing_delta,
        _output_to_stranger,
        _string_number,
        _negative_epsilon,
        _too_precise_epsilon,
        _credentials_in_url,
        _climbing_url,
        _local_time,
        _other_purpose,
    ],
    ids=lambda bend: bend.__name__.strip("_"),
)
def test_a_contradiction_is_named(bend: Callable[[Json], str]) -> None:
    document = contract_json()
    expected = bend(document)
    assert expected in {problem.pointer for problem in refusal(document).problems}


def test_all_problems_are_told_at_once() -> None:
    document = contract_json()
    _other_purpose(document)
    _empty_party(document)
    _local_time(document)
    assert len(refusal(document).problems) == 3


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b'{"id": 1, "id": 2}', "duplicate key"),
        (b'{"id": NaN}', "NaN"),
        (b"[" * 100_000, "nested"),
        (b"{}" + b" " * MAX_DOCUMENT_BYTES, "limit"),
        (b"{} {}", "not valid JSON"),
    ],
)
def test_bytes_that_are_no_document_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(DocumentError, match=why):
        Contract.parse(data)


def test_an_error_never_repeats_the_value() -> None:
    document = contract_json()
    document["output"]["publicKey"] = "very-secret"
    assert "very-secret" not in str(refusal(document))


def test_terms_of_trust_that_are_not_stated_are_not_signed() -> None:
    attestation = Contract.from_json(contract_json()).to_json()["attestation"]
    assert attestation == contract_json()["attestation"]


@pytest.mark.parametrize(
    ("terms", "pointer"),
    [
        (
            {"minimumTcb": {"bootloader": 1, "tee": 0, "snp": 8}},
            "/attestation/minimumTcb/microcode",
        ),
        (
            {"minimumTcb": {"bootloader": 256, "tee": 0, "snp": 8, "microcode": 1}},
            "/attestation/minimumTcb/bootloader",
        ),
        ({"measurements": []}, "/attestation/measurements"),
        ({"measurements": ["d" * 64]}, "/attestation/measurements/0"),
    ],
)
def test_a_floor_or_a_list_that_is_stated_badly_is_named(terms: Json, pointer: str) -> None:
    document = contract_json()
    document["attestation"] |= terms
    with pytest.raises(DocumentError) as error:
        Contract.from_json(document)
    assert pointer in {problem.pointer for problem in error.value.problems}
