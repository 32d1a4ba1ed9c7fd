import math

import numpy as np
import pytest
from dp_accounting import dp_event
from numpy.typing import NDArray
from riskcal.analysis import get_advantage_from_pld, get_beta_from_pld

from policies import accounting
from policies.accounting import training_event
from policies.errors import BudgetError
from policies.risk import BASELINES, Goal, assess, noise_for, profile

ADD = "add-remove"

# Units, noise multiplier, sampling rate, steps, then what a guess of one in so many, of one in a
# hundred and of one in ten becomes, and the membership advantage. Made with riskcal 1.5.1:
# get_beta_from_pld and get_advantage_from_pld of dp_accounting's distribution; the first run has
# too few steps for bounds by a central limit.
ROWS = [
    (228, 0.696, 1 / 29, 28, (0.0228, 0.0407, 0.2057), 0.147),
    (228, 2.0, 32 / 228, 350, (0.1099, 0.1743, 0.5358), 0.504),
    (20000, 1.0, 512 / 20000, 2340, (0.0122, 0.2326, 0.6131), 0.564),
]


def phi(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


@pytest.mark.parametrize("row", ROWS)
def test_risks_agree_with_published_runs(
    row: tuple[int, float, float, int, tuple[float, ...], float],
) -> None:
    units, noise, rate, steps, successes, advantage = row
    event = training_event(noise_multiplier=noise, sampling_rate=rate, steps=steps)
    report = assess([event], adjacency=ADD, units=units)
    assert [baseline for baseline, _ in report.reconstruction] == [1 / units, *BASELINES]
    assert [found for _, found in report.reconstruction] == pytest.approx(successes, abs=1e-4)
    assert report.advantage == pytest.approx(advantage, abs=5e-4)


@pytest.mark.parametrize("adjacency", ["add-remove", "replace-one"])
def test_the_trade_off_is_that_of_riskcal(adjacency: accounting.Adjacency) -> None:
    event = training_event(noise_multiplier=0.8, sampling_rate=0.05, steps=20)
    found = profile([event], adjacency=adjacency)
    # It computes from the same distribution, but by probabilities of losses instead of deltas.
    pld = accounting.composed(event, adjacency=adjacency, grid=1e-3)._pld
    alphas = np.array([1e-4, 1e-3, 0.01, 0.1, 0.3, 0.5, 0.9])
    theirs = np.asarray(get_beta_from_pld(pld, alpha=alphas))
    assert [found.missed(float(alpha)) for alpha in alphas] == pytest.approx(theirs, abs=1e-5)
    assert found.advantage == pytest.approx(float(get_advantage_from_pld(pld)), abs=1e-9)


def test_the_trade_off_of_one_gaussian_is_its_closed_form() -> None:
    noise = 1.5
    found = profile([dp_event.GaussianDpEvent(noise)], adjacency=ADD)
    for cut in (-1.0, 0.5, 2.0, 3.0):
        alpha, missed = 1 - phi(cut), phi(cut - 1 / noise)
        assert found.missed(alpha) == pytest.approx(missed, abs=1e-4)
        assert found.missed(alpha) <= missed + 1e-6
    assert found.advantage == pytest.approx(2 * phi(1 / (2 * noise)) - 1, abs=1e-4)


def test_no_simulated_attack_beats_the_bound_and_the_best_reaches_it() -> None:
    noise, rate, steps, trials = 0.696, 1 / 29, 28, 60_000
    event = training_event(noise_multiplier=noise, sampling_rate=rate, steps=steps)
    found = profile([event], adjacency=ADD)
    random = np.random.default_rng(5)

    def losses(*, member: bool) -> NDArray[np.float64]:
        total = np.zeros(trials)
        for _ in range(steps):
            seen = random.normal(0, noise, trials)
            if member:
                seen += random.random(trials) < rate
            total += np.log1p(rate * np.expm1((2 * seen - 1) / (2 * noise**2)))
        return total

    without, within = losses(member=False), losses(member=True)
    gaps = []
    for guilty, innocent in ((within, without), (-without, -within)):
        for baseline in (0.02, 0.1, 0.3):
            cut = np.quantile(innocent, 1 - baseline)
            found_members = (guilty > cut).mean()
            accused = (innocent > cut).mean()
            bound = found.success(float(accused))
            error = 3 * math.sqrt(bound * (1 - bound) / trials)
            # The cut is an estimate too: a miss of it moves the bound along its slope.
            slope = (found.success(float(accused) + 1e-3) - bound) / 1e-3
            error += 3 * slope * math.sqrt(accused * (1 - accused) / trials)
            assert found_members <= bound + error
            gaps.append((bound - found_members) / error)
    assert min(gaps) < 1


def test_no_release_leaves_a_guess_what_it_was() -> None:
    found = profile([], adjacency=ADD)
    assert found.success(0.03) == pytest.approx(0.03)
    assert found.advantage == 0


def test_risk_grows_with_every_further_release() -> None:
    event = training_event(noise_multiplier=1.0, sampling_rate=0.02, steps=100)
    once, twice = (profile([event] * n, adjacency=ADD) for n in (1, 2))
    assert once.advantage < twice.advantage
    assert once.success(0.01) < twice.success(0.01)


def test_replacing_a_unit_is_the_larger_risk() -> None:
    event = training_event(noise_multiplier=1.0, sampling_rate=0.02, steps=100)
    added, replaced = (profile([event], adjacency=kind) for kind in (ADD, "replace-one"))  # type: ignore[arg-type]
    assert added.success(0.01) < replaced.success(0.01)


def test_many_steps_of_little_loss_are_not_counted_for_more_than_they_are() -> None:
    event = training_event(noise_multiplier=100.0, sampling_rate=0.001, steps=100_000)
    # About one Gaussian of noise 100 / (0.001 sqrt(100,000)); a coarse grid gives a multiple of it.
    exact = 2 * phi(0.001 * math.sqrt(100_000) / 200) - 1
    assert profile([event], adjacency=ADD).advantage == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize(
    "goal", [Goal("success", 0.1, baseline=0.01), Goal("advantage", 0.25)], ids=str
)
def test_the_least_noise_reaches_its_goal_and_hardly_more(goal: Goal) -> None:
    noise, found = noise_for(goal, sampling_rate=0.1, steps=10, adjacency=ADD)
    assert goal.of(found) <= goal.at_most
    less = training_event(noise_multiplier=noise - 5e-4, sampling_rate=0.1, steps=10)
    assert goal.of(profile([less], adjacency=ADD)) > goal.at_most


@pytest.mark.parametrize(
    ("goal", "steps", "said"),
    [
        (Goal("success", 0.01, baseline=0.01), 10, "at most: expected more than the baseline 0.01"),
        (Goal("success", 1.0, baseline=0.01), 10, "at most: .* got 1"),
        (Goal("advantage", math.nan), 10, "at most: .* got nan"),
        (Goal("advantage", 0.1), 0, "steps: expected at least 1, got 0"),
    ],
)
def test_a_goal_that_nothing_reaches_is_refused(goal: Goal, steps: int, said: str) -> None:
    with pytest.raises(BudgetError, match=said):
        noise_for(goal, sampling_rate=0.1, steps=steps, adjacency=ADD)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
def test_what_is_no_probability_is_refused(alpha: float) -> None:
    with pytest.raises(BudgetError, match="probability: expected 0 to 1"):
        profile([], adjacency=ADD).missed(alpha)


def test_the_report_names_the_epsilon_of_the_budget() -> None:
    event = training_event(noise_multiplier=1.0, sampling_rate=0.05, steps=30)
    report = assess([event], adjacency=ADD, delta=1e-5, units=300)
    assert report.epsilon == accounting.compose([event], delta=1e-5, adjacency=ADD)
    value = report.to_json()
    assert value["membership"]["advantage"] == report.advantage
    assert value["reconstruction"][0]["baseline"] == pytest.approx(1 / 300)
    missed = [point["missed"] for point in value["tradeOff"]]
    assert missed == sorted(missed, reverse=True)
