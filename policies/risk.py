"""What an attacker could do to one unit, in figures that people can weigh.

Epsilon bounds a ratio; these figures are probabilities. All of them follow from the same privacy
loss distribution that budgets are counted by, hold for any number of steps and for both directions
of an adjacency, and are upper bounds on every attack by anybody who knows all but one unit:

    f(alpha) = max over epsilon >= 0 of 1 - delta(epsilon) - e^epsilon alpha
                                 and of e^-epsilon (1 - delta(epsilon) - alpha)

is the least share of members that a test misses while it accuses a share alpha of non-members
(Dong, Roth and Su 2022). With it 1 - f(alpha) is the most members found at that false positive
rate, and 1 - f(kappa) the most that a reconstruction succeeds whose guess without the model would
succeed with kappa (Hayes et al. 2023; Kaissis et al. 2023).

It stands with the policies, not with the trainer, so that a party weighs a contract without torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from dp_accounting import dp_event
from dp_accounting.pld.pld_privacy_accountant import PLDAccountant
from numpy.typing import NDArray

from policies import accounting
from policies.accounting import Adjacency, Event
from policies.errors import BudgetError

_KNOTS: Final = 20_000
_FEW_KNOTS: Final = 2_000
"""For searches: fewer knots give a slightly larger risk, so that the bound still holds."""
_MOST_LOSS: Final = math.log(1e9)
"""Privacy losses beyond this change no probability by more than one in a thousand million."""
_NEGLIGIBLE: Final = 1e-10
_SETTLED: Final = 0.01
"""A finer grid that changes the advantage by a smaller part than this is not worth its time."""
_DELTAS: Final = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
_ALPHAS: Final = tuple(float(x) for x in np.geomspace(1e-4, 1, 41))
BASELINES: Final = (0.01, 0.1)
LOW_FALSE_POSITIVES: Final = 1e-3


class Profile:
    """The privacy of some mechanisms together, as one curve."""

    def __init__(self, accountant: PLDAccountant, *, knots: int = _KNOTS) -> None:
        self._accountant = accountant
        top = min(float(accountant.get_epsilon(_NEGLIGIBLE)), _MOST_LOSS)
        self._epsilons = np.linspace(0, top, knots if top > 0 else 1)
        deltas = accountant.get_delta(self._epsilons)  # type: ignore[arg-type]  # takes arrays too
        self._deltas: NDArray[np.float64] = np.clip(np.asarray(deltas), 0, 1)

    @property
    def advantage(self) -> float:
        """The most by which a test's true positive rate exceeds its false positive rate."""
        return float(self._deltas[0])

    def missed(self, alpha: float) -> float:
        """Return f(alpha): the least share of members that a test misses.

        Raises:
            BudgetError: if alpha is not a probability.
        """
        if not 0 <= alpha <= 1:
            raise BudgetError(f"probability: expected 0 to 1, got {alpha}")
        ratio = np.exp(self._epsilons)
        one = 1 - self._deltas - ratio * alpha
        other = (1 - self._deltas - alpha) / ratio
        return float(max(0.0, one.max(), other.max()))

    def success(self, baseline: float) -> float:
        """Return 1 - f(baseline): what a guess that succeeds with `baseline` becomes.

        Raises:
            BudgetError: as `missed`.
        """
        return 1 - self.missed(baseline)

    def epsilon(self, delta: float) -> float:
        """Return an upper bound on epsilon at delta; infinite if there is none."""
        return float(self._accountant.get_epsilon(delta))


def profile(events: Sequence[Event], *, adjacency: Adjacency) -> Profile:
    """Return the profile of events together.

    Raises:
        BudgetError: if they cannot be composed.
    """
    event = dp_event.ComposedDpEvent(list(events)) if events else dp_event.NoOpDpEvent()
    return Profile(_settled(event, adjacency)[1])


def _settled(event: Event, adjacency: Adjacency) -> tuple[float, PLDAccountant]:
    """Compose on the coarsest grid that a finer one would hardly improve; return it as well."""
    found = [(grid, _composed(event, adjacency, grid)) for grid in accounting.GRIDS[:1]]
    for grid in accounting.GRIDS[1:]:
        fine = _composed(event, adjacency, grid)
        # Each is an upper bound, so that the choice is one of tightness and never of soundness.
        if found[-1][1].get_delta(0.0) <= (1 + _SETTLED) * fine.get_delta(0.0):
            break
        found.append((grid, fine))
    return found[-1]


def _composed(event: Event, adjacency: Adjacency, grid: float) -> PLDAccountant:
    return accounting.composed(event, adjacency=adjacency, grid=grid)


