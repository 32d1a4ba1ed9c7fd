"""The contract: who lends which data to whom, for what, and how much privacy it may cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from policies.errors import DocumentError, Problem
from policies.wire.base import (
    Did,
    Digest,
    Document,
    Hex32,
    Hex48,
    Name,
    Slug,
    UtcTime,
    Version,
    Wire,
    load_json,
)
from policies.wire.constraints import MAX_PARTIES, Constraints, Privacy
from policies.wire.tables import TableSchema
from policies.wire.texts import placeholders

# Each may take its time, once for every decision.
_MAX_PARTY_RULES = 16


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/") or ".." in parts.path.split("/"):
            raise ValueError("expected an absolute file URL without '..', file:///path")
    elif parts.scheme != "https" or not parts.hostname or parts.username or parts.query:
        raise ValueError("expected an https URL without user or query, or a file URL")
    return value


Url = Annotated[str, StringConstraints(min_length=8, max_length=1000), AfterValidator(_url)]
HttpsUrl = Annotated[Url, StringConstraints(pattern=r"\Ahttps://")]


class Party(Wire):
    """A signatory."""

    id: Did
    name: Name


class KeyRef(Wire):
    """Where the key that opens a sealed file is held."""

    vault: HttpsUrl
    name: Slug


class SealedFile(Wire):
    """A sealed file as it lies in a blob store."""

    id: Slug
    name: Name
    provider: Did
    url: Url
    digest: Digest
    """SHA-256 of the sealed file, so that another version of it is another contract."""
    size: int = Field(gt=0, le=2**44)
    """Bytes of the sealed file."""
    version: Slug
    key: KeyRef


class Dataset(SealedFile):
    """A sealed data set of one provider."""

    units: int = Field(gt=0, le=10**9)
    """Number of privacy units in it, which the provider states publicly."""
    format: Literal["slices", "volumes", "arrays", "table"]
    table: TableSchema | None = None
    """What a table holds; absent for data of another format."""

    @model_validator(mode="after")
    def _table_has_a_schema(self) -> Self:
        if (self.format == "table") != (self.table is not None):
            raise ValueError("table is given exactly where format is table")
        return self


class TcbFloor(Wire):
    """The oldest firmware of the processor that is accepted, by security version number."""

    bootloader: int = Field(ge=0, le=255)
    tee: int = Field(ge=0, le=255)
    snp: int = Field(ge=0, le=255)
    microcode: int = Field(ge=0, le=255)


class Attestation(Wire):
    """Which clean rooms are trusted."""

    authorities: tuple[HttpsUrl, ...] = Field(min_length=1, max_length=8)
    """Issuers whose attestation tokens are accepted."""
    host_data: tuple[Hex32, ...] = Field(min_length=1, max_length=16)
    """SHA-256 of the launch policies that are accepted."""
    compliance: tuple[Literal["azure-compliant-uvm"], ...] = Field(min_length=1)
    minimum_guest_svn: int = Field(ge=0, le=2**31)
    minimum_tcb: TcbFloor | None = None
    """Without it, what the authorities themselves ask for."""
    measurements: tuple[Hex48, ...] | None = Field(default=None, min_length=1, max_length=64)
    """Launch digests that are accepted; without them, every guest whose compliance is endorsed."""
    max_token_age_seconds: int = Field(gt=0, le=86_400)


class PartyRule(Wire):
    """A provider's own rules, under which its data is lent."""

    provider: Did
    """One of the contract's data providers."""
    name: Annotated[str, StringConstraints(pattern=r"\A[a-z][a-z0-9_]{0,30}\z")]
    """Last part of the Rego package `depa.party.<name>`."""
    digest: Digest
    """SHA-256 of the module's text."""


class PolicyRef(Wire):
    """The policy that all parties agreed to be judged by."""

    id: Literal["depa"]
    version: Version
    digest: Digest
    party_rules: tuple[PartyRule, ...] | None = Field(
        default=None, min_length=1, max_length=_MAX_PARTY_RULES
    )
    """Rules that providers add; they can deny and warn, and allow nothing."""


class Output(Wire):
    """To whom the trained model is sealed."""

    recipient: Did
    public_key: Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9_-]{43}\z")]
    """X25519 public key of the consumer, base64url without padding (HPKE, RFC 9180)."""
    url: Url
    """Folder that takes the sealed model."""


class Terms(Wire):
    """What the policy does not enforce but the parties agreed to."""

    payment: dict[Slug, Name] = Field(default_factory=dict, max_length=32)
    revocation: dict[Slug, Name] = Field(default_factory=dict, max_length=32)


class Contract(Document):
    """A contract between training data providers, a consumer and a clean-room provider."""

    kind: ClassVar[str] = "contract"

    schema_version: Literal["1.0"] = "1.0"
    id: Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}\z")]
    title: Name
    purpose: Literal["TRAINING"]
    start_time: UtcTime
    expiry_time: UtcTime
    tdc: Party
    """Training data consumer: the model's developer."""
    tdps: tuple[Party, ...] = Field(min_length=1, max_length=MAX_PARTIES)
    """Training data providers."""
    ccrp: Party
    """Provider of the confidential clean room."""
    datasets: tuple[Dataset, ...] = Field(min_length=1, max_length=MAX_PARTIES)
    base_models: tuple[SealedFile, ...] = Field(default=(), max_length=8)
    """Weights to start from, sealed by the consumer."""
    constraints: Constraints
    attestation: Attestation
    policy: PolicyRef
    output: Output
    terms: Terms = Terms()

    @property
    def parties(self) -> tuple[Party, ...]:
        """Everybody who must sign, the consumer first."""
        return (self.tdc, *self.tdps, self.ccrp)

    @property
    def urn(self) -> str:
        """The subject of every statement about this contract."""
        return contract_urn(self.digest())

    def dataset(self, dataset_id: str) -> Dataset | None:
        """Return the data set of this id, if the contract has it."""
        return next((item for item in self.datasets if item.id == dataset_id), None)

    def privacy(self, dataset_id: str) -> Privacy | None:
        """Return the privacy limits of this data set, if the contract has them."""
        return next((p for p in self.constraints.privacy if p.dataset == dataset_id), None)

    @classmethod
    def parse(cls, data: bytes) -> Contract:
        """Read a contract and check that it is consistent in itself.

        Raises:
            DocumentError: naming every field that is missing, unknown, wrong or contradictory.
        """
        try:
            contract = super().parse(data)
        except DocumentError as error:
            raise _naming_placeholders(error, data) from None
        problems = list(_inconsistencies(contract))
        if problems:
            raise DocumentError(cls.kind, problems)
        return contract


