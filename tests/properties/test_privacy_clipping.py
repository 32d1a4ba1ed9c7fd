import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.privacy.clipping import clip_and_sum, row_norms

COUNTS = st.lists(st.integers(1, 6), min_size=1, max_size=6)
SETTINGS = settings(max_examples=60, deadline=None)


def gradients(counts: list[int], *, seed: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(sum(counts), 40, generator=generator) * scale
    return rows, torch.repeat_interleave(torch.tensor(counts))


@SETTINGS
@given(
    counts=COUNTS,
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([1e-20, 1e-6, 1e-2, 1.0, 1e6, 1e18]),
    bound=st.floats(1e-3, 1e3),
)
def test_no_unit_adds_more_than_the_bound(
    counts: list[int], seed: int, scale: float, bound: float
) -> None:
    rows, owner = gradients(counts, seed=seed, scale=scale)
    everybody = clip_and_sum(rows, owner=owner, units=len(counts), max_norm=bound)
    assert float(everybody.double().norm()) <= len(counts) * bound * (1 + 1e-5)
    for unit in range(len(counts)):
        mine = owner == unit
        alone = clip_and_sum(
            rows[mine], owner=torch.zeros_like(owner[mine]), units=1, max_norm=bound
        )
        assert float(alone.double().norm()) <= bound * (1 + 1e-6)


@SETTINGS
@given(counts=COUNTS, seed=st.integers(0, 2**31), bound=st.floats(1e-2, 1e2))
def test_the_sum_is_made_of_the_units_one_by_one(
    counts: list[int], seed: int, bound: float
) -> None:
    rows, owner = gradients(counts, seed=seed, scale=1.0)
    parts = [
        clip_and_sum(
            rows[owner == unit],
            owner=torch.zeros(count, dtype=torch.int64),
            units=1,
            max_norm=bound,
        )
        for unit, count in enumerate(counts)
    ]
    together = clip_and_sum(rows, owner=owner, units=len(counts), max_norm=bound)
    torch.testing.assert_close(together, torch.stack(parts).sum(0), rtol=1e-4, atol=1e-5 * bound)


@SETTINGS
@given(counts=COUNTS, seed=st.integers(0, 2**31), bad=st.sampled_from(["nan", "inf", "-inf"]))
def test_a_gradient_that_is_not_finite_adds_nothing(counts: list[int], seed: int, bad: str) -> None:
    rows, owner = gradients(counts, seed=seed, scale=1.0)
    rows[0, 3] = float(bad)
    spoiled = clip_and_sum(rows, owner=owner, units=len(counts), max_norm=1.0)
    rows[owner == 0] = 0.0
    torch.testing.assert_close(
        spoiled, clip_and_sum(rows, owner=owner, units=len(counts), max_norm=1.0)
    )


@settings(max_examples=12, deadline=None)
@given(
    size=st.sampled_from([1, 1023, 1024, 1025, 50_000, 2_000_000]),
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([0, 4, 12]),
)
def test_norms_of_rows_of_any_length_are_exact(size: int, seed: int, spread: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(2, size, generator=generator)
    rows *= torch.rand(2, size, generator=generator) ** spread
    exact = rows.double().norm(dim=1)
    torch.testing.assert_close(row_norms(rows).double(), exact, rtol=2e-7, atol=0.0)


def test_a_norm_that_is_not_finite_stays_so() -> None:
    rows = torch.ones(3, 3000)
    rows[0, 5], rows[1, 2000] = float("nan"), float("inf")
    assert torch.isfinite(row_norms(rows)).tolist() == [False, False, True]
    assert row_norms(torch.ones(2, 0)).tolist() == [0.0, 0.0]
