from __future__ import annotations

from typing import Any

import pytest

from clients.cli.errors import UsageError
from clients.cli.tasks.drafting import _providers, _terms
from clients.cli.tasks.offer import Offer
from policies.errors import DocumentError

HOSPITAL, LAB = "did:x509:0:sha256:abc::subject:O:A", "did:x509:0:sha256:def::subject:O:Lab"


def offer(*, provider: str = HOSPITAL, name: str = "A", **changes: Any) -> dict[str, Any]:
    dataset = {
        "id": "brats-a",
        "name": "Brains",
        "provider": provider,
        "url": "file:///srv/brats-a.sealed",
        "digest": "sha256:" + "1" * 64,
        "size": 10,
        "version": "1",
        "key": {"vault": "https://vault.example", "name": "brats-a-key"},
        "units": 5,
        "format": "slices",
    }
    return {"party": {"id": HOSPITAL, "name": name}, "dataset": dataset} | changes


def test_an_offer_is_of_one_file_and_of_the_party_that_makes_it() -> None:
    assert Offer.from_json(offer()).file.id == "brats-a"
    with pytest.raises(DocumentError, match="the file's provider is not the party"):
        Offer.from_json(offer(provider=LAB))
    model = {k: v for k, v in offer()["dataset"].items() if k not in {"units", "format"}}
    with pytest.raises(DocumentError, match="either a dataset or a baseModel"):
        Offer.from_json(offer(baseModel=model))
    with pytest.raises(DocumentError, match="either a dataset or a baseModel"):
        Offer.from_json({"party": {"id": HOSPITAL, "name": "A"}})


def test_a_party_with_two_names_is_refused() -> None:
    offers = [Offer.from_json(offer()), Offer.from_json(offer(name="B"))]
    with pytest.raises(UsageError, match="is called 'A' and 'B'"):
        _providers(offers)


def test_a_party_with_two_data_sets_is_named_once() -> None:
    offers = [Offer.from_json(offer()), Offer.from_json(offer())]
    assert _providers(offers) == [{"id": HOSPITAL, "name": "A"}]


def test_a_template_may_have_terms_for_each_data_set() -> None:
    templates = [{"dataset": "$DATASET", "join": False}, {"dataset": "visits", "join": True}]
    assert _terms(templates, "visits") == {"dataset": "visits", "join": True}
    assert _terms(templates, "brats-a") == {"dataset": "brats-a", "join": False}