def contract_urn(digest: str) -> str:
    """Return the URN of the contract with this digest."""
    return "urn:depa:contract:" + digest.removeprefix("sha256:")


def _inconsistencies(contract: Contract) -> Iterable[Problem]:
    yield from _placeholders(contract.to_json())
    yield from _duplicates("/tdps/{}/id", [party.id for party in contract.tdps])
    yield from _duplicates("/datasets/{}/id", [item.id for item in contract.datasets])
    yield from _duplicates("/baseModels/{}/id", [item.id for item in contract.base_models])
    yield from _duplicates(
        "/constraints/privacy/{}/dataset", [p.dataset for p in contract.constraints.privacy]
    )
    yield from _duplicates(
        "/constraints/dataUse/{}/dataset", [u.dataset for u in contract.constraints.data_use]
    )
    if contract.expiry_time <= contract.start_time:
        yield Problem("/expiryTime", "is not after startTime", "choose a later expiry")
    providers = {party.id for party in contract.tdps}
    for index, item in enumerate(contract.datasets):
        if item.provider not in providers:
            yield Problem(f"/datasets/{index}/provider", "is not one of the tdps")
    for index, model in enumerate(contract.base_models):
        if model.provider != contract.tdc.id:
            yield Problem(f"/baseModels/{index}/provider", "is not the tdc")
    for party in contract.tdps:
        if all(item.provider != party.id for item in contract.datasets):
            yield Problem("/tdps", f"{party.name} provides no data set")
    if contract.output.recipient != contract.tdc.id:
        yield Problem("/output/recipient", "is not the tdc")
    yield from _coverage(contract)
    yield from _metrics_terms(contract)
    for index, use in enumerate(contract.constraints.data_use):
        if used := contract.dataset(use.dataset):
            for problem in use.problems(used.table):
                at = f"/constraints/dataUse/{index}{problem.pointer}"
                yield Problem(at, problem.message)


def _coverage(contract: Contract) -> Iterable[Problem]:
    ids = {item.id for item in contract.datasets}
    for field, limited in (
        ("privacy", {p.dataset for p in contract.constraints.privacy}),
        ("dataUse", {u.dataset for u in contract.constraints.data_use}),
    ):
        for missing in sorted(ids - limited):
            yield Problem(f"/constraints/{field}", f"has nothing for data set {missing}")
        for unknown in sorted(limited - ids):
            yield Problem(f"/constraints/{field}", f"names {unknown}, which is no data set")
    for index, limit in enumerate(contract.constraints.privacy):
        at = f"/constraints/privacy/{index}"
        for name, wider, narrower in (
            ("total", limit.total, limit.run),
            ("overall", limit.overall, limit.total),
        ):
            if wider.epsilon < narrower.epsilon or wider.delta < narrower.delta:
                yield Problem(f"{at}/{name}", "is less than what it has to contain")
        if limit.private_metrics and limit.private_metrics.epsilon > limit.run.epsilon:
            yield Problem(f"{at}/privateMetrics/epsilon", "is more than run grants altogether")
        dataset = contract.dataset(limit.dataset)
        if dataset and limit.run.delta * dataset.units >= 1:
            yield Problem(
                f"{at}/run/delta",
                f"is not below 1/{dataset.units}, one over the number of {limit.unit}s",
                "a delta of 1/n allows publishing one of n records",
            )


def _metrics_terms(contract: Contract) -> Iterable[Problem]:
    at, limits = "/constraints/metricsOnPrivateData", contract.constraints
    granted = [item.dataset for item in limits.privacy if item.private_metrics]
    if limits.metrics_on_private_data == "withheld":
        for name in granted:
            yield Problem(at, f"is withheld, but privateMetrics of {name} grants some")
    elif not granted:
        yield Problem(at, "is noised, but no data set grants privateMetrics")


def _naming_placeholders(error: DocumentError, data: bytes) -> DocumentError:
    """Say of a field that is not filled in just that, instead of which pattern it fails."""
    try:
        value = load_json(data, kind=error.kind)
    except DocumentError:
        return error
    unfilled = {problem.pointer: problem for problem in _placeholders(value)}
    # A list whose only entry is not filled in is reported as empty too.
    others = [
        problem
        for problem in error.problems
        if not any(f"{at}/".startswith(f"{problem.pointer}/") for at in unfilled)
    ]
    return DocumentError(error.kind, [*unfilled.values(), *others])


def _duplicates(pointer: str, values: list[str]) -> Iterable[Problem]:
    counts = Counter(values)
    for index, value in enumerate(values):
        if counts[value] > 1:
            yield Problem(pointer.format(index), "is not unique", "give each its own id")


def _placeholders(value: object) -> Iterable[Problem]:
    for pointer, found in placeholders(value):
        yield Problem(pointer, f"still holds the placeholder {found}", "fill it in")
