"""From a scan to samples and back: every voxel is answered, and by what lies at its own place."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.cut import Cut
from trainer.data.frame import Frame

SETTINGS = settings(max_examples=80, deadline=None)
SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
MILLIMETRES = st.tuples(st.floats(0.3, 6), st.floats(0.3, 6), st.floats(0.3, 6))


def ramp(shape: tuple[int, ...], axis: int, spacing: tuple[float, ...]) -> np.ndarray:
    """Return for each voxel where it lies along an axis, in millimetres from the middle."""
    place = (np.arange(shape[axis]) + 0.5 - shape[axis] / 2) * spacing[axis]
    sides = [-1 if index == axis else 1 for index in range(3)]
    return np.broadcast_to(place.reshape(sides), shape).astype(np.float32)


@SETTINGS
@given(shape=SHAPES, spacing=MILLIMETRES, target=MILLIMETRES)
def test_every_voxel_of_a_scan_is_answered_by_a_volume(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    target: tuple[float, float, float],
) -> None:
    frame = Frame.of("p", shape, spacing=spacing, target=target)
    back = frame.back(np.ones((2, *frame.shape), dtype=np.float32))
    assert back.shape == (2, *shape)
    np.testing.assert_allclose(back, 1.0, rtol=1e-4)


@SETTINGS
@given(
    shape=SHAPES,
    spacing=MILLIMETRES,
    axis=st.integers(0, 2),
    size=st.tuples(st.integers(8, 48), st.integers(8, 48)),
)
def test_every_voxel_of_a_scan_is_answered_by_its_slices(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    axis: int,
    size: tuple[int, int],
) -> None:
    cut = Cut.of(shape, spacing=spacing, axis=axis, size=size)
    back = cut.back(np.ones((shape[axis], 1, *size), dtype=np.float32))
    assert back.shape == (1, *shape)
    np.testing.assert_allclose(back, 1.0, rtol=1e-4)


@SETTINGS
@given(
    shape=st.tuples(st.integers(12, 40), st.integers(12, 40), st.integers(12, 40)),
    spacing=MILLIMETRES,
    factors=st.tuples(st.floats(0.5, 2), st.floats(0.5, 2), st.floats(0.5, 2)),
    axis=st.integers(0, 2),
)
def test_what_comes_back_from_a_volume_lies_where_it_was(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    factors: tuple[float, float, float],
    axis: int,
) -> None:
    target = tuple(side * factor for side, factor in zip(spacing[::-1], factors, strict=True))
    frame = Frame.of("p", shape, spacing=spacing, target=(target[0], target[1], target[2]))
    given = ramp(shape, axis, spacing)
    _inside_agrees(given, frame.back(frame.volume(given[None]))[0], step=spacing[axis])


@SETTINGS
@given(
    shape=st.tuples(st.integers(12, 40), st.integers(12, 40), st.integers(12, 40)),
    axis=st.integers(0, 2),
    across=st.integers(0, 2),
    size=st.integers(32, 64),
)
def test_what_comes_back_from_slices_lies_where_it_was(
    shape: tuple[int, int, int], axis: int, across: int, size: int
) -> None:
    spacing = (1.0, 1.0, 1.0)
    cut = Cut.of(shape, spacing=spacing, axis=across, size=(size, size))
    given = ramp(shape, axis, spacing)
    _inside_agrees(given, cut.back(cut.pictures(given[None]))[0], step=1.0)


def _inside_agrees(given: np.ndarray, back: np.ndarray, *, step: float) -> None:
    """Compare away from the border, where the scan is mixed with the nothing around it."""
    inside = (slice(4, -4),) * 3
    # Half a voxel is what resampling by area may move: turned or shifted data is off by many.
    np.testing.assert_allclose(back[inside], given[inside], atol=0.75 * step)
