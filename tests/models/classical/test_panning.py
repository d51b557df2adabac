"""Stereo position of sounds whose place is known."""

import pytest
import torch
from torch.testing import assert_close

from mss_models.classical.panning import mid_side, stereo_position
from mss_models.errors import ShapeError


def placed(left, right):
    """Noise with given gains per channel as (middle, side) of shape (2, bin, frame)."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.complex(*torch.randn(2, 12, 9, generator=generator))
    return torch.stack([left * noise + right * noise, left * noise - right * noise]) * 0.5**0.5


@pytest.mark.parametrize(
    ("left", "right", "side_share", "lean"),
    [(1.0, 1.0, 0.0, 0.0), (1.0, 0.0, 0.5, 1.0), (0.0, 1.0, 0.5, 1.0), (1.0, -1.0, 1.0, 0.0), (3.0, 1.0, 0.2, 0.8)],
)
def test_a_panned_sound_stands_where_it_was_put(left, right, side_share, lean):
    place = stereo_position(placed(left, right))
    assert_close(place.side_share, torch.full((12, 9), side_share), rtol=0, atol=1e-5)
    assert_close(place.lean, torch.full((12, 9), lean), rtol=0, atol=1e-5)


def test_silence_stands_nowhere():
    place = stereo_position(torch.zeros(2, 5, 4, dtype=torch.complex64))
    assert not place.energy.any()
    assert not place.side_share.any()
    assert not place.lean.any()


def test_middle_and_side_keep_the_energy_and_lead_back():
    stereo = torch.randn(3, 2, 50, generator=torch.Generator().manual_seed(0))
    turned = mid_side(stereo)
    assert_close(turned.square().sum(), stereo.square().sum())
    assert_close(mid_side(turned), stereo, rtol=0, atol=1e-6)


def test_anything_but_two_channels_is_refused():
    with pytest.raises(ShapeError, match="channels"):
        mid_side(torch.zeros(3, 10))
    with pytest.raises(ShapeError, match="spectrum"):
        stereo_position(torch.zeros(1, 5, 4, dtype=torch.complex64))
