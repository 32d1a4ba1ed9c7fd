"""The states of a run."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract_service.problems import ConflictError
from contract_service.runs.state import FINAL, Settlement, Standing, check_transition, settlement
from policies.wire.run import RunState

STATES: tuple[RunState, ...] = get_args(RunState)
ALLOWED = {
    ("submitted", "approved"),
    ("submitted", "denied"),
    ("approved", "releasing"),
    ("approved", "expired"),
    ("approved", "failed"),
    ("releasing", "released"),
    ("releasing", "failed"),
    ("released", "training"),
    ("released", "completed"),
    ("released", "failed"),
    ("training", "completed"),
    ("training", "failed"),
}


@pytest.mark.parametrize(("now", "then"), list(itertools.product(STATES, STATES)))
def test_a_run_takes_the_drawn_ways_and_no_other(now: RunState, then: RunState) -> None:
    if (now, then) in ALLOWED:
        check_transition(now, then, run="run-x")
    else:
        with pytest.raises(ConflictError, match=f"run-x is {now}; it cannot become {then}"):
            check_transition(now, then, run="run-x")


def test_what_is_over_stays_over() -> None:
    assert {"denied", "completed", "failed", "expired"} == FINAL


def standing(state: RunState, *, asked: bool = False, deadline: int | None = 200) -> Standing:
    return Standing(state=state, vault_asked=asked, expires_at=100, deadline=deadline)


def test_an_approval_expires_on_time() -> None:
    waiting = standing("approved", deadline=None)
    assert settlement(waiting, now=99, restarted=False) is Settlement.KEEP
    assert settlement(waiting, now=100, restarted=False) is Settlement.EXPIRE


def test_an_interrupted_release_is_returned_only_before_the_mark() -> None:
    assert settlement(standing("releasing"), now=50, restarted=True) is Settlement.RETURN
    assert settlement(standing("releasing"), now=50, restarted=False) is Settlement.KEEP
    asked = standing("releasing", asked=True)
    assert settlement(asked, now=50, restarted=True) is Settlement.KEEP
    assert settlement(asked, now=200, restarted=True) is Settlement.CHARGE


@given(
    state=st.sampled_from(STATES),
    asked=st.booleans(),
    now=st.integers(0, 400),
    restarted=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_a_reservation_is_never_returned_once_a_vault_may_have_been_asked(
    state: RunState, asked: bool, now: int, restarted: bool
) -> None:
    verdict = settlement(standing(state, asked=asked), now=now, restarted=restarted)
    if asked:
        assert verdict is not Settlement.RETURN
    if state in FINAL:
        assert verdict is Settlement.KEEP
    if verdict is Settlement.CHARGE:
        assert now >= 200
