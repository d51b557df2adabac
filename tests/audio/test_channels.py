"""Folding of channels follows ITU-R BS.775."""

import numpy as np
import pytest

from clicks import noise
from mss_cli.audio.channels import check_channels, fold
from mss_cli.errors import InputError

HALF = np.sqrt(0.5)


def unit(channels: int, channel: int) -> np.ndarray:
    block = np.zeros((channels, 1), np.float32)
    block[channel] = 1
    return block


@pytest.mark.parametrize(
    ("channels", "channel", "left", "right"),
    [
        (3, 2, HALF, HALF),
        (4, 2, HALF, 0),
        (4, 3, 0, HALF),
        (5, 2, HALF, HALF),
        (5, 4, 0, HALF),
        (6, 0, 1, 0),
        (6, 1, 0, 1),
        (6, 2, HALF, HALF),
        (6, 3, 0, 0),
        (6, 4, HALF, 0),
        (6, 5, 0, HALF),
        (7, 4, 0.5, 0.5),
        (8, 3, 0, 0),
        (8, 4, HALF, 0),
        (8, 7, 0, HALF),
    ],
)
def test_each_channel_goes_where_the_recommendation_puts_it(channels: int, channel: int, left: float, right: float):
    np.testing.assert_allclose(fold(unit(channels, channel), 2)[:, 0], [left, right], rtol=0, atol=1e-7)


def test_stereo_to_mono_is_the_mean_and_mono_to_stereo_a_copy():
    block = noise(100)
    np.testing.assert_array_equal(fold(block, 1)[0], (block[0] + block[1]) / 2)
    np.testing.assert_array_equal(fold(block[:1], 2), block[[0, 0]])


def test_mono_survives_the_way_to_stereo_and_back():
    block = noise(100, 1)
    np.testing.assert_array_equal(fold(fold(block, 2), 1), block)


@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_with_the_right_channels_pass_untouched(channels: int):
    block = noise(100, channels)
    assert fold(block, channels) is block


@pytest.mark.parametrize("channels", [3, 6, 8, 16])
def test_more_than_two_channels_are_refused_naming_the_flag(channels: int):
    with pytest.raises(InputError) as caught:
        check_channels(channels, path="live.wav", downmix=False)
    assert str(caught.value) == f"live.wav: {channels} channels; fold them with `--downmix stereo`"


def test_downmix_takes_up_to_eight_channels():
    assert [check_channels(n, path="x", downmix=True) for n in range(1, 9)] == [1, 2, 2, 2, 2, 2, 2, 2]
    with pytest.raises(InputError, match="16 channels, and no rule to fold them"):
        check_channels(16, path="x", downmix=True)
    with pytest.raises(ValueError, match="no rule to fold 9 channels"):
        fold(noise(10, 9), 2)


def test_no_channels_are_refused():
    with pytest.raises(InputError, match="holds no channels"):
        check_channels(0, path="x", downmix=False)
