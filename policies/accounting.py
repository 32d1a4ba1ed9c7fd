"""How much noise a plan needs, what mechanisms cost together, what a budget still takes.

Mechanisms are composed as events by privacy loss distributions (PLD), never by adding epsilons and
never by a central limit argument, which reports less than the truth. The discretisation rounds
losses up, so every number is an upper bound. A second accountant (Renyi DP) checks the first where
it knows the mechanism: PLD above RDP is an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final, Literal

from dp_accounting import dp_event
from dp_accounting.pld.pld_privacy_accountant import PLDAccountant
from dp_accounting.privacy_accountant import NeighboringRelation
from dp_accounting.rdp.rdp_privacy_accountant import RdpAccountant
from scipy.optimize import brentq

from policies.errors import BudgetError
from policies.events import Event, event_from_json, event_to_json
from policies.wire.pipeline import TrainDlConfig
from policies.wire.run import MAX_COUNT, MAX_NOISE

__all__ = [
    "GRIDS",
    "Adjacency",
    "Event",
    "PrivacyPlan",
    "compose",
    "composed",
    "delta_trillionths",
    "epsilon_table",
    "event_from_json",
    "event_to_json",
    "least_noise",
    "micro_epsilon",
    "plan",
    "plan_training",
    "training_event",
]

Adjacency = Literal["add-remove", "replace-one"]

MAX_EPSILON: Final = 1000.0
"""A cost beyond this is not distinguished from no protection at all."""
GRIDS: Final = (1e-3, 1e-4, 1e-5)
"""Widths of the buckets of the privacy loss: smaller is tighter, and slower for large epsilons."""
_ENOUGH_BUCKETS: Final = 100
_RDP_ORDERS: Final = (*range(2, 64), 80, 96, 128, 256, 512)
_NOISE_UNITS: Final = 10_000
"""Noise multipliers are multiples of one in this many, so that documents show them exactly."""
_MIN_NOISE: Final = 0.05
_RELATIONS: Final[Mapping[str, NeighboringRelation]] = {
    "add-remove": NeighboringRelation.ADD_OR_REMOVE_ONE,
    "replace-one": NeighboringRelation.REPLACE_ONE,
}


@dataclass(frozen=True)
class PrivacyPlan:
    """A private training run as it was agreed: everything here is public."""

    epsilon: float
    """Target over the whole run; `cost` is at most this."""
    delta: float
    adjacency: Adjacency
    sampling_rate: float
    """Probability that one unit takes part in one step."""
    steps: int
    noise_multiplier: float
    """Standard deviation of the noise divided by the largest norm of one unit's gradient."""
    cost: float
    """Epsilon of all steps, and of the metrics after them, at `delta`."""
    metrics_noise: float | None = None
    """Noise multiplier of the metrics that are released after the last step; None for none."""

    @property
    def event(self) -> Event:
        """The whole run as a mechanism, the metrics after it included."""
        return _with_metrics(self.event_after(self.steps), self.metrics_noise)

    def event_after(self, steps: int) -> Event:
        """Return the first `steps` steps as a mechanism."""
        return training_event(
            noise_multiplier=self.noise_multiplier, sampling_rate=self.sampling_rate, steps=steps
        )


def plan(
    *,
    epsilon: float,
    delta: float,
    sampling_rate: float,
    steps: int,
    adjacency: Adjacency,
    metrics_epsilon: float | None = None,
) -> PrivacyPlan:
    """Find the least noise with which the run costs at most `epsilon` at `delta`.

    Args:
        epsilon: What the whole run may cost.
        delta: At which delta.
        sampling_rate: Probability that one unit takes part in one step.
        steps: Steps of training.
        adjacency: Which data sets are neighbours.
        metrics_epsilon: What metrics of the data may cost by themselves, within `epsilon`; None
            for none.

    Raises:
        BudgetError: if an argument is out of range or no noise up to 10,000 is enough.
    """
    _in_range("epsilon", epsilon, 0.0, MAX_EPSILON)
    _in_range("delta", delta, 0.0, 1.0)
    _in_range("sampling rate", sampling_rate, 0.0, 1.0, closed=True)
    metrics_noise = None
    if metrics_epsilon is not None:
        _in_range("epsilon of metrics", metrics_epsilon, 0.0, epsilon)
        metrics_noise = _noise_of_metrics(metrics_epsilon, delta, adjacency)
    noise, cost = _calibrate(
        epsilon,
        delta,
        sampling_rate=sampling_rate,
        steps=steps,
        adjacency=adjacency,
        metrics_noise=metrics_noise,
    )
    return PrivacyPlan(
        epsilon=epsilon,
        delta=delta,
        adjacency=adjacency,
        sampling_rate=sampling_rate,
        steps=steps,
        noise_multiplier=noise,
        cost=cost,
        metrics_noise=metrics_noise,
    )


