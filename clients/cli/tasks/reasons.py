"""Reasons as people read them: what was decided, where in their file, and what to do about it."""

from __future__ import annotations

from clients.cli.errors import DeniedWithRemedies, Remedy
from clients.cli.tasks.places import Places
from policies.decide import Policy
from policies.errors import PolicyError
from policies.wire.decision import Decision, Reason


def denied(decision: Decision, policy: Policy, places: Places) -> DeniedWithRemedies:
    """Return the error that says all of it, for a decision that does not allow."""
    return DeniedWithRemedies(decision, [remedy(one, policy, places) for one in decision.reasons])


def warnings(decision: Decision, policy: Policy, places: Places) -> list[Remedy]:
    """Return what a decision warns of."""
    return [remedy(one, policy, places) for one in decision.warnings]


def remedy(reason: Reason, policy: Policy, places: Places) -> Remedy:
    """Return where a reason leads to, and what its explanation advises."""
    place = places.find(reason.path)
    try:
        known = policy.explain(reason.code)
    except PolicyError:
        # Another policy has decided, or rules of a provider that are not at hand.
        return Remedy(reason, place)
    return Remedy(reason, place, known.fixed_by, known.remedy)
