"""Fill a scenario's contract template with parties, offers, clean room and policy.

A template is a contract in which texts such as `$TDC_DID` stand for what is not known yet. What
nobody gives stays in the draft, so that checking the draft names it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clients.cli.errors import UsageError
from clients.cli.identity import Card
from clients.cli.tasks.offer import Offer
from clients.cli.tasks.rules import PartyModule
from policies.wire.base import canonical_json, load_json


@dataclass(frozen=True)
class DraftInputs:
    """Everything that a draft is made from; what is None stays open."""

    contract_id: str
    start_time: datetime
    expiry_time: datetime
    tdc: Card
    ccrp: Card | None
    offers: Sequence[Offer]
    authorities: Sequence[str]
    host_data: Sequence[str]
    policy_version: str
    policy_digest: str
    output_url: str | None
    rules: Sequence[PartyModule] = ()


def draft_contract(template: bytes, inputs: DraftInputs) -> bytes:
    """Return the draft's canonical bytes.

    Raises:
        DocumentError: when the template is not JSON.
        UsageError: when it is not a contract template, or two offers come from one party under
            different names.
    """
    value = load_json(template, kind="contract template")
    try:
        draft = _fill(copy.deepcopy(value), inputs)
    except (KeyError, TypeError, IndexError) as error:
        raise UsageError(f"the contract template lacks {error}") from None
    return canonical_json(draft)


def _fill(draft: dict[str, Any], inputs: DraftInputs) -> dict[str, Any]:
    draft["id"] = inputs.contract_id
    draft["startTime"] = _time(inputs.start_time)
    draft["expiryTime"] = _time(inputs.expiry_time)
    draft["tdc"] = inputs.tdc.party.to_json()
    draft["policy"] |= {"version": inputs.policy_version, "digest": inputs.policy_digest}
    if inputs.rules:
        draft["policy"]["partyRules"] = [item.to_json() for item in inputs.rules]
    draft["output"]["recipient"] = inputs.tdc.id
    if inputs.tdc.output_key is not None:
        draft["output"]["publicKey"] = inputs.tdc.output_key
    if inputs.output_url is not None:
        draft["output"]["url"] = inputs.output_url
    if inputs.ccrp is not None:
        draft["ccrp"] = inputs.ccrp.party.to_json()
    if inputs.authorities:
        draft["attestation"]["authorities"] = list(inputs.authorities)
    if inputs.host_data:
        draft["attestation"]["hostData"] = list(inputs.host_data)
    _fill_files(draft, inputs)
    return draft


def _fill_files(draft: dict[str, Any], inputs: DraftInputs) -> None:
    datasets = [offer.dataset.to_json() for offer in inputs.offers if offer.dataset is not None]
    models = [o.base_model.to_json() for o in inputs.offers if o.base_model is not None]
    if models:
        draft["baseModels"] = models
    if not datasets:
        return
    draft["datasets"] = datasets
    draft["tdps"] = _providers(inputs.offers)
    constraints = draft["constraints"]
    for field in ("privacy", "dataUse"):
        constraints[field] = [_terms(constraints[field], dataset["id"]) for dataset in datasets]


def _terms(templates: list[dict[str, Any]], dataset: str) -> dict[str, Any]:
    """Return the template's terms for a data set: its own, or else the first."""
    own = [terms for terms in templates if terms.get("dataset") == dataset]
    return {**(own or templates)[0], "dataset": dataset}


def _providers(offers: Sequence[Offer]) -> list[dict[str, Any]]:
    names: dict[str, str] = {}
    for offer in offers:
        if offer.dataset is None:
            continue
        known = names.setdefault(offer.party.id, offer.party.name)
        if known != offer.party.name:
            raise UsageError(f"{offer.party.id} is called {known!r} and {offer.party.name!r}")
    return [{"id": did, "name": name} for did, name in names.items()]


def _time(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
