"""What the contract service answers, as closed types that service and client share."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import StringConstraints

from policies.wire.base import (
    MAX_DOCUMENT_BYTES,
    Did,
    Digest,
    Document,
    Name,
    RunId,
    Slug,
    UtcTime,
    Version,
    Wire,
    load_json,
)
from policies.wire.decision import Code, Decision, DecisionRecord, Reason
from policies.wire.run import Progress, Revocation, RunReport, RunState, Spent

MAX_QUESTION_BYTES: Final = 2 * MAX_DOCUMENT_BYTES + 1024
ContractState = Literal["proposed", "partially-signed", "executed", "expired", "revoked"]
Role = Literal["tdc", "tdp", "ccrp"]
Base64 = Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9+/]+={0,2}\z", max_length=90_000)]


class PolicyQuestion(Document):
    """Ask what the policy would say; nothing comes of it."""

    kind: ClassVar[str] = "policy-question"

    contract: Digest | dict[str, Any]
    """Digest of a contract that was proposed, or a draft."""
    pipeline: dict[str, Any] | None = None

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a question, which may hold two documents.

        Raises:
            DocumentError: naming every field that is missing, unknown or wrong.
        """
        return cls.from_json(load_json(data, kind=cls.kind, limit=MAX_QUESTION_BYTES))


class RevocationRequest(Document):
    """A revocation and the party's statement about it."""

    kind: ClassVar[str] = "revocation-request"

    document: Revocation
    statement: Base64
    """COSE_Sign1."""


class ReportRequest(Document):
    """A run report and the clean room's statement about it."""

    kind: ClassVar[str] = "report-request"

    document: RunReport
    statement: Base64
    """COSE_Sign1 by the attested report key."""


class ReleaseRequest(Document):
    """A clean room asks for its keys."""

    kind: ClassVar[str] = "release-request"

    token: Annotated[
        str, StringConstraints(pattern=r"\A[A-Za-z0-9._=-]+\z", min_length=16, max_length=65_536)
    ]
    """Attestation token, as the authority gave it."""


class Registered(Wire):
    """A statement that is in the log."""

    entry_id: str
    """`epoch.index`."""
    leaf_hash: Digest
    receipt: str
    """RFC 9942 receipt, base64."""


class StatementInfo(Wire):
    """One line of a list of statements."""

    entry_id: str
    leaf_hash: Digest
    kind: Slug
    subject: str
    issuer: Did
    payload: Digest
    """Digest of the document that the statement is about."""
    issued_at: int
    """Unix seconds, as the issuer says."""


class RulesTaken(Wire):
    """A provider's own rules, which contracts may name now."""

    digest: Digest
    name: str
    """Last part of their package's name."""
    codes: tuple[Code, ...]
    """Every reason that they may give."""


class StatementList(Wire):
    """Statements that a search found, oldest first."""

    statements: tuple[StatementInfo, ...]
    tree_size: int
    """Size of the log that was searched."""


class PartyInfo(Wire):
    """A party as its certificate names it."""

    id: Did
    name: Name
    contracts: tuple[Digest, ...]
    """Those that the caller may see."""


class PartyList(Wire):
    """Parties that the caller shares a contract with."""

    parties: tuple[PartyInfo, ...]


class PartyStatus(Wire):
    """Whether one party of a contract has signed."""

    role: Role
    id: Did
    name: Name
    signed: bool
    entry_id: str | None = None


class ContractSummary(Wire):
    """One line of a list of contracts."""

    digest: Digest
    id: Slug
    title: Name
    state: ContractState
    tdc: Did
    start_time: UtcTime
    expiry_time: UtcTime


class ContractList(Wire):
    """Contracts that the caller is a party of."""

    contracts: tuple[ContractSummary, ...]


class ContractStatus(ContractSummary):
    """How far a contract is."""

    parties: tuple[PartyStatus, ...]
    missing: tuple[Did, ...]
    """Who has not signed yet."""
    statements: tuple[StatementInfo, ...]