@dataclass(frozen=True)
class Goal:
    """A limit on a risk."""

    measure: Literal["advantage", "success"]
    at_most: float
    baseline: float = 0.0
    """What a guess succeeds with without the model; for `success`."""

    def __str__(self) -> str:
        of = f" from a baseline of {self.baseline:g}" if self.measure == "success" else ""
        return f"{self.measure} at most {self.at_most:g}{of}"

    def of(self, found: Profile) -> float:
        """Return the figure that is limited."""
        return found.advantage if self.measure == "advantage" else found.success(self.baseline)


def noise_for(
    goal: Goal, *, sampling_rate: float, steps: int, adjacency: Adjacency
) -> tuple[float, Profile]:
    """Return the least noise multiplier that reaches a goal, and the profile with it.

    Raises:
        BudgetError: if an argument is out of range, or no noise reaches it.
    """
    if not goal.baseline < goal.at_most < 1:
        raise BudgetError(
            f"at most: expected more than the baseline {goal.baseline:g} and less than 1, "
            f"got {goal.at_most:g}",
            hint="no noise makes a guess worse than it is without the model",
        )
    if steps < 1:
        raise BudgetError(f"steps: expected at least 1, got {steps}")

    def event(noise: float) -> Event:
        return accounting.training_event(
            noise_multiplier=noise, sampling_rate=sampling_rate, steps=steps
        )

    def exact(noise: float) -> float:
        return goal.of(profile([event(noise)], adjacency=adjacency))

    for grid in accounting.GRIDS:

        def cost(noise: float, grid: float = grid) -> float:
            return goal.of(Profile(_composed(event(noise), adjacency, grid), knots=_FEW_KNOTS))

        noise = accounting.least_noise(
            cost, exact=exact, at_most=goal.at_most, goal=f"{steps} steps at {goal}"
        )
        settled, accountant = _settled(event(noise), adjacency)
        if settled >= grid:
            break
    return noise, Profile(accountant)


@dataclass(frozen=True)
class RiskReport:
    """The risks of one release; all of it is public."""

    adjacency: Adjacency
    units: int | None
    """How many units there are, where it is known."""
    delta: float | None
    epsilon: float | None
    """Epsilon at the release's own delta, by the accountant of budgets."""
    epsilons: tuple[tuple[float, float], ...]
    """`(delta, epsilon)`."""
    advantage: float
    true_positives: float
    """The most members found at a false positive rate of one in a thousand."""
    reconstruction: tuple[tuple[float, float], ...]
    """`(baseline, most success)`."""
    curve: tuple[tuple[float, float], ...]
    """`(alpha, f(alpha))`."""

    def to_json(self) -> Mapping[str, Any]:
        """Return what programs read; an epsilon that is not bounded is null."""
        return {
            "adjacency": self.adjacency,
            "units": self.units,
            "delta": self.delta,
            "epsilon": self.epsilon,
            "profile": [
                {"delta": delta, "epsilon": epsilon if math.isfinite(epsilon) else None}
                for delta, epsilon in self.epsilons
            ],
            "membership": {
                "advantage": self.advantage,
                "falsePositiveRate": LOW_FALSE_POSITIVES,
                "truePositiveRate": self.true_positives,
            },
            "reconstruction": [
                {"baseline": baseline, "success": success}
                for baseline, success in self.reconstruction
            ],
            "tradeOff": [{"alpha": alpha, "missed": missed} for alpha, missed in self.curve],
        }


def assess(
    events: Sequence[Event],
    *,
    adjacency: Adjacency,
    delta: float | None = None,
    units: int | None = None,
    baselines: Sequence[float] = BASELINES,
) -> RiskReport:
    """Return the risks of events together.

    Args:
        events: The mechanisms.
        adjacency: Which data sets are neighbours.
        delta: The release's own delta.
        units: How many units there are: a guess among them is right with one in so many.
        baselines: What guesses succeed with without the release.

    Raises:
        BudgetError: if an argument is out of range or the events cannot be composed.
    """
    if units is not None and units < 1:
        raise BudgetError(f"units: expected at least 1, got {units}")
    found = profile(events, adjacency=adjacency)
    own = () if units is None else (1 / units,)
    return RiskReport(
        adjacency=adjacency,
        units=units,
        delta=delta,
        epsilon=(
            None if delta is None else accounting.compose(events, delta=delta, adjacency=adjacency)
        ),
        epsilons=tuple((one, found.epsilon(one)) for one in _DELTAS),
        advantage=found.advantage,
        true_positives=found.success(LOW_FALSE_POSITIVES),
        reconstruction=tuple((one, found.success(one)) for one in sorted({*own, *baselines})),
        curve=tuple((alpha, found.missed(alpha)) for alpha in _ALPHAS),
    )
