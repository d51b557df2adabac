"""Cues: one per name, bounded, independent of level, and finite for anything."""

import pytest
import torch
from torch.testing import assert_close

from mss_models.classical.cues import CUE_NAMES, CueSettings, cues, interpolation_over_log_frequency, make_bands

FREQUENCIES = torch.arange(129) * 172.265625  # Hz, bins of a 256 point transform at 44.1 kHz


def measured(spectrum):
    found = cues(spectrum, FREQUENCIES, make_bands(FREQUENCIES, 24), CueSettings())
    return dict(zip(CUE_NAMES, (cue.expand(spectrum.shape[1:]) for cue in found), strict=True))


def noise(frames=80, width=1.0):
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.complex(*torch.randn(2, 2, 129, frames, generator=generator))
    return spectrum * torch.tensor([1.0, width])[:, None, None]


@pytest.mark.parametrize("frames", [1, 3, 80])
def test_every_cue_is_finite_and_within_its_bounds(frames):
    for cue in measured(noise(frames)).values():
        assert torch.isfinite(cue).all()
        assert cue.abs().max() <= 1.5 + 1e-5


def test_silence_gives_finite_cues():
    assert all(torch.isfinite(cue).all() for cue in measured(torch.zeros(2, 129, 30, dtype=torch.complex64)).values())


@pytest.mark.parametrize("gain", [2.0**-20, 2.0**10])
def test_no_cue_depends_on_the_level(gain):
    for name, (cue, louder) in {n: (c, measured(noise() * gain)[n]) for n, c in measured(noise()).items()}.items():
        assert_close(louder, cue, rtol=0, atol=1e-4, msg=name)


def test_the_position_cues_of_a_mono_mixture_say_nothing():
    mono = measured(noise(width=0.0))
    for name in ("side", "off_usual_side", "off_usual_side_around", "lean", "width"):
        assert not mono[name].any(), name


def test_a_tone_is_harmonic_and_a_hit_is_not():
    spectrum = 1e-3 * noise()
    spectrum[0, 40, :] += 1.0
    spectrum[0, :, 60] += 1.0
    harmonic = measured(spectrum)["harmonic"]
    assert harmonic[40, 20] > 0.9
    assert harmonic[100, 60] < -0.9


def test_band_weights_are_averages_and_reach_every_bin():
    bands = make_bands(FREQUENCIES, 24)
    assert_close(bands.pool.sum(dim=1), torch.ones(24))
    assert_close(bands.spread.sum(dim=1), torch.ones(129))
    assert bands.pool.min() >= 0


def test_interpolation_is_linear_in_log_frequency_and_flat_outside():
    matrix = interpolation_over_log_frequency(
        torch.tensor([0.0, 100.0, 200.0, 400.0, 9e3]), torch.tensor([100.0, 400.0])
    )
    expected = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.0, 1.0]])
    assert_close(matrix, expected, rtol=0, atol=1e-6)
