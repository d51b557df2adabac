"""The centred transform: parity with torch, the way back, pieces, short signals, ends."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mss_models.centered_stft import (
    CenteredAnalysis,
    CenteredSynthesis,
    centered_frames,
    centered_istft,
    centered_stft,
)
from mss_models.errors import ShapeError
from mss_models.stft import StftSettings

GRIDS = [StftSettings(64, 16), StftSettings(64, 32), StftSettings(64, 20), StftSettings(64, 7)]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("samples", [33, 64, 65, 500, 512])
def test_frames_are_those_of_torch(grid, samples):
    signal = noise(2, 3, samples)
    window = torch.hann_window(grid.n_fft, dtype=torch.float64)
    expected = torch.stft(
        signal.flatten(0, 1), grid.n_fft, grid.hop_length, window=window, center=True, return_complex=True
    )
    assert_close(centered_stft(signal, grid).flatten(0, 1).transpose(1, 2), expected)


@pytest.mark.parametrize("grid", [StftSettings(64, 16), StftSettings(64, 7)])
@pytest.mark.parametrize("samples", [64, 65, 500, 511, 512])
def test_a_changed_spectrogram_becomes_the_signal_that_torch_gives(grid, samples):
    spectrum = torch.complex(noise(2, centered_frames(samples, grid), 33), noise(2, centered_frames(samples, grid), 33))
    spectrum[..., [0, -1]] = spectrum[..., [0, -1]].real + 0j
    expected = torch.istft(
        spectrum.transpose(1, 2),
        grid.n_fft,
        grid.hop_length,
        window=torch.hann_window(grid.n_fft, dtype=torch.float64),
        center=True,
        length=samples,
    )
    assert_close(centered_istft(spectrum, grid, samples), expected)


@pytest.mark.parametrize("grid", [grid for grid in GRIDS if grid.hop_length <= 20])
@pytest.mark.parametrize("samples", [1, 2, 5, 31, 32, 33, 400])
def test_the_inverse_gives_back_any_signal_however_short(grid, samples):
    signal = noise(2, samples)
    assert_close(centered_istft(centered_stft(signal, grid), grid, samples), signal)


def test_one_sample_is_mirrored_to_a_constant():
    grid = StftSettings(64, 16)
    constant = torch.full((1, 100), 0.5, dtype=torch.float64)
    assert_close(centered_stft(constant[:, :1], grid)[0, 0], centered_stft(constant, grid)[0, 3], rtol=0, atol=1e-12)


def test_samples_that_almost_no_window_reaches_fade_out():
    grid = StftSettings(64, 32)
    samples = 32 * 6 - 1
    spectrum = torch.complex(noise(centered_frames(samples, grid), 33), noise(centered_frames(samples, grid), 33))
    signal = centered_istft(spectrum, grid, samples)
    assert signal[-8:].abs().max() < 10 * signal[:-32].abs().max()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 150), min_size=1, max_size=6), st.sampled_from(GRIDS), st.integers(1, 9))
def test_pieces_give_what_the_whole_gives(lengths, grid, count):
    samples = sum(lengths)
    signal = noise(2, samples)
    if samples == 0:
        with pytest.raises(ShapeError):
            centered_stft(signal, grid)
        return
    analysis = CenteredAnalysis(grid)
    pieces = [analysis.push(piece) for piece in signal.split(lengths, dim=-1)]
    spectrum = torch.cat([*pieces, analysis.finish()], dim=-2)
    assert_close(spectrum, centered_stft(signal, grid))
    synthesis = CenteredSynthesis(grid)
    parts = [synthesis.push(piece) for piece in spectrum.split(count, dim=-2)]
    assert_close(torch.cat([*parts, synthesis.finish(samples)], dim=-1), centered_istft(spectrum, grid, samples))


def test_derivatives_are_those_of_differences():
    grid = StftSettings(16, 4)
    signal = noise(1, 37).requires_grad_(True)
    factors = noise(1, centered_frames(37, grid), 9)
    assert torch.autograd.gradcheck(lambda x: centered_istft(factors * centered_stft(x, grid), grid, 37), signal)


def test_what_does_not_fit_is_refused():
    grid = StftSettings(64, 16)
    with pytest.raises(ValueError, match=r"hop_length must be in \[1, 32\], got 40"):
        centered_stft(noise(1, 100), StftSettings(64, 40))
    with pytest.raises(ShapeError, match="at least 1 sample"):
        CenteredAnalysis(grid).finish()
    with pytest.raises(ShapeError, match="7 frames, 33 bins"):
        centered_istft(torch.zeros(1, 6, 33, dtype=torch.complex64), grid, 100)
    synthesis = CenteredSynthesis(grid)
    synthesis.push(torch.zeros(1, 6, 33, dtype=torch.complex64))
    with pytest.raises(ShapeError, match="7 frames for 100 samples"):
        synthesis.finish(100)
