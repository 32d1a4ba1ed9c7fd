import math

import pytest
from dp_accounting import dp_event

from policies import accounting
from policies.accounting import compose, plan, training_event
from policies.errors import BudgetError
from tests.training import train_config

ADD = "add-remove"

# Noise multiplier, sampling rate, steps, delta, epsilon by PLD and by Renyi DP. Computed with
# dp_accounting 0.6 at a grid of 1e-4; the first row is the published run of DEPA's BraTS scenario.
PUBLISHED = [
    (0.696, 1 / 29, 28, 1 / 228, 1.486, 2.336),
    (2.0, 32 / 228, 350, 1e-4, 5.857, 6.463),
    (1.1, 256 / 43636, 2550, 1e-5, 1.361, 1.518),
    (1.0, 512 / 20000, 2340, 1e-6, 9.086, 9.796),
    (0.4, 0.02, 2000, 1e-5, 72.5, 83.5),
    (0.8, 0.001, 50000, 1e-6, 2.025, 2.408),
]


@pytest.mark.parametrize("row", PUBLISHED)
def test_epsilon_agrees_with_published_runs_and_stays_below_renyi(
    row: tuple[float, float, int, float, float, float],
) -> None:
    noise, rate, steps, delta, by_pld, by_rdp = row
    event = training_event(noise_multiplier=noise, sampling_rate=rate, steps=steps)
    epsilon = compose([event], delta=delta, adjacency=ADD)
    assert epsilon == pytest.approx(by_pld, rel=0.025)
    assert epsilon <= by_rdp


def test_opacus_mnist_example_costs_less_than_its_published_bound() -> None:
    event = training_event(noise_multiplier=1.3, sampling_rate=240 / 60000, steps=15 * 250)
    assert compose([event], delta=1e-5, adjacency=ADD) < 1.16


def test_replacing_a_unit_costs_more_than_adding_one() -> None:
    event = training_event(noise_multiplier=1.1, sampling_rate=256 / 43636, steps=2550)
    assert compose([event], delta=1e-5, adjacency="replace-one") == pytest.approx(2.30, abs=0.01)


def test_the_unsampled_gaussian_matches_its_closed_form() -> None:
    # Balle and Wang 2018: delta(eps) = Phi(1/2s - eps s) - e^eps Phi(-1/2s - eps s).
    noise, delta = 2.0, 1e-5

    def phi(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2))

    epsilon = compose([dp_event.GaussianDpEvent(noise)], delta=delta, adjacency=ADD)
    exact = phi(1 / (2 * noise) - epsilon * noise) - math.exp(epsilon) * phi(
        -1 / (2 * noise) - epsilon * noise
    )
    assert exact <= delta
    assert exact == pytest.approx(delta, rel=0.02)


def test_plan_costs_at_most_its_target_and_nearly_all_of_it() -> None:
    agreed = plan(epsilon=8, delta=5e-4, sampling_rate=0.16, steps=50, adjacency=ADD)
    assert 7.98 < agreed.cost <= 8
    assert compose([agreed.event], delta=5e-4, adjacency=ADD) == agreed.cost


def test_many_steps_of_little_loss_are_not_counted_for_more_than_they_are() -> None:
    # On a coarse grid the rounding of 100,000 tiny losses would be ten times the truth.
    event = training_event(noise_multiplier=100.0, sampling_rate=0.001, steps=100_000)
    assert compose([event], delta=1e-6, adjacency=ADD) == pytest.approx(0.01, rel=0.1)


def test_accountants_that_disagree_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "_rdp", lambda *_, **__: 0.01)
    event = training_event(noise_multiplier=4.0, sampling_rate=0.1, steps=10)
    with pytest.raises(BudgetError, match=r"accountants disagree: PLD says .*, RDP at most 0\.011"):
        compose([event], delta=1e-5, adjacency=ADD)


def test_plan_follows_from_public_numbers_of_the_stage() -> None:
    agreed = accounting.plan_training(train_config(), units=40)
    assert agreed.sampling_rate == 0.1
    assert agreed.cost <= 4.0


def test_plan_is_refused_for_a_batch_larger_than_the_units() -> None:
    with pytest.raises(BudgetError, match="batchSize: expected at most the 3 units, got 4"):
        accounting.plan_training(train_config(), units=3)


def test_plan_is_refused_for_a_stage_without_privacy() -> None:
    config = train_config(isPrivate=False, privacyParams=None)
    with pytest.raises(BudgetError, match="not private"):
        accounting.plan_training(config, units=40)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf])
def test_plan_is_refused_for_an_epsilon_that_is_no_bound(epsilon: float) -> None:
    with pytest.raises(BudgetError, match="epsilon"):
        plan(epsilon=epsilon, delta=1e-5, sampling_rate=0.1, steps=10, adjacency=ADD)


@pytest.mark.parametrize("delta", [0.0, 1.0, math.nan])
def test_compose_is_refused_for_a_delta_that_is_no_probability(delta: float) -> None:
    event = training_event(noise_multiplier=1.0, sampling_rate=0.1, steps=1)
    with pytest.raises(BudgetError, match="delta"):
        compose([event], delta=delta, adjacency=ADD)