class ContractRegistered(Wire):
    """The answer to a proposal, a signature or a revocation."""

    state: ContractState
    missing: tuple[Did, ...]
    registered: Registered
    executed: Registered | None = None
    """The statement that all have signed, once they have."""
    decision_id: Slug | None = None
    """Id of the decision that it holds, once all have signed."""


class RunStatus(Wire):
    """How far a run is; public values only."""

    run: RunId
    name: Name
    contract: Digest
    pipeline: Digest
    state: RunState
    decision_id: Slug
    reasons: tuple[Reason, ...] = ()
    """Why it was denied."""
    submitted_at: int
    changed_at: int
    expires_at: int | None = None
    """Until when the approval may be used."""
    deadline: int | None = None
    """When a run whose keys are out is given up."""
    progress: Progress | None = None
    spent: Spent | None = None
    model: Digest | None = None
    model_url: str | None = None
    message: Name | None = None


class RunList(Wire):
    """Runs that the caller may see, newest first."""

    runs: tuple[RunStatus, ...]


class RunAccess(Wire):
    """The capability that a clean room needs for one run; shown once."""

    run: RunId
    token: str
    """Secret: hand it to the clean room as DEPA_RUN_TOKEN."""
    expires_at: int


class NonceAnswer(Wire):
    """A challenge that has to be in the attested runtime data."""

    nonce: str
    """32 bytes, base64url without padding."""
    expires_at: int


class ReleasedKey(Wire):
    """A key as its vault released it, wrapped to the clean room's attested RSA key."""

    vault: str
    name: Slug
    value: str
    """The vault's signed answer (JWS), unopened."""


class Released(Wire):
    """Keys and the receipts that precede them."""

    run: RunId
    decision_id: Slug
    """Of the decision that allowed it."""
    keys: tuple[ReleasedKey, ...]
    receipts: tuple[Registered, ...]
    """Of the decision, the booking and the release, in that order."""
    deadline: int


class ReportAccepted(Wire):
    """The answer to a run report."""

    state: RunState
    registered: Registered


class BudgetLine(Wire):
    """What one consumer, or all of them together (`tdc` absent), has spent of a data set."""

    tdc: Did | None = None
    micro_epsilon_spent: int
    """Of settled runs and reservations, composed, at the budget's delta."""
    micro_epsilon_limit: int
    delta_trillionths: int
    bookings: int


class BudgetEntry(Wire):
    """One booking."""

    run: RunId
    contract: Digest
    tdc: Did
    state: Literal["reserved", "settled", "returned"]
    micro_epsilon: int
    delta_trillionths: int
    event: dict[str, Any]
    booked_at: int


class BudgetStatus(Wire):
    """The budgets of one data set under one contract."""

    dataset: Slug
    digest: Digest
    contract: Digest
    unit: Literal["patient", "record"]
    adjacency: Literal["add-remove", "replace-one"]
    total: BudgetLine
    overall: BudgetLine
    entries: tuple[BudgetEntry, ...]


class BudgetList(Wire):
    """The budgets of one data set, one for each contract that the caller is a party of."""

    budgets: tuple[BudgetStatus, ...]


class PolicyInfo(Wire):
    """A policy bundle that contracts may name."""

    version: Version
    digest: Digest
    shipped: bool
    """Whether it is the one that came with the service's code."""
    entry_id: str | None = None
    """Where the log says that the service has it."""


class PolicyList(Wire):
    """The policy bundles of the service, oldest first."""

    bundles: tuple[PolicyInfo, ...]


class DecisionAnswer(Wire):
    """A decision, where the log has it, and its reasons in words."""

    record: DecisionRecord
    registered: Registered
    reasons: tuple[Reason, ...]
    warnings: tuple[Reason, ...]


class PolicyAnswer(Wire):
    """What the policy would say, and what a run would cost."""

    mode: Literal["dry-run"] = "dry-run"
    decision: Decision
    assumes: tuple[Literal["signatures", "unspent-budgets"], ...]
    """What is taken for granted of a draft: that all have signed it, and that nobody has spent."""
    micro_epsilon: int | None = None
    """The most that the run may cost on one data set; absent where nothing is spent."""
    delta_trillionths: int | None = None
