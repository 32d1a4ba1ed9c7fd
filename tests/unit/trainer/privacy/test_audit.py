from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from policies.accounting import PrivacyPlan, plan
from tests.training import train_config
from trainer import loop
from trainer.privacy.audit import Audited, Canaries, Guesses, audit_training
from trainer.privacy.csprng import SecureStream, UnsafeSeededStream
from trainer.privacy.errors import AuditFailed
from trainer.privacy.noise import add_noise
from trainer.privacy.streams import Streams

DELTA = 1e-5


def agreed(**changes: Any) -> PrivacyPlan:
    wanted = {"epsilon": 3.0, "delta": DELTA, "sampling_rate": 1.0, "steps": 3}
    return plan(**{**wanted, **changes}, adjacency="add-remove")


def audit(seed: int, **changes: Any) -> Audited:
    privacy = agreed(**changes)
    config = train_config(
        steps=privacy.steps,
        batchSize=500,
        samplesPerUnit=1,
        optimizer={"name": "SGD", "params": {"lr": 0.001}},
        privacyParams={
            "epsilon": privacy.epsilon,
            "delta": DELTA,
            "maxGradNorm": 0.5,
            "unit": "patient",
            "adjacency": "add-remove",
        },
    )
    return audit_training(
        config,
        privacy,
        streams=Streams.unsafe_seeded(seed),
        coins=UnsafeSeededStream(seed, purpose="coins"),
    )


@pytest.mark.parametrize("changes", [{}, {"sampling_rate": 0.5, "steps": 6}], ids=["all", "half"])
def test_a_run_is_not_refuted_and_its_canaries_are_felt(changes: dict[str, Any]) -> None:
    found = audit(1, **changes)
    assert found.guesses.canaries == 1000
    assert 2.9 < found.reported <= 3.0
    # The bound is far from tight, but an attack that found nothing would prove nothing.
    assert 0.3 < found.refuted < found.reported


@pytest.mark.parametrize(
    "noise",
    [
        lambda total, **_: total,
        lambda total, *, standard_deviation, stream: add_noise(
            total, standard_deviation=standard_deviation / 4, stream=stream
        ),
    ],
    ids=["none", "a quarter"],
)
def test_a_run_with_less_noise_than_it_reports_fails(
    noise: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "add_noise", noise)
    with pytest.raises(AuditFailed, match=r"reported epsilon 2\.99.* guesses were right") as error:
        audit(2)
    assert error.value.exit_code == 4


def test_a_run_that_clips_at_more_than_it_reports_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    build = loop.private_engine

    def loose(model: Any, config: Any, **rest: Any) -> Any:
        params = config.privacy_params.model_copy(update={"max_grad_norm": 5.0})
        engine = build(model, config.model_copy(update={"privacy_params": params}), **rest)
        engine._max_norm, bound = 0.5, engine._max_norm
        unit_sum = engine.unit_sum

        def summed(batch: Any) -> Any:
            engine._max_norm = bound
            total = unit_sum(batch)
            engine._max_norm = 0.5
            return total

        engine.unit_sum = summed
        return engine

    monkeypatch.setattr(loop, "private_engine", loose)
    with pytest.raises(AuditFailed):
        audit(3)


def test_the_bound_exceeds_the_truth_as_rarely_as_it_says() -> None:
    random, epsilon, made = np.random.default_rng(4), 1.0, 200
    right = random.binomial(made, 1 / (1 + np.exp(-epsilon)), size=400)
    of = {
        n: Guesses(made, made, int(n)).epsilon_at_least(delta=0.0, confidence=0.9)
        for n in np.unique(right)
    }
    bounds = np.array([of[n] for n in right])
    assert 0.04 < np.mean(bounds > epsilon) < 0.13
    assert np.median(bounds) > 0.6


def test_right_guesses_refute_more_with_more_of_them_and_less_with_delta() -> None:
    few, many = Guesses(100, 100, 70), Guesses(100, 100, 90)
    assert 0 < few.epsilon_at_least(delta=0) < many.epsilon_at_least(delta=0)
    assert many.epsilon_at_least(delta=1e-3) < many.epsilon_at_least(delta=0)
    # With every guess right, q^100 = 0.05 at q = e^epsilon / (1 + e^epsilon).
    q = 0.05 ** (1 / 100)
    exact = np.log(q / (1 - q))
    assert Guesses(100, 100, 100).epsilon_at_least(delta=0) == pytest.approx(exact)


@pytest.mark.parametrize("right", [0, 45, 50])
def test_guesses_no_better_than_coins_refute_nothing(right: int) -> None:
    assert Guesses(100, 100, right).epsilon_at_least(delta=1e-5) == 0


def test_half_of_the_canaries_are_members() -> None:
    drawn = Canaries.draw(10_000, stream=SecureStream())
    assert len(drawn) == pytest.approx(5000, abs=4 * 50)
    image, target = drawn.unit(7)
    assert np.flatnonzero(image).tolist() == [np.flatnonzero(drawn.members)[7]]
    assert target.tolist() == [[1.0]]


def test_guesses_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="right <= made <= canaries"):
        Guesses(10, 5, 6)
    drawn = Canaries(np.array([True, False]))
    with pytest.raises(ValueError, match="guesses: expected 2 to 2, got 4"):
        drawn.guess(np.zeros(2), guesses=4)
    with pytest.raises(ValueError, match="confidence"):
        Guesses(10, 5, 5).epsilon_at_least(delta=0, confidence=1.0)
