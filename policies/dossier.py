"""What the log proves about one contract: consents, decisions, releases, bookings and reports.

A dossier is read from a verified log, so every statement in it was said by its issuer and is in
the log. What is decided here is who has a say: the service about its own acts, each party about its
own consent, and a clean room about a run if its key was attested for it. Statements by others prove
nothing and are set aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ledger.statement import Statement
from ledger.verify import VerifiedLog
from policies.errors import DepaError, DocumentError
from policies.facts import Signed
from policies.wire.base import Document, load_json, sha256
from policies.wire.contract import Contract, Party, contract_urn
from policies.wire.decision import DecisionRecord, Entrypoint
from policies.wire.run import (
    Approval,
    BudgetBooking,
    Executed,
    KeyRelease,
    Revocation,
    RunReport,
)

D = TypeVar("D", bound=Document)


class RecordRefused(DepaError):
    """The log's record of a contract is incomplete or contradicts itself."""

    code = "record-refused"
    exit_code = 4
    http_status = 409


@dataclass(frozen=True)
class Recorded(Generic[D]):
    """A document and the entry of the log that vouches for it."""

    index: int
    """Index of the entry; the order of events is the order of indexes."""
    statement: Statement
    document: D


@dataclass(frozen=True)
class Consent:
    """A party's signature over the contract."""

    index: int
    statement: Statement
    party: Party


@dataclass(frozen=True)
class Dossier:
    """Everything that the log proves about one contract."""

    contract: Contract
    digest: str
    service: str
    """DID of the service whose log this is."""
    documents: Mapping[str, bytes] = field(repr=False)
    """Documents by digest."""
    inputs: Mapping[str, bytes] = field(repr=False)
    """What decisions were made from, by digest: 32 bytes of salt and the facts."""
    consents: Mapping[str, Consent]
    """By the party's DID."""
    executed: Recorded[Executed] | None
    revocations: tuple[Recorded[Revocation], ...]
    decisions: tuple[Recorded[DecisionRecord], ...]
    approvals: tuple[Recorded[Approval], ...]
    releases: tuple[Recorded[KeyRelease], ...]
    bookings: tuple[Recorded[BudgetBooking], ...]
    reports: tuple[Recorded[RunReport], ...]
    set_aside: tuple[int, ...]
    """Indexes of statements by issuers who have no say in this contract."""

    @property
    def missing(self) -> tuple[Party, ...]:
        """Parties that have not signed."""
        return tuple(party for party in self.contract.parties if party.id not in self.consents)

    @property
    def revoked_by(self) -> tuple[str, ...]:
        """DIDs of the parties that have taken their consent back."""
        return tuple(item.statement.issuer for item in self.revocations)

    @property
    def signatures(self) -> dict[str, Signed]:
        """When each party signed, and when its key could."""
        return {did: Signed.by(consent.statement) for did, consent in self.consents.items()}

    def document(self, digest: str, *, what: str) -> bytes:
        """Return a document's bytes by digest.

        Raises:
            RecordRefused: when the record does not hold it.
        """
        try:
            return self.documents[digest]
        except KeyError:
            raise RecordRefused(f"the record lacks {what} {digest}") from None

    def decision(self, decision_id: str) -> Recorded[DecisionRecord]:
        """Return the decision of this id.

        Raises:
            RecordRefused: when the record does not hold exactly one.
        """
        found = [item for item in self.decisions if item.document.decision_id == decision_id]
        if len(found) != 1:
            raise RecordRefused(f"the record holds {len(found)} decisions {decision_id}, not one")
        return found[0]

    def permitted(
        self,
        decision_id: str,
        *,
        entrypoint: Entrypoint,
        before: int,
        what: str,
        run: str | None = None,
        pipeline: str | None = None,
    ) -> DecisionRecord:
        """Return the record of the decision that something rests on.

        Args:
            decision_id: Id of the decision.
            entrypoint: Which policy had to be asked.
            before: Index of the entry that rests on it.
            what: What rests on it, in words.
            run: The run that it has to be about, if it is one.
            pipeline: The pipeline that it has to be about, if there is one.

        Raises:
            RecordRefused: unless it allows that, was no dry run, and came before.
        """
        decision = self.decision(decision_id)
        record = decision.document
        meant = (record.allow, record.mode, record.entrypoint) == (True, "enforce", entrypoint)
        if not meant or decision.index > before:
            raise RecordRefused(f"{what} follows no allowing decision of the {entrypoint} policy")
        if (record.run, record.pipeline) != (run, pipeline):
            raise RecordRefused(f"{what} follows a decision on another run")
        return record


def contracts_of(log: VerifiedLog) -> tuple[str, ...]:
    """Return the digests of the contracts that the statements of a log are about."""
    prefix = contract_urn("sha256:")
    subjects = {entry.statement.subject for entry in log.entries}
    found = (subject.removeprefix(prefix) for subject in subjects if subject.startswith(prefix))
    return tuple(sorted(f"sha256:{digest}" for digest in found))


