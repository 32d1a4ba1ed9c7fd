"""A contract of DEPA as one of ours: what it leaves open is given, and nothing gets wider.

DEPA's contracts name no privacy unit, window that is still open, adjacency, clipping norm, number
of runs, launch policy or digest of the data. Whoever imports says these, or the import is refused;
what was said, tightened or left out is listed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final, Literal

from policies.depa.contract_form import DepaContract, DepaDataset, DepaPrivacy
from policies.depa.form import PLACEHOLDER, Change, Notes, named
from policies.wire.budget import Budget
from policies.wire.contract import Attestation, Contract, Dataset, Party, SealedFile
from policies.wire.tables import TableTerms

_NOISE_PLACES: Final = Decimal("0.0001")


@dataclass(frozen=True)
class Given:
    """What DEPA's contract does not say, said by whoever imports it."""

    contract_id: str
    title: str
    now: datetime
    expiry_time: datetime | None
    """None keeps DEPA's window, which MUST then still be open."""
    tdc: Party
    ccrp: Party
    providers: Mapping[str, str]
    """Names of the providers of the offered data sets, by their DIDs."""
    datasets: Sequence[Dataset]
    """The sealed data sets that are offered for the ones that DEPA names."""
    base_models: Sequence[SealedFile]
    output_key: str
    output_url: str
    unit: Literal["patient", "record"]
    adjacency: Literal["add-remove", "replace-one"]
    max_grad_norm: float
    max_steps: int
    runs: int
    """How often the whole budget of one run may be spent."""
    models: Sequence[str]
    max_parameters: int
    attestation: Attestation
    policy: Mapping[str, str]
    """Id, version and digest."""
    tables: Mapping[str, TableTerms] = field(default_factory=dict)
    """What may be done with the columns of each offered table, by its id."""
    open_data: frozenset[str] = frozenset()
    """Ids (DEPA's or ours) of data sets that may be read without differential privacy."""
    unlimited: Budget | None = None
    """What one run may cost a data set for which DEPA's contract has no limits."""


@dataclass(frozen=True)
class Imported:
    """Our contract, and what it says that DEPA's does not."""

    contract: Contract
    changes: tuple[Change, ...]


def import_contract(data: bytes, given: Given) -> Imported:
    """Read a contract of DEPA and return it as one of ours.

    Raises:
        DocumentError: naming every field, by DEPA's pointer, that is unknown, contradicts what is
            given, or leaves open what is not given; or naming what our own contract refuses.
    """
    return _Import(DepaContract.parse(data), given).run()