def plan_training(train: TrainDlConfig, *, units: int) -> PrivacyPlan:
    """Return the plan of a private training stage over the `units` that the contract states.

    The sampling rate follows from that public number and not from the data, so that it is the same
    for neighbouring data sets.

    Raises:
        BudgetError: if the stage is not private, its batch exceeds the units, or as `plan`.
    """
    params = train.privacy_params
    if params is None:
        raise BudgetError("the training stage is not private, so that it has no privacy plan")
    if train.batch_size > units:
        raise BudgetError(f"batchSize: expected at most the {units} units, got {train.batch_size}")
    return plan(
        epsilon=params.epsilon,
        delta=params.delta,
        sampling_rate=train.batch_size / units,
        steps=train.steps,
        adjacency=params.adjacency,
        metrics_epsilon=train.private_metrics.epsilon if train.private_metrics else None,
    )


def _with_metrics(training: Event, noise: float | None) -> Event:
    if noise is None:
        return training
    return dp_event.ComposedDpEvent([training, dp_event.GaussianDpEvent(noise)])


@lru_cache(maxsize=64)
def _noise_of_metrics(epsilon: float, delta: float, adjacency: Adjacency) -> float:
    return least_noise(
        lambda noise: _pld(dp_event.GaussianDpEvent(noise), delta=delta, adjacency=adjacency),
        exact=lambda noise: compose(
            [dp_event.GaussianDpEvent(noise)], delta=delta, adjacency=adjacency
        ),
        at_most=epsilon,
        goal=f"metrics within epsilon {epsilon}",
    )


@lru_cache(maxsize=64)
def _calibrate(
    epsilon: float,
    delta: float,
    *,
    sampling_rate: float,
    steps: int,
    adjacency: Adjacency,
    metrics_noise: float | None,
) -> tuple[float, float]:
    def event(noise: float) -> Event:
        training = training_event(noise_multiplier=noise, sampling_rate=sampling_rate, steps=steps)
        return _with_metrics(training, metrics_noise)

    noise = least_noise(
        lambda noise: _pld(event(noise), delta=delta, adjacency=adjacency),
        exact=lambda noise: compose([event(noise)], delta=delta, adjacency=adjacency),
        at_most=epsilon,
        goal=f"{steps} steps within epsilon {epsilon}",
    )
    return noise, compose([event(noise)], delta=delta, adjacency=adjacency)


def least_noise(
    cost: Callable[[float], float], *, exact: Callable[[float], float], at_most: float, goal: str
) -> float:
    """Return the least noise multiplier, as documents show it, whose cost is at most `at_most`.

    Args:
        cost: What a noise multiplier costs, above 0 and falling; it is asked often.
        exact: What it costs by the figure that has to hold in the end.
        at_most: The most that it may cost.
        goal: What the noise is for, as an error says it.

    Raises:
        BudgetError: if no noise up to 10,000 is enough.
    """
    low, high = 0.5, 1.0
    while cost(high) > at_most:
        low, high = high, 2 * high
        if high > MAX_NOISE:
            raise BudgetError(
                f"no noise up to {MAX_NOISE:g} keeps {goal}",
                hint="take fewer steps, smaller batches or a larger limit",
            )
    while low > _MIN_NOISE and cost(low) <= at_most:
        low, high = low / 2, low
    if low <= _MIN_NOISE:
        return high
    # The logarithms lie nearly on a line, so that few distributions have to be composed.
    root = brentq(
        lambda x: math.log(cost(math.exp(x)) / at_most),
        math.log(low),
        math.log(high),
        xtol=2e-5,
        rtol=1e-6,
    )
    noise = math.ceil(math.exp(root) * _NOISE_UNITS) / _NOISE_UNITS
    while (total := exact(noise)) > at_most:
        noise = round(noise + 1 / _NOISE_UNITS, 4)
        if noise > high:
            raise BudgetError(f"calibration failed: noise {noise} still costs {total}")
    return noise


def training_event(*, noise_multiplier: float, sampling_rate: float, steps: int) -> Event:
    """Return `steps` steps of the Poisson-sampled Gaussian mechanism.

    Raises:
        BudgetError: if an argument is out of range.
    """
    _in_range("noise multiplier", noise_multiplier, 0.0, MAX_NOISE, closed=True)
    _in_range("sampling rate", sampling_rate, 0.0, 1.0, closed=True)
    if not 0 <= steps <= MAX_COUNT:
        raise BudgetError(f"steps: expected 0 to {MAX_COUNT}, got {steps}")
    if steps == 0:
        return dp_event.NoOpDpEvent()
    step = dp_event.PoissonSampledDpEvent(
        sampling_probability=sampling_rate, event=dp_event.GaussianDpEvent(noise_multiplier)
    )
    return dp_event.SelfComposedDpEvent(event=step, count=steps)


