"""What a policy engine owes: a verdict, or an error that becomes a denial."""

from __future__ import annotations

from typing import Protocol

from pydantic import Field

from policies.bundle import Bundle
from policies.wire.base import Wire
from policies.wire.decision import Entrypoint

MAX_REASONS = 1000


class RawReason(Wire):
    """A reason as a rule writes it."""

    code: str
    path: str
    msg: str


class JudgedBy(Wire):
    """Which policy a decision says it was made by."""

    id: str
    version: str


class Verdict(Wire):
    """What the entrypoint of a package evaluates to: all of this, and nothing else."""

    allow: bool
    reasons: tuple[RawReason, ...] = Field(max_length=MAX_REASONS)
    warnings: tuple[RawReason, ...] = Field(max_length=MAX_REASONS)
    policy: JudgedBy


class PartyVerdict(Wire):
    """What the rules of one provider come to."""

    deny: tuple[RawReason, ...]
    warn: tuple[RawReason, ...]


class PartyEngine(Protocol):
    """Evaluates the rules of one provider, whom nobody else has to trust, within limits."""

    def evaluate(self, text: str, *, package: str, document: str) -> PartyVerdict:
        """Return the sets `deny` and `warn` of `data.depa.party.<package>`.

        Args:
            text: The Rego module, which sees nothing but itself and the document.
            package: Last part of its package's name.
            document: JSON that the rules see as `input`.

        Raises:
            PolicyError: on any error or limit, a missing `deny`, or a result of another shape. The
            caller MUST treat it as a denial.
        """


class PolicyEngine(Protocol):
    """Evaluates the `decision` rule of a package over one input document.

    Everything that a rule sees is in `document`. What an engine keeps between evaluations MUST not
    change an answer.
    """

    @property
    def name(self) -> str:
        """Name and version, as decisions record it."""

    def evaluate(
        self, bundle: Bundle, *, entrypoint: Entrypoint, document: bytes, terms: bytes = b""
    ) -> Verdict:
        """Return the value of `data.depa.<entrypoint>.decision`.

        Args:
            bundle: The rules.
            entrypoint: Name of the package under `depa`.
            document: JSON that the rules see as `input`.
            terms: The value of its member `contract`, as it stands there, for an engine that keeps
                what `data.depa.agreed.verdict` says about terms; empty if it should not.

        Raises:
            PolicyError: on any error, a missing result, or a result of another shape.
            PolicyUnavailableError: if no engine answers in time.
            PolicyMismatchError: if the engine holds another bundle.
        """
