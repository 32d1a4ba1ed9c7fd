"""Reasons as people read them: what was decided, where in their file, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from clients.cli.errors import DeniedWithRemedies, Remedy
from clients.cli.output import Answer
from clients.cli.tasks.places import Places
from policies.decide import Policy
from policies.errors import PolicyError
from policies.wire.decision import Decision, Reason


def judged(
    decision: Decision,
    policy: Policy,
    places: Places,
    *,
    epsilon: float | None = None,
    notes: Sequence[str] = (),
) -> Answer:
    """Return a decision that allows, with what it warns of, as a command answers it.

    Args:
        decision: What was decided.
        policy: What explains its codes.
        places: Files that were judged.
        epsilon: The most that a run would cost, if there is one.
        notes: What else is to be said.

    Raises:
        Denied: when it does not allow, with every reason, its place and its remedy.
    """
    if not decision.allow:
        raise denied(decision, policy, places)
    warned = [remedy(one, policy, places) for one in decision.warnings]
    cost = "" if epsilon is None else f", epsilon {epsilon:g} at most"
    return Answer(
        decision.to_json()
        | {"warnings": [one.to_json() for one in warned]}
        | ({} if epsilon is None else {"epsilon": epsilon}),
        "\n".join(
            [
                f"{decision.entrypoint} allows it{cost}, policy {decision.policy}",
                *notes,
                *(f"warning: {one}" for one in warned),
            ]
        ),
    )


def denied(decision: Decision, policy: Policy, places: Places) -> DeniedWithRemedies:
    """Return the error that says all of it, for a decision that does not allow."""
    return DeniedWithRemedies(decision, [remedy(one, policy, places) for one in decision.reasons])


def remedy(reason: Reason, policy: Policy, places: Places) -> Remedy:
    """Return where a reason leads to, and what its explanation advises."""
    place = places.find(reason.path)
    try:
        known = policy.explain(reason.code)
    except PolicyError:
        # Another policy has decided, or rules of a provider that are not at hand.
        return Remedy(reason, place)
    return Remedy(reason, place, known.fixed_by, known.remedy)
