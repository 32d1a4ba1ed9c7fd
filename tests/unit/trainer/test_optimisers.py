import pytest
import torch
from torch import nn

from policies.wire.optimisers import Ema, Polyak, WarmupCosine, WarmupCosineParams
from trainer.optimisers import Averager, build_scheduler


def rates(steps: int, warmup: int, least: float) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    params = WarmupCosineParams(warmup_steps=warmup, min_factor=least)
    scheduler = build_scheduler(
        WarmupCosine(name="WarmupCosine", params=params), optimizer, steps=steps
    )
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_warm_up_rises_to_the_rate_and_the_cosine_falls_to_its_floor() -> None:
    seen = rates(20, 5, 0.1)
    assert seen[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert seen[5:] == sorted(seen[5:], reverse=True)
    assert seen[-1] == pytest.approx(0.1, abs=0.02)


def test_a_warm_up_longer_than_training_never_divides_by_nothing() -> None:
    assert rates(3, 10, 0.0) == pytest.approx([1 / 3, 2 / 3, 1.0])


def model(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, value)
    return layer


def averaged(config: Ema | Polyak | None, values: list[float]) -> float:
    averager = Averager(config, steps=len(values))
    for value in values:
        averager.update(model(value))
    return float(averager.weights(model(values[-1]))["weight"])


def test_without_averaging_the_last_weights_are_used() -> None:
    assert averaged(None, [1.0, 2.0, 6.0]) == 6.0


def test_polyak_is_the_mean_of_the_last_part() -> None:
    assert averaged(Polyak(kind="Polyak", last_fraction=0.5), [9.0, 9.0, 1.0, 3.0]) == 2.0


def test_an_early_moving_average_is_a_plain_mean() -> None:
    assert averaged(Ema(kind="EMA", decay=0.9), [1.0, 2.0, 6.0]) == pytest.approx(3.0)


def test_a_moving_average_forgets_what_is_long_ago() -> None:
    assert averaged(Ema(kind="EMA", decay=0.5), [100.0] + [1.0] * 30) == pytest.approx(1, abs=1e-4)
