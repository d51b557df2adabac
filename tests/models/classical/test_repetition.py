"""Repetition on drawn spectrograms whose repeating part is known."""

import pytest
import torch
from torch.testing import assert_close

from mss_models.classical.repetition import repeating_background, similar_frames
from mss_models.errors import ShapeError

PERIOD = 12


def loop(bins=24, periods=12):
    """A random pattern of 12 frames played again and again, (bin, frame)."""
    return torch.rand(bins, PERIOD, generator=torch.Generator().manual_seed(0)).repeat(1, periods)


def find(features, count=6):
    return similar_frames(features, count=count, context=1, apart=2, nearest=6)


def test_frames_of_a_loop_find_their_own_repetitions():
    similar = find(loop())
    distance = similar - torch.arange(len(similar))[:, None]
    assert (distance % PERIOD == 0)[PERIOD:-PERIOD].all()
    assert (distance != 0).all()


def test_a_sound_played_once_over_a_loop_is_taken_out_whole():
    background = loop()
    mixture = background.clone()
    mixture[7, 40:45] += 5.0
    repeating = repeating_background(mixture, find(background))
    assert_close(repeating[:, PERIOD:-PERIOD], background[:, PERIOD:-PERIOD], rtol=0, atol=1e-6)


def test_the_background_never_exceeds_the_frame():
    magnitudes = torch.rand(20, 70, generator=torch.Generator().manual_seed(1))
    assert (repeating_background(magnitudes, find(magnitudes)) <= magnitudes).all()


@pytest.mark.parametrize("frames", [1, 2, 3, 7])
def test_a_segment_shorter_than_the_search_works(frames):
    magnitudes = torch.rand(20, frames, generator=torch.Generator().manual_seed(1))
    similar = find(magnitudes)
    assert similar.shape == (frames, min(6, frames))
    assert repeating_background(magnitudes, similar).shape == (20, frames)


def test_silence_repeats_as_silence():
    silence = torch.zeros(8, 30)
    assert torch.equal(repeating_background(silence, find(silence)), silence)


def test_axes_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match="features"):
        find(torch.zeros(3))
    with pytest.raises(ShapeError, match="similar"):
        repeating_background(torch.zeros(4, 5), torch.zeros(6, 2, dtype=torch.int64))