def read_dossier(log: VerifiedLog, *, contract_digest: str) -> Dossier:
    """Return what a verified log proves about a contract.

    Raises:
        RecordRefused: when the contract or a document is missing, or statements contradict.
        DocumentError: when a document is not what its kind asks for.
    """
    documents = log.documents
    if contract_digest not in documents:
        raise RecordRefused(f"the record lacks the contract {contract_digest}")
    contract = Contract.parse(documents[contract_digest])
    if contract.digest() != contract_digest:
        raise RecordRefused("the contract's bytes are not in canonical form")
    reader = _Reader(log, contract, documents)
    consents = reader.consents()
    releases = reader.by_service(KeyRelease)
    dossier = Dossier(
        contract=contract,
        digest=contract_digest,
        service=log.log.service,
        documents=documents,
        inputs={sha256(data): data for data in log.inputs.values()},
        consents=consents,
        executed=reader.executed(consents),
        revocations=reader.by(Revocation, {party.id for party in contract.parties}),
        decisions=reader.by_service(DecisionRecord),
        approvals=reader.by_service(Approval),
        releases=releases,
        bookings=reader.by_service(BudgetBooking),
        reports=reader.reports(releases),
        set_aside=reader.set_aside(),
    )
    _same_contract(dossier)
    return dossier


class _Reader:
    """Sorts the entries about one contract by kind, and remembers which were used."""

    def __init__(
        self, log: VerifiedLog, contract: Contract, documents: Mapping[str, bytes]
    ) -> None:
        digest = contract.digest()
        self._contract, self._digest, self._service = contract, digest, log.log.service
        self._documents = documents
        self._entries = [
            entry for entry in log.entries if entry.statement.subject == contract_urn(digest)
        ]
        self._used: set[int] = set()

    def consents(self) -> dict[str, Consent]:
        parties = {party.id: party for party in self._contract.parties}
        found: dict[str, Consent] = {}
        for entry in self._entries:
            statement = entry.statement
            if statement.kind != "signature" or statement.issuer not in parties:
                continue
            if statement.payload_digest != self._digest:
                raise RecordRefused(
                    f"entry {entry.index}: {parties[statement.issuer].name} signed "
                    f"{statement.payload_digest}, not the contract {self._digest}"
                )
            self._used.add(entry.index)
            found.setdefault(
                statement.issuer, Consent(entry.index, statement, parties[statement.issuer])
            )
        return found

    def executed(self, consents: Mapping[str, Consent]) -> Recorded[Executed] | None:
        found = self.by_service(Executed)
        if not found:
            return None
        if len(found) > 1:
            raise RecordRefused("the contract is said to be executed more than once")
        wanted = tuple(
            "sha256:" + consents[party.id].statement.leaf_hash.hex() if party.id in consents else ""
            for party in self._contract.parties
        )
        if found[0].document.signatures != wanted:
            raise RecordRefused("the executed statement does not name every party's signature")
        if any(consent.index > found[0].index for consent in consents.values()):
            raise RecordRefused("the executed statement precedes a signature")
        return found[0]

    def by_service(self, model: type[D]) -> tuple[Recorded[D], ...]:
        return self.by(model, {self._service})

    def by(self, model: type[D], issuers: set[str]) -> tuple[Recorded[D], ...]:
        return tuple(
            self._recorded(entry.index, entry.statement, model)
            for entry in self._entries
            if entry.statement.kind == model.kind and entry.statement.issuer in issuers
        )

    def reports(self, releases: Iterable[Recorded[KeyRelease]]) -> tuple[Recorded[RunReport], ...]:
        attested = {item.document.report_key: item for item in releases if item.document.allowed}
        found = self.by(RunReport, set(attested))
        for report in found:
            release = attested[report.statement.issuer]
            if release.document.run != report.document.run or release.index > report.index:
                raise RecordRefused(f"entry {report.index}: the report's key is of another run")
        return found

    def set_aside(self) -> tuple[int, ...]:
        own = {"contract", "policy-bundle", "amendment"}
        return tuple(
            entry.index
            for entry in self._entries
            if entry.index not in self._used
            and not (entry.statement.issuer == self._service and entry.statement.kind in own)
        )

    def _recorded(self, index: int, statement: Statement, model: type[D]) -> Recorded[D]:
        data = self._documents.get(statement.payload_digest)
        if data is None:
            raise RecordRefused(f"entry {index}: the record lacks its {model.kind} document")
        self._used.add(index)
        try:
            return Recorded(index, statement, model.from_json(load_json(data, kind=model.kind)))
        except DocumentError as error:
            raise RecordRefused(f"entry {index}: {error}") from None


def _same_contract(dossier: Dossier) -> None:
    groups = (
        dossier.decisions,
        dossier.approvals,
        dossier.releases,
        dossier.bookings,
        dossier.reports,
        dossier.revocations,
    )
    for group in groups:
        for item in group:
            named = getattr(item.document, "contract", None)
            if named != dossier.digest:
                raise RecordRefused(f"entry {item.index} is about another contract, {named}")
