"""The documents of a run: approval, key release, report and what they book on the budgets."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from policies.wire.base import Did, Digest, Document, Hex32, Hex48, Name, RunId, Slug, UtcTime, Wire

MAX_NOISE: Final = 10_000.0
"""The largest noise multiplier of a mechanism that a budget holds."""
MAX_COUNT: Final = 10_000_000
"""How often such a mechanism may be repeated."""

RunState = Literal[
    "submitted",
    "approved",
    "denied",
    "releasing",
    "released",
    "training",
    "completed",
    "failed",
    "expired",
]


class Charge(Wire):
    """What a run may cost, or has cost, on one data set."""

    dataset: Slug
    tdc: Did
    micro_epsilon: int = Field(ge=0, le=2**53 - 1)
    """Epsilon in millionths, rounded up."""
    delta_trillionths: int = Field(ge=0, le=10**12)
    """Delta in 1e-12."""
    event: dict[str, Any]
    """The mechanism as a `dp_accounting` event; budgets compose events, never epsilons."""


class Approval(Document):
    """The service's permission for one run; single use."""

    kind: ClassVar[str] = "approval"

    run: RunId
    contract: Digest
    pipeline: Digest
    decision: Slug
    """Id of the decision that allowed it."""
    approved_at: UtcTime
    expires_at: UtcTime
    charges: tuple[Charge, ...]


class KeyRelease(Document):
    """Which keys went to which clean room; on the ledger before the vaults are asked."""

    kind: ClassVar[str] = "key-release"

    run: RunId
    contract: Digest
    pipeline: Digest
    allowed: bool
    """False records a refusal."""
    codes: tuple[Slug, ...] = ()
    decision: Slug
    keys: tuple[str, ...]
    """Vault URL and key name of each."""
    token: Digest
    """Digest of the attestation token, whose text the auditor's bundle holds."""
    nonce: Digest
    host_data: Hex32
    measurement: Hex48
    report_key: Did
    """did:jwk that will sign the run report; it was in the attested runtime data."""
    released_at: int


class BudgetBooking(Document):
    """A change of the budgets: a reservation, its settlement or its return."""

    kind: ClassVar[str] = "budget-booking"

    run: RunId
    contract: Digest
    decision: Slug
    """Id of the decision that allowed the run's keys; it is booked once."""
    state: Literal["reserved", "settled", "returned"]
    reason: Name
    charges: tuple[Charge, ...]
    booked_at: int


class Spent(Wire):
    """The privacy that training really cost, the same for every unit of every data set."""

    micro_epsilon: int = Field(ge=0)
    delta_trillionths: int = Field(ge=0)
    steps: int = Field(ge=0)
    noise_multiplier: float = Field(ge=0)
    sampling_rate: float = Field(ge=0, le=1)
    max_grad_norm: float = Field(ge=0)
    unit: Literal["patient", "record"]
    adjacency: Literal["add-remove", "replace-one"]
    event: dict[str, Any]


class Progress(Document):
    """How far training is: public values only, none of them derived from private data."""

    kind: ClassVar[str] = "progress"

    phase: Literal["verifying", "attesting", "unsealing", "training", "sealing", "reporting"]
    step: int = Field(ge=0)
    steps: int = Field(ge=0)
    micro_epsilon: int = Field(ge=0)
    micro_epsilon_limit: int = Field(ge=0)
    seconds: float = Field(ge=0)
    """Since the clean room started."""
    eta_seconds: float | None = Field(default=None, ge=0)
    restarts: int | None = Field(default=None, ge=1)
    """How often training was killed and went on from a checkpoint; absent if it was not."""


class RunReport(Document):
    """What the clean room did, signed with the key that its evidence vouches for."""

    kind: ClassVar[str] = "run-report"

    run: RunId
    contract: Digest
    pipeline: Digest
    state: Literal["completed", "failed"]
    reason: Name
    """`completed`, or why not; never a value derived from private data."""
    host_data: Hex32
    measurement: Hex48
    datasets: tuple[Digest, ...]
    """Digests of the sealed files that were opened."""
    spent: Spent | None = None
    """Absent when no step was taken."""
    model: Digest | None = None
    """Digest of the sealed model."""
    model_url: str | None = Field(default=None, max_length=1000)
    restarts: int | None = Field(default=None, ge=1)
    """How often training was killed and went on from a checkpoint; absent if it was not."""
    started_at: int
    finished_at: int


class Revocation(Document):
    """A party takes its consent back."""

    kind: ClassVar[str] = "revocation"

    contract: Digest
    reason: Name
    revoked_at: UtcTime


class Executed(Document):
    """All parties have signed."""

    kind: ClassVar[str] = "executed"

    contract: Digest
    decision: Slug
    """Id of the decision that the contract holds, signed by all."""
    signatures: tuple[Digest, ...] = Field(min_length=3)
    """Leaf hashes of the parties' signature statements, in the order of the parties."""
    executed_at: int