def test_an_event_without_noise_is_refused_rather_than_infinite() -> None:
    event = dp_event.PoissonSampledDpEvent(0.1, dp_event.GaussianDpEvent(0.0))
    with pytest.raises(BudgetError, match="protect nothing"):
        compose([event], delta=1e-5, adjacency=ADD)


def test_nothing_costs_nothing() -> None:
    assert compose([], delta=1e-5, adjacency=ADD) == 0
    assert (
        compose(
            [training_event(noise_multiplier=1.0, sampling_rate=0.1, steps=0)],
            delta=1e-5,
            adjacency=ADD,
        )
        == 0
    )


def test_runs_compose_to_less_than_the_sum_of_their_epsilons() -> None:
    event = training_event(noise_multiplier=1.1, sampling_rate=256 / 43636, steps=2550)
    one = compose([event], delta=1e-5, adjacency=ADD)
    three = compose([event] * 3, delta=1e-5, adjacency=ADD)
    assert one < three < 0.7 * 3 * one


def test_epsilon_table_rises_to_exactly_the_plans_cost() -> None:
    agreed = plan(epsilon=3, delta=1e-4, sampling_rate=0.1, steps=30, adjacency=ADD)
    table = accounting.epsilon_table(agreed, points=10)
    steps, costs = zip(*table, strict=True)
    assert steps[0] == 0
    assert costs[0] == 0
    assert table[-1] == (30, agreed.cost)
    assert list(costs) == sorted(costs)


@pytest.mark.parametrize(
    ("epsilon", "micro"),
    [
        (0.0, 0),
        (8.0, 8_000_000),
        (0.1, 100_000),
        (1.0000001, 1_000_001),
        (1e-9, 1),
        (4.35, 4_350_000),
    ],
)
def test_micro_epsilon_is_rounded_up(epsilon: float, micro: int) -> None:
    assert accounting.micro_epsilon(epsilon) == micro


@pytest.mark.parametrize("epsilon", [math.nan, math.inf, -0.5])
def test_micro_epsilon_is_refused_for_what_is_no_cost(epsilon: float) -> None:
    with pytest.raises(BudgetError):
        accounting.micro_epsilon(epsilon)


def test_delta_is_rounded_up_to_trillionths() -> None:
    assert accounting.delta_trillionths(5e-4) == 500_000_000
    assert accounting.delta_trillionths(1.5e-12) == 2
    with pytest.raises(BudgetError):
        accounting.delta_trillionths(1.5)


@pytest.mark.parametrize("adjacency", ["add-remove", "replace-one"])
def test_metrics_are_part_of_what_a_plan_costs(adjacency: accounting.Adjacency) -> None:
    asked = {"delta": 1e-4, "sampling_rate": 0.1, "steps": 30, "adjacency": adjacency}
    alone = plan(epsilon=3, **asked)  # type: ignore[arg-type]  # a dictionary of several types
    both = plan(epsilon=3, metrics_epsilon=0.5, **asked)  # type: ignore[arg-type]
    assert both.metrics_noise is not None
    released = dp_event.GaussianDpEvent(both.metrics_noise)
    assert 0.49 < compose([released], delta=1e-4, adjacency=adjacency) <= 0.5
    assert compose([both.event], delta=1e-4, adjacency=adjacency) == both.cost <= 3
    assert both.noise_multiplier > alone.noise_multiplier
    training = both.event_after(both.steps)
    assert compose([training], delta=1e-4, adjacency=adjacency) < both.cost
    assert both.event == dp_event.ComposedDpEvent([training, released])


def test_metrics_need_twice_the_noise_where_a_unit_is_replaced() -> None:
    numbers = {"epsilon": 3.0, "delta": 1e-4, "sampling_rate": 0.1, "steps": 5}
    one, two = (
        plan(adjacency=adjacency, metrics_epsilon=0.5, **numbers).metrics_noise  # type: ignore[arg-type]
        for adjacency in ("add-remove", "replace-one")
    )
    assert one is not None
    assert two == pytest.approx(2 * one, rel=1e-3)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, 3.0, 4.0, math.nan])
def test_a_plan_is_refused_whose_metrics_leave_nothing(epsilon: float) -> None:
    with pytest.raises(BudgetError, match="epsilon of metrics"):
        plan(
            epsilon=3,
            delta=1e-4,
            sampling_rate=0.1,
            steps=5,
            adjacency=ADD,
            metrics_epsilon=epsilon,
        )


def test_a_stage_keeps_a_part_of_its_epsilon_for_metrics() -> None:
    config = train_config(privateMetrics={"metrics": ["dice_score"], "epsilon": 0.5})
    agreed = accounting.plan_training(config, units=40)
    assert agreed.metrics_noise is not None
    assert agreed.cost <= 4.0
    assert accounting.epsilon_table(agreed)[-1] == (config.steps, agreed.cost)


def test_a_release_without_sampling_can_be_counted_where_a_unit_is_replaced() -> None:
    event = dp_event.GaussianDpEvent(4.0)
    one = compose([dp_event.GaussianDpEvent(2.0)], delta=1e-5, adjacency=ADD)
    assert compose([event], delta=1e-5, adjacency="replace-one") == pytest.approx(one, rel=1e-3)