def compose(events: Sequence[Event], *, delta: float, adjacency: Adjacency) -> float:
    """Return an upper bound on the epsilon of all events together at `delta`.

    Raises:
        BudgetError: if the events cannot be composed, protect nothing, or the accountants disagree.
    """
    _in_range("delta", delta, 0.0, 1.0)
    event = dp_event.ComposedDpEvent(list(events)) if events else dp_event.NoOpDpEvent()
    epsilon = _pld(event, delta=delta, adjacency=adjacency)
    ceiling = _rdp(event, delta=delta, adjacency=adjacency)
    if ceiling is None:
        return epsilon
    ceiling += _ENOUGH_BUCKETS * GRIDS[-1]
    for grid in GRIDS[1:]:
        # Both bound the same truth from above, the distribution much more tightly once its buckets
        # are small enough.
        if epsilon > ceiling:
            epsilon = _on_grid(event, delta=delta, adjacency=adjacency, grid=grid)
    if epsilon > ceiling:
        raise BudgetError(f"accountants disagree: PLD says {epsilon}, RDP at most {ceiling}")
    return epsilon


@lru_cache(maxsize=16)
def epsilon_table(agreed: PrivacyPlan, *, points: int = 25) -> tuple[tuple[int, float], ...]:
    """Return `(step, epsilon after it)` at about `points` steps, from 0 to the last.

    Between two of its steps the later one's epsilon is an upper bound.

    Raises:
        BudgetError: as `compose`.
    """
    stride = max(1, -(-agreed.steps // points))
    marks = sorted({*range(stride, agreed.steps, stride), agreed.steps})
    table = [(0, 0.0)]
    for step in marks:
        event = agreed.event_after(step)
        cost = _pld(event, delta=agreed.delta, adjacency=agreed.adjacency)
        # Rounding inside the transform must not make a later step look cheaper.
        table.append((step, max(cost, table[-1][1])))
    table[-1] = (agreed.steps, max(agreed.cost, table[-2][1]) if agreed.steps else 0.0)
    return tuple(table)


def micro_epsilon(epsilon: float) -> int:
    """Return epsilon in millionths, rounded up.

    Raises:
        BudgetError: if it is negative, infinite or not a number.
    """
    if not math.isfinite(epsilon) or epsilon < 0:
        raise BudgetError(f"epsilon: expected a number of at least 0, got {epsilon}")
    # Decimal, since 0.1 * 1e6 in binary may lie above the number that stands in the document.
    return math.ceil(Decimal(repr(float(epsilon))) * 10**6)


def delta_trillionths(delta: float) -> int:
    """Return delta in 1e-12, rounded up.

    Raises:
        BudgetError: if it is not a probability.
    """
    if not 0 <= delta <= 1:
        raise BudgetError(f"delta: expected 0 to 1, got {delta}")
    return math.ceil(Decimal(repr(float(delta))) * 10**12)


def _pld(event: Event, *, delta: float, adjacency: Adjacency) -> float:
    """Return an upper bound on epsilon, on a grid that is fine compared with it."""
    epsilon = math.inf
    for grid in GRIDS:
        epsilon = _on_grid(event, delta=delta, adjacency=adjacency, grid=grid)
        if epsilon >= _ENOUGH_BUCKETS * grid or epsilon == 0:
            break
    return epsilon


def _on_grid(event: Event, *, delta: float, adjacency: Adjacency, grid: float) -> float:
    with _failures():
        epsilon = float(composed(event, adjacency=adjacency, grid=grid).get_epsilon(delta))
    if not 0 <= epsilon < math.inf:
        # Also catches NaN, which compares false with everything.
        raise BudgetError(f"the events protect nothing: epsilon is {epsilon} at delta {delta}")
    return epsilon


def composed(event: Event, *, adjacency: Adjacency, grid: float) -> PLDAccountant:
    """Return the accountant that has composed an event on a grid of privacy losses.

    Raises:
        BudgetError: if it cannot.
    """
    accountant = PLDAccountant(_RELATIONS[adjacency], grid)
    if not accountant.supports(event):
        raise BudgetError(f"the accountant cannot compose this event under {adjacency}")
    with _failures():
        accountant.compose(event)
    return accountant


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (ValueError, OverflowError, FloatingPointError) as error:
        raise BudgetError(f"the accountant failed: {error}") from error


def _rdp(event: Event, *, delta: float, adjacency: Adjacency) -> float | None:
    if adjacency == "replace-one":
        # There it measures noise by the distance of two neighbours, not by one unit's norm.
        return None
    accountant = RdpAccountant(_RDP_ORDERS, _RELATIONS[adjacency])
    if not accountant.supports(event):
        return None
    return float(accountant.compose(event).get_epsilon(delta))


def _in_range(name: str, value: float, low: float, high: float, *, closed: bool = False) -> None:
    if not (low < value < high or (closed and value == high)):
        raise BudgetError(f"{name}: expected more than {low:g} and at most {high:g}, got {value}")
