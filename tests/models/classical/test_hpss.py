"""Median-filter separation of tones and hits against librosa, and on drawn spectrograms."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mss_models.classical.hpss import harmonic_and_percussive, hpss_masks
from mss_models.errors import ShapeError


def test_a_horizontal_line_is_harmonic_and_a_vertical_one_percussive():
    magnitudes = torch.zeros(1, 1, 60, 50)
    magnitudes[..., 20, :] = 1.0
    magnitudes[..., :, 30] = 1.0
    harmonic, percussive = hpss_masks(magnitudes, frames=9, bins=9)[0, :, 0]
    assert harmonic[20, 5] == 1.0
    assert percussive[50, 30] == 1.0
    assert harmonic[20, 30] == percussive[20, 30] == 0.5
    assert harmonic[0, 0] == percussive[0, 0] == 0.5


def test_agrees_with_librosa():
    decompose = pytest.importorskip("librosa.decompose", reason="librosa is not installed")
    magnitudes = np.random.default_rng(0).gamma(0.5, size=(129, 90)).astype(np.float32)
    expected = decompose.hpss(magnitudes, kernel_size=(17, 31), power=2.0, margin=1.0, mask=True)
    actual = hpss_masks(torch.from_numpy(magnitudes)[None, None], frames=17, bins=31, power=2.0)[0, :, 0]
    np.testing.assert_allclose(actual.numpy(), np.stack(expected), rtol=0, atol=1e-5)


def test_the_masks_share_out_everything():
    magnitudes = torch.rand(2, 2, 33, 20, generator=torch.Generator().manual_seed(0))
    masks = hpss_masks(magnitudes, frames=5, bins=7)
    assert masks.shape == (2, 2, 2, 33, 20)
    assert_close(masks.sum(dim=1), torch.ones(2, 2, 33, 20), rtol=0, atol=1e-6)


def test_missing_axes_are_named():
    with pytest.raises(ShapeError, match="magnitudes"):
        hpss_masks(torch.zeros(3, 4))
    with pytest.raises(ShapeError, match="magnitudes"):
        harmonic_and_percussive(torch.zeros(3))