@dataclass
class _Import:
    source: DepaContract
    given: Given
    notes: Notes = field(default_factory=Notes)

    def run(self) -> Imported:
        matched = self._matched()
        limits = self._limits()
        self._parties(matched)
        privacy = [
            self._privacy(index, matched[index], limits.get(item.id))
            for index, item in enumerate(self.source.datasets)
            if index in matched
        ]
        uses = [
            self._use(index, matched[index], limits)
            for index in range(len(self.source.datasets))
            if index in matched
        ]
        start, expiry = self._window()
        self.notes.settle(DepaContract.kind)
        document = self._document(list(matched.values()), privacy, uses, start, expiry)
        self._say_what_was_given()
        return Imported(Contract.parse(json.dumps(document).encode()), tuple(self.notes.changes))

    def _matched(self) -> dict[int, Dataset]:
        """Return the offered data set of each of DEPA's, by its place."""
        offered = {item.id: item for item in self.given.datasets}
        matched: dict[int, Dataset] = {}
        counts = Counter(item.id for item in self.source.datasets)
        for index, item in enumerate(self.source.datasets):
            at = f"/datasets/{index}"
            if counts[item.id] > 1:
                self.notes.refuse(f"{at}/id", "is not unique", "give each data set its own id")
            found = named(self.given.datasets, dataset_id=item.id, owner=item.owner, name=item.name)
            if len(found) != 1:
                self.notes.refuse(
                    at,
                    f"{len(found)} offers are for it, expected one",
                    f"seal it under the id {item.owner or item.id}, or the name {item.name}",
                )
                continue
            matched[index] = offered[found[0]]
            self._same_file(at, item, matched[index])
        meant = Counter(item.id for item in matched.values())
        for name in offered:
            if meant[name] != 1:
                self.notes.refuse(
                    "/datasets", f"the offer {name} is for {meant[name]} data sets, expected one"
                )
        return matched

    def _same_file(self, at: str, item: DepaDataset, offer: Dataset) -> None:
        for name, said, ours in (
            ("provider", item.provider, offer.provider),
            ("url", item.url, offer.url),
            ("key/properties/endpoint", item.key.properties.endpoint, offer.key.vault),
        ):
            if _is_open(said):
                continue
            if said != ours:
                self.notes.refuse(f"{at}/{name}", f"says {said[:200]}, the offer says {ours}")
        self.notes.change("given", at, f"the file, its units and its key are those of {offer.id}")
        authority = item.key.properties.authority.endpoint
        if f"https://{authority}" not in self.given.attestation.authorities:
            accepted = ", ".join(self.given.attestation.authorities)
            self.notes.change(
                "changed",
                f"{at}/key/properties/authority/endpoint",
                f"evidence of {authority[:200]} is not accepted, that of {accepted} is",
            )

    def _limits(self) -> dict[str, tuple[str, DepaPrivacy]]:
        found: dict[str, tuple[str, DepaPrivacy]] = {}
        known = {item.id for item in self.source.datasets}
        for outer, constraint in enumerate(self.source.constraints):
            for inner, limit in enumerate(constraint.privacy):
                at = f"/constraints/{outer}/privacy/{inner}"
                if limit.dataset not in known:
                    self.notes.refuse(f"{at}/dataset", f"{limit.dataset[:100]} is no data set")
                elif limit.dataset in found:
                    self.notes.refuse(f"{at}/dataset", "has limits already", "keep one")
                found[limit.dataset] = (at, limit)
        return found

    def _parties(self, matched: Mapping[int, Dataset]) -> None:
        for name, said, party in (
            ("tdc", self.source.tdc, self.given.tdc),
            ("ccrp", self.source.ccrp, self.given.ccrp),
        ):
            if not _is_open(said) and said != party.id:
                self.notes.refuse(f"/{name}", f"says {said[:200]}, the card says {party.id}")
            elif said != party.id:
                self.notes.change("given", f"/{name}", f"{party.name}, by its card")
        providers = {item.provider for item in matched.values()}
        for index, said in enumerate(self.source.tdps):
            if not _is_open(said) and said not in providers:
                self.notes.refuse(f"/tdps/{index}", f"{said[:200]} offers no data set")
        for did in sorted(providers - set(self.source.tdps)):
            self.notes.change("given", "/tdps", f"{self.given.providers[did]}, who offers data")

    def _privacy(
        self, index: int, dataset: Dataset, limit: tuple[str, DepaPrivacy] | None
    ) -> dict[str, Any]:
        if limit is None:
            at, epsilon, delta = self._without_limits(index)
            noise = {}
        else:
            at, said = limit
            epsilon, delta = said.epsilon_threshold, said.delta
            noise = self._least_noise(at, said)
        if delta * dataset.units >= 1:
            smaller = _below_one_in(dataset.units)
            self.notes.change(
                "tightened",
                f"{at}/delta",
                f"{delta:g} is not below 1/{dataset.units}, one over the number of units; "
                f"{smaller:g} is granted",
            )
            delta = smaller
        run = {"epsilon": epsilon, "delta": delta}
        total = {name: _times(value, self.given.runs) for name, value in run.items()}
        return {
            "dataset": dataset.id,
            "run": run,
            "total": total,
            "overall": total,
            "unit": self.given.unit,
            "adjacency": self.given.adjacency,
            "maxGradNorm": self.given.max_grad_norm,
            "maxSteps": self.given.max_steps,
            **noise,
        }

    def _without_limits(self, index: int) -> tuple[str, float, float]:
        at = f"/datasets/{index}"
        if self.given.unlimited is None:
            self.notes.refuse(
                at,
                "the contract has no privacy limits for it",
                "give --epsilon and --delta, and --open-data if it may be read without privacy",
            )
            return at, 1.0, 1e-12
        budget = self.given.unlimited
        self.notes.change("given", at, f"epsilon {budget.epsilon:g}, delta {budget.delta:g} a run")
        return at, budget.epsilon, budget.delta

    def _least_noise(self, at: str, said: DepaPrivacy) -> dict[str, float]:
        if said.epochs_per_report is not None:
            self.notes.change(
                "dropped", f"{at}/epochs_per_report", "no report on private data leaves at all"
            )
        if said.noise_multiplier is None:
            return {}
        # Rounded up, so that no less noise is agreed on than DEPA's parties did.
        least = Decimal(repr(said.noise_multiplier)).quantize(_NOISE_PLACES, rounding=ROUND_CEILING)
        return {"minNoiseMultiplier": float(least)}

    def _use(
        self, index: int, dataset: Dataset, limits: Mapping[str, tuple[str, DepaPrivacy]]
    ) -> dict[str, Any]:
        item = self.source.datasets[index]
        is_open = bool({item.id, dataset.id} & self.given.open_data)
        if is_open and item.id in limits:
            self.notes.refuse(
                limits[item.id][0], "limits a data set that is given as open data", "not both"
            )
        if is_open:
            self.notes.change("given", f"/datasets/{index}", "may be read without privacy")
        return {
            "dataset": dataset.id,
            "join": len(self.source.datasets) > 1,
            "privateOnly": not is_open,
            **self._columns(index, dataset),
        }

    def _columns(self, index: int, dataset: Dataset) -> dict[str, Any]:
        terms = self.given.tables.get(dataset.id)
        if terms is not None:
            granted = ", ".join(terms.columns or ())
            self.notes.change("given", f"/datasets/{index}", f"columns {granted[:500]} are lent")
            return terms.to_json()
        if dataset.table is not None:
            self.notes.refuse(
                f"/datasets/{index}",
                "is a table, and the contract does not say which of its columns are lent",
                "give --table-terms",
            )
        return {}

    def _window(self) -> tuple[datetime, datetime]:
        expiry = self.given.expiry_time
        if expiry is not None:
            said = f"{self.given.now:%Y-%m-%d} to {expiry:%Y-%m-%d}"
            self.notes.change("given", "/startTime", f"valid from {said}")
            return self.given.now, expiry
        if self.source.expiry_time <= self.given.now:
            self.notes.refuse(
                "/expiryTime",
                f"was {self.source.expiry_time:%Y-%m-%d}, which is over",
                "give --days to agree on a new window",
            )
        return self.source.start_time, self.source.expiry_time

    def _document(
        self,
        datasets: Sequence[Dataset],
        privacy: list[dict[str, Any]],
        uses: list[dict[str, Any]],
        start: datetime,
        expiry: datetime,
    ) -> dict[str, Any]:
        given = self.given
        providers = dict.fromkeys(item.provider for item in datasets)
        return {
            "schemaVersion": "1.0",
            "id": given.contract_id,
            "title": given.title,
            "purpose": self.source.purpose,
            "startTime": _time(start),
            "expiryTime": _time(expiry),
            "tdc": given.tdc.to_json(),
            "tdps": [{"id": did, "name": given.providers[did]} for did in providers],
            "ccrp": given.ccrp.to_json(),
            "datasets": [item.to_json() for item in datasets],
            "baseModels": [item.to_json() for item in given.base_models],
            "constraints": {
                "privacy": privacy,
                "dataUse": uses,
                "models": list(given.models),
                "maxParameters": given.max_parameters,
                "metricsOnPrivateData": "withheld",
            },
            "attestation": given.attestation.to_json(),
            "policy": dict(given.policy),
            "output": {
                "recipient": given.tdc.id,
                "publicKey": given.output_key,
                "url": given.output_url,
            },
            "terms": self.source.terms.to_json(),
        }

    def _say_what_was_given(self) -> None:
        given = self.given
        for pointer, message in self._unsaid():
            self.notes.change("given", pointer, message)
        if given.base_models:
            names = ", ".join(item.id for item in given.base_models)
            self.notes.change("given", "/baseModels", f"{names}, which the consumer offers")
        if len(self.source.datasets) > 1:
            self.notes.change("given", "/datasets", "may be joined with each other")

    def _unsaid(self) -> Iterator[tuple[str, str]]:
        given = self.given
        yield "/id", f"{given.contract_id}: DEPA's id is the same in all of its scenarios"
        yield "/constraints", f"unit {given.unit}, adjacency {given.adjacency}"
        yield (
            "/constraints",
            f"clipping norm at most {given.max_grad_norm:g}, at most {given.max_steps} steps",
        )
        yield "/constraints", f"all consumers together may spend as much as {given.runs} run(s)"
        models = ", ".join(given.models)
        yield "/constraints", f"models {models}, at most {given.max_parameters} parameters"
        yield "/constraints", "no loss or metric of private data leaves"
        terms = given.attestation
        yield (
            "/attestation",
            f"{len(terms.host_data)} launch policies, guest SVN at least "
            f"{terms.minimum_guest_svn}, tokens at most {terms.max_token_age_seconds} seconds old",
        )
        yield "/policy", f"{given.policy['id']} {given.policy['version']}"
        yield "/output", "the model is sealed to the consumer's key"


def _is_open(text: str) -> bool:
    return not text or PLACEHOLDER.search(text) is not None


def _below_one_in(units: int) -> float:
    """Return about a tenth of one over the units, with one digit, rounded down."""
    tenth = Decimal(1) / (10 * units)
    return float(tenth.quantize(Decimal(1).scaleb(tenth.adjusted()), rounding=ROUND_FLOOR))


def _times(value: float, runs: int) -> float:
    return float(Decimal(repr(value)) * runs)


def _time(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
