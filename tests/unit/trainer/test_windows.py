import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from policies.wire.models import UNet3d
from trainer.models.unet import UNet
from trainer.windows import count_windows, windowed


class Doubled(nn.Module):
    """Says of each voxel twice its value, and that of the next channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([2 * x, x + 1], dim=1)


class Marked(nn.Module):
    """Says of each voxel the first value of its window."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, :1, :1, :1].expand_as(x)


SIDES = st.tuples(st.integers(1, 19), st.integers(1, 19), st.integers(1, 19))


@settings(max_examples=60, deadline=None)
@given(
    sides=SIDES,
    patch=st.tuples(st.sampled_from([4, 8]), st.sampled_from([4, 8]), st.sampled_from([4, 8])),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.9]),
)
def test_what_a_network_says_of_each_voxel_alone_does_not_depend_on_the_windows(
    sides: tuple[int, int, int], patch: tuple[int, int, int], overlap: float
) -> None:
    volume = np.random.default_rng(1).standard_normal((1, *sides)).astype(np.float32)
    seen: list[int] = []
    found = windowed(Doubled(), volume, patch=patch, overlap=overlap, on_windows=seen.append)
    np.testing.assert_allclose(
        found, np.concatenate([2 * volume, volume + 1]), rtol=1e-4, atol=1e-4
    )
    assert sum(seen) == count_windows(sides, patch=patch, overlap=overlap)


def test_windows_overlap_and_count_for_more_in_their_middle() -> None:
    volume = np.zeros((1, 4, 4, 12), dtype=np.float32)
    volume[0, 0, 0, 4] = 1.0
    found = windowed(Marked(), volume, patch=(4, 4, 8), overlap=0.5)
    line = found[0, 0, 0]
    assert (line[:4] == 0).all()
    assert (line[8:] == 1).all()
    assert (np.diff(line) >= 0).all()
    assert 0 < line[4] < line[7] < 1


def test_without_overlap_each_window_speaks_for_itself() -> None:
    volume = np.arange(16, dtype=np.float32).reshape(1, 1, 1, 16)
    found = windowed(Marked(), volume, patch=(1, 1, 4), overlap=0.0)
    np.testing.assert_allclose(found[0, 0, 0], np.repeat([0, 4, 8, 12], 4))


def test_a_unet_of_three_dimensions_sees_a_volume_larger_than_its_patch() -> None:
    torch.manual_seed(1)
    config = UNet3d(kind="unet3d", in_channels=2, out_channels=1, levels=2, channels=4)
    model = UNet(config)
    volume = np.random.default_rng(2).standard_normal((2, 5, 20, 33)).astype(np.float32)
    found = windowed(model, volume, patch=(4, 8, 16))
    assert found.shape == (1, 5, 20, 33)
    assert np.isfinite(found).all()
    one = windowed(model, volume[:, :4, :8, :16], patch=(4, 8, 16))
    direct = model(torch.from_numpy(volume[None, :, :4, :8, :16])).detach().numpy()[0]
    np.testing.assert_allclose(one, direct, atol=1e-5)


@pytest.mark.parametrize("overlap", [-0.1, 0.95, 2.0])
def test_an_overlap_that_would_never_end_is_refused(overlap: float) -> None:
    with pytest.raises(ValueError, match="overlap"):
        windowed(Doubled(), np.zeros((1, 4, 4, 4), np.float32), patch=(4, 4, 4), overlap=overlap)


def test_a_volume_of_other_dimensions_is_refused() -> None:
    with pytest.raises(ValueError, match="sides"):
        windowed(Doubled(), np.zeros((1, 4, 4), np.float32), patch=(4, 4, 4))
