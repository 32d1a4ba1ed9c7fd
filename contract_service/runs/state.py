"""The states of a run and the only ways between them.

    submitted   -> approved | denied
    approved    -> releasing | expired | failed
    releasing   -> released | failed
    released    -> training | completed | failed
    training    -> completed | failed

No state is reached twice: a run happens once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from contract_service.problems import ConflictError
from policies.wire.run import RunState

_NEXT: Final[dict[RunState, frozenset[RunState]]] = {
    "submitted": frozenset({"approved", "denied"}),
    "approved": frozenset({"releasing", "expired", "failed"}),
    "denied": frozenset(),
    "releasing": frozenset({"released", "failed"}),
    "released": frozenset({"training", "completed", "failed"}),
    "training": frozenset({"completed", "failed"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "expired": frozenset(),
}
FINAL: Final = frozenset(state for state, following in _NEXT.items() if not following)
"""States that nothing leads out of."""


class Settlement(Enum):
    """What to do with a run that nobody is working on any more."""

    KEEP = "nothing is overdue"
    EXPIRE = "the approval was not used in time"
    RETURN = "interrupted before a vault could be asked"
    CHARGE = "no report came before the deadline"


@dataclass(frozen=True)
class Standing:
    """What a settlement rests on."""

    state: RunState
    vault_asked: bool
    """Whether the mark that a vault may have been asked is durable."""
    expires_at: int | None
    deadline: int | None


def check_transition(now: RunState, then: RunState, *, run: str) -> None:
    """Raise unless a run may go from `now` to `then`.

    Raises:
        ConflictError: with both states.
    """
    if then not in _NEXT[now]:
        raise ConflictError(
            "run-state",
            f"{run} is {now}; it cannot become {then}",
            hint="a run is used once; submit the pipeline again for another",
        )


def settlement(run: Standing, *, now: int, restarted: bool) -> Settlement:
    """Decide what becomes of a run.

    Args:
        run: Where it stands.
        now: Unix seconds.
        restarted: True if no request can be working on it, as right after a start.
    """
    if run.state == "approved" and run.expires_at is not None and now >= run.expires_at:
        return Settlement.EXPIRE
    overdue = run.deadline is not None and now >= run.deadline
    if run.state == "releasing" and not run.vault_asked and (restarted or overdue):
        return Settlement.RETURN
    if run.state in {"releasing", "released", "training"} and overdue:
        return Settlement.CHARGE
    return Settlement.KEEP
